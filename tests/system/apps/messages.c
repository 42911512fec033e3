/* SPDX-License-Identifier: MIT
 *
 * messages - workers that publish and subscribe. Each subscribes to "test" when it starts, and
 * counts in memory that all share, in a row for its worker number, what it gets there.
 *
 *   /pid              its pid
 *   /rows             all rows: "number pid received lost disorder torn" a line
 *   /publish          count=N messages of size=N bytes on channel=C (test); thread=1: by a thread.
 *                     The answer: how many, or the error
 *   /later            waits until this worker gets the next message: its text; stay=1: also while
 *                     the worker drains
 *   /subscribe        to channel=C, in this call: what comes is counted as on "test"; text=T stands
 *                     in front of the answer of /later. /unsubscribe: the latest of these
 *   /rate             a thread publishes rate=N messages a second of size=N bytes, for ms=N
 *   /latency          publishes count=N messages, one each ms=N: how long each took to reach the last of
 *                     the other workers, in microseconds
 *   /shared           adds 1 to the counter name=N, of size=N bytes: "count fresh", or the error
 *   /child            forks: what gcorn_publish, gcorn_subscribe and gcorn_shared say in the child
 *   /lag              ms=N: the next message keeps its callback for so long
 *
 * A message is "PID NUMBER " and then bytes by which it is known to be whole.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <gcorn.h>

enum { ROWS = 64, PUBLISHERS = 64, SIZE_MAX_ = 1 << 20, TICKETS = 100 };

struct row {
    _Atomic int pid;
    _Atomic unsigned long received, lost, disorder, torn, slowest_us;
};

static struct row *rows, *mine;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct gcorn_subscription *latest;
static uint64_t tickets[TICKETS];
static size_t ticket_count;
static char last[64];
static _Atomic unsigned last_number;
static _Atomic unsigned lag_ms;
static _Atomic unsigned long published;

/* The last number of each publisher. */
static struct {
    int pid;
    unsigned long number;
} publishers[PUBLISHERS];

static uint64_t now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void pause_us(uint64_t us)
{
    struct timespec t = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000 * 1000)};

    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        continue;
}

/* ---- messages ---------------------------------------------------------------------------- */

static int publish(const char *channel, size_t size, char *buffer)
{
    unsigned long number = atomic_fetch_add(&published, 1) + 1;
    int head = snprintf(buffer, size + 64, "%d %lu %llu ", (int)getpid(), number,
                        (unsigned long long)now_us());

    if ((size_t)head < size)
        memset(buffer + head, 'a' + (int)(number % 26), size - (size_t)head);
    return gcorn_publish(channel, buffer, (size_t)head < size ? size : (size_t)head);
}

static void note_order(int pid, unsigned long number)
{
    size_t i = 0;

    while (i < PUBLISHERS - 1 && publishers[i].pid != 0 && publishers[i].pid != pid)
        i++;
    if (publishers[i].pid == pid && number <= publishers[i].number)
        mine->disorder++;
    publishers[i].pid = pid;
    publishers[i].number = number;
}

static void check(const char *data, size_t len)
{
    unsigned long number;
    unsigned long long at_us;
    int pid, head = 0;

    if (sscanf(data, "%d %lu %llu %n", &pid, &number, &at_us, &head) != 3 || head == 0) {
        mine->torn++;
        return;
    }
    for (size_t i = (size_t)head; i < len; i++) {
        if (data[i] != (char)('a' + number % 26)) {
            mine->torn++;
            return;
        }
    }
    if (data[len] != '\0')
        mine->torn++;
    note_order(pid, number);
    unsigned long us = (unsigned long)(now_us() - at_us);
    if (us > mine->slowest_us)
        mine->slowest_us = us;
}

static void on_message(const char *channel, const void *data, size_t len, void *arg)
{
    unsigned ms = atomic_exchange(&lag_ms, 0);

    if (ms > 0)
        pause_us(ms * 1000);
    if (!data) {
        mine->lost += len;
        return;
    }
    mine->received++;
    check(data, len);
    (void)pthread_mutex_lock(&lock);
    (void)snprintf(last, sizeof(last), "%s%s", arg ? (const char *)arg : "", channel);
    atomic_fetch_add(&last_number, 1);
    for (; ticket_count > 0; ticket_count--)
        gcorn_wake(tickets[ticket_count - 1]);
    (void)pthread_mutex_unlock(&lock);
}

GCORN_EXPORT int gcorn_on_worker_init(void)
{
    const char *channel = getenv("SUBSCRIBE");

    rows = gcorn_shared("rows", ROWS * sizeof(*rows), NULL);
    static struct row own[ROWS];
    if (!rows)
        rows = own; /* shared_memory is 0 */
    mine = &rows[gcorn_worker_number()];
    mine->pid = (int)getpid();
    mine->received = mine->lost = mine->disorder = mine->torn = mine->slowest_us = 0;
    if (channel && strcmp(channel, "none") == 0)
        return 0;
    if (gcorn_subscribe("test", on_message, NULL) || errno == ENOTSUP)
        return 0;
    gcorn_log(NULL, GCORN_ERROR, "gcorn_subscribe: %s", strerror(errno));
    return -1;
}

/* ---- requests ---------------------------------------------------------------------------- */

static unsigned long number_of(struct gcorn_environ *env, const char *name, unsigned long other)
{
    const char *text = gcorn_query(env, name);

    return text ? strtoul(text, NULL, 10) : other;
}

static const char *text_of(struct gcorn_environ *env, const char *name, const char *other)
{
    const char *text = gcorn_query(env, name);

    return text ? text : other;
}

struct job {
    char channel[80];
    size_t size;
    unsigned long count, rate, ms;
    int error;
    unsigned long done;
};

static void *publish_all(void *arg)
{
    struct job *j = arg;
    char *buffer = malloc(j->size + 128);

    for (j->done = 0; j->done < j->count; j->done++) {
        if (publish(j->channel, j->size, buffer) < 0) {
            j->error = errno;
            break;
        }
    }
    free(buffer);
    return NULL;
}

static struct job job_of(struct gcorn_environ *env)
{
    struct job j = {.size = number_of(env, "size", 100),
                    .count = number_of(env, "count", 1),
                    .rate = number_of(env, "rate", 1000),
                    .ms = number_of(env, "ms", 1000)};

    (void)snprintf(j.channel, sizeof(j.channel), "%s", text_of(env, "channel", "test"));
    return j;
}

static struct gcorn_body *publish_now(struct gcorn_environ *env)
{
    struct job j = job_of(env);
    pthread_t thread;

    if (gcorn_query(env, "thread")) {
        if (pthread_create(&thread, NULL, publish_all, &j) != 0)
            return NULL;
        (void)pthread_join(thread, NULL);
    } else {
        (void)publish_all(&j);
    }
    if (j.error != 0)
        return gcorn_body_text(env, gcorn_printf(env, "%s", strerrorname_np(j.error)));
    return gcorn_body_text(env, gcorn_printf(env, "%lu", j.done));
}

/* A tick a millisecond. */
static void *publish_at_rate(void *arg)
{
    struct job *j = arg;
    char *buffer = malloc(j->size + 128);
    uint64_t begun = now_us(), all = j->rate * j->ms / 1000;

    while (j->done < all) {
        uint64_t due = (now_us() - begun) * j->rate / 1000000;

        for (; j->done < due && j->done < all; j->done++)
            (void)publish(j->channel, j->size, buffer);
        pause_us(1000);
    }
    free(buffer);
    free(j);
    return NULL;
}

static struct gcorn_body *begin_rate(struct gcorn_environ *env)
{
    struct job *j = malloc(sizeof(*j));
    pthread_t thread;

    *j = job_of(env);
    if (pthread_create(&thread, NULL, publish_at_rate, j) != 0)
        return NULL;
    (void)pthread_detach(thread);
    return gcorn_body_text(env, "begun");
}

/* What the other workers have received. */
static bool have_all(const unsigned long before[ROWS])
{
    for (int i = 0; i < ROWS; i++) {
        if (rows[i].pid != 0 && &rows[i] != mine && rows[i].received == before[i])
            return false;
    }
    return true;
}

static struct gcorn_body *measure_latency(struct gcorn_environ *env)
{
    struct gcorn_body *body = gcorn_body_buffer(env);
    struct job j = job_of(env);
    char buffer[256];

    gcorn_extend_deadline(env, 600000);
    for (; j.done < j.count; j.done++) {
        unsigned long before[ROWS];

        pause_us(j.ms * 1000);
        for (int i = 0; i < ROWS; i++)
            before[i] = rows[i].received;
        uint64_t begun = now_us();
        if (publish(j.channel, 100, buffer) < 0)
            return NULL;
        while (!have_all(before))
            (void)sched_yield();
        gcorn_buffer_printf(body, "%llu\n", (unsigned long long)(now_us() - begun));
    }
    return body;
}

static struct gcorn_body *show_rows(struct gcorn_environ *env)
{
    struct gcorn_body *body = gcorn_body_buffer(env);

    for (int i = 0; i < ROWS; i++) {
        const struct row *r = &rows[i];

        if (r->pid != 0)
            gcorn_buffer_printf(body, "%d %d %lu %lu %lu %lu %lu\n", i, r->pid, r->received, r->lost,
                         r->disorder, r->torn, r->slowest_us);
    }
    return body;
}

struct later {
    unsigned seen;
    bool done, stays;
    char text[64];
};

static ssize_t next_later(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct later *l = state;

    (void)env;
    if (l->done)
        return 0;
    if (atomic_load(&last_number) == l->seen && (l->stays || !gcorn_draining()))
        return GCORN_AGAIN;
    (void)pthread_mutex_lock(&lock);
    (void)snprintf(l->text, sizeof(l->text), "%s", last);
    (void)pthread_mutex_unlock(&lock);
    l->done = true;
    *chunk = l->text;
    return (ssize_t)strlen(l->text);
}

static struct gcorn_body *wait_for_message(struct gcorn_environ *env)
{
    struct later *l = gcorn_alloc(env, sizeof(*l));

    l->stays = gcorn_query(env, "stay") != NULL;
    (void)pthread_mutex_lock(&lock);
    l->seen = atomic_load(&last_number);
    if (ticket_count < TICKETS)
        tickets[ticket_count++] = gcorn_ticket(env);
    (void)pthread_mutex_unlock(&lock);
    return gcorn_body_iter(env, next_later, NULL, l);
}

static struct gcorn_body *subscribe(struct gcorn_environ *env)
{
    static char text[64];

    (void)snprintf(text, sizeof(text), "%s", text_of(env, "text", ""));
    struct gcorn_subscription *s =
        gcorn_subscribe(text_of(env, "channel", "test"), on_message, text);
    if (!s)
        return gcorn_body_text(env, strerrorname_np(errno));
    latest = s;
    return gcorn_body_text(env, "subscribed");
}

static struct gcorn_body *unsubscribe(struct gcorn_environ *env)
{
    gcorn_unsubscribe(latest);
    latest = NULL;
    return gcorn_body_text(env, "unsubscribed");
}

static struct gcorn_body *count_shared(struct gcorn_environ *env)
{
    bool fresh = false;
    _Atomic unsigned long *counter = gcorn_shared(
        text_of(env, "name", "counter"), number_of(env, "size", sizeof(unsigned long)), &fresh);

    if (!counter)
        return gcorn_body_text(env, strerrorname_np(errno));
    return gcorn_body_text(env, gcorn_printf(env, "%lu %s", atomic_fetch_add(counter, 1) + 1,
                                             fresh ? "fresh" : "old"));
}

static struct gcorn_body *ask_child(struct gcorn_environ *env)
{
    char text[100] = "";
    int ends[2], status;

    if (pipe(ends) < 0)
        return NULL;
    pid_t pid = fork();
    if (pid == 0) {
        mine->received += 1000; /* the application's own memory stays shared */
        int sent = gcorn_publish("test", "x", 1), reason = errno;
        int len = snprintf(text, sizeof(text), "%d %s", sent, strerrorname_np(reason));
        len += snprintf(text + len, sizeof(text) - (size_t)len, " %s %s",
                        gcorn_subscribe("test", on_message, NULL) ? "yes" : "no",
                        gcorn_shared("new", 8, NULL) ? "yes" : "no");
        _exit(write(ends[1], text, (size_t)len) == len ? 0 : 1);
    }
    (void)waitpid(pid, &status, 0);
    ssize_t n = read(ends[0], text, sizeof(text) - 1);
    (void)close(ends[0]);
    (void)close(ends[1]);
    text[n > 0 ? n : 0] = '\0';
    return gcorn_body_text(env, gcorn_printf(env, "%s", text));
}

static struct gcorn_body *set_lag(struct gcorn_environ *env)
{
    atomic_store(&lag_ms, (unsigned)number_of(env, "ms", 100));
    return gcorn_body_text(env, "set");
}

static struct gcorn_body *show_pid(struct gcorn_environ *env)
{
    return gcorn_body_text(env, gcorn_printf(env, "%d", (int)getpid()));
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct {
        const char *path;
        struct gcorn_body *(*run)(struct gcorn_environ *env);
    } pages[] = {{"/pid", show_pid},           {"/rows", show_rows},
                 {"/publish", publish_now},    {"/later", wait_for_message},
                 {"/subscribe", subscribe},    {"/unsubscribe", unsubscribe},
                 {"/rate", begin_rate},        {"/shared", count_shared},
                 {"/latency", measure_latency},
                 {"/child", ask_child},        {"/lag", set_lag}};
    const char *path = gcorn_get(env, "PATH_INFO");

    gcorn_start(start_response, "200 OK", NULL);
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (strcmp(path, pages[i].path) == 0)
            return pages[i].run(env);
    }
    return NULL;
}
