/* SPDX-License-Identifier: MIT
 *
 * waits - answers that wait, and files, one way a path. What becomes of a body called name=N is
 * appended to the file N.said: "closed", "deferred", one line each.
 *
 *   /wait?name=N      answers "woken" after /wake?name=N; starts its answer only then (&early=1:
 *                     at once)
 *   /stream?name=N    "begun", then a line at each wake; ends when the worker drains
 *   /late?name=N      the same, without the first line; starts its answer at once
 *   /endless?name=N   like /stream, and ignores that the worker drains
 *   /flood?name=N     never waits and never ends
 *   /wake?name=N      wakes the newest of that name: "yes" or "no"
 *   /crowd?ms=N       answers "woken" after /shout, in a call that takes so long
 *   /shout            wakes all of the crowd in a row, by their &rank=N and then as they came
 *   /again?times=N    is asked N times in a row before it answers
 *   /alarm?ms=N       waits so long by gcorn_wake_at: how long it was
 *   /thread           a thread wakes it
 *   /early            a thread wakes it while next still runs
 *   /file?name=F      the file, from offset, len bytes
 *   /shrink?name=F    the same, and cuts the file to half its length before it is sent
 *   /piped            the file of a pipe: how gcorn_body_file fails; is the descriptor closed?
 *   /gone?name=N      waits in the call until the client has left, then says so
 *   /extend?ms=N      asks for so much time, then for less, and takes half of it
 *   /endure?ms=N      lasts so long, and asks all the while for as much time as there is
 *   /fill             a body of 8 KiB, at once
 *   /busy             a call that never ends
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <gcorn.h>

struct wait {
    struct gcorn_start_response *start;
    const char *name;
    bool started, begun, late, endless, is_stream, floods;
    uint64_t wakes_seen;
    uint64_t since, until;
    unsigned times;
    char line[64];
};

/* Waits by name; a name's newest counts. Calls may run in several threads. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    char name[32];
    uint64_t ticket, wakes;
} waits[64];
static size_t wait_count;

static size_t find(const char *name)
{
    size_t i = 0;

    while (i < wait_count && strcmp(waits[i].name, name) != 0)
        i++;
    return i;
}

/* Those whom one call wakes; kept, for each may have left. */
static struct {
    uint64_t ticket;
    unsigned rank;
} crowd[256];
static size_t crowd_count;
static uint64_t shouts;

static const char filler[64 * 1024];

static void sleep_ms(unsigned ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

    nanosleep(&time, NULL);
}

static void say(const char *name, const char *what)
{
    char path[64];

    snprintf(path, sizeof(path), "%s.said", name);
    FILE *f = fopen(path, "a");
    if (f) {
        fprintf(f, "%s\n", what);
        fclose(f);
    }
}

static void ok(struct gcorn_start_response *start)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};

    gcorn_start(start, "200 OK", headers);
}

static ssize_t finish(struct wait *w, const void **chunk)
{
    if (w->begun && !w->is_stream)
        return 0;
    if (!w->started)
        ok(w->start);
    w->started = w->begun = true;
    *chunk = w->line;
    return (ssize_t)strlen(w->line);
}

static void close_wait(struct gcorn_environ *env, void *state)
{
    struct wait *w = state;

    pthread_mutex_lock(&lock);
    size_t i = w->name ? find(w->name) : wait_count;
    if (i < wait_count && waits[i].ticket == gcorn_ticket(env))
        waits[i].ticket = 0;
    pthread_mutex_unlock(&lock);
    if (w->name)
        say(w->name, "closed");
}

static void deferred(void *arg)
{
    say(arg, "deferred");
}

static ssize_t next_named(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct wait *w = state;

    (void)env;
    pthread_mutex_lock(&lock);
    uint64_t wakes = waits[find(w->name)].wakes;
    pthread_mutex_unlock(&lock);
    if (w->floods) {
        *chunk = filler;
        return sizeof(filler);
    }
    if (w->is_stream && gcorn_draining() && !w->endless)
        return 0;
    if (w->is_stream && !w->begun && !w->late) {
        strcpy(w->line, "begun\n");
        return finish(w, chunk);
    }
    if (w->wakes_seen == wakes)
        return w->begun && !w->is_stream ? 0 : GCORN_AGAIN;
    w->wakes_seen = wakes;
    strcpy(w->line, "woken\n");
    return finish(w, chunk);
}

static unsigned number(struct gcorn_environ *env, const char *name, unsigned otherwise)
{
    const char *text = gcorn_query(env, name);

    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static struct gcorn_body *named(struct gcorn_environ *env, struct wait *w)
{
    pthread_mutex_lock(&lock);
    size_t i = find(w->name);
    if (i == wait_count && wait_count < 64)
        wait_count++;
    snprintf(waits[i].name, sizeof(waits[i].name), "%s", w->name);
    waits[i].ticket = gcorn_ticket(env);
    w->wakes_seen = waits[i].wakes;
    pthread_mutex_unlock(&lock);
    if (w->late || number(env, "early", 0)) {
        ok(w->start);
        w->started = true;
    }
    gcorn_defer(env, deferred, (void *)(uintptr_t)w->name);
    return gcorn_body_iter(env, next_named, close_wait, w);
}

static const char *wake(struct gcorn_environ *env)
{
    uint64_t ticket = 0;

    pthread_mutex_lock(&lock);
    size_t i = find(gcorn_query(env, "name"));
    if (i < wait_count) {
        waits[i].wakes++;
        ticket = waits[i].ticket;
    }
    pthread_mutex_unlock(&lock);
    if (ticket == 0)
        return "no";
    gcorn_wake(ticket);
    gcorn_wake(ticket);
    return "yes";
}

static const char *shout(void)
{
    pthread_mutex_lock(&lock);
    shouts++;
    for (unsigned rank = 0; rank < 3; rank++) {
        for (size_t i = 0; i < crowd_count; i++) {
            if (crowd[i].rank == rank)
                gcorn_wake(crowd[i].ticket);
        }
    }
    pthread_mutex_unlock(&lock);
    return "shouted";
}

static ssize_t next_of_crowd(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct wait *w = state;

    (void)env;
    pthread_mutex_lock(&lock);
    bool is_woken = shouts > w->wakes_seen;
    pthread_mutex_unlock(&lock);
    if (!is_woken)
        return GCORN_AGAIN;
    if (!w->begun)
        sleep_ms(w->times);
    strcpy(w->line, "woken\n");
    return finish(w, chunk);
}

static struct gcorn_body *join_crowd(struct gcorn_environ *env, struct wait *w)
{
    w->times = number(env, "ms", 0);
    pthread_mutex_lock(&lock);
    w->wakes_seen = shouts;
    if (crowd_count < sizeof(crowd) / sizeof(crowd[0])) {
        crowd[crowd_count].ticket = gcorn_ticket(env);
        crowd[crowd_count++].rank = number(env, "rank", 0);
    }
    pthread_mutex_unlock(&lock);
    return gcorn_body_iter(env, next_of_crowd, NULL, w);
}

static ssize_t next_again(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct wait *w = state;

    if (w->times == 0 || w->begun)
        return finish(w, chunk);
    snprintf(w->line, sizeof(w->line), "%u left\n", --w->times);
    gcorn_wake(gcorn_ticket(env));
    return GCORN_AGAIN;
}

static ssize_t next_alarm(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct wait *w = state;

    if (gcorn_now() >= w->until) {
        if (!w->begun)
            snprintf(w->line, sizeof(w->line), "%d ms\n", (int)(gcorn_now() - w->since));
        return finish(w, chunk);
    }
    gcorn_wake_at(env, w->since + 60000);
    gcorn_wake_at(env, w->until);
    return GCORN_AGAIN;
}

static void *wake_later(void *arg)
{
    uint64_t *ticket = arg;

    sleep_ms(20);
    gcorn_wake(*ticket);
    free(ticket);
    return NULL;
}

static void start_thread(uint64_t ticket, void *(*fn)(void *))
{
    uint64_t *copy = malloc(sizeof(*copy));
    pthread_t thread;

    *copy = ticket;
    if (pthread_create(&thread, NULL, fn, copy) == 0)
        pthread_detach(thread);
}

static ssize_t next_thread(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct wait *w = state;

    if (w->times++ == 0) {
        start_thread(gcorn_ticket(env), wake_later);
        if (w->until)
            sleep_ms(60); /* the wake comes meanwhile */
        return GCORN_AGAIN;
    }
    strcpy(w->line, "by a thread\n");
    return finish(w, chunk);
}

static struct gcorn_body *file(struct gcorn_environ *env, struct gcorn_start_response *start,
                               bool shrinks)
{
    const char *name = gcorn_query(env, "name"), *len = gcorn_query(env, "len");
    const char *promise = gcorn_query(env, "promise");
    const struct gcorn_header promised[] = {{"Content-Length", promise}, {NULL, NULL}};
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    struct gcorn_body *body =
        gcorn_body_file(env, fd, number(env, "offset", 0), len ? strtoll(len, NULL, 10) : -1);

    if (!body) {
        ok(start);
        return gcorn_body_text(env, gcorn_printf(env, "%s", strerror(errno)));
    }
    gcorn_start(start, "200 OK", promise ? promised : NULL);
    if (shrinks && truncate(name, gcorn_body_len(body) / 2) < 0)
        return NULL;
    return body;
}

static const char *piped(struct gcorn_environ *env)
{
    int ends[2];

    if (pipe(ends) < 0)
        return "no pipe";
    bool failed = !gcorn_body_file(env, ends[0], 0, -1) && errno == EINVAL;
    bool closed = fcntl(ends[0], F_GETFD) < 0;
    close(ends[1]);
    return failed && closed ? "refused and closed" : "?";
}

static const char *until_gone(struct gcorn_environ *env)
{
    const char *name = gcorn_query(env, "name");

    say(name, "waiting");
    while (!gcorn_client_gone(env))
        sleep_ms(1);
    say(name, "gone");
    return "";
}

static const char *extend(struct gcorn_environ *env)
{
    unsigned ms = number(env, "ms", 0);

    gcorn_extend_deadline(env, ms);
    gcorn_extend_deadline(env, 1);
    sleep_ms(ms / 2);
    return "done";
}

static const char *endure(struct gcorn_environ *env)
{
    uint64_t until = gcorn_now() + number(env, "ms", 0);

    while (gcorn_now() < until) {
        gcorn_extend_deadline(env, UINT_MAX);
        usleep(100);
    }
    return "done";
}

static const char *text_of(struct gcorn_environ *env, const char *path)
{
    if (strcmp(path, "/wake") == 0)
        return wake(env);
    if (strcmp(path, "/shout") == 0)
        return shout();
    if (strcmp(path, "/piped") == 0)
        return piped(env);
    if (strcmp(path, "/gone") == 0)
        return until_gone(env);
    if (strcmp(path, "/extend") == 0)
        return extend(env);
    if (strcmp(path, "/endure") == 0)
        return endure(env);
    while (strcmp(path, "/busy") == 0)
        sleep_ms(1000);
    return gcorn_printf(env, "%d", (int)getpid());
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO");
    struct wait *w = gcorn_alloc(env, sizeof(*w));

    w->start = start_response;
    w->name = gcorn_query(env, "name");
    w->since = gcorn_now();
    w->endless = strcmp(path, "/endless") == 0;
    w->late = strcmp(path, "/late") == 0;
    w->is_stream = w->endless || w->late || strcmp(path, "/stream") == 0;
    w->floods = strcmp(path, "/flood") == 0;
    if (w->floods)
        ok(start_response);
    if (w->is_stream || w->floods || strcmp(path, "/wait") == 0)
        return named(env, w);
    if (strcmp(path, "/crowd") == 0)
        return join_crowd(env, w);
    if (strcmp(path, "/again") == 0) {
        w->times = number(env, "times", 1);
        return gcorn_body_iter(env, next_again, NULL, w);
    }
    if (strcmp(path, "/alarm") == 0) {
        w->until = w->since + number(env, "ms", 1);
        return gcorn_body_iter(env, next_alarm, NULL, w);
    }
    w->until = strcmp(path, "/early") == 0;
    if (w->until || strcmp(path, "/thread") == 0)
        return gcorn_body_iter(env, next_thread, NULL, w);
    if (strcmp(path, "/file") == 0 || strcmp(path, "/shrink") == 0)
        return file(env, start_response, strcmp(path, "/shrink") == 0);
    ok(start_response);
    if (strcmp(path, "/fill") == 0)
        return gcorn_body_bytes(env, filler, 8 * 1024);
    return gcorn_body_text(env, text_of(env, path));
}
