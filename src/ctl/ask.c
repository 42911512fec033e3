/* SPDX-License-Identifier: MIT
 *
 * See ask.h. A master that is well answers at once, so a short patience tells one that is not, but
 * for commands that take as long as they take. While one of those is waited for, a second
 * connection asks now and then whether the master is still there: one that was stopped, or is
 * stuck, keeps nobody waiting.
 */
#include "ctl/ask.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "base/util.h"

enum {
    ANSWER_MAX = 64 << 20,
    PATIENCE_MS = 10000,
    SILENCE_MS = 2000, /* then what takes long is asked for its pulse */
    PULSE_MS = 5000,   /* which it has when it answers within that */
};

/* The connected socket, or -1 with errno. */
static int reach(const char *path, uint64_t patience_ms)
{
    const struct timeval patience = {.tv_sec = (time_t)(patience_ms / 1000),
                                     .tv_usec = (suseconds_t)(patience_ms % 1000 * 1000)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int flags = SOCK_CLOEXEC | (patience_ms == 0 ? SOCK_NONBLOCK : 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | flags, 0);

    if (strlen(path) >= sizeof(un.sun_path)) {
        errno = ENAMETOOLONG;
        fd_close(&fd);
    }
    (void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    if (fd >= 0) /* a connection waits while the backlog is full; at worst for ever */
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
        fd_close(&fd);
    return fd;
}

int ask_begin(const char *path, const char *line, uint64_t patience_ms, struct error *err)
{
    int fd = reach(path, patience_ms);

    if (fd < 0)
        return error_set(err, EXIT_FAILED, "cannot reach the server at %s: %s", path,
                         errno == EAGAIN ? "it does not respond" : strerror(errno));
    char *text = xasprintf("%s\n", line);
    /* Who is refused is told so and not read: then the line meets a closed end. */
    (void)send(fd, text, strlen(text), MSG_NOSIGNAL);
    free(text);
    (void)fd_set_nonblock(fd); /* it can only fail for what is no descriptor */
    return fd;
}

int ask_more(int fd, struct strbuf *answer)
{
    ssize_t n;

    do {
        n = recv(fd, strbuf_grow(answer, 1 << 16), 1 << 16, MSG_DONTWAIT);
        if (n > 0)
            answer->len += (size_t)n;
        if (answer->len >= ANSWER_MAX)
            n = 0;
    } while (n > 0 || (n < 0 && errno == EINTR));
    if (n < 0 && errno == EAGAIN)
        return 1;
    if (answer->len == 0) {
        errno = n == 0 ? ECONNRESET : errno;
        return -1;
    }
    answer->data[answer->len] = '\0';
    return 0;
}

static bool has_pulse(const char *path)
{
    const struct question status = {.path = path, .line = "status", .timeout_ms = PULSE_MS};
    struct strbuf answer = {0};
    struct error err;
    bool has = ask(&status, &answer, &err) == 0;

    strbuf_release(&answer);
    return has;
}

/* Until something comes. 0, or -1 with errno. */
static int wait_for_more(const struct question *q, int fd, uint64_t deadline_ms)
{
    for (;;) {
        uint64_t now = now_ms(), rest = deadline_ms > now ? deadline_ms - now : 0;
        struct pollfd one = {.fd = fd, .events = POLLIN};
        int n = poll(&one, 1, rest < SILENCE_MS ? (int)rest : SILENCE_MS);

        if (n > 0 || (n < 0 && errno != EINTR))
            return n > 0 ? 0 : -1;
        if (now_ms() >= deadline_ms || (n == 0 && q->takes_long && !has_pulse(q->path))) {
            errno = EAGAIN;
            return -1;
        }
    }
}

int ask(const struct question *q, struct strbuf *answer, struct error *err)
{
    uint64_t patience_ms = q->timeout_ms > 0 ? q->timeout_ms : PATIENCE_MS;
    uint64_t deadline_ms =
        q->takes_long && q->timeout_ms == 0 ? UINT64_MAX : now_ms() + patience_ms;
    int fd = ask_begin(q->path, q->line, patience_ms, err), more;

    if (fd < 0)
        return -1;
    do {
        more = wait_for_more(q, fd, deadline_ms);
        if (more == 0)
            more = ask_more(fd, answer);
    } while (more > 0);
    if (more < 0)
        (void)error_set(err, EXIT_FAILED, "no answer from the server at %s: %s", q->path,
                        errno != EAGAIN                      ? strerror(errno)
                        : q->takes_long && q->timeout_ms > 0 ? "it takes longer"
                                                             : "it does not respond");
    fd_close(&fd);
    return more;
}
