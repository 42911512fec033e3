/* SPDX-License-Identifier: MIT
 *
 * See ask.h. A healthy master answers at once, so a short timeout finds one that hangs. Commands
 * that take long have none: while gcornctl waits for one, it asks for the status over a second
 * connection, and gives up when the master does not answer that.
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
    TIMEOUT_MS = 10000,
    PROBE_EVERY_MS = 2000,   /* while a command takes long */
    PROBE_TIMEOUT_MS = 5000, /* the master hangs when it does not answer a probe within that */
};

/* Returns a connected socket, or -1 with errno. */
static int connect_to(const char *path, uint64_t timeout_ms)
{
    const struct timeval timeout = {.tv_sec = (time_t)(timeout_ms / 1000),
                                    .tv_usec = (suseconds_t)(timeout_ms % 1000 * 1000)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int flags = SOCK_CLOEXEC | (timeout_ms == 0 ? SOCK_NONBLOCK : 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | flags, 0);

    if (strlen(path) >= sizeof(un.sun_path)) {
        errno = ENAMETOOLONG;
        fd_close(&fd);
    }
    (void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    if (fd >= 0) /* connect(2) waits while the backlog is full */
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
        fd_close(&fd);
    return fd;
}

int ask_begin(const char *path, const char *line, uint64_t timeout_ms, struct error *err)
{
    int fd = connect_to(path, timeout_ms);

    if (fd < 0)
        return error_set(err, EXIT_FAILED, "cannot reach the server at %s: %s", path,
                         errno == EAGAIN ? "it does not respond" : strerror(errno));
    char *text = xasprintf("%s\n", line);
    /* Fails when the master refuses this user: it has answered and closed without reading. */
    (void)send(fd, text, strlen(text), MSG_NOSIGNAL);
    free(text);
    (void)fd_set_nonblock(fd); /* cannot fail: it is open */
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

static bool master_answers(const char *path)
{
    const struct question status = {.path = path, .line = "status", .timeout_ms = PROBE_TIMEOUT_MS};
    struct strbuf answer = {0};
    struct error err;
    bool has = ask(&status, &answer, &err) == 0;

    strbuf_release(&answer);
    return has;
}

/* Waits for bytes or the end. Returns 0, or -1 with errno. */
static int wait_for_more(const struct question *q, int fd, uint64_t deadline_ms)
{
    for (;;) {
        uint64_t now = now_ms(), rest = deadline_ms > now ? deadline_ms - now : 0;
        struct pollfd one = {.fd = fd, .events = POLLIN};
        int n = poll(&one, 1, rest < PROBE_EVERY_MS ? (int)rest : PROBE_EVERY_MS);

        if (n > 0 || (n < 0 && errno != EINTR))
            return n > 0 ? 0 : -1;
        if (now_ms() >= deadline_ms || (n == 0 && q->takes_long && !master_answers(q->path))) {
            errno = EAGAIN;
            return -1;
        }
    }
}

int ask(const struct question *q, struct strbuf *answer, struct error *err)
{
    uint64_t timeout_ms = q->timeout_ms > 0 ? q->timeout_ms : TIMEOUT_MS;
    uint64_t deadline_ms = q->takes_long && q->timeout_ms == 0 ? UINT64_MAX : now_ms() + timeout_ms;
    int fd = ask_begin(q->path, q->line, timeout_ms, err), more;

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
                        : q->takes_long && q->timeout_ms > 0 ? "it takes longer than --timeout"
                                                             : "it does not respond");
    fd_close(&fd);
    return more;
}
