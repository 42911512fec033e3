/* SPDX-License-Identifier: MIT
 *
 * See output.h. Each event reads once, so that a worker that prints without end cannot keep the
 * master busy.
 */
#include "master/postmortem/output.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/utf8.h"
#include "base/util.h"

enum {
    PIECE_MAX = 3840,  /* of a longer line: fits in a log line with its prefix */
    READS_AT_END = 32, /* more than a pipe holds */
};

struct output {
    int fd;
    pid_t pid;
    struct ev_loop *loop; /* NULL: not watched */
    struct ev_io io;
    size_t len;
    char text[PIECE_MAX]; /* the beginning of a line */
};

struct output *output_new(int *worker_fd)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return NULL;
    if (fd_set_nonblock(ends[0]) < 0) {
        fd_close(&ends[0]);
        fd_close(&ends[1]);
        return NULL;
    }
    struct output *o = xcalloc(1, sizeof(*o));
    o->fd = ends[0];
    *worker_fd = ends[1];
    return o;
}

int output_redirect(int worker_fd)
{
    int result = dup2(worker_fd, STDOUT_FILENO) < 0 || dup2(worker_fd, STDERR_FILENO) < 0 ? -1 : 0;

    fd_close(&worker_fd);
    return result;
}

/* Logs one line; empty lines are skipped. */
static void log_line(const struct output *o, const char *line, size_t len)
{
    if (len > 0 && line[len - 1] == '\r')
        len--;
    if (len > 0)
        log_output(o->pid, line, len);
}

/* Logs all complete lines; of a line that fills the buffer, the part that is there. */
static void log_lines(struct output *o)
{
    size_t done = 0;
    const char *end;

    while ((end = memchr(o->text + done, '\n', o->len - done))) {
        size_t len = (size_t)(end - o->text) - done;

        log_line(o, o->text + done, len);
        done += len + 1;
    }
    if (done == 0 && o->len == sizeof(o->text)) {
        done = utf8_whole(o->text, o->len);
        log_line(o, o->text, done);
    }
    o->len -= done;
    memmove(o->text, o->text + done, o->len);
}

/* Reads once. False: nothing more can be read now, or the pipe has ended. */
static bool read_some(struct output *o)
{
    assert(o->len < sizeof(o->text)); /* with no room, read(2) would look like the end */
    ssize_t n = read(o->fd, o->text + o->len, sizeof(o->text) - o->len);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) { /* the application has closed it */
        if (o->loop)
            ev_io_stop(o->loop, &o->io);
        return false;
    }
    o->len += (size_t)n;
    log_lines(o);
    return true;
}

static void on_output(struct ev_loop *loop, struct ev_io *io, int revents)
{
    (void)loop;
    (void)revents;
    (void)read_some(io->data);
}

void output_watch(struct output *o, struct ev_loop *loop, pid_t pid)
{
    assert(!o->loop && pid > 0);
    o->pid = pid;
    o->loop = loop;
    ev_io_init(&o->io, on_output, o->fd, EV_READ);
    o->io.data = o;
    ev_io_start(loop, &o->io);
}

void output_take(struct output *o)
{
    if (!o)
        return;
    for (int i = 0; i < READS_AT_END && read_some(o); i++)
        continue;
    log_line(o, o->text, o->len); /* a last line without a newline */
    o->len = 0;
}

void output_end(struct output *o)
{
    if (!o)
        return;
    output_take(o);
    if (o->loop)
        ev_io_stop(o->loop, &o->io);
    fd_close(&o->fd);
    free(o);
}
