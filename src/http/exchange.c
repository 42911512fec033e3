/* SPDX-License-Identifier: MIT
 *
 * See exchange.h.
 */
#include "http/exchange.h"

#include <assert.h>
#include <errno.h>

#include "base/strbuf.h"
#include "http/answer/body.h"
#include "http/environ.h"

static void write_piece(const struct exchange_sink *sink, const char *data, size_t len)
{
    if (len > 0 && sink->write)
        sink->write(sink->state, data, len);
}

/* True while there is more, and it need not be waited for. */
static bool next_piece(struct gcorn_environ *env, const struct exchange_sink *sink,
                       struct strbuf *out, bool *more)
{
    const char *piece = NULL;
    size_t len;

    strbuf_reset(out);
    *more = framing_h1_next(env, out, &piece, &len);
    write_piece(sink, out->data, out->len);
    write_piece(sink, piece, len);
    if (*more && env->response.waits)
        return sink->wait && sink->wait(sink->state, env);
    return *more;
}

enum exchange_end exchange_go_on(struct gcorn_environ *env, const struct exchange_sink *sink)
{
    struct strbuf out = {0};
    bool more;

    assert(env->response.phase != RESPONSE_ENDED && !env->response.takes_files);
    while (next_piece(env, sink, &out, &more))
        continue;
    strbuf_release(&out);
    if (more)
        return EXCHANGE_WAITS;
    return env->response.broken ? EXCHANGE_BROKEN : EXCHANGE_WHOLE;
}

static bool is_gone(const struct exchange_sink *sink)
{
    return sink->is_gone && sink->is_gone(sink->state);
}

int exchange_push(struct gcorn_environ *env, const void *data, size_t len)
{
    const struct exchange_sink *sink = env->sink;
    struct strbuf out = {0};

    errno = ECONNRESET;
    if (is_gone(sink))
        return -1;
    bool fits = framing_h1_push(env, &out, data, len);
    write_piece(sink, out.data, out.len);
    strbuf_release(&out);
    errno = EINVAL;
    return fits ? 0 : -1;
}

/* True: nothing of the answer is to come, for its client left while the handler pushed. */
static bool run_handler(struct gcorn_environ *env, gcorn_app *app, const struct exchange_sink *sink)
{
    env->sink = sink;
    body_note_stack(__builtin_frame_address(0));
    response_run(env, app);
    body_note_stack(NULL);
    env->sink = NULL;
    if (env->response.phase == RESPONSE_OPEN)
        return false;
    response_end_pushes(env);
    return is_gone(sink);
}

enum exchange_end exchange_run(struct gcorn_environ *env, gcorn_app *app,
                               const struct exchange_sink *sink)
{
    const struct request *r = &env->request;

    assert(env->response.phase == RESPONSE_OPEN);
    if (r->state == REQUEST_DONE && run_handler(env, app, sink))
        return EXCHANGE_GONE;
    if (r->state == REQUEST_DONE)
        return exchange_go_on(env, sink);
    if (request_is_refused(r))
        response_refuse(env, r->refusal, r->refusal_reason);
    else
        response_refuse(env, 400, "the connection ended within the request");
    return exchange_go_on(env, sink);
}
