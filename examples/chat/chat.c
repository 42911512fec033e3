/* SPDX-License-Identifier: MIT
 *
 * chat - long-polling: a request waits for what another one brings, in whichever worker.
 *
 *   gcorn --workers 4 chat.so:handler
 *   curl 'http://127.0.0.1:8000/?after=0'          waits for the next message, at most 25 s
 *   curl -d 'hello' http://127.0.0.1:8000/         says it to all clients that wait
 *
 * What it shows: a client that waits is a ticket in the list of its worker. The messages are in
 * memory that all workers share (gcorn_shared), under a lock that survives the death of a worker
 * that holds it. A request that has said something publishes that there is news, and each worker
 * then wakes its tickets; the news itself they read in the shared memory, so it does no harm when
 * a worker is too slow to hear of each. The answer is started late, when it is known: 200 with
 * messages, or 204 when time is over (gcorn_wake_at). A client that hangs up is taken off the list by
 * close.
 *
 * The list of a worker has no lock, so the application does not boot with several threads.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gcorn.h>

enum { SHOWN = 99, KEPT = SHOWN + 1, TEXT_MAX = 500, WAITERS_MAX = 10000, PATIENCE_MS = 25000 };

/* Of all workers. Another layout needs another name, because the memory outlives a reload. */
static struct chat {
    _Atomic bool is_ready; /* the lock is made */
    pthread_mutex_t lock;
    _Atomic unsigned long count; /* ever said; message n is at n % KEPT */
    char text[KEPT][TEXT_MAX + 1];
} * chat;

/* Of this worker. */
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

/* A worker that died with the lock has left the messages as they were: the count comes last. */
static void lock_chat(void)
{
    if (pthread_mutex_lock(&chat->lock) == EOWNERDEAD)
        pthread_mutex_consistent(&chat->lock);
}

static void unlock_chat(void)
{
    pthread_mutex_unlock(&chat->lock);
}

/* "number text" a line, from the oldest that is still there. The place of one more may hold half of
 * a message, whose worker was killed. */
static struct gcorn_body *news(struct gcorn_environ *env, unsigned long after)
{
    struct gcorn_body *body = gcorn_body_buffer(env);

    lock_chat();
    unsigned long oldest = chat->count > SHOWN ? chat->count - SHOWN : 0;
    for (unsigned long n = after > oldest ? after : oldest; n < chat->count; n++)
        gcorn_buffer_printf(body, "%lu %s\n", n + 1, chat->text[n % KEPT]);
    unlock_chat();
    return body;
}

static ssize_t next_news(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct poll *p = state;

    if (p->page)
        return gcorn_body_next(p->page, chunk);
    if (chat->count > p->after) {
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
    p->after = after ? strtoul(after, NULL, 10) : chat->count;
    if (p->after > chat->count)
        p->after = 0; /* of a chat that was before this one: the server was restarted */
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
    lock_chat();
    memcpy(chat->text[chat->count % KEPT], text, len + 1);
    unsigned long number = ++chat->count;
    unlock_chat();
    if (gcorn_publish("chat", "", 0) < 0)
        gcorn_log(env, GCORN_ERROR, "gcorn_publish: %s", strerror(errno));
    start(begin, "201 Created");
    return gcorn_body_printf(env, "%lu\n", number);
}

/* There is news, or (data NULL) this worker has missed that there was: all that wait look. */
static void on_news(const char *channel, const void *data, size_t len, void *arg)
{
    (void)channel;
    (void)data;
    (void)len;
    (void)arg;
    for (size_t i = 0; i < waiters.count; i++)
        gcorn_wake(waiters.tickets[i]); /* their next runs later, never from within this */
}

/* Robust: when a worker is killed with the lock, the next one that locks it is told. */
static void make_lock(void)
{
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&chat->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    chat->is_ready = true;
}

GCORN_EXPORT int gcorn_on_worker_init(void)
{
    bool fresh;

    if (gcorn_threads() > 1) {
        gcorn_log(NULL, GCORN_ERROR, "chat is not thread-safe: use --threads 1");
        return -1;
    }
    chat = gcorn_shared("chat 1", sizeof(*chat), &fresh);
    if (!chat || !gcorn_subscribe("chat", on_news, NULL)) {
        gcorn_log(NULL, GCORN_ERROR, "chat needs shared_memory and publish_buffer: %s",
                  strerror(errno));
        return -1;
    }
    if (fresh)
        make_lock();
    while (!chat->is_ready) /* another worker makes it at this moment */
        sched_yield();
    return 0;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct gcorn_header allow[] = {{"Allow", "GET, POST"}, {NULL, NULL}};
    const char *method = gcorn_get(env, "REQUEST_METHOD");

    if (strcmp(method, "GET") == 0)
        return poll_news(env, start_response);
    if (strcmp(method, "POST") == 0)
        return say(env, start_response);
    gcorn_start(start_response, "405 Method Not Allowed", allow);
    return gcorn_body_text(env, "");
}
