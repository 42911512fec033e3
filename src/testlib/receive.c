/* SPDX-License-Identifier: MIT
 *
 * See receive.h.
 */
#include "testlib/receive.h"

#include "http/exchange.h"
#include "testlib/hooks.h"
#include "testlib/request.h"
#include "testlib/state.h"

static bool is_streamed(const struct test *t)
{
    return t->env.request.ahead && t->env.response.head_step == HEAD_PASSED;
}

static bool has_answer(const struct test *t)
{
    return t->ended || t->env.response.body;
}

/* How the answer is framed, as long as its head has not left. */
static void set_close(struct test *t)
{
    const struct request *r = &t->env.request;

    if (t->env.response.phase == RESPONSE_OPEN)
        t->env.h1.close = !r->keep_alive || (r->state != REQUEST_DONE && !request_rest_is_short(r));
}

/* ---- calls ------------------------------------------------------------------------------- */

static void go_on(struct test *t)
{
    set_close(t);
    request_go_on_answer(t);
}

static void run_handler(struct test *t)
{
    struct response *r = &t->env.response;

    response_run(&t->env, t->app);
    if (r->phase != RESPONSE_OPEN) {
        response_end_pushes(&t->env);
        t->public.pushed = (size_t)r->body_len;
    }
    if (t->client_gone)
        request_show(t, EXCHANGE_GONE);
    else
        go_on(t);
}

/* The head is there, and perhaps the body: hooks, then the handler unless the body comes first. */
static void begin(struct test *t)
{
    hooks_before_request(t);
    if (!test_hooks.on_head || response_ask(&t->env, test_hooks.on_head)) {
        run_handler(t);
    } else if (t->env.response.body) {
        go_on(t);
    }
}

/* The request is refused; an answer that has begun is cut. */
static void refuse(struct test *t, int status, const char *reason)
{
    if (t->env.response.phase == RESPONSE_OPEN) {
        response_refuse(&t->env, status, reason);
        t->env.h1.close = true;
        request_go_on_answer(t);
    } else {
        t->env.response.broken = true;
        t->env.response.phase = RESPONSE_ENDED;
        request_show(t, EXCHANGE_BROKEN);
    }
}

/* What the bytes so far call for. */
static void act(struct test *t)
{
    const struct request *r = &t->env.request;
    bool was_asked = t->env.response.head_step == HEAD_PASSED;

    if (r->state == REQUEST_HELD || (r->state == REQUEST_DONE && !has_answer(t) && !was_asked))
        begin(t);
    else if (r->state == REQUEST_DONE && !has_answer(t))
        run_handler(t);
    else if (t->public.waits && is_streamed(t) && !request_is_refused(r))
        go_on(t);
    if (request_is_refused(r) && !t->ended)
        refuse(t, r->refusal, r->refusal_reason);
}

/* ---- bytes ------------------------------------------------------------------------------- */

/* Can more be fed? Not when it belongs to no body that is wanted. */
static bool takes_bytes(const struct test *t)
{
    const struct request *r = &t->env.request;

    return !t->ended && (r->state == REQUEST_HEAD || request_in_body(r));
}

static size_t room_of(const struct test *t)
{
    return is_streamed(t) ? body_ahead_room(t->env.request.ahead) : SIZE_MAX;
}

void receive_bytes(struct test *t, const char *data, size_t len)
{
    struct request *r = &t->env.request;

    while (len > 0 && takes_bytes(t) && room_of(t) > 0 && t->kept.len == 0) {
        bool was_head = r->state == REQUEST_HEAD;
        size_t used = request_feed(r, data, len < room_of(t) ? len : room_of(t));

        data += used;
        len -= used;
        r->expects_continue = r->expects_continue && was_head;
        act(t);
    }
    if (len > 0 && takes_bytes(t))
        strbuf_add(&t->kept, data, len);
}

void receive_kept(struct test *t)
{
    struct strbuf kept = t->kept;

    if (kept.len == 0)
        return;
    t->kept = (struct strbuf){0};
    receive_bytes(t, kept.data, kept.len);
    strbuf_release(&kept);
}

void receive_end(struct test *t)
{
    static const char reason[] = "the connection ended within the request";

    if (!takes_bytes(t))
        return;
    request_refuse(&t->env.request, 400, reason);
    refuse(t, 400, reason);
}

void receive_pause(struct test *t)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct request *r = &t->env.request;

    if (t->ended)
        return;
    bool is_wanted = is_streamed(t) ? r->ahead->is_awaited : !has_answer(t);

    if (!r->expects_continue || !request_in_body(r) || !is_wanted ||
        t->env.response.phase != RESPONSE_OPEN)
        return;
    r->expects_continue = false;
    strbuf_add(&t->bytes, text, sizeof(text) - 1);
    request_read_answer(t);
}
