/* SPDX-License-Identifier: MIT
 *
 * fuzz_conn - a script of what clients, time, the application and the master do to a worker: the
 * server's own connections, calls and answers over fake wires and a fake loop (tests/fake/). At the
 * end of each script nothing may be open, in flight or unclosed, and what each client was sent must
 * be answers, whole but for the last, in the order of its requests.
 *
 * A script is a list of steps. A step's first byte says what (its low five bits) and to which of
 * eight clients (the other three); most steps have one byte more.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "fake_worker.h"
#include "outcome.h"
#include "worker/conn/admission.h"
#include "worker/conn/conn.h"

enum { CLIENTS = 8, CONNECTIONS = 5, STEPS_MAX = 400, TAKEN_MAX = 64 << 20 };

enum step {
    STEP_CONNECT,  /* 1: buffers, 2: a read needs the socket to be writable, 4: a small window */
    STEP_REQUEST,  /* which */
    STEP_PART,     /* which, and how many of its bytes */
    STEP_BYTES,    /* how many, then these */
    STEP_END,      /* half-close */
    STEP_RESET,    /* ECONNRESET */
    STEP_WINDOW,   /* opens it by the byte's square times 16 */
    STEP_SHUT,     /* closes the window */
    STEP_PASS,     /* one pass of the loop */
    STEP_TURN,     /* until nothing is ready */
    STEP_WAIT,     /* time: see wait_ms */
    STEP_WAKE,     /* a ticket that was taken, perhaps long ago */
    STEP_ORDER,    /* the master's: retire, stop, close */
    STEP_CUT,      /* reads give at most so many bytes */
    STEP_EINTR,    /* so many of the next reads and sends are interrupted */
    STEP_ROOM,     /* connections give way until at most so many are open */
    STEP_LET_GO,   /* the worker would like the connection gone */
    STEP_TRUNCATE, /* the file that is being sent */
    STEP_WRITABLE, /* the next read needs the socket to be writable */
    STEP_QUEUED,   /* the kernel says that the bytes have waited for so many times 10 ms */
    STEP_CLASS,    /* while no connection is open: calls end later, or at once again */
    STEP_CALL,     /* the call that has waited for longest ends */
    STEP_FILL,  /* the square of the byte, times two: so many bytes of a body, in chunks or not */
    STEP_PUSH,  /* a request whose handler pushes: which */
    STEP_TAKES, /* while a push waits, the window opens by the byte's square each time */
    STEPS,
};

static const char *const requests[] = {
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "POST /e HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "POST /e HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
    "POST /e HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n",
    "GET /i/a HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /i/papkpwp HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /i/plap HTTP/1.0\r\n\r\n",
    "GET /i/hph HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /i/psxp HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /i/px HTTP/1.0\r\n\r\n",
    "GET /i/aw HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "GET /i/pdag HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /s/kwa HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD /i/awp HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /f HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /t HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /t HTTP/1.0\r\n\r\n",
    "GET /b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /n HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /s/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /e HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
    "\r\n",
    "NOT HTTP\r\n\r\n",
    "POST /a/d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "POST /a/d HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n",
    "POST /a/d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "POST /a/w HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
    "POST /a/l HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "POST /a/u HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n",
    "POST /u/r HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "POST /u/rpa HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "POST /u/r HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
    "POST /u/plr HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\n",
    "POST /u/owokr HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n",
    "POST /u/Oprhp HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n",
    "POST /u/hr HTTP/1.0\r\nContent-Length: 9000\r\n\r\n",
    "POST /u/ox HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    "POST /u/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n",
    "GET /u/r HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /h/aip HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /i/iwip HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "HEAD /h/ip HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
    "GET /h/x HTTP/1.0\r\n\r\n",
    "GET /i/tpatl HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
    "GET /i/itpx HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
    "POST /e HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
};

static const char *const pushing[] = {
    "GET /p/ppp HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /p/pt HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /p/0pspi HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /p/plhp HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /p/llllllf HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /p/plx HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /p/ppN HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /p/N HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /p/lhdht HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /p/lhShi HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /p/lht HTTP/1.0\r\n\r\n",
    "GET /p/llx HTTP/1.0\r\n\r\n",
    "GET /P/pppppppppa HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /P/plt HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /P/pppt HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD /p/plhi HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD /P/lt HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /p/akpek HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "GET /p/0hhhhi HTTP/1.1\r\nHost: a\r\n\r\n",
};

static const uint16_t wait_ms[] = {1, 5, 20, 60, 250, 1000, 2500, 6000, 12000, 35000};

/* The n of a client's request: its answers carry it back. 0: some of its bytes were not ours. */
static unsigned last_n[CLIENTS];
static bool is_foreign[CLIENTS];

struct script {
    const uint8_t *at, *end;
};

static unsigned take(struct script *s)
{
    return s->at < s->end ? *s->at++ : 0;
}

static void fail(const char *what, const struct fake_client *c)
{
    (void)fprintf(stderr, "%s in what a client was sent:\n%.*s\n", what,
                  (int)(c->taken.len < 4000 ? c->taken.len : 4000),
                  c->taken.data ? c->taken.data : "");
    abort();
}

/* ---- what a client was sent -------------------------------------------------------------- */

static const char *field(const char *head, size_t len, const char *name)
{
    const char *found = memmem(head, len, name, strlen(name));

    return found ? found + strlen(name) : NULL;
}

/* The length of a chunked body; SIZE_MAX: it is cut. */
static size_t chunked_len(const struct fake_client *c, const char *body, size_t len)
{
    size_t at = 0;

    for (;;) {
        const char *line_end = memmem(body + at, len - at, "\r\n", 2);
        char *digits_end;

        if (!line_end)
            return SIZE_MAX;
        size_t size = strtoul(body + at, &digits_end, 16);
        if (digits_end != line_end)
            fail("a bad chunk", c);
        at = (size_t)(line_end + 2 - body);
        if (size == 0) { /* perhaps with trailers after it */
            const char *end = memmem(line_end, len - at + 2, "\r\n\r\n", 4);

            return end ? (size_t)(end + 4 - body) : SIZE_MAX;
        }
        if (len - at < size + 2)
            return SIZE_MAX;
        if (memcmp(body + at + size, "\r\n", 2) != 0)
            fail("a chunk without its end", c);
        at += size + 2;
    }
}

/* Of the first answer at `at`; SIZE_MAX: it is cut, or ends with the connection. */
static size_t answer_len(const struct fake_client *c, const char *at, size_t len, unsigned *n)
{
    const char *head_end = memmem(at, len, "\r\n\r\n", 4), *value;

    if (len < 9 ? memcmp(at, "HTTP/1.1 ", len) != 0 : memcmp(at, "HTTP/1.1 ", 9) != 0)
        fail("no answer", c);
    if (!head_end)
        return SIZE_MAX;
    size_t head_len = (size_t)(head_end + 4 - at), left = len - head_len;
    if ((value = field(at, head_len, "\r\nX-N: ")))
        *n = (unsigned)strtoul(value, NULL, 10);
    if (at[9] == '1' || field(at, head_len, "\r\nX-Head: "))
        return head_len;
    if ((value = field(at, head_len, "\r\nContent-Length: "))) {
        size_t body_len = strtoul(value, NULL, 10);

        return body_len <= left ? head_len + body_len : SIZE_MAX;
    }
    if (!field(at, head_len, "\r\nTransfer-Encoding: chunked"))
        return SIZE_MAX;
    size_t body_len = chunked_len(c, at + head_len, left);
    return body_len == SIZE_MAX ? SIZE_MAX : head_len + body_len;
}

static void check_answers(unsigned i)
{
    const struct fake_client *c = &fake_clients[i];
    unsigned last = 0;

    for (size_t at = 0; at < c->taken.len && !is_foreign[i];) {
        unsigned n = 0;
        size_t len = answer_len(c, c->taken.data + at, c->taken.len - at, &n);

        if (n != 0 && n <= last)
            fail("answers out of order", c);
        last = n != 0 ? n : last;
        if (len == SIZE_MAX)
            return;
        at += len;
    }
}

/* What became of a client, as text: bodies are long and say little, so of equal bytes in a row only
 * the first and how many there are. */
static void tell(unsigned i, struct strbuf *text)
{
    const struct fake_client *c = &fake_clients[i];

    if (c->sent.len + c->taken.len == 0)
        return;
    strbuf_addf(text, "\n-- client %u: read %zu of %zu%s%s%s\n", i, c->read_len, c->sent.len,
                c->is_open ? "" : ", closed", c->is_shut ? ", shut" : "",
                c->is_reset ? ", reset" : "");
    for (size_t at = 0, run; at < c->taken.len; at += run) {
        const char *byte = c->taken.data + at;

        run = 1;
        while (at + run < c->taken.len && byte[run] == byte[0])
            run++;
        if (run > 8)
            strbuf_addf(text, "%c{%zu}", byte[0], run);
        else
            strbuf_add(text, byte, run);
    }
}

/* ---- steps ------------------------------------------------------------------------------- */

/* With its number as the query. */
static void send_request(unsigned i, const char *text, size_t max)
{
    const char *space = strchr(text, ' ');
    const char *path_end = space && space[1] == '/' ? strchr(space + 1, ' ') : NULL;
    char line[512];

    int len = path_end ? snprintf(line, sizeof(line), "%.*s?n=%u%s", (int)(path_end - text), text,
                                  ++last_n[i], path_end)
                       : snprintf(line, sizeof(line), "%s", text);
    is_foreign[i] = is_foreign[i] || max < (size_t)len;
    fake_client_sends_bytes(i, line, (size_t)len < max ? (size_t)len : max);
}

static void send_bytes(struct script *s, unsigned i)
{
    size_t len = take(s);

    if (len > (size_t)(s->end - s->at))
        len = (size_t)(s->end - s->at);
    is_foreign[i] = true;
    fake_client_sends_bytes(i, s->at, len);
    s->at += len;
}

/* Of bytes that no request begins with; a low bit says whether they are a chunk. */
static void send_fill(unsigned i, size_t size)
{
    static const char fill[2 * 255 * 255] = {'x'};
    char head[16];
    size_t len = 2 * size * size;

    if (size % 2 == 1)
        fake_client_sends_bytes(i, head, (size_t)snprintf(head, sizeof(head), "%zx\r\n", len));
    fake_client_sends_bytes(i, fill, len);
    if (size % 2 == 1)
        fake_client_sends(i, "\r\n");
    is_foreign[i] = true;
}

static void connect_client(struct worker *w, unsigned i, unsigned how, struct strbuf *text)
{
    struct fake_client *c = &fake_clients[i];

    if (c->is_open)
        return;
    check_answers(i);
    tell(i, text);
    last_n[i] = 0;
    is_foreign[i] = false;
    if (!fake_connect(w, i))
        return;
    c->buffers = how & 1;
    c->needs_write = how & 2;
    c->window = how & 4 ? 100 : c->window;
}

static void let_go(struct worker *w, unsigned i)
{
    struct conn *c = fake_conn(w, i);

    worker_look_at_clock(w);
    if (c)
        (void)conn_close_if_idle(c);
}

static void order(struct worker *w, unsigned which)
{
    static const enum down_type types[] = {DOWN_RETIRE, DOWN_STOP, DOWN_CLOSE};

    fake_order(w, types[which % ARRAY_LEN(types)], which * 10);
}

static void play_client(struct worker *w, struct script *s, unsigned i, enum step step,
                        struct strbuf *text)
{
    struct fake_client *c = &fake_clients[i];

    switch (step) {
    case STEP_CONNECT: connect_client(w, i, take(s), text); break;
    case STEP_REQUEST: send_request(i, requests[take(s) % ARRAY_LEN(requests)], SIZE_MAX); break;
    case STEP_PUSH: send_request(i, pushing[take(s) % ARRAY_LEN(pushing)], SIZE_MAX); break;
    case STEP_PART: {
        const char *whole = requests[take(s) % ARRAY_LEN(requests)];

        send_request(i, whole, take(s));
        break;
    }
    case STEP_TAKES: {
        size_t more = take(s);

        c->wait_window = c->taken.len < TAKEN_MAX ? more * more : 0;
        break;
    }
    case STEP_BYTES: send_bytes(s, i); break;
    case STEP_FILL: send_fill(i, take(s)); break;
    case STEP_END: c->has_ended = true; break;
    case STEP_RESET: c->error = ECONNRESET; break;
    case STEP_WINDOW: {
        size_t more = take(s);

        c->window += c->taken.len < TAKEN_MAX ? more * more * 16 : 0;
        break;
    }
    case STEP_SHUT: c->window = 0; break;
    case STEP_CUT: c->read_max = take(s); break;
    case STEP_EINTR: c->interrupts = take(s) % 4; break;
    case STEP_WRITABLE: c->needs_write = true; break;
    case STEP_QUEUED: c->queued_ms = (int64_t)take(s) * 10; break;
    case STEP_LET_GO: let_go(w, i); break;
    default: break;
    }
}

static void play(struct worker *w, struct script *s, struct strbuf *text)
{
    unsigned first = take(s), step = first % 32;

    switch (step) {
    case STEP_PASS: fake_loop_pass(w->loop); break;
    case STEP_TURN: fake_turn(w); break;
    case STEP_WAIT: fake_wait_ms(w, wait_ms[take(s) % ARRAY_LEN(wait_ms)]); break;
    case STEP_WAKE: gcorn_wake(fake_app.tickets[take(s) % FAKE_TICKETS]); break;
    case STEP_ORDER: order(w, take(s)); break;
    case STEP_ROOM:
        worker_look_at_clock(w);
        (void)admission_make_room(w, take(s) % CONNECTIONS);
        break;
    case STEP_TRUNCATE: fake_truncate_file(); break;
    case STEP_CLASS:
        if (w->open_conns == 0)
            fake_call_later(w, !w->calls);
        break;
    case STEP_CALL: (void)fake_finish_call(w); break;
    default: play_client(w, s, first / 32, (enum step)step, text); break;
    }
}

/* A client that has sent more than is read ahead is not read any more, so that it has left is noticed
 * when the application goes on. */
static void wake_paused(struct worker *w)
{
    for (int i = 0; i < STEPS_MAX && w->open_conns > 0; i++) {
        gcorn_wake(fake_app.tickets[i % FAKE_TICKETS]);
        do {
            fake_wait_ms(w, 60);
        } while (fake_finish_call(w));
    }
}

/* Clients leave; what waits for nothing but time has it. */
static void end(struct worker *w, struct strbuf *text)
{
    fake_turn(w);
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (fake_clients[i].is_open)
            fake_clients[i].error = ECONNRESET;
        fake_clients[i].interrupts = 0;
    }
    do {
        fake_turn(w);
    } while (fake_finish_call(w));
    fake_wait_ms(w, 120000);
    wake_paused(w);
    for (unsigned i = 0; i < CLIENTS; i++) {
        check_answers(i);
        tell(i, text);
    }
    strbuf_addf(text, "\n-- %u begun, %u asked, %u waited\n", fake_app.begun, fake_app.asked,
                fake_app.ticket_count);
    fake_assert_idle(w);
    fake_worker_reset(w);
}

/* Every tenth of a second counts, and few connections fit: what is rare elsewhere is not here. */
static struct worker *new_worker(void)
{
    static struct config config;

    config_init(&config);
    config.worker_connections = CONNECTIONS;
    config.workers = 2;
    config.limit_request_body = 100000;
    config.tmp_upload_max = 50000;
    config.queue_timeout_ms = 500;
    config.stream_spool = 200000;
    return fake_worker_new(&config);
}

void fuzz_outcome(const uint8_t *data, size_t len, struct strbuf *text)
{
    static struct worker *w;
    struct script s = {data, data + len};

    if (!w)
        w = new_worker();
    for (int steps = 0; steps < STEPS_MAX && s.at < s.end; steps++)
        play(w, &s, text);
    end(w, text);
    fake_wire_release();
    memset(last_n, 0, sizeof(last_n));
    memset(is_foreign, 0, sizeof(is_foreign));
}
