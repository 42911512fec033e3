/* SPDX-License-Identifier: MIT
 *
 * gcorn_test.h - tests of an application without a server: requests are function calls.
 *
 *  #include <assert.h>
 *  #include <gcorn_test.h>
 *
 *  gcorn_app handler;
 *
 *  int main(void)
 *  {
 *      struct gcorn_test *t = gcorn_test_request(handler, "GET /notes/7 HTTP/1.1", NULL, 0);
 *
 *      assert(t->status == 404);
 *      gcorn_test_close(t);
 *  }
 *
 *  cc -o test test.c notes.c $(pkg-config --cflags --libs gcorn-test)
 *
 * In C++ it is GCORN_EXPORT gcorn_app handler.
 *
 * The server's own code parses the request, makes the environ and frames the answer, in the calling
 * process: no socket, no fork, no thread but the application's. The application is linked into the
 * test, so breakpoints, sanitizers and coverage work.
 *
 * Hooks that the application, or the test itself, defines are found by the linker, and called as a
 * server calls them: gcorn_on_pre_request, gcorn_on_head and gcorn_on_post_request for each
 * request, gcorn_on_load (once in the process), gcorn_on_worker_init and gcorn_on_worker_exit by
 * gcorn_test_worker_start and gcorn_test_worker_stop. Requests run on the thread of the test, as in
 * a sync worker. gcorn_on_worker_abort, _fork, _thread_start, _thread_end and _call_late are for
 * the test to call.
 *
 * The test controls the time: gcorn_now() and the wall clock, which is in the Date of answers,
 * change with gcorn_test_advance alone; time(2) and its like are the system's.
 * gcorn_worker_number() is 0, gcorn_threads() is 1, gcorn_loop() is a loop that runs in
 * gcorn_test_wait, and gcorn_log writes to standard error. The test's worker is the server's only
 * one: what it publishes is delivered to its own subscriptions, in gcorn_test_wait,
 * gcorn_test_advance and gcorn_test_drain (in the next call of those, if a subscription publishes
 * it); gcorn_shared gives memory of this process. All functions here must be called on the thread
 * of the test; none is async-signal-safe. When memory is out the process ends.
 */
#ifndef GCORN_TEST_H
#define GCORN_TEST_H

#include <gcorn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One request and its answer so far. An answer that does not wait is complete when
 * gcorn_test_request returns. The fields are read-only, and pointers stay valid until the next call
 * that continues this request. */
struct gcorn_test {
    int status;                         /* 0: the answer has not begun */
    const struct gcorn_header *headers; /* all that a client receives: for gcorn_headers_get */
    const char *body;                   /* without chunked framing; followed by a NUL */
    size_t len;
    const struct gcorn_header *trailers; /* that came after it; an empty list before its end */
    bool waits;    /* next has returned GCORN_AGAIN, and nothing has woken it since */
    bool complete; /* the answer is whole; bodies are closed, deferred functions have run */
    bool broken;   /* the same, but the answer is cut, and the client can see that */
    size_t pushed; /* bytes of body that gcorn_send had sent when the handler returned */
};

/* Runs a request. head is the request line and, each on a line, any header fields ("POST /notes
 * HTTP/1.1\nContent-Type: application/json"). Host and Content-Length are added if they are absent.
 * body is len bytes and may be NULL when len is 0. A request that the server would refuse gets the
 * server's answer. Never returns NULL; gcorn_test_close frees the result. */
struct gcorn_test *gcorn_test_request(gcorn_app *app, const char *head, const void *body,
                                      size_t len);

/* Runs a request whose client sends the head first: gcorn_on_head is called, if the application has
 * it, and the handler if there is no body, or if it reads the body as it comes. A body must have
 * its length, or Transfer-Encoding, in the head. gcorn_test_send sends it, in pieces of any size,
 * as they are on the wire: with sizes of chunks, where it is chunked. Bytes that the server would
 * not read are dropped. data NULL: the client closes its side, so an incomplete body is answered
 * 400. 100 Continue is an interim answer (gcorn_test_interim). body_timeout is not simulated. */
struct gcorn_test *gcorn_test_open(gcorn_app *app, const char *head);
void gcorn_test_send(struct gcorn_test *t, const void *data, size_t len);

/* Continues a request that waits: runs gcorn_loop() until it has ended or brought bytes, at most ms
 * milliseconds of real time, so that watchers, threads and other requests can wake it. With 0 it
 * runs only what is due. Returns whether the request has ended or brought bytes. */
bool gcorn_test_wait(struct gcorn_test *t, unsigned ms);

/* Timers and posts of the application (gcorn_timer_once, gcorn_post) are called in gcorn_test_wait,
 * gcorn_test_advance and gcorn_test_drain, on the thread of the test: posts as they come, timers by
 * gcorn_now(). gcorn_test_wait(NULL, ms) waits for one of them, and returns whether one was called.
 *
 * gcorn_thread_start starts a thread. gcorn_test_stop_threads does what a worker does with them at
 * its end: it calls stop of each, calls posts until all have ended, and joins them; it waits for as
 * long as that takes. */
void gcorn_test_stop_threads(void);

/* Advances gcorn_now() and the wall clock by ms milliseconds and continues the requests whose
 * gcorn_wake_at has come. The clocks stop on the way at the time of each timer, which is then
 * called. */
void gcorn_test_advance(uint64_t ms);

/* The wall clock of the test, in seconds since 1970, UTC: at first that of the system. Setting it
 * leaves gcorn_now() as it is. */
int64_t gcorn_test_time(void);
void gcorn_test_set_time(int64_t unix_s);

/* Starts the worker that the test stands for: gcorn_on_worker_init runs, and before the first one
 * gcorn_on_load. One that was started before is stopped first, and metrics are 0 again, as in its
 * successor. Returns 0, or -1 when one of the two has returned -1: the worker does not boot.
 * Requests run without it too, for applications that need no gcorn_on_worker_init. */
int gcorn_test_worker_start(void);

/* Stops the worker, as a server does: gcorn_draining() is true, and every request that waits is
 * continued once. Those that still wait then are cut, and broken; gcorn_test_close frees them.
 * Threads are stopped (gcorn_test_stop_threads), gcorn_on_worker_exit runs, and at last no timer
 * and no subscription is left, and gcorn_draining() is false again. Without a worker that was
 * started it does nothing. */
void gcorn_test_worker_stop(void);

/* Tells every subscription that it has missed count messages, as in a worker that was too slow. */
void gcorn_test_lose(size_t count);

/* Sets what gcorn_draining() returns. true continues every request that waits, as in a worker that
 * stops. */
void gcorn_test_drain(bool draining);

/* The status of interim answer number i that has been sent so far (gcorn_interim), from 0 on; 0:
 * there are not so many. headers, which may be NULL, gets its fields; they stay valid until
 * gcorn_test_close. */
int gcorn_test_interim(const struct gcorn_test *t, size_t i, const struct gcorn_header **headers);

/* Has the client of the next request leave when it has received len bytes of what the handler sends
 * with gcorn_send, however they are cut: the call that sends the last of them still succeeds, further
 * ones return -1 with ECONNRESET, and gcorn_client_gone() is true. Such a request is over when its
 * handler has returned, neither complete nor broken. In a test gcorn_send never waits, and so never
 * fails with ESHUTDOWN. */
void gcorn_test_leave_after(size_t len);

/* Ends and frees the request; NULL is allowed. If the answer has not ended, it is as if the client
 * had left: bodies are closed, and deferred functions run. */
void gcorn_test_close(struct gcorn_test *t);

/* ---- clients of several requests ------------------------------------------------------------- */

/* A client for a flow of requests, such as a login and what follows it. It keeps cookies, sends
 * header fields with every request, follows redirections if asked to, and keeps its last answer.
 * Several clients know nothing of each other.
 *
 * base_url is where its requests go: "https://shop.example:8443" sets wsgi.url_scheme, SERVER_PORT
 * and Host; a path is ignored. NULL: "http://localhost". Returns NULL with EINVAL when it is no URL
 * of http or https. gcorn_test_client_base changes it, and keeps the cookies, which go by host:
 * returns 0, or -1 with EINVAL. gcorn_test_client_free closes the last answer, too; NULL is
 * allowed. */
struct gcorn_test_client;
struct gcorn_test_client *gcorn_test_client_new(gcorn_app *app, const char *base_url);
int gcorn_test_client_base(struct gcorn_test_client *client, const char *base_url);
void gcorn_test_client_free(struct gcorn_test_client *client);

/* Sends this field with every request whose head does not have it; value NULL: no longer. Both are
 * copied. Fields that tell of a body (Content-Type) are sent with a body alone. */
void gcorn_test_client_field(struct gcorn_test_client *client, const char *name, const char *value);

/* Follows at most redirects_max redirections of one request, at first 0: a complete answer 301,
 * 302, 303, 307 or 308 with a Location of the same host, whatever its scheme and port. As in
 * browsers, 303 makes any method but HEAD a GET without a body, 301 and 302 make a POST one, and
 * the others repeat method and body. The answer is the last one, which is a redirection when there
 * are too many, or when it leads to another host. */
void gcorn_test_client_follow(struct gcorn_test_client *client, unsigned redirects_max);

/* gcorn_test_request, by the client: closes its last answer, adds fields and cookies, and keeps the
 * cookies that the answer sets, also when its head comes late. A Cookie field in head is sent in
 * place of the kept cookies. The answer is the client's: it is valid until the client's next
 * request or its end. gcorn_test_wait continues it, and gcorn_test_close may close it earlier.
 * gcorn_test_client_open is gcorn_test_open by the client; it follows no redirection.
 * gcorn_test_client_take gives the answer to the caller, who closes it, so that it can wait while
 * the client sends more requests; NULL when the client holds no answer. */
struct gcorn_test *gcorn_test_client_request(struct gcorn_test_client *client, const char *head,
                                             const void *body, size_t len);
struct gcorn_test *gcorn_test_client_open(struct gcorn_test_client *client, const char *head);
struct gcorn_test *gcorn_test_client_take(struct gcorn_test_client *client);

/* The URL of the last request, after redirections; NULL before the first one. Valid until the next
 * request. */
const char *gcorn_test_client_url(const struct gcorn_test_client *client);

/* Cookies are kept as RFC 6265 says: Domain, Path, Secure (sent to https alone), Max-Age and
 * Expires by gcorn_test_time(); the prefixes __Secure- and __Host- are held to. HttpOnly and
 * SameSite change nothing for a client without pages and scripts. gcorn_test_client_cookie returns
 * the value of the cookie that a request for path would send, NULL when it would send none; it is
 * valid until the client is used again. gcorn_test_client_set_cookie does what a Set-Cookie field
 * with this value does, in an answer of "/": "id=7; Path=/shop", or "id=; Max-Age=0" to remove one.
 */
const char *gcorn_test_client_cookie(struct gcorn_test_client *client, const char *path,
                                     const char *name);
void gcorn_test_client_set_cookie(struct gcorn_test_client *client, const char *set_cookie);

/* ---- metrics --------------------------------------------------------------------------------- */

/* What /metrics would show of a metric of the application. */
enum { GCORN_TEST_BOUNDS = 16 };
struct gcorn_test_metric {
    double value;       /* of a counter or gauge; of a histogram the sum of its observations */
    uint64_t count;     /* of a histogram: the observations; 0 otherwise */
    size_t bound_count; /* of a histogram: how many bounds it has */
    double bounds[GCORN_TEST_BOUNDS];
    uint64_t buckets[GCORN_TEST_BOUNDS + 1]; /* observations up to bounds[i]; the last one: all */
};

/* Reads the metric of this name, which is as gcorn_counter and its like were given it, with its
 * labels. False: the application has not made one; metric is then zeroed, and its value is NaN. The
 * second one returns the value. */
bool gcorn_test_metric_read(const char *name, struct gcorn_test_metric *metric);
double gcorn_test_metric_value(const char *name);

#ifdef __cplusplus
}
#endif
#endif
