/* SPDX-License-Identifier: MIT
 *
 * chat - long-polling: a request waits for what another one brings.
 *
 *   gcorn --workers 1 chat.so:handler
 *   curl 'http://127.0.0.1:8000/?after=0'          waits for the next message, at most 25 s
 *   curl -d 'hello' http://127.0.0.1:8000/         says it to all who wait
 *
 * What it shows: who waits keeps nothing but its ticket in a list; who has news wakes every ticket
 * there. The answer is started late, when it is known: 200 with messages, or 204 when time is over
 * (gcorn_wake_at). A client that hangs up is taken off the list by close.
 *
 * The messages are the worker's own: with more than one worker each would have its own chat, so it
 * answers 500 there; and as they have no lock, it does not boot with several threads.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gcorn.h>

enum { KEPT = 100, TEXT_MAX = 500, WAITERS_MAX = 10000, PATIENCE_MS = 25000 };

static struct {
    unsigned long count; /* ever said; message n is at n % KEPT */
    char text[KEPT][TEXT_MAX + 1];
} messages;

static struct {
    uint64_t tickets[WAITERS_MAX];
    size_t count;
} waiters;

struct poll {
    struct gcorn_start_response *start;
    unsigned long after; /* the last message that the client has */
    uint64_t until;
    struct gcorn_body *page; /* NULL: still waiting */
};

static void start(struct gcorn_start_response *start_response, const char *status)
{
    static const struct gcorn_header headers[] = {
        {"Content-Type", "text/plain"}, {"Cache-Control", "no-store"}, {NULL, NULL}};

    gcorn_start(start_response, status, headers);
}

static void leave(uint64_t ticket)
{
    for (size_t i = 0; i < waiters.count; i++) {
        if (waiters.tickets[i] == ticket)
            waiters.tickets[i] = waiters.tickets[--waiters.count];
    }
}

/* "number text" a line, from the oldest that is still there. */
static struct gcorn_body *news(struct gcorn_environ *env, unsigned long after)
{
    struct gcorn_body *body = gcorn_body_buffer(env);
    unsigned long oldest = messages.count > KEPT ? messages.count - KEPT : 0;

    for (unsigned long n = after > oldest ? after : oldest; n < messages.count; n++)
        gcorn_buffer_printf(body, "%lu %s\n", n + 1, messages.text[n % KEPT]);
    return body;
}

static ssize_t next_news(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct poll *p = state;

    if (p->page)
        return gcorn_body_next(p->page, chunk);
    if (messages.count > p->after) {
        start(p->start, "200 OK");
        p->page = news(env, p->after);
        return gcorn_body_next(p->page, chunk);
    }
    if (gcorn_now() >= p->until || gcorn_draining()) {
        start(p->start, "204 No Content");
        return 0;
    }
    gcorn_wake_at(env, p->until);
    return GCORN_AGAIN;
}

static void close_poll(struct gcorn_environ *env, void *state)
{
    (void)state;
    leave(gcorn_ticket(env));
}

static struct gcorn_body *poll_news(struct gcorn_environ *env, struct gcorn_start_response *begin)
{
    const char *after = gcorn_query(env, "after");
    struct poll *p = gcorn_alloc(env, sizeof(*p));

    if (waiters.count == WAITERS_MAX) {
        start(begin, "503 Service Unavailable");
        return gcorn_body_text(env, "too many listen\n");
    }
    p->start = begin;
    p->after = after ? strtoul(after, NULL, 10) : messages.count;
    if (p->after > messages.count)
        p->after = 0; /* of a chat that was before this one: the worker has been replaced */
    p->until = gcorn_now() + PATIENCE_MS;
    waiters.tickets[waiters.count++] = gcorn_ticket(env);
    return gcorn_body_iter(env, next_news, close_poll, p);
}

static struct gcorn_body *say(struct gcorn_environ *env, struct gcorn_start_response *begin)
{
    size_t len;
    const char *text = gcorn_input_all(env, &len);

    if (!text || len == 0 || len > TEXT_MAX || strpbrk(text, "\r\n") || strlen(text) != len) {
        start(begin, "422 Unprocessable Content");
        return gcorn_body_text(env, "one line of text, please\n");
    }
    memcpy(messages.text[messages.count++ % KEPT], text, len + 1);
    for (size_t i = 0; i < waiters.count; i++)
        gcorn_wake(waiters.tickets[i]); /* their next runs later, never from within this */
    start(begin, "201 Created");
    return gcorn_body_text(env, gcorn_printf(env, "%lu\n", messages.count));
}

GCORN_EXPORT int gcorn_on_worker_init(void)
{
    if (gcorn_threads() == 1)
        return 0;
    gcorn_log(NULL, GCORN_ERROR, "chat is not thread-safe: use --threads 1");
    return -1;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct gcorn_header allow[] = {{"Allow", "GET, POST"}, {NULL, NULL}};
    const char *method = gcorn_get(env, "REQUEST_METHOD");

    if (strcmp(gcorn_get(env, "wsgi.multiprocess"), "1") == 0) {
        gcorn_log(env, GCORN_ERROR, "each worker would have a chat of its own: use --workers 1");
        return NULL;
    }
    if (strcmp(method, "GET") == 0)
        return poll_news(env, start_response);
    if (strcmp(method, "POST") == 0)
        return say(env, start_response);
    gcorn_start(start_response, "405 Method Not Allowed", allow);
    return gcorn_body_text(env, "");
}
