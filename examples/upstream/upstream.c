/* SPDX-License-Identifier: MIT
 *
 * upstream - asks another server and answers what that says: calls that mostly wait.
 *
 *   gcorn --threads 8 --env UPSTREAM=http://127.0.0.1:9000 upstream.so:handler
 *   curl http://127.0.0.1:8000/any/path?query
 *
 * What it shows: in the gthread class (--threads above 1) a call that waits for somebody else holds
 * a thread and not its worker. The handler is as sequential as ever; what it keeps between calls is
 * one for each thread: a curl handle, which keeps its connection to the upstream open.
 *
 * A further thread of the worker's own looks every second whether the upstream answers. It posts what
 * it saw to the loop, whose thread alone keeps it; when the worker exits, the server has the thread
 * stop and joins it.
 *
 * libcurl's easy interface may be used by many threads as long as each has handles of its own; what
 * is global is made in gcorn_on_worker_init, before there are threads.
 */
#include <curl/curl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <gcorn.h>

enum { TIMEOUT_MS = 10000, TYPE_MAX = 128, LOOK_S = 1, LOOK_TIMEOUT_MS = 1000 };

static const char *upstream;     /* without a '/' at its end */
static _Thread_local CURL *curl; /* of this thread; see gcorn_on_thread_end */

/* ---- does the upstream answer? --------------------------------------------------------------- */

static bool was_up = true; /* the loop's thread alone uses it */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ends;
} watch = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};

/* On the loop's thread. */
static void note_look(void *answers)
{
    bool is_up = answers != NULL;

    if (is_up != was_up)
        gcorn_log(NULL, GCORN_WARNING, "%s %s", upstream, is_up ? "answers again" : "is down");
    was_up = is_up;
}

/* Sleeps until the next look. False: the worker exits. */
static bool wait_for_turn(void)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LOOK_S;
    pthread_mutex_lock(&watch.lock);
    while (!watch.ends && pthread_cond_timedwait(&watch.changed, &watch.lock, &until) == 0)
        continue;
    bool goes_on = !watch.ends;
    pthread_mutex_unlock(&watch.lock);
    return goes_on;
}

static void watch_upstream(void *unused)
{
    CURL *own = curl_easy_init();

    (void)unused;
    if (!own)
        return;
    curl_easy_setopt(own, CURLOPT_URL, upstream);
    curl_easy_setopt(own, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(own, CURLOPT_NOBODY, 1L); /* HEAD: any status will do */
    curl_easy_setopt(own, CURLOPT_TIMEOUT_MS, (long)LOOK_TIMEOUT_MS);
    while (wait_for_turn())
        gcorn_post(note_look, curl_easy_perform(own) == CURLE_OK ? &watch : NULL);
    curl_easy_cleanup(own);
}

static void stop_watch(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&watch.lock);
    watch.ends = true;
    pthread_cond_signal(&watch.changed);
    pthread_mutex_unlock(&watch.lock);
}

/* ---- requests -------------------------------------------------------------------------------- */

int gcorn_on_worker_init(void)
{
    upstream = getenv("UPSTREAM");
    if (!upstream || strncmp(upstream, "http", 4) != 0) {
        gcorn_log(NULL, GCORN_ERROR, "UPSTREAM is no URL (--env UPSTREAM=http://127.0.0.1:9000)");
        return -1;
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return -1;
    return gcorn_thread_start("watch", watch_upstream, stop_watch, NULL);
}

void gcorn_on_thread_end(unsigned number)
{
    (void)number;
    curl_easy_cleanup(curl); /* which takes NULL, too */
}

/* libcurl hands over what has come; the answer is gathered, in memory or in a file. */
static size_t on_data(char *data, size_t one, size_t count, void *body)
{
    return gcorn_buffer_write(body, data, one * count) < 0 ? 0 : one * count;
}

/* 0, or why there is no answer. The status and type of the upstream's go to *status and type. */
static CURLcode ask(struct gcorn_environ *env, struct gcorn_body *body, long *status, char *type)
{
    const char *url = gcorn_printf(env, "%s%s", upstream, gcorn_get(env, "RAW_URI"));
    char *its_type = NULL;

    if (!curl)
        curl = curl_easy_init();
    if (!curl)
        return CURLE_OUT_OF_MEMORY;
    curl_easy_reset(curl); /* the options; its connections stay */
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L); /* signals are the server's */
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    CURLcode result = curl_easy_perform(curl);
    if (result != CURLE_OK)
        return result;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
    curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &its_type);
    strncpy(type, its_type ? its_type : "application/octet-stream", TYPE_MAX - 1);
    return CURLE_OK;
}

static struct gcorn_body *fail(struct gcorn_environ *env,
                               struct gcorn_start_response *start_response, const char *status,
                               const char *why)
{
    static const struct gcorn_header plain[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};

    gcorn_log(env, GCORN_WARNING, "%s: %s", upstream, why);
    gcorn_start(start_response, status, plain);
    return gcorn_body_text(env, gcorn_printf(env, "%s\n", why));
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    struct gcorn_body *body = gcorn_body_buffer(env);
    char type[TYPE_MAX] = "";
    long status = 0;

    /* a target of another form would end up in the upstream's host name */
    if (strcmp(gcorn_get(env, "REQUEST_METHOD"), "GET") != 0 || gcorn_get(env, "RAW_URI")[0] != '/')
        return fail(env, start_response, "405 Method Not Allowed", "only GET of a path");
    CURLcode result = ask(env, body, &status, type);
    if (result == CURLE_OPERATION_TIMEDOUT)
        return fail(env, start_response, "504 Gateway Timeout", curl_easy_strerror(result));
    if (result != CURLE_OK || status < 200)
        return fail(env, start_response, "502 Bad Gateway", curl_easy_strerror(result));
    const struct gcorn_header headers[] = {{"Content-Type", type}, {NULL, NULL}};
    gcorn_start(start_response, gcorn_printf(env, "%ld Upstream", status), headers);
    return body;
}
