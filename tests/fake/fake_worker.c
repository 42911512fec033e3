/* SPDX-License-Identifier: MIT
 *
 * See fake_worker.h.
 */
#include "fake_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/address.h"
#include "base/log.h"
#include "base/util.h"
#include "worker/accept/accept.h"
#include "worker/call/call_inline.h"
#include "worker/commands.h"
#include "worker/conn/stream.h"
#include "worker/conn/conn.h"
#include "worker/conn/admission.h"

enum { FILE_LEN = 300000, LONG_LEN = 40000, HUGE_LEN = 1200000, PASSES_MAX = 200, SLOW_MS = 20 };

struct fake_app fake_app;

static struct {
    struct worker_args args;
    struct slot slot;
    struct shared_hints hints;
    struct channel channel;
    struct worker *worker;
    int file_fd, cut_fd;
    char *bytes;
    bool has_order;
    struct stream *waiting; /* for the end of its call */
    struct stream *pushed;  /* by the call that is being run later, and not sent yet */
} self = {.file_fd = -1, .cut_fd = -1};

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "wrong: %s\n", what);
    abort();
}

/* ---- the application --------------------------------------------------------------------- */

static void take_ticket(struct gcorn_environ *env)
{
    fake_app.tickets[fake_app.ticket_count++ % FAKE_TICKETS] = gcorn_ticket(env);
}

static ssize_t piece(const void **chunk, size_t len)
{
    *chunk = self.bytes;
    return (ssize_t)len;
}

static void send_hint(struct gcorn_environ *env)
{
    static const struct gcorn_header fields[] = {{"Link", "</style.css>; rel=preload; as=style"},
                                                 {NULL, NULL}};

    (void)gcorn_interim(env, "103 Early Hints", fields);
}

struct letters {
    const char *at;
    uint64_t read; /* of the request's body */
    bool is_slow;
};

/* The end of a body that was read as it came. */
static void check_read(struct gcorn_environ *env, const struct letters *l)
{
    const char *announced = gcorn_get(env, "CONTENT_LENGTH");

    require(!announced || strtoull(announced, NULL, 10) == l->read, "a body is not read whole");
}

/* Reads once (`o`), or to the end; a slow one returns each time. */
static ssize_t read_input(struct gcorn_environ *env, struct letters *l, const void **chunk,
                          bool once)
{
    static char bytes[1000];
    ssize_t n;

    do {
        n = gcorn_input_read(env, bytes, once ? 100 : sizeof(bytes));
        l->read += n > 0 ? (uint64_t)n : 0;
    } while (n > 0 && !once && !l->is_slow);
    if (n == 0)
        check_read(env, l);
    if (n == GCORN_AGAIN || n == -1) {
        l->at -= n == GCORN_AGAIN && !once;
        return n;
    }
    l->at -= n > 0 && !once;
    return piece(chunk, 5);
}

static ssize_t next_letter(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct letters *l = state;

    fake_app.asked++;
    switch (*l->at ? *l->at++ : '\0') {
    case 'r': return read_input(env, l, chunk, false);
    case 'R': gcorn_wake_at(env, gcorn_now() + 50); return read_input(env, l, chunk, false);
    case 'o': return read_input(env, l, chunk, true);
    case 'O': l->is_slow = true; return piece(chunk, 5);
    case 'p': return piece(chunk, 5);
    case 'l': return piece(chunk, LONG_LEN);
    case 'h': return piece(chunk, HUGE_LEN);
    case 'a': take_ticket(env); return GCORN_AGAIN;
    case 'w': gcorn_wake_at(env, gcorn_now() + 50); return GCORN_AGAIN;
    case 'W': gcorn_wake_at(env, gcorn_now() + 50); return piece(chunk, 5);
    case 'e': gcorn_extend_deadline(env, 60000); return piece(chunk, 5);
    case 'k': gcorn_wake(gcorn_ticket(env)); return GCORN_AGAIN;
    case 's': fake_loop_advance_ns(SLOW_MS * UINT64_C(1000000)); return piece(chunk, 5);
    case 'g': return piece(chunk, gcorn_client_gone(env) ? 4 : 5);
    case 'd': fake_order(self.worker, DOWN_RETIRE, 0); return piece(chunk, 5);
    case 't': (void)gcorn_trailer(env, "X-T", "1"); return next_letter(env, state, chunk);
    case 'i': send_hint(env); return next_letter(env, state, chunk);
    case 'x': return -1;
    default: return 0;
    }
}

static void close_letters(struct gcorn_environ *env, void *state)
{
    char bytes[1000];
    ssize_t n;

    (void)state;
    while ((n = gcorn_input_read(env, bytes, sizeof(bytes))) > 0)
        continue;
    if (n == -1)
        fake_app.close_errno = errno;
    fake_app.closed++;
}

static struct gcorn_body *letters_body(struct gcorn_environ *env, const char *letters)
{
    struct letters *state = gcorn_alloc(env, sizeof(*state));

    state->at = gcorn_printf(env, "%s", letters);
    fake_app.opened++;
    return gcorn_body_iter(env, next_letter, close_letters, state);
}

static int new_file(void)
{
    int fd = memfd_create("fake", MFD_CLOEXEC);

    for (size_t at = 0; at < FILE_LEN; at += LONG_LEN)
        (void)!write(fd, self.bytes, at + LONG_LEN < FILE_LEN ? LONG_LEN : FILE_LEN - at);
    return fd;
}

static struct gcorn_body *file_body(struct gcorn_environ *env, bool is_cut)
{
    if (self.file_fd < 0)
        self.file_fd = new_file();
    if (!is_cut)
        return gcorn_body_file(env, fcntl(self.file_fd, F_DUPFD_CLOEXEC, 3), 0, -1);
    fd_close(&self.cut_fd);
    self.cut_fd = new_file();
    return gcorn_body_file(env, fcntl(self.cut_fd, F_DUPFD_CLOEXEC, 3), 0, -1);
}

void fake_truncate_file(void)
{
    if (self.cut_fd >= 0)
        (void)!ftruncate(self.cut_fd, 1000);
}

static struct gcorn_body *echo_body(struct gcorn_environ *env)
{
    size_t len;
    const char *input = gcorn_input_all(env, &len);
    struct gcorn_body *body = gcorn_body_buffer(env);

    (void)gcorn_buffer_write(body, input, len);
    return body;
}

static void count_deferred(void *arg)
{
    (void)arg;
    fake_app.run++;
}

/* The handler goes on after a failure, as one does that looks at no result. */
static void push(struct gcorn_environ *env, const void *data, size_t len)
{
    fake_app.pushed++;
    errno = 0;
    if (gcorn_send(env, data, len) == 0)
        return;
    fake_app.refused++;
    if (errno != ECONNRESET && errno != ESHUTDOWN && errno != EINVAL)
        abort();
}

static void push_letter(struct gcorn_environ *env, char letter)
{
    switch (letter) {
    case 'p': push(env, self.bytes, 5); break;
    case 'l': push(env, self.bytes, LONG_LEN); break;
    case 'h': push(env, self.bytes, HUGE_LEN); break;
    case '0': push(env, NULL, 0); break;
    case 'N': push(env, NULL, 5); break;
    case 's': fake_loop_advance_ns(SLOW_MS * UINT64_C(1000000)); break;
    case 'd': fake_order(self.worker, DOWN_RETIRE, 0); break;
    case 'S': fake_order(self.worker, DOWN_STOP, 0); break;
    case 'e': gcorn_extend_deadline(env, 60000); break;
    case 'k': gcorn_wake(gcorn_ticket(env)); break;
    case 'a': take_ticket(env); break;
    default: break;
    }
}

static struct gcorn_body *push_letters(struct gcorn_environ *env, const char *letters)
{
    char last = '\0';

    for (; *letters != '\0'; letters++)
        push_letter(env, last = *letters);
    switch (last) {
    case 't': return gcorn_body_text(env, "hello");
    case 'i': return letters_body(env, "pap");
    case 'r': return letters_body(env, "r");
    case 'f': return file_body(env, false);
    case 'x': return NULL;
    default: return gcorn_body_text(env, "");
    }
}

static const struct gcorn_header *answer_fields(struct gcorn_environ *env)
{
    const char *n = gcorn_query(env, "n");
    struct gcorn_header_list *fields = gcorn_header_list_new(env, NULL);

    gcorn_header_append(fields, "X-N", n ? n : "0");
    if (strcmp(gcorn_get(env, "REQUEST_METHOD"), "HEAD") == 0)
        gcorn_header_append(fields, "X-Head", "1");
    if (strncmp(gcorn_get(env, "PATH_INFO"), "/P", 2) == 0)
        gcorn_header_append(fields, "Content-Length", "45");
    return gcorn_header_array(fields);
}

static struct gcorn_body *deny(struct gcorn_environ *env, struct gcorn_start_response *start,
                               bool waits)
{
    (void)gcorn_start(start, "401 Unauthorized", answer_fields(env));
    return waits ? letters_body(env, "pawp") : gcorn_body_text(env, "denied");
}

static struct gcorn_body *on_head(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    const char *path = gcorn_get(env, "PATH_INFO");

    fake_app.heads++;
    if (strncmp(path, "/u", 2) == 0 || strncmp(path, "/w", 2) == 0)
        (void)gcorn_stream_body(env);
    for (const char *p = strncmp(path, "/a/", 3) == 0 ? path + 3 : ""; *p != '\0'; p++) {
        if (*p == 'd' || *p == 'w')
            return deny(env, start, *p == 'w');
        if (*p == 'l' || *p == 'u')
            (void)gcorn_limit_body(env, *p == 'l' ? 4 : -1);
    }
    return NULL;
}

static struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    const char *path = gcorn_get(env, "PATH_INFO");

    gcorn_defer(env, count_deferred, NULL);
    fake_app.deferred++;
    if (path[0] == '/' && path[1] == 'h')
        send_hint(env);
    (void)gcorn_start(start, "200 OK", answer_fields(env));
    switch (path[0] == '/' ? path[1] : '\0') {
    case 'u': return letters_body(env, strlen(path) > 3 ? path + 3 : "");
    case 'a': return echo_body(env);
    case 'd': fake_order(self.worker, DOWN_RETIRE, 0);           /* fall through */
    case 's': fake_loop_advance_ns(SLOW_MS * UINT64_C(1000000)); /* fall through */
    case 'h':                                                    /* fall through */
    case 'i': return letters_body(env, strlen(path) > 3 ? path + 3 : "");
    case 'p':
    case 'P':
    case 'w': return push_letters(env, strlen(path) > 3 ? path + 3 : "");
    case 'f': return file_body(env, false);
    case 't': return file_body(env, true);
    case 'b': return gcorn_body_borrow(env, self.bytes, FILE_LEN);
    case 'e': return echo_body(env);
    case 'n': return NULL;
    default: return gcorn_body_text(env, "hello");
    }
}

static void on_pre(struct gcorn_environ *env)
{
    (void)env;
    fake_app.begun++;
}

static void on_post(struct gcorn_environ *env)
{
    (void)env;
    fake_app.ended++;
}

/* ---- the worker -------------------------------------------------------------------------- */

static int ready(int fd, int wanted)
{
    if (fd != self.channel.down_worker)
        return fake_wire_ready(fd, wanted);
    bool had_order = self.has_order;

    self.has_order = false;
    return had_order ? EV_READ : 0;
}

struct worker *fake_worker_new(const struct config *config)
{
    log_set_level(LOG_LEVEL_CRITICAL);
    if (channel_open(&self.channel) < 0)
        abort();
    self.bytes = xcalloc(1, HUGE_LEN);
    memset(self.bytes, 'b', HUGE_LEN);
    fake_app = (struct fake_app){0};
    self.args = (struct worker_args){.role = "worker",
                                     .config = config,
                                     .channel = self.channel,
                                     .slot = &self.slot,
                                     .hints = &self.hints,
                                     .access_fd = -1,
                                     .symbol = "handler"};
    fake_loop_ask(ready);
    struct worker *w = self.worker = worker_new_alone(&self.args);
    w->app = (struct app){.handler = handler,
                          .on_head = on_head,
                          .on_pre_request = on_pre,
                          .on_post_request = on_post};
    w->http.limits.holds_body = true;
    clock_init(w);
    pools_init(w);
    accept_init(w);
    commands_init(w);
    wake_init(w);
    run_queue_init(w);
    commands_start(w);
    ev_async_start(w->loop, &w->waker.turn);
    ev_check_start(w->loop, &w->pass_begin);
    accept_update(w);
    fake_worker_reset(w);
    return w;
}

void fake_worker_free(struct worker *w)
{
    for (size_t i = 0; i < w->spare_count; i++) {
        environ_release(w->spare[i]);
        free(w->spare[i]);
    }
    fake_loop_free(w->loop);
    forwarded_rules_release(&w->http.forwarded);
    networks_release(&w->peers.proxies);
    (void)munmap(w->conns, w->max_conns * sizeof(*w->conns));
    (void)munmap(w->exchanges, w->max_conns * sizeof(*w->exchanges));
    buffer_pool_release(&w->bodies);
    strbuf_release(&w->out);
    free(w->acceptors);
    free(w->callback_names);
    free(w->app_timers);
    free(w->app_threads);
    free(w->posts);
    free(w->in);
    free(w);
    worker_set_this(NULL);
    channel_close(&self.channel);
    free(self.bytes);
    fd_close(&self.file_fd);
    fd_close(&self.cut_fd);
    fake_wire_release();
}

/* ---- the script -------------------------------------------------------------------------- */

struct conn *fake_conn(struct worker *w, unsigned i)
{
    for (size_t at = 0; at < w->table_used; at++) {
        struct conn *c = &w->conns[at];

        if (c->state != CONN_FREE && fake_client_of(c->wire.fd) == &fake_clients[i])
            return c;
    }
    return NULL;
}

struct conn *fake_connect(struct worker *w, unsigned i)
{
    static const struct http_local local = {"127.0.0.1", "80", "http"};
    static const struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = 0x3930};

    worker_look_at_clock(w);
    if (w->draining || (w->open_conns >= w->max_conns && !admission_make_room(w, w->max_conns - 1)))
        return NULL;
    conn_open(w, fake_wire_open(i), &local, &address);
    return fake_conn(w, i);
}

static bool is_anything_ready(const struct worker *w)
{
    if (self.has_order || w->queue || ev_async_pending(&w->waker.turn) || w->waker.due ||
        fake_loop_next_ms(w->loop) == 0)
        return true;
    for (size_t i = 0; i < w->table_used; i++) {
        const struct conn *c = &w->conns[i];

        if (ev_is_pending(&c->io) ||
            (ev_is_active(&c->io) && fake_wire_ready(c->io.fd, c->io.events) != 0))
            return true;
    }
    return false;
}

void fake_turn(struct worker *w)
{
    for (int i = 0; i < PASSES_MAX && is_anything_ready(w); i++)
        fake_loop_pass(w->loop);
}

void fake_wait_ms(struct worker *w, uint64_t ms)
{
    uint64_t until_ms = fake_loop_now_ms() + ms, left;

    fake_turn(w);
    while ((left = until_ms - fake_loop_now_ms()) > 0 && left <= ms) {
        uint64_t next = fake_loop_next_ms(w->loop);

        fake_loop_advance_ns((next > 0 && next < left ? next
                              : next == 0             ? 1
                                                      : left) *
                             UINT64_C(1000000));
        fake_turn(w);
    }
}

void fake_order(struct worker *w, enum down_type type, uint32_t ms)
{
    const struct down_message m = {.type = type, .ms = ms, .fds = {-1, -1}};
    struct up_message heard;

    (void)w;
    while (channel_recv_up(self.channel.up_read, &heard) > 0)
        continue;
    self.has_order = channel_send_down(self.channel.down_master, &m) == 0;
}

/* ---- calls that end later ---------------------------------------------------------------- */

static enum called later(struct worker *w, struct stream *s, enum call_kind kind)
{
    struct stream **end = &self.waiting;

    stream_lend(s);
    s->x->call = (struct call){.kind = kind, .handed_ns = w->now_ns};
    while (*end)
        end = &(*end)->next;
    s->next = NULL;
    *end = s;
    return CALL_LATER;
}

static void fake_send_pushed(struct worker *w)
{
    struct stream *s = self.pushed;

    self.pushed = NULL;
    worker_look_at_clock(w);
    if (s && s->phase == STREAM_CALLING)
        stream_send_pushed(s);
}

static enum called later_start(struct worker *w, struct stream *s)
{
    (void)w;
    (void)s;
    return CALL_LATER;
}

static enum called later_next(struct worker *w, struct stream *s)
{
    const struct gcorn_body *body = s->env->response.body;

    if (!body || body_runs_app(body))
        return later(w, s,
                     body                                    ? CALL_NEXT
                     : s->env->request.state == REQUEST_HELD ? CALL_HEAD
                                                             : CALL_HANDLER);
    call_make_piece(w, s);
    return CALL_DONE;
}

static enum called later_end(struct worker *w, struct stream *s)
{
    if (!call_end_runs_app(w, s->env))
        return call_inline_end(w, s);
    call_count_run(w, s->env);
    return later(w, s, CALL_END);
}

static void later_interim(struct worker *w, struct stream *s)
{
    struct strbuf text = {0};

    (void)w;
    framing_h1_interims(s->env, &text);
    send_handed(s, text.data, text.len);
    strbuf_release(&text);
}

/* The loop comes to it at once, or not before the next push. */
static void later_send(struct worker *w, struct stream *s)
{
    bool was_pushed = self.pushed != NULL;

    self.pushed = s;
    if (was_pushed)
        fake_send_pushed(w);
}

/* Time goes on, and the client may take more. */
static bool later_wait_taken(struct worker *w, struct stream *s)
{
    struct fake_client *c = fake_client_of(conn_of(s)->wire.fd);

    c->window += c->wait_window;
    fake_send_pushed(w);
    fake_wait_ms(w, c->wait_window > 0 ? 1 : 200);
    return true;
}

static bool later_is_busy(const struct worker *w)
{
    (void)w;
    return false;
}

static void later_stop(struct worker *w)
{
    (void)w;
}

static unsigned later_thread_count(const struct worker *w)
{
    (void)w;
    return 1;
}

static pid_t later_thread_id(const struct worker *w, unsigned i)
{
    (void)w;
    (void)i;
    return 0;
}

static const struct stream *later_serving(const struct worker *w, unsigned i)
{
    (void)w;
    (void)i;
    return NULL;
}

void fake_call_later(struct worker *w, bool is_later)
{
    static const struct call_ops ops = {.start = later_start,
                                        .next = later_next,
                                        .end = later_end,
                                        .interim = later_interim,
                                        .send = later_send,
                                        .wait_taken = later_wait_taken,
                                        .is_busy = later_is_busy,
                                        .stop = later_stop,
                                        .thread_count = later_thread_count,
                                        .thread_id = later_thread_id,
                                        .serving = later_serving};

    if (w->open_conns > 0)
        abort();
    w->calls = is_later ? &ops : NULL;
}

static void run_call(struct worker *w, struct stream *s)
{
    struct exchange *x = s->x;

    switch (x->call.kind) {
    case CALL_HEAD:
    case CALL_HANDLER: call_handler(w, s->env); break;
    case CALL_NEXT: x->more = framing_h1_next(s->env, &x->out, &x->piece, &x->piece_len); break;
    case CALL_END: call_end_environ(w, s->env); break;
    }
}

bool fake_finish_call(struct worker *w)
{
    struct stream *s = self.waiting;

    if (!s)
        return false;
    self.waiting = s->next;
    worker_look_at_clock(w);
    s->x->call.taken_ns = w->now_ns;
    if (s->x->call.kind <= CALL_HANDLER)
        s->x->call.refusal = call_refusal(s, (w->now_ns - s->x->arrived_ns) / 1000000);
    if (s->x->call.refusal == 0)
        run_call(w, s);
    fake_send_pushed(w);
    worker_look_at_clock(w);
    stream_called(s);
    return true;
}

/* ---- the end ----------------------------------------------------------------------------- */

static void require_free_conns(const struct worker *w)
{
    size_t free_count = 0;

    for (const struct stream *s = w->free_streams; s; s = s->next)
        free_count++;
    require(free_count == w->table_used, "a place in the table is neither free nor open");
    for (size_t i = 0; i < w->table_used; i++) {
        require(!ev_is_active(&w->conns[i].io), "a closed connection is watched");
        require(w->conns[i].timer.kind == TIMER_NONE, "a closed connection has a timer");
        require(!w->conns[i].h1.env && !w->conns[i].h1.x, "a closed connection has a request");
    }
    for (size_t i = 0; i < w->exchanges_used; i++)
        require(!w->exchanges[i].is_lent, "an exchange is still lent");
}

static void require_app_told(void)
{
    require(fake_app.begun == fake_app.ended, "on_post_request did not follow each request");
    require(fake_app.heads == fake_app.begun, "gcorn_on_head did not see each request once");
    require(fake_app.opened == fake_app.closed, "an iterator was not closed");
    require(fake_app.deferred == fake_app.run, "a deferred function was not run");
}

void fake_assert_idle(struct worker *w)
{
    require(w->open_conns == 0 && w->slot->connections_open == 0, "connections are open");
    require(w->waiting_count == 0 && w->slot->waiting == 0, "answers wait");
    require(!w->queue, "connections are queued");
    require(!self.waiting, "calls have not ended");
    require(!w->admission.oldest && !w->admission.newest, "a body is still coming");
    require(timers_next_ms(&w->timers) == UINT64_MAX, "a timer is set");
    require(buffer_pool_is_idle(&w->bodies), "a body that is gone has a buffer");
    require(w->pushed_bytes == 0, "pushed bytes are counted that are gone");
    require(w->uploads.used == 0, "tmp_upload_max counts a body that is gone");
    require(slot_in_flight(&w->slot->counts) == 0, "a request is in flight");
    require(w->slot->counts.begun == slot_requests(&w->slot->counts), "requests and ends differ");
    require_free_conns(w);
    require_app_told();
    for (unsigned i = 0; i < FAKE_CLIENTS; i++)
        require(!fake_clients[i].is_open, "a wire is not closed");
}

static void reset_time(struct worker *w)
{
    fake_loop_reset_time();
    w->now_ns = w->pass_ns = w->last_pass_ns = w->waited_ns = w->calls_ns = w->last_call_ns = 0;
    w->queue_ns = w->queue_asked_ns = w->accept_logged_ms = w->accept_failed_ns = 0;
    w->upload_logged_ms = w->admission.logged_ms = w->peers.refused_logged_ms = 0;
    w->may_have_queued = false;
    worker_look_at_clock(w);
}

void fake_worker_reset(struct worker *w)
{
    if (w->draining)
        require(worker_is_drained(w), "a worker without connections has not drained");
    ev_timer_stop(w->loop, &w->drain);
    ev_timer_stop(w->loop, &w->linger_over);
    w->draining = w->answers_close = w->quit_is_due = false;
    w->calls = NULL;
    memset(w->conns, 0, w->table_used * sizeof(*w->conns));
    memset(w->exchanges, 0, w->exchanges_used * sizeof(*w->exchanges));
    w->free_streams = NULL;
    w->free_exchanges = NULL;
    w->table_used = w->exchanges_used = w->peak_conns = 0;
    w->request_count = w->run_count = w->http.id_seed = 0;
    w->fair.last_serial = 0;
    self.hints = (struct shared_hints){0};
    slot_reset(&self.slot); /* not the whole of it, which is large */
    self.slot.call_count = 1;
    self.has_order = false;
    fake_app = (struct fake_app){0};
    reset_time(w);
    accept_update(w);
}
