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
 * process: no socket, no fork, no thread but the application's. The application is linked into the test, so
 * breakpoints, sanitizers and coverage work. Hooks are not called; a test that needs
 * one, such as gcorn_on_worker_init, calls it.
 *
 * The test controls the time: gcorn_now() changes with gcorn_test_advance alone. gcorn_worker_number() is 0,
 * gcorn_threads() is 1, gcorn_loop() is a loop that runs in gcorn_test_wait, metrics are NULL, and
 * gcorn_log writes to standard error. All functions here must be called on the thread of the test;
 * none is async-signal-safe. When memory is out the process ends.
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
    bool waits;    /* next has returned GCORN_AGAIN, and nothing has woken it since */
    bool complete; /* the answer is whole; bodies are closed, deferred functions have run */
    bool broken;   /* the same, but the answer is cut, and the client can see that */
};

/* Runs a request. head is the request line and, each on a line, any header fields ("POST /notes
 * HTTP/1.1\nContent-Type: application/json"). Host and Content-Length are added if they are absent.
 * body is len bytes and may be NULL when len is 0. A request that the server would refuse gets the
 * server's answer. Never returns NULL; gcorn_test_close frees the result. */
struct gcorn_test *gcorn_test_request(gcorn_app *app, const char *head, const void *body,
                                      size_t len);

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

/* Advances gcorn_now() by ms milliseconds and continues the requests whose gcorn_wake_at has come.
 * The clock stops on the way at the time of each timer, which is then called. */
void gcorn_test_advance(uint64_t ms);

/* Sets what gcorn_draining() returns. true continues every request that waits, as in a worker that
 * stops. */
void gcorn_test_drain(bool draining);

/* The status of interim answer number i that has been sent so far (gcorn_interim), from 0 on; 0: there
 * are not so many. headers, which may be NULL, gets its fields; they stay valid until
 * gcorn_test_close. */
int gcorn_test_interim(const struct gcorn_test *t, size_t i, const struct gcorn_header **headers);

/* Ends and frees the request; NULL is allowed. If the answer has not ended, it is as if the client
 * had left: bodies are closed, and deferred functions run. */
void gcorn_test_close(struct gcorn_test *t);

#ifdef __cplusplus
}
#endif
#endif
