/* SPDX-License-Identifier: MIT
 *
 * See farewell.h. Each connection has a step of its own on its way out, and all are looked at in
 * turn until every one is done or the moment is over.
 */
#include "worker/crash/farewell.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/ascii.h"
#include "base/log.h"
#include "base/util.h"
#include "worker/access_log_writer.h"
#include "worker/call/call.h"
#include "worker/loop/clock.h"
#include "worker/loop/state.h"
#include "worker/wire/last.h"

enum {
    LINGER_MS = 50,        /* for clients to take their answers and to send what is on its way */
    ROUND_NS = 500 * 1000, /* between two looks at all connections */
};

/* How far a connection is on its way out. */
enum farewell_step {
    STEP_DONE,
    STEP_FLUSH,  /* its last bytes are being sent */
    STEP_WATCH,  /* it has nothing; perhaps a request is on its way */
    STEP_LINGER, /* our side is closed: reads on, so that nothing is reset */
};

struct farewell {
    enum farewell_step step;
    bool is_turned_away; /* its request is told 503 */
    int status;          /* of the answer that they are */
    bool ends;           /* the connection, behind them */
    bool resets;         /* the connection, instead of ending it in an orderly way */
    const char *text[2]; /* behind what was unsent */
    size_t left[2];
};

/* Apart from the heap, which may be broken by the time that it is needed. */
static struct {
    struct worker *worker;
    struct slot *slot;
    struct conn *conns;
    size_t max_conns;
    struct farewell *farewells; /* one a connection; no memory until it is written */
    enum slot_ended ended;      /* what cut requests are counted as */
} self;

void farewell_init(struct worker *w)
{
    self.worker = w;
    self.slot = w->slot;
    self.conns = w->conns;
    self.max_conns = w->max_conns;
    self.farewells = mmap(NULL, w->max_conns * sizeof(*self.farewells), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (self.farewells == MAP_FAILED)
        fatal("cannot map a table of %zu connections: %s", w->max_conns, ascii_error(errno));
}

/* ---- one client -------------------------------------------------------------------------- */

#define PREPARED(status, text)                                                                     \
    "HTTP/1.1 " status "\r\nServer: gcorn\r\nConnection: close\r\nContent-Type: text/plain; "      \
    "charset=utf-8\r\n" text

static const struct prepared {
    int status;
    const char *head, *body;
} prepared[] = {
    {500, PREPARED("500 Internal Server Error", "Content-Length: 26\r\n\r\n"),
     "500 Internal Server Error\n"},
    /* no body: the request may be a HEAD that was not read */
    {503, PREPARED("503 Service Unavailable", "Retry-After: 0\r\nContent-Length: 0\r\n\r\n"), ""},
    {504, PREPARED("504 Gateway Timeout", "Content-Length: 20\r\n\r\n"), "504 Gateway Timeout\n"},
};

enum { PREPARED_500, PREPARED_503, PREPARED_504 };

static struct farewell *farewell_of(const struct conn *c)
{
    return &self.farewells[c - self.conns];
}

/* What it has in flight: nothing where it is idle. */
static struct exchange *exchange_of(const struct conn *c)
{
    static struct exchange nothing;

    return c->h1.x ? c->h1.x : &nothing;
}

static bool has_begun(const struct conn *c)
{
    return exchange_of(c)->answer != ANSWER_NOT_BEGUN;
}

static bool ends_by_close(const struct conn *c)
{
    return exchange_of(c)->answer == ANSWER_BY_CLOSE;
}

/* Adds an answer after the unsent bytes of earlier ones. */
static void add_prepared(struct conn *c, unsigned which)
{
    struct farewell *f = farewell_of(c);

    f->status = prepared[which].status;
    f->text[0] = prepared[which].head;
    f->text[1] = exchange_of(c)->is_head ? "" : prepared[which].body;
    f->left[0] = strlen(f->text[0]);
    f->left[1] = strlen(f->text[1]);
    f->ends = true;
    f->step = STEP_FLUSH;
}

/* Drops what was being put together of an answer that has not begun. */
static void take_back(struct conn *c)
{
    struct exchange *x = exchange_of(c);

    if (x->out.len > x->whole_len)
        x->out.len = x->whole_len;
    x->piece_len = 0;
}

/* Counts a request that ends here; one that has not been run has not been counted as begun either. */
static void count_end(const struct conn *c, int status, enum slot_ended ended)
{
    struct slot_counts *counts = &self.slot->counts;
    const struct exchange *x = exchange_of(c);
    uint64_t now = now_ns(), since = c->h1.runs || c->h1.env ? x->request_ns : x->arrived_ns;

    if (!c->h1.runs && !c->h1.was_asked)
        counts->begun++;
    slot_times_add(&counts->durations, c->h1.x && now > since ? (now - since) / 1000 : 0);
    slot_counts_end(counts, status, ended, 1);
}

/* A request that was not run, or whose answer waits for the application. */
static void turn_away(struct conn *c)
{
    if (c->h1.runs)
        take_back(c);
    add_prepared(c, PREPARED_503);
    count_end(c, 503, self.ended);
    farewell_of(c)->is_turned_away = true;
    self.slot->crash.others_answered++;
}

/* An answer that has begun and cannot go on. */
static void cut(struct conn *c)
{
    struct farewell *f = farewell_of(c);

    f->ends = true;
    f->resets = ends_by_close(c);
    f->step = STEP_FLUSH;
}

static void begin_crashed(struct conn *c, bool is_timeout)
{
    struct slot_crash *crash = &self.slot->crash;

    if (has_begun(c)) {
        cut(c);
        crash->client = ends_by_close(c) ? CRASH_CLIENT_RESET : CRASH_CLIENT_CUT;
        return;
    }
    take_back(c);
    add_prepared(c, is_timeout ? PREPARED_504 : PREPARED_500);
    count_end(c, farewell_of(c)->status, self.ended);
    crash->client = CRASH_CLIENT_LOST; /* until it is sent */
    crash->client_status = (uint32_t)farewell_of(c)->status;
}

static bool has_unsent(const struct conn *c)
{
    const struct exchange *x = exchange_of(c);

    return x->out_sent < x->out.len || x->piece_len > 0;
}

/* Its request is read, whole or in part, and was not run. One whose answer has ended, too, has its
 * environ for a moment. */
static bool has_unrun(const struct conn *c)
{
    if (c->h1.runs)
        return false;
    return exchange_of(c)->in.len > 0 || (c->h1.env && !stream_is_lent(&c->h1) && !has_begun(c));
}

static void begin_other(struct conn *c)
{
    const struct exchange *x = exchange_of(c);

    farewell_of(c)->step = STEP_WATCH;
    if (c->state == CONN_LINGER) {
        farewell_of(c)->step = STEP_LINGER;
    } else if (x->unwanted > 0 &&
               !c->h1.runs) { /* its last request is answered; what comes is none */
        farewell_of(c)->ends = true;
        farewell_of(c)->step = STEP_FLUSH;
    } else if (c->h1.runs && !has_begun(c)) {
        turn_away(c); /* it waits for the application */
    } else if (c->h1.runs && x->more) {
        cut(c);
        self.slot->crash.others_cut++;
    } else if (has_unrun(c)) {
        turn_away(c);
    } else if (has_unsent(c)) {
        farewell_of(c)->step = STEP_FLUSH;
    }
}

static void finish(struct conn *c, bool resets)
{
    wire_last_close(&c->wire, resets);
    farewell_of(c)->step = STEP_DONE;
}

/* Takes n bytes off the front of the four pieces that send_rest sends. */
static void mark_sent(struct conn *c, const struct iovec *iov, size_t n)
{
    struct farewell *f = farewell_of(c);
    size_t parts[4];

    self.slot->counts.bytes_out += n;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        parts[i] = n < iov[i].iov_len ? n : iov[i].iov_len;
        n -= parts[i];
    }
    if (c->h1.x)
        c->h1.x->out_sent += parts[0];
    if (c->h1.x && parts[1] > 0) { /* else there may be no piece */
        c->h1.x->piece += parts[1];
        c->h1.x->piece_len -= parts[1];
    }
    for (size_t i = 0; i < 2; i++) {
        if (parts[2 + i] > 0)
            f->text[i] += parts[2 + i];
        f->left[i] -= parts[2 + i];
    }
}

/* Bytes of answers, in order: what was unsent, and the last words. 1: all gone, 0: the socket is
 * full, -1: the client is. */
static int send_rest(struct conn *c)
{
    const struct exchange *x = exchange_of(c);
    const struct farewell *f = farewell_of(c);

    for (;;) {
        struct iovec iov[4] = {{exchange_unsent(x), x->out.len - x->out_sent},
                               {(void *)(uintptr_t)x->piece, x->piece_len},
                               {(void *)(uintptr_t)f->text[0], f->left[0]},
                               {(void *)(uintptr_t)f->text[1], f->left[1]}};

        if (iov[0].iov_len + iov[1].iov_len + iov[2].iov_len + iov[3].iov_len == 0)
            return 1;
        ssize_t n = wire_last_send(&c->wire, iov, ARRAY_LEN(iov));
        if (n >= 0)
            mark_sent(c, iov, (size_t)n);
        else if (errno != EINTR)
            return errno == EAGAIN ? 0 : -1;
    }
}

static void flush(struct conn *c, const struct conn *crashed)
{
    struct farewell *f = farewell_of(c);
    int sent = send_rest(c);

    if (sent == 0)
        return;
    if (c == crashed && sent > 0 && self.slot->crash.client == CRASH_CLIENT_LOST)
        self.slot->crash.client = CRASH_CLIENT_ANSWERED;
    if (sent < 0 || f->resets)
        finish(c, f->resets);
    else if (!f->ends && !c->closing)
        f->step = STEP_WATCH;
    else if (wire_last_shutdown(&c->wire) < 0)
        finish(c, false);
    else
        f->step = STEP_LINGER;
}

/* Reads what the client has sent, and discards it. */
static void take(struct conn *c)
{
    static char discarded[16 * 1024];
    ssize_t n;

    while ((n = wire_last_read(&c->wire, discarded, sizeof(discarded))) > 0) {
        if (farewell_of(c)->step == STEP_WATCH)
            turn_away(c);
    }
    if ((n == 0 || (errno != EAGAIN && errno != EINTR)) && farewell_of(c)->step != STEP_FLUSH)
        finish(c, false);
}

/* ---- whose call it was ------------------------------------------------------------------- */

static size_t table_used(void)
{
    size_t used = self.worker->table_used;

    return used < self.max_conns ? used : self.max_conns;
}

/* Has the application said all that its answer begins with, and the answer is not there yet? */
static bool is_being_made(const struct conn *c)
{
    return call_thread_count(self.worker) == 0 && !has_begun(c) && !stream_is_waiting(&c->h1);
}

const struct conn *farewell_served(unsigned call)
{
    const struct worker *w = self.worker;
    const struct stream *s = call_serving(w, call);
    const struct conn *c = s ? conn_of(s) : NULL;
    bool is_one = c >= self.conns && c < self.conns + table_used();
    bool is_in_call = slot_call_runs(&self.slot->calls[call]);

    return is_one && c->h1.runs && (is_in_call || is_being_made(c)) ? c : NULL;
}

/* Is it among the calls for which the master ends the worker? (plan_check_health) */
static bool is_too_long(const struct conn *c)
{
    uint64_t now = now_ms(), timeout = self.worker->config->timeout_ms;

    for (unsigned i = 0; i < call_count(self.worker); i++) {
        const struct slot_call *call = &self.slot->calls[i];
        uint64_t started = slot_call_started_ms(call);

        if (farewell_served(i) == c)
            return timeout > 0 && now > started && now - started > timeout &&
                   atomic_load(&call->until_ms) <= now;
    }
    return false;
}

/* ---- all of them ------------------------------------------------------------------------- */

/* One more that takes too long. */
static void time_out(struct conn *c)
{
    add_prepared(c, PREPARED_504);
    count_end(c, 504, self.ended);
}

/* What a thread has is half made. Unsent is only the rest of an interim answer, which a client must
 * have whole before another. */
static void take_from_thread(struct exchange *x, bool runs)
{
    x->out = x->early;
    x->early = (struct strbuf){0};
    x->whole_len = x->out.len;
    x->out_sent = x->piece_len = 0;
    x->more = runs;
}

static void begin_all(const struct conn *crashed, bool is_timeout)
{
    for (size_t i = 0; i < table_used(); i++) {
        struct conn *c = &self.conns[i];

        if (c->state == CONN_FREE || c->wire.fd < 0)
            continue;
        if (stream_is_lent(&c->h1) && !(c->h1.x->push && has_begun(c)))
            take_from_thread(c->h1.x, c->h1.runs); /* what it has pushed is the loop's */
        if (c == crashed)
            begin_crashed(c, is_timeout);
        else if (is_timeout && c->h1.runs && !has_begun(c) && is_too_long(c))
            time_out(c);
        else
            begin_other(c);
    }
}

/* One look at every connection. How many are not done. */
static size_t serve_all(const struct conn *crashed)
{
    size_t left = 0;

    for (size_t i = 0; i < table_used(); i++) {
        struct conn *c = &self.conns[i];

        if (farewell_of(c)->step == STEP_WATCH || farewell_of(c)->step == STEP_LINGER)
            take(c);
        if (farewell_of(c)->step == STEP_FLUSH)
            flush(c, crashed);
        left += farewell_of(c)->step != STEP_DONE;
    }
    return left;
}

/* Time is over. A client that has not taken all of a close-delimited answer gets a reset, or it would
 * take the answer for whole. */
static void abandon_all(void)
{
    for (size_t i = 0; i < table_used(); i++) {
        struct conn *c = &self.conns[i];

        if (farewell_of(c)->step == STEP_FLUSH && !farewell_of(c)->ends)
            self.slot->crash.others_cut++;
        if (farewell_of(c)->step == STEP_FLUSH &&
            (farewell_of(c)->resets || (c->h1.runs && ends_by_close(c))))
            finish(c, true);
        else if (farewell_of(c)->step == STEP_WATCH)
            (void)wire_last_shutdown(&c->wire);
    }
}

void farewell_say(const struct conn *crashed, bool is_timeout)
{
    const struct timespec pause = {.tv_nsec = ROUND_NS};
    uint64_t until_ns = now_ns() + LINGER_MS * UINT64_C(1000000);

    self.ended = is_timeout ? ENDED_TIMEOUT : ENDED_CRASH;
    begin_all(crashed, is_timeout);
    while (serve_all(crashed) > 0 && now_ns() < until_ns)
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    abandon_all();
}

/* ---- the access log ---------------------------------------------------------------------- */

/* Its answer may be whole by now. */
static void log_answer(const struct conn *c, const char *ended, int told)
{
    struct response *r = &c->h1.env->response;
    const struct exchange *x = exchange_of(c);

    if (!has_begun(c))
        r->status = told;
    r->ended = has_begun(c) && !x->more && !has_unsent(c) ? r->ended : ended;
    if (has_begun(c))
        count_end(c, r->status, slot_ended_of(r->ended)); /* the others were when they were told */
    access_log_writer_add(&self.worker->access_log, c->h1.env,
                          now_ns() - exchange_of(c)->request_ns);
}

/* The line of a request that was not run, of which often nothing is known. */
static void log_turned_away(const struct conn *c, const char *ended)
{
    static struct gcorn_environ unread;
    struct gcorn_environ *env = c->h1.env;

    if (!env) {
        env = &unread;
        environ_init(env, &self.worker->http, &c->peer.seen, 0);
    }
    env->response.status = 503;
    env->response.ended = ended;
    access_log_writer_add(&self.worker->access_log, env,
                          c->h1.env ? now_ns() - exchange_of(c)->request_ns : 0);
}

/* The line is written, so the master need not write it. */
static void forget_answers(const struct conn *c)
{
    for (unsigned i = 0; i < call_count(self.worker); i++) {
        if (call_thread_count(self.worker) == 0 || farewell_served(i) == c)
            self.slot->calls[i].answers = 0;
    }
}

/* What it needs may be broken, so the one that crashed comes first. */
void farewell_log(const struct conn *crashed, bool is_timeout)
{
    const char *ended = is_timeout ? "timeout" : "crash";
    int status = is_timeout ? 504 : 500;

    access_log_writer_last(&self.worker->access_log);
    access_log_writer_take_back(&self.worker->access_log); /* its answer is one of those below */
    if (crashed && crashed->h1.env)
        log_answer(crashed, ended, status);
    forget_answers(crashed);
    for (size_t i = 0; i < table_used(); i++) {
        const struct conn *c = &self.conns[i];

        if (c->state == CONN_FREE || c == crashed)
            continue;
        if (c->h1.runs && c->h1.env) {
            log_answer(c, ended, farewell_of(c)->status);
            forget_answers(c);
        } else if (farewell_of(c)->is_turned_away) {
            log_turned_away(c, ended);
        }
    }
}
