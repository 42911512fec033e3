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
 * The request is parsed, the environ made and the answer framed by the very code of the server, in
 * the calling process: no socket, no fork, no other thread. The application is linked into the
 * test, so breakpoints, sanitizers and coverage work as ever. What gcorn_on_worker_init does for a
 * worker, the test does by calling it; pre_request and post_request hooks are not called.
 *
 * Time is the test's: gcorn_now() stands still until gcorn_test_advance. gcorn_slot() is 0,
 * gcorn_threads() 1, gcorn_loop() a loop that turns in gcorn_test_wait, metrics are NULL, and
 * gcorn_log writes to standard error. All functions here are for the thread of the test.
 */
#ifndef GCORN_TEST_H
#define GCORN_TEST_H

#include <gcorn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One request, and what has come of it so far: all of it is there as soon as it has come, so an
 * answer that does not wait is complete when gcorn_test_request returns. Pointers stay valid until
 * the next call that lets this request go on. */
struct gcorn_test {
    int status;                         /* 0: the answer has not begun */
    const struct gcorn_header *headers; /* all that a client gets: for gcorn_headers_get */
    const char *body;                   /* without its framing; followed by a NUL */
    size_t len;
    bool waits;    /* next has returned GCORN_AGAIN, and was not woken since */
    bool complete; /* the answer is whole; its bodies are closed, what was deferred has run */
    bool broken;   /* so it is over too, but the client can see that it is not whole */
};

/* Runs a request: the request line, and after it perhaps fields, each on a line of its own ("POST
 * /notes HTTP/1.1\nContent-Type: application/json"). Host and Content-Length are added unless they
 * are there. body may be NULL when len is 0. What the server would refuse is answered as it would
 * be. Never NULL; gcorn_test_close frees it. */
struct gcorn_test *gcorn_test_request(gcorn_app *app, const char *head, const void *body,
                                      size_t len);

/* Lets the request that waits go on: turns gcorn_loop() for at most ms milliseconds of real time,
 * so that watchers, threads and other requests can wake it, until it has ended or brought bytes.
 * With 0 only what is due already runs. Has it ended or brought bytes? */
bool gcorn_test_wait(struct gcorn_test *t, unsigned ms);

/* Moves gcorn_now() on; requests whose gcorn_wake_at comes within that go on. */
void gcorn_test_advance(uint64_t ms);

/* What gcorn_draining() says from now on; true has every request that waits go on, as a worker that
 * stops does. */
void gcorn_test_drain(bool draining);

/* Frees it. Before the answer has ended, it is a client that leaves: bodies are closed, what was
 * deferred runs. NULL is allowed. */
void gcorn_test_close(struct gcorn_test *t);

#ifdef __cplusplus
}
#endif
#endif
