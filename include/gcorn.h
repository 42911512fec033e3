/* SPDX-License-Identifier: MIT
 *
 * gcorn.h - what an application includes: WSGI (PEP 3333) in C.
 *
 *  #include <gcorn.h>
 *
 *  GCORN_EXPORT
 *  struct gcorn_body *handler(struct gcorn_environ *env,
 *                             struct gcorn_start_response *start_response)
 *  {
 *      static const struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};
 *
 *      gcorn_start(start_response, "200 OK", headers);
 *      return gcorn_body_text(env, "Hello, World!");
 *  }
 *
 *  cc -shared -fPIC -o hello.so hello.c $(pkg-config --cflags gcorn)
 *  gcorn --workers 4 hello.so:handler
 *
 * Five rules hold everywhere:
 *
 * Memory.  Whatever is made with an environ lives until that request is over, and is then released
 *   by the server, returned or not: strings, header lists, bodies (closed), file descriptors
 *   (closed). Nothing needs freeing on an early return. Out of memory ends the worker: no result is
 *   NULL for it.
 * Threads.  The handler of a request, its body's next and close, and its deferred functions run one
 *   at a time, never two at once: on the loop's thread of a sync worker, each on any thread of the
 *   pool in a gthread one. A function that takes an environ, a start_response or a body is called
 *   from there and from nowhere else. Any thread may call gcorn_wake, gcorn_now, gcorn_slot,
 *   gcorn_threads, gcorn_draining, gcorn_log(NULL, ...) and gcorn_metric_*. A thread that the
 *   application starts blocks all signals but the fatal ones (SEGV, BUS, ILL, FPE, ABRT).
 * Children.  A child that the application forks has its own descriptors, 0 to 2, the logs and the
 * body of the request that is served, and nothing else of the server. What concerns the worker
 *   (gcorn_wake, gcorn_loop, gcorn_metric_*) does nothing there. It ends by _exit or exec: one that
 *   returns to the server is ended.
 * Errors.  int and ssize_t functions return -1 with errno set. A handler that returns NULL has
 *   failed: 500, whatever it started. So has one that returns something else than a body of its
 *   request, and a next that returns -1: 500, or a broken connection when bytes have left.
 * Control.  No C++ exception, longjmp or exit() may leave a function that the server calls.
 *
 * The one structure whose layout an application knows is struct gcorn_header. It will not change.
 */
#ifndef GCORN_H
#define GCORN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#ifdef __cplusplus
#define GCORN_EXPORT extern "C" __attribute__((visibility("default")))
extern "C" {
#else
#define GCORN_EXPORT __attribute__((visibility("default")))
#endif

#define GCORN_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* What is declared here is exported by the server, or found by it in the application. */
#pragma GCC visibility push(default)

struct ev_loop;
struct gcorn_environ;        /* one request: CGI variables, input, arena */
struct gcorn_start_response; /* how to start its answer: the server's, or a middleware's */
struct gcorn_body;           /* the iterable that an application returns */

/* A header list ends with {NULL, NULL}. */
struct gcorn_header {
    const char *name;
    const char *value;
};

/* An application: the symbol named after the colon of app.so:handler. Middleware is an application
 * that calls another: pass the inner one as a third parameter, and let a handler of three lines
 * name it. NULL: failed, the client gets 500. */
typedef struct gcorn_body *gcorn_app(struct gcorn_environ *env,
                                     struct gcorn_start_response *start_response);

/* ---- the answer ------------------------------------------------------------------------------ */

/* Begins the answer: status is "NNN Reason"; headers may be NULL. Both are copied before it
 * returns, so they may lie on the stack. It may be called late, from next, as long as no body byte
 * has been handed over; until then a further call replaces the answer (an error page). The head
 * leaves with the first body byte, or at the end: an event stream therefore begins with an event or
 * a comment. -1 with EINVAL: a status or field that is not valid HTTP, a hop-by-hop field, a second
 * Content-Length; the answer is then 500 unless a later call succeeds, so a handler need not look
 * at the result. -1 with EALREADY: a body byte has been handed over; let next return -1 to break
 * the connection. */
int gcorn_start(struct gcorn_start_response *start_response, const char *status,
                const struct gcorn_header *headers);

/* A start_response for an inner application: gcorn_start on it calls fn with state. fn usually
 * changes the list and calls gcorn_start on the outer one, at once or later (then it keeps copies,
 * and returns -1 with EALREADY after the inner body's first byte). It may be called never, late, or
 * twice. The result lives as long as the request, and so must state. */
typedef int gcorn_start_fn(void *state, const char *status, const struct gcorn_header *headers);
struct gcorn_start_response *gcorn_start_wrap(struct gcorn_environ *env, gcorn_start_fn *fn,
                                              void *state);

/* Header lists. Names compare without case. The first value or NULL; a new deep copy in which name
 * has this one value (NULL: in which it is absent); a new deep copy with one more field. headers
 * may be NULL. */
const char *gcorn_headers_get(const struct gcorn_header *headers, const char *name);
struct gcorn_header *gcorn_headers_set(struct gcorn_environ *env,
                                       const struct gcorn_header *headers, const char *name,
                                       const char *value);
struct gcorn_header *gcorn_headers_add(struct gcorn_environ *env,
                                       const struct gcorn_header *headers, const char *name,
                                       const char *value);

/* ---- bodies ---------------------------------------------------------------------------------- */

/* The length of all but iterators is known and Content-Length is set from it; an iterator is sent
 * chunked unless the application gave a Content-Length. An empty answer is gcorn_body_text(env,
 * ""), never NULL. For HEAD, 204, 205 and 304 the same body is returned as ever; the server sends
 * none of it. */

/* data stays unchanged until the request is over: static, from gcorn_alloc or gcorn_printf, or
 * handed to gcorn_defer (text from malloc: gcorn_defer(env, free, text)). */
struct gcorn_body *gcorn_body_bytes(struct gcorn_environ *env, const void *data, size_t len);

/* The same for a string; the length of a literal is known when it is compiled. text NULL: NULL,
 * failed. */
static inline struct gcorn_body *gcorn_body_text(struct gcorn_environ *env, const char *text)
{
    return text ? gcorn_body_bytes(env, text, strlen(text)) : NULL;
}

/* wsgi.file_wrapper: len bytes of a regular file from offset, -1 for all that follows; sendfile
 * where possible, and a slow client costs no memory. Takes fd in every case, also when the result
 * is NULL with errno (EINVAL: not a regular file, or past its end). A file that shrinks while it is
 * sent breaks the connection. */
struct gcorn_body *gcorn_body_file(struct gcorn_environ *env, int fd, int64_t offset, int64_t len);

/* An empty body to write into, for the imperative style (WSGI's write()). gcorn_write and
 * gcorn_writef copy; they never wait for the client: past a limit in memory the body goes to an
 * unlinked file. -1 when that is full: the body is then failed, so the result may be ignored. Only
 * on such a body (EINVAL), until the handler returns it or somebody asks for its first chunk. */
struct gcorn_body *gcorn_body_buffer(struct gcorn_environ *env);
int gcorn_write(struct gcorn_body *body, const void *data, size_t len);
int gcorn_writef(struct gcorn_body *body, const char *fmt, ...) GCORN_PRINTF(2, 3);

/* An iterator. next stores a chunk and returns its length; 0 at the end; -1 failed (500, or a
 * broken connection when bytes have left); GCORN_AGAIN when it has nothing yet. It is called only
 * as the socket drains, so a slow client holds one chunk. The chunk stays valid and unchanged until
 * next is called again or close is: a buffer shared by many requests must not be overwritten for a
 * slow one. After GCORN_AGAIN it is called again on gcorn_wake, on gcorn_wake_at, when the worker
 * begins to drain (see gcorn_draining), and possibly for no reason. next must not block a sync
 * worker. For HEAD and the like it is called once, even if gcorn_start has been, and after
 * GCORN_AGAIN no longer than until that has. close (may be NULL) is called exactly once: at the
 * end, on failure, and as soon as the client has left, also while waiting. */
enum { GCORN_AGAIN = -2 };
typedef ssize_t gcorn_next_fn(struct gcorn_environ *env, void *state, const void **chunk);
typedef void gcorn_close_fn(struct gcorn_environ *env, void *state);
struct gcorn_body *gcorn_body_iter(struct gcorn_environ *env, gcorn_next_fn *next,
                                   gcorn_close_fn *close, void *state);

/* For middleware: iterate over any body that an inner application returned; as next and close
 * above. *chunk is NULL where there is none. After 0 or -1 it keeps returning that, also when it is
 * closed; what is closed before its end returns -1. Closing twice is harmless, and so is closing
 * NULL; what is not closed is closed when the request is over. len is what is still to come, -1
 * when unknown. Of NULL next is -1 with EINVAL, and len -1. A middleware that wants none of the
 * bytes returns the inner body. */
ssize_t gcorn_body_next(struct gcorn_body *body, const void **chunk);
void gcorn_body_close(struct gcorn_body *body);
int64_t gcorn_body_len(const struct gcorn_body *body);

/* ---- waiting --------------------------------------------------------------------------------- */

/* A ticket names this request in this worker and is never reused; 0 is none. gcorn_wake has next
 * called again, later, never from within gcorn_wake. Any thread, any time: a wake that comes while
 * next still runs is not lost, one that comes after the end does nothing. So timers, other requests
 * and threads keep tickets, never an environ nor memory of its arena; a thread's job owns its
 * memory itself. */
uint64_t gcorn_ticket(struct gcorn_environ *env);
void gcorn_wake(uint64_t ticket);

/* Has next called again when gcorn_now() reaches when, at the latest. One time a request: each call
 * sets it anew. As next may also be called for other reasons, it looks at the clock itself. */
void gcorn_wake_at(struct gcorn_environ *env, uint64_t when);

/* Milliseconds of CLOCK_MONOTONIC. Any thread. */
uint64_t gcorn_now(void);

/* Has the client left? For a handler amid long work; a waiting iterator is simply closed. A client
 * that has only closed its side looks the same. */
bool gcorn_client_gone(struct gcorn_environ *env);

/* This call of the handler or of next may take ms from now, when that is longer than it may take
 * anyway (timeout, or what was asked for before). Time spent waiting is never counted. */
void gcorn_extend_deadline(struct gcorn_environ *env, unsigned ms);

/* ---- the request ----------------------------------------------------------------------------- */

/* REQUEST_METHOD (any token of up to 32 bytes: GET, QUERY, X-Y), PATH_INFO (percent-decoded),
 * QUERY_STRING, RAW_URI (as it came), CONTENT_TYPE, CONTENT_LENGTH (also of a body that came in
 * chunks), SERVER_NAME, SERVER_PORT (over a unix socket: those in Host),
 * SERVER_PROTOCOL, REMOTE_ADDR, HTTP_* (repeated fields joined), wsgi.url_scheme, wsgi.multithread
 * ("0", "1"), gcorn.request_id, ... NULL when absent. No value holds a NUL. Each stays valid until
 * the request is over, also when the key is set anew. */
const char *gcorn_get(struct gcorn_environ *env, const char *key);

/* Sets a variable for inner applications (copied); NULL removes it. Methods, framing and the access
 * log keep to what the client sent. */
void gcorn_set(struct gcorn_environ *env, const char *key, const char *value);

/* Objects, as Python's environ carries them: a session, a user, a parsed route. Borrowed. Prefix
 * the key. */
void *gcorn_get_ptr(struct gcorn_environ *env, const char *key);
void gcorn_set_ptr(struct gcorn_environ *env, const char *key, void *value);

/* The i-th variable's key and value; NULL past the last. Setting one may reorder them. */
const char *gcorn_each(struct gcorn_environ *env, size_t i, const char **value);

/* The first value of a parameter of QUERY_STRING, decoded; NULL when absent or malformed. */
const char *gcorn_query(struct gcorn_environ *env, const char *name);

/* wsgi.input. The body is complete before the handler is called, in memory or in an unlinked file,
 * so neither waits for the client. gcorn_read: bytes, 0 at the end, -1 failed. gcorn_input: all of
 * it, mapped when it lies in a file, followed by a NUL; "" when there is none; it does not move
 * gcorn_read. NULL failed. len may be NULL. */
ssize_t gcorn_read(struct gcorn_environ *env, void *buf, size_t size);
const char *gcorn_input(struct gcorn_environ *env, size_t *len);

/* ---- memory and log -------------------------------------------------------------------------- */

/* Zeroed, aligned for anything, freed when the request is over: not for each event of an endless
 * stream. */
void *gcorn_alloc(struct gcorn_environ *env, size_t size);
char *gcorn_printf(struct gcorn_environ *env, const char *fmt, ...) GCORN_PRINTF(2, 3);

/* Calls fn(arg) when the request is over, after the body is closed, the latest first. */
void gcorn_defer(struct gcorn_environ *env, void (*fn)(void *arg), void *arg);

/* wsgi.errors: a line in the error log with worker and request id. env NULL: outside a request. A
 * newline at the end may be there or not; others are shown as \x0a. */
enum gcorn_level { GCORN_DEBUG, GCORN_INFO, GCORN_WARNING, GCORN_ERROR, GCORN_CRITICAL };
void gcorn_log(struct gcorn_environ *env, enum gcorn_level level, const char *fmt, ...)
    GCORN_PRINTF(3, 4);

/* ---- metrics --------------------------------------------------------------------------------- */

/* Numbers of the application's own in /metrics (see admin_bind), in Prometheus' sense: a counter
 * only grows; a gauge goes up and down; a histogram counts observations by size. Each worker has
 * its own, and /metrics shows their sum; counters and histograms outlive their worker.
 *
 * Make them once, in gcorn_on_worker_init or before. name is as Prometheus writes it, perhaps with
 * labels: "orders_total{kind=\"book\"}"; a histogram's label le is the server's. Names of one
 * family, which differ in their labels alone, have the same kind and help, and none is a
 * histogram's with _bucket, _sum or _count behind it. Asking again for a name gives the same
 * metric. bounds are the upper bounds of the buckets, rising, at most 16; what is larger than the
 * last is counted too; where new code has others, the histogram begins anew. At most 64 metrics a
 * worker. NULL with errno: EINVAL (name, bounds, or the name is there as another kind), ENOSPC; the
 * functions under it take NULL and do nothing, so a result need not be looked at. */
struct gcorn_metric;
struct gcorn_metric *gcorn_counter(const char *name, const char *help);
struct gcorn_metric *gcorn_gauge(const char *name, const char *help);
struct gcorn_metric *gcorn_histogram(const char *name, const char *help, const double *bounds,
                                     size_t count);

/* Any thread; they never block. add: to a counter (what is negative is not added) or a gauge. set:
 * a gauge. observe: a histogram. On a metric of another kind they do nothing. An amount or an
 * observation that is infinite or NaN is left out, because no sum recovers from it; a gauge may be
 * set to one. */
void gcorn_metric_add(struct gcorn_metric *metric, double amount);
void gcorn_metric_set(struct gcorn_metric *metric, double value);
void gcorn_metric_observe(struct gcorn_metric *metric, double value);

/* ---- the worker ------------------------------------------------------------------------------ */

/* A worker is a process, so a static variable set by gcorn_on_worker_init is per-worker state. Its
 * slot is 0 to workers - 1 and passes on to its replacement. Its libev loop (include <ev.h>, link
 * -lev): use it only on the loop's thread, that is in gcorn_on_worker_init, in watchers' callbacks,
 * and in handlers of a sync worker; from other threads only ev_async_send. Timers and descriptors,
 * no signal or child watchers. Callbacks must not block. */
unsigned gcorn_slot(void);
struct ev_loop *gcorn_loop(void);

/* How many requests of this worker may run at once: the setting threads, 1 in the sync worker
 * class. An application that is not thread-safe refuses more than 1 in gcorn_on_worker_init. With 1
 * in the gthread class (wsgi.multithread is "1" there) they still run beside the loop's thread. */
unsigned gcorn_threads(void);

/* The worker is stopping: end streams (next returns 0), fail health checks. */
bool gcorn_draining(void);

/* Hooks: define those you need; the server finds them by name. -1 from gcorn_on_worker_init (log
 * why): the worker does not boot. exit: no request runs any more, and what is left of
 * graceful_timeout is its; not called in a worker that is killed. abort: inside a signal handler,
 * the worker is about to be killed. pre_request before the handler; post_request after close, when
 * gcorn.status and gcorn.bytes_sent can be read; both where the handler runs. */
int gcorn_on_worker_init(void);
void gcorn_on_worker_exit(void);
void gcorn_on_worker_abort(void);
void gcorn_on_pre_request(struct gcorn_environ *env);
void gcorn_on_post_request(struct gcorn_environ *env);

/* ---- ABI ------------------------------------------------------------------------------------- */

/* Every object asks for the ABI it was compiled for; a server that does not speak it lacks the
 * symbol, so dlopen refuses the application, or a library it brings, before any of it runs. */
#if defined(__has_attribute)
#if __has_attribute(retain)
#define GCORN_KEEP __attribute__((used, retain))
#endif
#endif
#ifndef GCORN_KEEP
#define GCORN_KEEP __attribute__((used))
#endif
extern const char gcorn_abi_1;
#pragma GCC visibility pop
static const char *const gcorn_abi_wanted GCORN_KEEP = &gcorn_abi_1;

#ifdef __cplusplus
}
#endif
#endif
