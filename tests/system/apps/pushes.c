/* SPDX-License-Identifier: MIT
 *
 * What a handler pushes (gcorn_send). The path is a list of letters, each a step of the handler; a
 * number before a letter, how often or how much:
 *
 *   s  gcorn_start with 200       c  with that Content-Length      n  204      m  304
 *   h  the head alone             i  that many items of 100 bytes  z  that many KiB at once
 *   w  waits for that many ms     W  waits until the file NAME.go is there
 *   x  returns NULL               X  crashes                       t  returns "tail"
 *   u  returns an iterator that pushes, too, and yields "iter"     f  returns a file of "file"
 *   D  pushes a dot each millisecond until the worker drains        N  sends NULL
 *
 * ?name=NAME writes what each gcorn_send that failed said, and what the request ended with, to
 * NAME.said. Without t, u, f and x it returns "". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <gcorn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static void say(struct gcorn_environ *env, const char *what)
{
    const char *name = gcorn_query(env, "name");
    int fd =
        name ? open(gcorn_printf(env, "%s.said", name), O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;

    if (fd < 0)
        return;
    (void)!write(fd, gcorn_printf(env, "%s\n", what), strlen(what) + 1);
    (void)close(fd);
}

static void pause_ms(unsigned long ms)
{
    const struct timespec t = {.tv_sec = (time_t)(ms / 1000),
                               .tv_nsec = (long)(ms % 1000) * 1000000};

    (void)nanosleep(&t, NULL);
}

static bool push(struct gcorn_environ *env, const void *data, size_t len)
{
    if (gcorn_send(env, data, len) == 0)
        return true;
    say(env, errno == ECONNRESET  ? "ECONNRESET"
             : errno == ESHUTDOWN ? "ESHUTDOWN"
             : errno == EINVAL    ? "EINVAL"
                                  : "another error");
    return false;
}

static void push_items(struct gcorn_environ *env, unsigned long count)
{
    char item[101];

    for (unsigned long i = 0; i < count; i++) {
        (void)snprintf(item, sizeof(item), "%099lu\n", i);
        if (!push(env, item, 100) && (errno == ECONNRESET || errno == ESHUTDOWN))
            return;
    }
}

static void push_large(struct gcorn_environ *env, unsigned long kib)
{
    size_t len = kib * 1024;
    char *bytes = gcorn_alloc(env, len + 1);

    memset(bytes, 'z', len);
    (void)push(env, bytes, len);
}

static ssize_t next_push(struct gcorn_environ *env, void *state, const void **chunk)
{
    bool *done = state;

    (void)push(env, "from next", 9);
    *chunk = "iter";
    return *done ? 0 : (*done = true, 4);
}

static struct gcorn_body *file_body(struct gcorn_environ *env)
{
    int fd = memfd_create("file", MFD_CLOEXEC);

    (void)!write(fd, "file", 4);
    return gcorn_body_file(env, fd, 0, -1);
}

static void start(struct gcorn_environ *env, struct gcorn_start_response *start_response,
                  const char *status, unsigned long length)
{
    struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}, {NULL, NULL}};

    if (length != 0)
        headers[1] = (struct gcorn_header){"Content-Length", gcorn_printf(env, "%lu", length)};
    if (gcorn_start(start_response, status, headers) < 0)
        say(env, errno == EALREADY ? "start: EALREADY" : "start: EINVAL");
}

static void wait_for_file(struct gcorn_environ *env)
{
    const char *path = gcorn_printf(env, "%s.go", gcorn_query(env, "name"));

    say(env, "waits");
    while (access(path, F_OK) < 0)
        pause_ms(1);
}

static void step(struct gcorn_environ *env, struct gcorn_start_response *start_response,
                 char letter, unsigned long n)
{
    switch (letter) {
    case 's': start(env, start_response, "200 OK", 0); break;
    case 'c': start(env, start_response, "200 OK", n); break;
    case 'n': start(env, start_response, "204 No Content", 0); break;
    case 'm': start(env, start_response, "304 Not Modified", 0); break;
    case 'h': (void)push(env, NULL, 0); break;
    case 'i': push_items(env, n); break;
    case 'z': push_large(env, n); break;
    case 'w': pause_ms(n); break;
    case 'W': wait_for_file(env); break;
    case 'N': (void)push(env, NULL, 5); break;
    case 'X': abort();
    case 'D':
        while (!gcorn_draining() && push(env, ".", 1))
            pause_ms(1);
        break;
    default: break;
    }
}

static struct gcorn_body *result(struct gcorn_environ *env, char letter)
{
    bool *done = gcorn_alloc(env, sizeof(*done));

    switch (letter) {
    case 'x': return NULL;
    case 't': return gcorn_body_text(env, "tail");
    case 'u': return gcorn_body_iter(env, next_push, NULL, done);
    case 'f': return file_body(env);
    default: return gcorn_body_text(env, "");
    }
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *p = gcorn_get(env, "PATH_INFO") + 1;
    char letter = '\0';

    while (*p != '\0') {
        char *end;
        unsigned long n = strtoul(p, &end, 10);

        letter = *end;
        step(env, start_response, letter, n);
        p = letter != '\0' ? end + 1 : end;
    }
    say(env, "returns");
    return result(env, letter);
}

GCORN_EXPORT
void gcorn_on_post_request(struct gcorn_environ *env)
{
    say(env, gcorn_printf(env, "sent %s", gcorn_get(env, "gcorn.bytes_sent")));
}
