/* SPDX-License-Identifier: MIT
 *
 * clock - server-sent events: the time, each second, to as many clients as have the page open.
 *
 *   gcorn --worker-connections 6000 clock.so:handler
 *   curl -N http://127.0.0.1:8000/events
 *
 * What it shows: one sync worker holds thousands of open streams, because a stream that has nothing
 * to say is no call. Its next returns GCORN_AGAIN, the worker serves others, and gcorn_wake has
 * next called again. Here one timer wakes them all, once a second; the streams know nothing of each
 * other.
 *
 * The timer keeps tickets, never pointers to a request: a ticket of a request that is over names
 * nothing, and waking it does nothing. The list of them has a lock, for the operator chooses the
 * worker class: in a gthread one, even of a single thread, handlers run beside the loop's thread.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <gcorn.h>

/* A worker is a process: static variables are the worker's. */
static _Atomic unsigned long ticks;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the streams */
static struct {
    uint64_t *tickets; /* 0: the place is free */
    size_t count, cap;
} streams;

/* One client's. It lives in the request's memory, where it costs some hundred bytes. */
struct stream {
    size_t place; /* of its ticket */
    unsigned long told;
    char event[64]; /* its own: a slow client may still need it when the others have the next */
};

static size_t take_place(uint64_t ticket)
{
    size_t place = 0;

    pthread_mutex_lock(&lock);
    while (place < streams.count && streams.tickets[place] != 0)
        place++;
    if (place == streams.cap) {
        streams.cap = streams.cap ? streams.cap * 2 : 64;
        streams.tickets = realloc(streams.tickets, streams.cap * sizeof(*streams.tickets));
        if (!streams.tickets)
            abort(); /* the worker is replaced */
    }
    if (place == streams.count)
        streams.count++;
    streams.tickets[place] = ticket;
    pthread_mutex_unlock(&lock);
    return place;
}

static void tick(void *unused)
{
    (void)unused;
    ticks++;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < streams.count; i++)
        gcorn_wake(streams.tickets[i]); /* 0 is nobody's */
    pthread_mutex_unlock(&lock);
}

GCORN_EXPORT int gcorn_on_worker_init(void)
{
    return gcorn_timer_every(1000, tick, NULL) ? 0 : -1; /* for as long as the worker lives */
}

/* The next event, when there is one. It may be called for no reason, so it looks for itself. */
static ssize_t next_event(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct stream *s = state;
    unsigned long tick = ticks + 1; /* the first event at once: the head leaves with it */
    time_t now = time(NULL);
    struct tm tm;

    (void)env;
    if (gcorn_draining())
        return 0; /* the worker stops: the browser comes back to another one */
    if (s->told == tick)
        return GCORN_AGAIN;
    s->told = tick;
    gmtime_r(&now, &tm);
    *chunk = s->event;
    return (ssize_t)strftime(s->event, sizeof(s->event), "data: %FT%TZ\n\n", &tm);
}

/* Called once, however the stream ends: also when the client just goes away. */
static void close_stream(struct gcorn_environ *env, void *state)
{
    const struct stream *s = state;

    (void)env;
    pthread_mutex_lock(&lock);
    streams.tickets[s->place] = 0;
    pthread_mutex_unlock(&lock);
}

static struct gcorn_body *events(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    static const struct gcorn_header headers[] = {
        {"Content-Type", "text/event-stream"}, {"Cache-Control", "no-store"}, {NULL, NULL}};
    struct stream *s = gcorn_alloc(env, sizeof(*s));

    s->place = take_place(gcorn_ticket(env));
    gcorn_start(start, "200 OK", headers);
    return gcorn_body_iter(env, next_event, close_stream, s);
}

static const char page[] =
    "<!doctype html><title>clock</title><h1 id=t>...</h1>"
    "<script>new EventSource('/events').onmessage = e => t.textContent = e.data</script>\n";

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct gcorn_header html[] = {{"Content-Type", "text/html"}, {NULL, NULL}};

    if (strcmp(gcorn_get(env, "PATH_INFO"), "/events") == 0)
        return events(env, start_response);
    gcorn_start(start_response, "200 OK", html);
    return gcorn_body_text(env, page);
}
