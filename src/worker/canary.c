/* SPDX-License-Identifier: MIT
 *
 * See canary.h.
 */
#include "worker/canary.h"

#include "base/error.h"
#include "base/strbuf.h"
#include "worker/call/call.h"
#include "worker/loop/pools.h"
#include "worker/loop/state.h"
#include "worker/single_request.h"

/* A stream's status is known once it has started. */
static bool wait_for_status(void *state, struct gcorn_environ *env)
{
    if (env->response.started)
        return false;
    single_request_wait(state);
    return true;
}

/* The status of a complete request; it has been ended then. It counts for nothing (max_requests,
 * statistics): no client has had an answer. */
static int run(struct worker *w, struct gcorn_environ *env)
{
    const struct exchange_sink sink = {.wait = wait_for_status, .state = w};
    enum exchange_end end = single_request_run(w, env, &sink);
    int status = end == EXCHANGE_BROKEN ? 500 : env->response.status;

    call_end_environ(w, env);
    (void)call_leave(w);
    return status;
}

int canary_check(struct worker *w, const char *path, struct error *err)
{
    static const struct http_local local = {"", "", "http"};
    static const struct http_peer peer = {.local = &local};
    struct gcorn_environ *env = worker_take_environ(w, &peer, NULL);
    struct strbuf text = {0};
    int status;

    strbuf_addf(&text,
                "GET %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: gcorn/" GCORN_VERSION
                "\r\nConnection: close\r\n\r\n",
                path);
    (void)request_feed(&env->request, text.data, text.len);
    strbuf_release(&text);
    if (env->request.state == REQUEST_DONE) {
        status = run(w, env);
    } else {
        status = env->request.refusal;
        environ_reset(env);
    }
    worker_keep_environ(w, env);
    if (status >= 200 && status < 400)
        return 0;
    return error_set(err, EXIT_APP, "reload_check_path %.180s was answered %d", path, status);
}
