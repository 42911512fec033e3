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
 * Six rules hold everywhere:
 *
 * Memory.  Everything made with an environ lives until its request is over. Then the server
 *   releases it, whether it was returned or not: strings, header lists, bodies (closed), file
 *   descriptors (closed). An early return needs to free nothing. When memory is out the worker
 *   ends: no function returns NULL for that reason.
 * Threads.  The handler of a request, the next and close of its body and its deferred functions
 *   never run at the same time. In a sync worker they run on the loop's thread, in a gthread worker
 *   each on any thread of the pool. Functions that take an environ, a start_response or a body may
 *   be called there only. Any thread may call gcorn_wake, gcorn_post, gcorn_thread_start,
 *   gcorn_now, gcorn_now_us, gcorn_worker_number, gcorn_threads, gcorn_draining, gcorn_log(NULL,
 *   ...), gcorn_metric_*, gcorn_publish, gcorn_subscribe, gcorn_unsubscribe and gcorn_shared. A
 *   thread that gcorn_thread_start has not started must block all signals but the fatal ones (SEGV,
 *   BUS, ILL, FPE, ABRT).
 * Signals.  No function here is async-signal-safe but gcorn_now, gcorn_now_us and
 *   gcorn_worker_number.
 * Children.  A child that the application forks keeps the application's descriptors, 0 to 2, the
 *   logs and the body of the request that is served; the server's other descriptors are closed in
 *   it. gcorn_wake, gcorn_loop, gcorn_timer_*, gcorn_post, gcorn_thread_start and gcorn_metric_* do
 *   nothing there; gcorn_counter, gcorn_gauge, gcorn_histogram, gcorn_publish, gcorn_subscribe and
 *   gcorn_shared fail. The child ends with _exit or exec; the server ends one that returns to it.
 * Errors.  int and ssize_t functions return -1 with errno set. A handler that returns NULL, or
 *   anything but a body of its own request, has failed: the client gets 500, whatever was started.
 *   So has a next that returns -1; after the first byte of the answer the connection is broken.
 * Control.  No C++ exception, longjmp or exit() may leave a function that the server calls.
 *
 * struct gcorn_header is the one structure whose layout an application knows. It will not change.
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

/* The server exports these functions, or looks them up in the application (hooks). */
#pragma GCC visibility push(default)

struct ev_loop;
struct gcorn_environ;        /* one request: its variables, its body, its memory */
struct gcorn_start_response; /* starts the answer: the server's, or a middleware's */
struct gcorn_body;           /* the body of an answer, which a handler returns */

/* A header list ends with {NULL, NULL}. */
struct gcorn_header {
    const char *name;
    const char *value;
};

/* An application: the function after the colon of app.so:handler. Returns a body of this request;
 * NULL: it failed, and the client gets 500. Middleware is a function that calls an inner
 * application: it takes that as a third parameter, and a handler of three lines passes it; or it is
 * a layer (gcorn_layer_new), which has data of its own. */
typedef struct gcorn_body *gcorn_app(struct gcorn_environ *env,
                                     struct gcorn_start_response *start_response);

/* ---- the answer ------------------------------------------------------------------------------ */

/* Starts the answer with a status, "NNN Reason", and header fields; headers may be NULL. Both are
 * copied, so they may lie on the stack. It may be called late, from next, until the first byte of
 * the body is handed over; a second call before that replaces the first (an error page). The head
 * is sent with the first byte of the body, or at its end: an event stream therefore starts with an
 * event or a comment (or with gcorn_send, which can send the head alone). Returns 0, or -1 with
 * errno. EINVAL: a status or field that is not valid HTTP, a hop-by-hop field, a second
 * Content-Length; the answer is then 500 unless a later call succeeds, so a handler may ignore the
 * result. EALREADY: a byte of the body has been handed over; to break the connection let next
 * return -1. */
int gcorn_start(struct gcorn_start_response *start_response, const char *status,
                const struct gcorn_header *headers);

/* Makes a start_response for an inner application: gcorn_start on it calls fn with state and
 * returns its result. fn usually changes the list and calls gcorn_start on the outer
 * start_response, at once or later. If later, it keeps copies, and returns -1 with EALREADY after
 * the first byte of the inner body. It may be called never, late or twice. The result lives until
 * the request is over, and so must state. */
typedef int gcorn_start_fn(void *state, const char *status, const struct gcorn_header *headers);
struct gcorn_start_response *gcorn_start_wrap(struct gcorn_environ *env, gcorn_start_fn *fn,
                                              void *state);

/* The first value of the field name in a header list, borrowed from it; NULL when it is absent, or
 * headers is NULL. The case of names makes no difference, here and in the next functions. */
const char *gcorn_headers_get(const struct gcorn_header *headers, const char *name);

/* A header list that middleware edits. gcorn_header_list_new makes one of a copy of headers, which
 * may be NULL. append adds a field at the end; set gives the field name this one value, in the
 * place of the first field of that name, and drops the others; remove drops all of that name. Each
 * copies the strings that it is given. gcorn_header_array returns the list as gcorn_start takes it,
 * valid until the next edit. The list lives until the request is over. A name or value that is NULL
 * changes nothing and is logged. */
struct gcorn_header_list;
struct gcorn_header_list *gcorn_header_list_new(struct gcorn_environ *env,
                                                const struct gcorn_header *headers);
void gcorn_header_append(struct gcorn_header_list *list, const char *name, const char *value);
void gcorn_header_set(struct gcorn_header_list *list, const char *name, const char *value);
void gcorn_header_remove(struct gcorn_header_list *list, const char *name);
const struct gcorn_header *gcorn_header_array(const struct gcorn_header_list *list);

/* ---- middleware with data of its own --------------------------------------------------------- */

/* A layer is middleware with its data (its settings) around an inner layer; the innermost one is an
 * application. gcorn_layer_new and gcorn_layer_app make them, once, in gcorn_on_worker_init: a
 * layer lives as long as the worker, and so must data. gcorn_layer_call calls a layer: the
 * outermost one in the handler, the inner one in a layer's fn. A layer serves several requests at a
 * time in a gthread worker. fn, inner or app NULL gives NULL, and so does gcorn_layer_call on a
 * layer that is NULL: the request fails. */
struct gcorn_layer;
typedef struct gcorn_body *gcorn_layer_fn(struct gcorn_environ *env,
                                          struct gcorn_start_response *start_response,
                                          const struct gcorn_layer *inner, void *data);
const struct gcorn_layer *gcorn_layer_new(gcorn_layer_fn *fn, void *data,
                                          const struct gcorn_layer *inner);
const struct gcorn_layer *gcorn_layer_app(gcorn_app *app);
struct gcorn_body *gcorn_layer_call(const struct gcorn_layer *layer, struct gcorn_environ *env,
                                    struct gcorn_start_response *start_response);

/* ---- bodies ---------------------------------------------------------------------------------- */

/* A handler returns one of these. All but iterators have a known length, from which the server sets
 * Content-Length; an iterator is sent chunked unless the application set a Content-Length. An empty
 * answer is gcorn_body_text(env, ""), not NULL. For HEAD, 204, 205 and 304 a handler returns the
 * same body as otherwise; the server does not send it. */

/* A body of a copy of text, of len bytes, of a formatted string: what they are made from may change
 * or go at once. text NULL returns NULL, which a handler may return: it has failed. */
struct gcorn_body *gcorn_body_text(struct gcorn_environ *env, const char *text);
struct gcorn_body *gcorn_body_bytes(struct gcorn_environ *env, const void *data, size_t len);
struct gcorn_body *gcorn_body_printf(struct gcorn_environ *env, const char *fmt, ...)
    GCORN_PRINTF(2, 3);

/* A body of len bytes that are not copied: for large ones. data must stay valid and unchanged until
 * the request is over: it is static, comes from gcorn_alloc or gcorn_printf, or is freed by
 * gcorn_defer (text from malloc: gcorn_defer(env, free, text)). Bytes on the calling stack are
 * refused: a line in the log names the function, errno is EINVAL, and the body fails (500). The
 * stacks of coroutines are not recognized. */
struct gcorn_body *gcorn_body_borrow(struct gcorn_environ *env, const void *data, size_t len);

/* A body of len bytes of a regular file from offset on, -1 for the rest of the file (WSGI's
 * wsgi.file_wrapper). It is sent with sendfile where possible; a slow client costs no memory. Takes
 * ownership of fd in every case. Returns NULL with errno (EINVAL: not a regular file, or the range
 * is past its end). If the file shrinks while it is sent, the connection is broken. */
struct gcorn_body *gcorn_body_file(struct gcorn_environ *env, int fd, int64_t offset, int64_t len);

/* An empty body to write into (WSGI's write()). gcorn_buffer_write and gcorn_buffer_printf append a
 * copy and never wait for the client: a body that is longer than a limit goes to an unlinked file.
 * They return 0, or -1 with errno: ENOSPC and others when the file cannot grow, EINVAL on a body
 * that is not of this kind or no longer takes bytes, because the handler has returned it or its
 * first chunk was read. The body has then failed, so the result may be ignored. */
struct gcorn_body *gcorn_body_buffer(struct gcorn_environ *env);
int gcorn_buffer_write(struct gcorn_body *body, const void *data, size_t len);
int gcorn_buffer_printf(struct gcorn_body *body, const char *fmt, ...) GCORN_PRINTF(2, 3);

/* A body that next produces chunk by chunk (WSGI's iterable). next stores a chunk and returns its
 * length; 0: the end; -1: it failed (500, or a broken connection after the first byte);
 * GCORN_AGAIN: no chunk is ready yet. It is called only when the socket takes more, so a slow
 * client holds one chunk. The chunk must stay valid and unchanged until next or close is called: do
 * not overwrite a buffer that several requests share. After GCORN_AGAIN next is called again on
 * gcorn_wake, at the time of gcorn_wake_at, when the worker begins to drain (gcorn_draining), and
 * possibly without a reason. next must not block in a sync worker. For HEAD and other answers
 * without a body it is called once, also after gcorn_start; if it returns GCORN_AGAIN, again until
 * gcorn_start has been called. close (may be NULL) is called exactly once: at the end, on failure,
 * or as soon as the client has left, also during a wait. */
enum gcorn_result { GCORN_AGAIN = -2 };
typedef ssize_t gcorn_next_fn(struct gcorn_environ *env, void *state, const void **chunk);
typedef void gcorn_close_fn(struct gcorn_environ *env, void *state);
struct gcorn_body *gcorn_body_iter(struct gcorn_environ *env, gcorn_next_fn *next,
                                   gcorn_close_fn *close, void *state);

/* For middleware: reads the body that an inner application returned. gcorn_body_next returns what
 * next above returns; *chunk is NULL unless there is a chunk. After 0 or -1 it returns the same
 * again; a body that is closed before its end returns -1. gcorn_body_close may be called twice and
 * on NULL; the server closes a body that was not closed. gcorn_body_len is how many bytes are still
 * to come, -1 when that is unknown. For a NULL body next returns -1 with EINVAL, and len -1. A
 * middleware that does not need the bytes returns the inner body itself. */
ssize_t gcorn_body_next(struct gcorn_body *body, const void **chunk);
void gcorn_body_close(struct gcorn_body *body);
int64_t gcorn_body_len(const struct gcorn_body *body);

/* ---- before the answer, and after its body --------------------------------------------------- */

/* Sends an interim answer at once, before the answer itself: with "103 Early Hints" (RFC 8297) and
 * Link fields, a browser fetches a style sheet while the handler still works. status may be any 1xx
 * but 100 and 101, which are the server's. status and headers (NULL: none) are checked and copied
 * as by gcorn_start; Content-Length is not allowed. The answer does not change: give gcorn_start
 * the fields that it is to have, too.
 *
 * It may be called until the first byte of the body is handed over: in gcorn_on_head, the handler
 * and next, also after gcorn_start. It does not block: bytes that the socket does not take go
 * before the answer. A start_response of middleware does not see it.
 *
 * Returns 0, or -1 with errno; then nothing is sent, which a handler may ignore. ENOTSUP: the
 * client speaks HTTP/1.0, which has no such answers. EALREADY: a byte of the body has been handed
 * over. EMSGSIZE: the interim answers of this request would be longer than 64 KiB together. EINVAL:
 * as gcorn_start, but the answer stays as it is. */
int gcorn_interim(struct gcorn_environ *env, const char *status,
                  const struct gcorn_header *headers);

/* Adds a trailer: a field that is sent after the body, for what is known only then, such as a
 * checksum or a status. name and value are checked as by gcorn_start, and copied. It may be called
 * in the handler and in next, also in the call that returns 0. A name that was added before the
 * first byte of the body is announced in the field Trailer, which gcorn_start refuses.
 *
 * Trailers need a client that asks for them ("TE: trailers") in HTTP/1.1 and a body that is sent in
 * chunks. An answer that has trailers before its first byte is sent in chunks, a file too, unless
 * the application gives a Content-Length, with which no trailer is sent. A text, bytes or a file
 * otherwise have a known length and take none after their first byte; an iterator, and an answer
 * that gcorn_send has begun, take some until their end. The 500 of a failed handler has none.
 *
 * Returns 0, or -1 with errno, and the trailer is dropped, which a handler may ignore. ENOTSUP: the
 * client does not ask for trailers, or the answer has no body or one of known length. EALREADY: the
 * body has ended. EMSGSIZE: more than 100 trailers, or 64 KiB of them. EINVAL: not a valid field,
 * or one that must stand before the body because it frames the message, says how to read the
 * content, authenticates, or directs the client (RFC 9110 6.5.1: Content-Type, Set-Cookie,
 * Location); the answer stays as it is. */
int gcorn_trailer(struct gcorn_environ *env, const char *name, const char *value);

/* ---- pushing --------------------------------------------------------------------------------- */

/* Hands len bytes of the body on at once, from within the handler (WSGI's write()): a report can be
 * sent as it is computed. The bytes are copied. The first call sends the head, too, so gcorn_start
 * comes before it; with len 0 it sends the head alone. The body that the handler then returns
 * follows: gcorn_body_text(env, "") where all is said, NULL to break the connection. Bytes are sent
 * chunked, or until the connection ends to a client of HTTP/1.0, unless the application set a
 * Content-Length. For HEAD, 204, 205 and 304 the head is sent and the bytes are dropped.
 *
 * It does not wait for the client before the setting stream_spool is full of bytes that the client
 * has not taken. Then it waits until there is room again; a sync worker serves nothing else
 * meanwhile. Each call lets the handler take another `timeout` from now on.
 *
 * The bytes do not pass through middleware: an application that pushes belongs in one that changes
 * the head at most (gcorn_start_wrap), not the body.
 *
 * Returns 0, or -1 with errno. ECONNRESET: the client has left, or has taken no byte for
 * write_timeout. ESHUTDOWN: the worker stops, and graceful_timeout is over. After these two every
 * call fails, and the handler should return. EINVAL: this is not within the handler (but in next,
 * close or a deferred function), and nothing happens; there was no gcorn_start, or data is NULL,
 * and the answer becomes 500, or broken once its head is sent; the bytes are more than the
 * Content-Length, and those above it are not sent. ENOTSUP: a child that the application forked. */
int gcorn_send(struct gcorn_environ *env, const void *data, size_t len);

/* ---- waiting --------------------------------------------------------------------------------- */

/* gcorn_ticket returns a number that names this request in this worker; it is never 0 and never
 * used again. gcorn_wake has next of that request called soon, but not from within gcorn_wake; 0 is
 * ignored. Any thread may call it at any time; it does not block. A wake during next is not lost,
 * and one after the end of the request does nothing. So timers, other requests and threads keep
 * tickets, not an environ or memory that was made with one. */
uint64_t gcorn_ticket(struct gcorn_environ *env);
void gcorn_wake(uint64_t ticket);

/* Has next called when gcorn_now() reaches when, or earlier. A request has one such time: each call
 * replaces it. next may be called for other reasons, so it compares the clock itself. */
void gcorn_wake_at(struct gcorn_environ *env, uint64_t when);

/* The time of CLOCK_MONOTONIC in milliseconds, and in microseconds. Any thread; async-signal-safe.
 */
uint64_t gcorn_now(void);
uint64_t gcorn_now_us(void);

/* Has the client closed the connection? For handlers that work for long; an iterator that waits is
 * closed without being asked. A client that has only shut down its sending side looks the same. */
bool gcorn_client_gone(struct gcorn_environ *env);

/* Lets this call of the handler or of next take ms milliseconds from now, if its deadline is
 * earlier (the setting timeout, or an extension before). Time between calls, in which a body waits,
 * does not count. */
void gcorn_extend_deadline(struct gcorn_environ *env, unsigned ms);

/* ---- timers, other threads ------------------------------------------------------------------- */

/* Functions that the worker's loop calls for no request. Each such call is shown like a call of a
 * handler (gcornctl status: "TIMER tick"), and timeout and slow_request count for it; it must not
 * block, because no client is served meanwhile. It may wake requests, and in a gthread worker it
 * runs beside their handlers. */
typedef void gcorn_call_fn(void *arg);

/* A timer has fn(arg) called once, after_ms milliseconds from now, but not from within
 * gcorn_timer_once; or every every_ms, first after that time. It is never early. Calls of
 * gcorn_timer_every neither drift nor pile up: when one is late or long, the times that have passed
 * meanwhile are left out, and the next call comes at its usual time. No timer is called when the
 * worker has drained.
 *
 * The loop's thread only: gcorn_on_worker_init and later hooks of the worker, functions that timers
 * and posts call, and handlers of a sync worker. Other threads post a function that makes the
 * timer. NULL with errno: EINVAL (fn NULL, every_ms 0), EPERM (another thread), ENOTSUP (no worker
 * runs in this process: --check-config, a template, a forked child), ENOSPC (1,048,576 timers).
 *
 * gcorn_timer_stop may be called from within fn. It ignores NULL, and a timer that is over: one
 * that was stopped, or gcorn_timer_once's whose fn has been called. The server frees timers. */
struct gcorn_timer;
struct gcorn_timer *gcorn_timer_once(uint64_t after_ms, gcorn_call_fn *fn, void *arg);
struct gcorn_timer *gcorn_timer_every(uint64_t every_ms, gcorn_call_fn *fn, void *arg);
void gcorn_timer_stop(struct gcorn_timer *timer);

/* Has the loop call fn(arg) soon, in the order of the posts of each thread; never from within
 * gcorn_post. Any thread may post, also before the worker is ready and while it drains, but no
 * signal handler: it allocates. It does not block. Every post for which it returns 0 is called,
 * unless the worker dies: the last ones before gcorn_on_worker_exit. fn may post itself again, but
 * a worker that exits runs posts of posts for a second at most. -1 with errno: ESHUTDOWN (later
 * than that), ENOTSUP (no worker runs in this process), EINVAL (fn NULL). */
int gcorn_post(gcorn_call_fn *fn, void *arg);

/* Starts a thread that calls run(arg) once. All signals but the fatal ones are blocked in it, and a
 * debugger shows up to 15 bytes of name. When the last request of the worker is over, the loop's
 * thread calls stop(arg), which tells run to return (stop may be NULL), and joins the thread before
 * gcorn_on_worker_exit; posts are called meanwhile. A thread that has not ended when nearly all of
 * graceful_timeout is over is left: the worker logs its name and exits without it, by _exit. It may
 * end earlier by itself; stop may be called all the same, if run has only just returned. From any
 * thread of a worker. -1 with errno: EINVAL (run NULL), ENOTSUP (no worker runs in this process),
 * ESHUTDOWN (the worker exits), EAGAIN (see pthread_create(3)). */
int gcorn_thread_start(const char *name, gcorn_call_fn *run, gcorn_call_fn *stop, void *arg);

/* ---- the request ----------------------------------------------------------------------------- */

/* A variable of the request, as CGI (RFC 3875) and PEP 3333 name them; NULL when it is absent. No
 * value holds a NUL. A value stays valid and unchanged until the request is over, also after
 * gcorn_set of its key.
 *
 *   REQUEST_METHOD         a token of up to 32 bytes: GET, QUERY, X-Y
 *   SCRIPT_NAME            "", or what a trusted proxy says
 *   PATH_INFO              percent-decoded
 *   QUERY_STRING           as received, "" without a query (gcorn_query decodes)
 *   RAW_URI                the target as received
 *   CONTENT_TYPE           absent when the client sent none
 *   CONTENT_LENGTH         also of a chunked body, decoded
 *   SERVER_NAME            the address that the server listens on; on a unix socket that of Host
 *   SERVER_PORT            likewise
 *   SERVER_PROTOCOL        HTTP/1.1 or HTTP/1.0
 *   SERVER_SOFTWARE        gcorn/ and its version
 *   REMOTE_ADDR            the client's, by trusted proxies' word if any; "" on a unix socket
 *   REMOTE_PORT            "" where a proxy speaks for the client
 *   HTTP_X_Y               each field of the head, here X-Y; none for names with '_' or for
 *                          Content-Type and Content-Length; repeated ones are joined by ", "
 *                          (Cookie by "; ")
 *   wsgi.url_scheme        http or https
 *   wsgi.version           1.0
 *   wsgi.multithread       "1" in a gthread worker, else "0"
 *   wsgi.multiprocess      "1" when there are several workers
 *   wsgi.run_once          "0"
 *   gcorn.request_id       16 hex digits, or the id that a trusted proxy gave
 *   gcorn.status           in gcorn_on_post_request: the status of the answer
 *   gcorn.bytes_sent       likewise: the bytes of its body
 *   gcorn.ended            likewise: why it ended early, "client gone" for one; absent otherwise
 */
const char *gcorn_get(struct gcorn_environ *env, const char *key);

/* Sets a variable for inner applications to a copy of value; NULL removes it. The server itself
 * goes on with what the client sent: the method, the framing, the access log. */
void gcorn_set(struct gcorn_environ *env, const char *key, const char *value);

/* Pointers to objects of the application, such as a session or a parsed route. The server neither
 * copies nor frees them. NULL when absent. Give keys a prefix of your own. */
void *gcorn_get_ptr(struct gcorn_environ *env, const char *key);
void gcorn_set_ptr(struct gcorn_environ *env, const char *key, void *value);

/* The key and, in *value, the value of variable number i, from 0 on; NULL after the last one.
 * gcorn_set may change their order. */
const char *gcorn_variable_at(struct gcorn_environ *env, size_t i, const char **value);

/* Field number i of the request's head, from 0 on, as it was received: in the order in which the
 * fields came, repeated ones apart, also those that no variable has, such as names with '_'.
 * Returns its name; NULL after the last one. Neither name nor value ends with a NUL: their lengths
 * are in *name_len and *value_len. Both stay valid until the request is over. */
const char *gcorn_field_at(struct gcorn_environ *env, size_t i, size_t *name_len,
                           const char **value, size_t *value_len);

/* The values of a parameter in QUERY_STRING, percent-decoded, '+' as space. gcorn_query returns the
 * first one, or NULL when it is absent or malformed. gcorn_query_value stores value number i, from
 * 0 on, of those that the parameter has, and returns 1; 0 when there are no more; -1 with EINVAL
 * when that value is malformed: a '%' without two hex digits, or %00. With 0 and -1 *value is
 * NULL. */
const char *gcorn_query(struct gcorn_environ *env, const char *name);
int gcorn_query_value(struct gcorn_environ *env, const char *name, size_t i, const char **value);

/* The body of the request (wsgi.input). It is complete before the handler is called, in memory or
 * in an unlinked file, unless gcorn_stream_body has asked for it as it comes; in either case
 * neither function waits for the client. gcorn_input_read copies the next bytes and returns how
 * many, 0 at the end, or -1 with errno. gcorn_input_all returns the whole body, followed by a NUL,
 * "" for a request without body; it does not change where gcorn_input_read reads. A body in a file
 * is mapped; NULL with errno when that fails. len may be NULL. */
ssize_t gcorn_input_read(struct gcorn_environ *env, void *buf, size_t size);
const char *gcorn_input_all(struct gcorn_environ *env, size_t *len);

/* Trailer field number i, from 0 on, which the client has sent after a chunked body: as
 * gcorn_field_at, once the body has ended; NULL before. They are no variables and no fields of the
 * head, because a client adds them after every check: trust none for what it says of the request.
 * A trailer that would frame, route, authenticate or modify the request, or say how its body is to
 * be read, is refused with 400 (RFC 9110 6.5.1). */
const char *gcorn_trailer_at(struct gcorn_environ *env, size_t i, size_t *name_len,
                             const char **value, size_t *value_len);

/* ---- before the body ------------------------------------------------------------------------ */

/* gcorn_on_head is a hook that an application may define; the server finds it by name. It is called
 * once for each request, before the handler: as soon as the head has come, before any byte of a
 * body is looked at, so that an upload can be refused before it is sent. It has the environ, the
 * arena and the thread rules of the handler; no byte of the body can be read in it (EINVAL). It
 * runs outside all middleware: start_response is the server's, no layer sees its answer, and what a
 * layer would check before the handler (who may upload) the hook checks itself.
 *
 * NULL: the request goes on, and the handler is called when the whole body is there; without a
 * body, at once. A body is the answer, as from a handler, which is then not called. If the rest of
 * the request's body is more than 64 KiB, of unknown length, or withheld by a client that expects
 * "100 Continue" first, the connection closes with the answer; a shorter rest is dropped. 100
 * Continue is sent when the hook has let the request go on.
 *
 * The order is gcorn_on_pre_request, gcorn_on_head, handler, close of the body,
 * gcorn_on_post_request, which comes also when gcorn_on_head has answered, or when the body then
 * does not come, or is refused. */
struct gcorn_body *gcorn_on_head(struct gcorn_environ *env,
                                 struct gcorn_start_response *start_response);

/* In gcorn_on_head: the body of this request may have that many bytes, in place of
 * limit_request_body; -1: any number. One that is longer is answered 413, before it is read where
 * its length is announced. 0, or -1 with EINVAL: not in gcorn_on_head, or bytes below -1. */
int gcorn_limit_body(struct gcorn_environ *env, int64_t bytes);

/* In gcorn_on_head: this application reads the body as it comes, so an upload of any length costs
 * 64 KiB. The handler is called with the head alone, right after gcorn_on_head. 0, or -1 with
 * EINVAL: not in gcorn_on_head.
 *
 * gcorn_input_read then returns GCORN_AGAIN where nothing has come yet. The handler may read, but
 * mostly next does: after it has returned GCORN_AGAIN it is called again when more has come, at the
 * end of the body, and for all the reasons that gcorn_body_iter has. 100 Continue is sent when a
 * read first finds nothing. CONTENT_LENGTH is there only if the client gave it; gcorn_input_all is
 * refused (EINVAL).
 *
 * At most 64 KiB are read ahead of the application; then the client has to wait, and so do its
 * timeouts. A body that is malformed, too long, late or cut short is answered by the server (400,
 * 413, 408) while the answer has not begun: bodies are closed, as when a client leaves. An answer
 * that has begun is cut where the client can see it. close and deferred functions learn why from
 * gcorn_input_read: -1 with EBADMSG (malformed, or the client has closed its side before the end),
 * EMSGSIZE, ETIMEDOUT, or ECONNRESET when the client has left otherwise.
 *
 * An answer may begin before the body has ended; what gcorn_on_head says about the connection holds
 * at that moment. next is called only as the socket drains: an application that answers more than
 * sockets hold before it has read all, to a client that sends all before it reads, stops until
 * write_timeout ends it. */
int gcorn_stream_body(struct gcorn_environ *env);

/* ---- memory and log -------------------------------------------------------------------------- */

/* Memory that is freed when the request is over: size zeroed bytes, aligned for any type; a
 * formatted string. Never NULL. An endless stream must not allocate for each event. */
void *gcorn_alloc(struct gcorn_environ *env, size_t size);
char *gcorn_printf(struct gcorn_environ *env, const char *fmt, ...) GCORN_PRINTF(2, 3);

/* Has fn(arg) called when the request is over, after its body is closed; the last one deferred runs
 * first. That is when the answer has been sent, as slowly as its client reads it, and in a gthread
 * worker perhaps on another thread, which must be free first. So it is for what belongs to the
 * answer, such as memory. A lock that is deferred stops the other requests, or all of them: release
 * it, and end a transaction, before the handler returns. */
void gcorn_defer(struct gcorn_environ *env, void (*fn)(void *arg), void *arg);

/* Writes a line to the error log, with the worker's pid and the request's id (wsgi.errors). env
 * NULL: outside a request, from any thread. A newline at the end is optional; other control
 * characters are escaped, as \x0a. errno is kept. */
enum gcorn_level { GCORN_DEBUG, GCORN_INFO, GCORN_WARNING, GCORN_ERROR, GCORN_CRITICAL };
void gcorn_log(struct gcorn_environ *env, enum gcorn_level level, const char *fmt, ...)
    GCORN_PRINTF(3, 4);

/* ---- metrics --------------------------------------------------------------------------------- */

/* Metrics of the application in /metrics (setting admin_bind), as Prometheus defines them: a
 * counter only grows; a gauge goes up and down; a histogram counts observations by size. Each
 * worker has its own, and /metrics shows their sum; counters and histograms outlive their worker. A
 * gauge may show another value than the sum over the workers that run: the greatest
 * (GCORN_GAUGE_MAX), or the one that was set last, by whichever worker, also by one that has ended
 * (GCORN_GAUGE_LAST). For these a worker counts once it has set the gauge or added to it.
 *
 * Make them once, in gcorn_on_worker_init or before. name is as Prometheus writes it, with or
 * without labels: "orders_total{kind=\"book\"}"; the label le of a histogram is the server's. Names
 * of one family, which differ only in their labels, have the same type and help, and no name is
 * that of a histogram followed by _bucket, _sum or _count. The same name gives the same metric
 * again. bounds are the upper bounds of the buckets, ascending, at most 16; larger observations are
 * counted too. When new code has other bounds, the histogram starts from zero. A worker has at most
 * 1,024 metrics; names that differ in a label are several.
 *
 * They live as long as the worker. NULL with errno: EINVAL (name, bounds, kind, or a metric of
 * another type has the name), ENOSPC (1,024 metrics), ENOTSUP (a child that the application has
 * forked). The functions below ignore NULL, so the result may go unchecked. */
struct gcorn_metric;
struct gcorn_metric *gcorn_counter(const char *name, const char *help);
enum gcorn_gauge_kind { GCORN_GAUGE_SUM, GCORN_GAUGE_MAX, GCORN_GAUGE_LAST };
struct gcorn_metric *gcorn_gauge(const char *name, const char *help, enum gcorn_gauge_kind kind);
struct gcorn_metric *gcorn_histogram(const char *name, const char *help, const double *bounds,
                                     size_t count);

/* add is for counters, which ignore negative amounts, and gauges; set for gauges; observe for
 * histograms. On a metric of another type they do nothing. Infinite and NaN amounts and
 * observations are ignored, because a sum does not recover from them; a gauge may be set to one.
 * Any thread; they do not block. */
void gcorn_metric_add(struct gcorn_metric *metric, double amount);
void gcorn_metric_set(struct gcorn_metric *metric, double value);
void gcorn_metric_observe(struct gcorn_metric *metric, double value);

/* ---- workers together ------------------------------------------------------------------------ */

/* Publishes a message of len bytes: the functions that have subscribed to the channel get a copy,
 * in all workers of this server, this one included. They are called later, on the loops of their
 * workers, never from within gcorn_publish. Messages of one worker come in the order in which it
 * published them, those of several workers in any order. A channel is a text of 1 to 64 bytes; it
 * needs no declaration. Nothing is kept for a worker that starts later. The workers of a reload's
 * two generations reach each other, and so do those of an upgrade's two servers, unless the new one
 * has another publish_buffer or room for another number of workers.
 *
 * It never waits: each worker has a buffer of the setting publish_buffer, in which the oldest
 * messages are overwritten, and a subscriber that is too slow is told what it has missed. Any
 * thread. Returns 0, also when no function has subscribed; or -1 with errno. EINVAL: no such
 * channel; EMSGSIZE: the message does not fit into publish_buffer; ENOTSUP: there is no worker
 * (constructors, with preload_app; a child that the application has forked), or publish_buffer is
 * 0; ENOMEM, ENOSPC and others: the buffer cannot be had. */
int gcorn_publish(const char *channel, const void *data, size_t len);

/* Has fn(channel, data, len, arg) called for each message that is published on the channel from now
 * on, and perhaps for some that were published shortly before. data is followed by a NUL, aligned
 * for any type, and valid until fn returns. data NULL: this worker was too slow, and up to len
 * messages are lost, of this channel or others: read again what they stand for.
 *
 * fn is called on the loop's thread, and must not block: it does with the message what it has to,
 * and wakes requests (gcorn_wake). It counts as a call: after `timeout` the worker is killed, and
 * its log shows PUBLISH and the channel. In a gthread worker it runs at the same time as handlers,
 * so what they share needs a lock. fn may publish, subscribe and unsubscribe. A worker that drains
 * still gets messages.
 *
 * A worker has at most 1,024 subscriptions; the same function may have several, also to one
 * channel. To be called in gcorn_on_worker_init or later, on any thread. NULL with errno: those of
 * gcorn_publish; ENOSPC also when there are 1,024. */
struct gcorn_subscription;
typedef void gcorn_message_fn(const char *channel, const void *data, size_t len, void *arg);
struct gcorn_subscription *gcorn_subscribe(const char *channel, gcorn_message_fn *fn, void *arg);

/* Ends a subscription: fn is not called any more when this returns, so arg may be freed. It may be
 * called from within fn. On another thread than the loop's it waits for a call of fn that runs, so
 * hold no lock that fn takes. NULL is ignored. */
void gcorn_unsubscribe(struct gcorn_subscription *subscription);

/* Memory that all workers of the server share: the same bytes for the same name, with a layout that
 * is the application's. It is zeroed at first and aligned to 64 bytes; *fresh (fresh may be NULL)
 * tells whether this call has made it. It lives as long as the server, over reloads and upgrades,
 * and is never freed: use few names, and another name for another layout. Workers may have it at
 * different addresses, so it holds no pointers. Workers use it at the same time, and one may be
 * killed at any point: use atomic operations, and expect half of a change. A child that the
 * application forks keeps what its worker has.
 *
 * name is 1 to 64 bytes; all names together have the setting shared_memory. Any thread; may wait
 * for another worker that is in this function. NULL with errno. EINVAL: the name, or size 0, or the
 * memory has another size; ENOSPC: shared_memory is used up, or there are 256 names; ENOTSUP: there
 * is no worker, or shared_memory is 0. */
void *gcorn_shared(const char *name, size_t size, bool *fresh);

/* ---- the worker ------------------------------------------------------------------------------ */

/* A worker is a process, so static variables are the state of one worker. gcorn_worker_number
 * returns its number, 0 to workers - 1, which the worker that replaces it takes over. gcorn_loop
 * returns its libev loop (include <ev.h>, link -lev), which may be used on the loop's thread only:
 * in gcorn_on_worker_init, in callbacks of watchers and in handlers of a sync worker. Other threads
 * may call ev_async_send. Timers and descriptors may be watched, signals and children may not.
 * Callbacks must not block. */
unsigned gcorn_worker_number(void);
struct ev_loop *gcorn_loop(void);

/* How many requests of this worker may run at the same time: the setting threads, 1 in a sync
 * worker. An application that is not thread-safe refuses more than 1 in gcorn_on_worker_init. Also
 * with 1 a gthread worker runs requests on another thread than the loop's (wsgi.multithread is
 * "1"). */
unsigned gcorn_threads(void);

/* Is the worker stopping? Then end streams (next returns 0) and fail health checks. */
bool gcorn_draining(void);

/* Hooks, which an application may define; the server finds them by name. gcorn_on_load runs once in
 * the process that loads the application, after its constructors: with the setting preload_app in
 * the template, which has no worker, else in each worker. It does not run for --check-config. When
 * it returns -1 the application does not start, so let it log why. gcorn_on_worker_init runs before
 * the first request; when it returns -1 the worker does not boot, so let it log why.
 * gcorn_on_worker_exit runs after the last request and has the rest of graceful_timeout; it does
 * not run in a worker that is killed. gcorn_on_worker_abort runs in a signal handler shortly before
 * the worker is killed, so it may call async-signal-safe functions only. gcorn_on_pre_request runs
 * before the handler, gcorn_on_post_request after the body is closed, when gcorn.status and
 * gcorn.bytes_sent can be read; both on the thread of the handler. */
int gcorn_on_load(void);
int gcorn_on_worker_init(void);
void gcorn_on_worker_exit(void);
void gcorn_on_worker_abort(void);
void gcorn_on_pre_request(struct gcorn_environ *env);
void gcorn_on_post_request(struct gcorn_environ *env);

/* Hooks for a runtime that the application brings, such as an interpreter. gcorn_on_fork runs each
 * time the template of preload_app forks a worker: in the template before it and after it, also
 * when the fork has failed, and in the new worker before any other code of the application but what
 * pthread_atfork has registered. All locks that BEFORE takes are there in the worker, too.
 * gcorn_on_thread_start runs on each thread of a gthread worker before its first call, and before
 * the worker is ready; gcorn_on_thread_end on the same thread when it ends, before
 * gcorn_on_worker_exit. number is 0 to gcorn_threads() - 1. A sync worker has no such threads. Both
 * count as calls (timeout).
 *
 * gcorn_on_call_late runs when a call has lasted longer than timeout, and its extensions: in a
 * signal handler on the thread of that call, so it may call async-signal-safe functions only, and
 * must return. It runs once for a call, and can have it end: by a variable that the call looks at,
 * and because the system call that it waits in fails with EINTR. A call that has not ended two
 * seconds later ends its worker, as it would at once without this hook. The signal is SIGRTMIN + 5:
 * an application with this hook leaves it alone. The call may end while the hook runs, so what it
 * leaves behind must not reach the next call. */
enum gcorn_fork { GCORN_FORK_BEFORE, GCORN_FORK_PARENT, GCORN_FORK_CHILD };
void gcorn_on_fork(enum gcorn_fork when);
void gcorn_on_thread_start(unsigned number);
void gcorn_on_thread_end(unsigned number);
void gcorn_on_call_late(void);

/* ---- ABI ------------------------------------------------------------------------------------- */

/* Every object refers to the ABI it was compiled for. A server with another ABI lacks that symbol,
 * so dlopen refuses the application, or a library that it brings, before any of its code runs. */
#if defined(__has_attribute)
#if __has_attribute(retain)
#define GCORN_KEEP __attribute__((used, retain))
#endif
#endif
#ifndef GCORN_KEEP
#define GCORN_KEEP __attribute__((used))
#endif
extern const char gcorn_abi_2;
#pragma GCC visibility pop
static const char *const gcorn_abi_wanted GCORN_KEEP = &gcorn_abi_2;

#ifdef __cplusplus
}
#endif
#endif
