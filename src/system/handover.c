/* SPDX-License-Identifier: MIT
 *
 * See handover.h. The record in its memfd:
 *
 *   struct header, sockets, fds        for ever: header_size and socket_size tell where a later
 *                                      version has more fields behind these
 *   struct body, procs, ledger         of VERSION
 */
#include "system/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "system/listener.h"

enum { VERSION = 2, FIRST_PASSED_FD = 3, RECORD_MAX = 64 << 20 };

static const char variable[] = "GCORN_HANDOVER";
static const char magic[8] = "gcornho";

struct header {
    char magic[8];
    uint32_t version;
    uint32_t header_size;
    uint32_t kind;
    int32_t pid;
    int32_t report_fd;
    uint32_t socket_size;
    uint32_t socket_count;
    uint32_t fd_count;
    /* since version 2 */
    uint32_t client_count;
};

enum { HEADER_SIZE_MIN = offsetof(struct header, client_count) };

struct body {
    uint32_t body_size;
    uint32_t proc_size;
    uint32_t generation;
    int32_t scoreboard_fd;
    struct handover_limits limits;
    uint32_t proc_count;
    uint64_t ledger_len;
    char pidfile[HANDOVER_PATH_SIZE];
};

/* ---- writing ----------------------------------------------------------------------------- */

void handover_init(struct handover *h, enum handover_kind kind)
{
    *h = (struct handover){
        .kind = kind, .pid = getpid(), .report_fd = -1, .is_known = true, .scoreboard_fd = -1};
}

static int put_text(char *field, size_t size, const char *text)
{
    if (strlen(text) >= size) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(field, text, strlen(text) + 1);
    return 0;
}

int handover_add_socket(struct handover *h, const struct listener *l, enum handover_use use)
{
    if (l->fd < 0)
        return 0;
    h->sockets = xrealloc(h->sockets, (h->socket_count + 1) * sizeof(*h->sockets));
    struct handover_socket *s = &h->sockets[h->socket_count];
    *s = (struct handover_socket){.fd = l->fd,
                                  .use = (uint32_t)use,
                                  .inherited = l->inherited,
                                  .has_path = l->path != NULL,
                                  .dev = (uint64_t)l->dev,
                                  .ino = (uint64_t)l->ino};
    if (put_text(s->text, sizeof(s->text), l->text) < 0 ||
        put_text(s->name, sizeof(s->name), l->name) < 0 ||
        put_text(s->path, sizeof(s->path), l->path ? l->path : "") < 0)
        return -1;
    h->socket_count++;
    return 0;
}

int handover_add_fd(struct handover *h, int fd)
{
    h->fds = xrealloc(h->fds, (h->fd_count + 1) * sizeof(*h->fds));
    h->fds[h->fd_count++] = fd;
    return fd;
}

static void add_all(struct strbuf *out, const void *items, size_t count, size_t size)
{
    if (count > 0)
        strbuf_add(out, items, count * size);
}

static void add_record(struct strbuf *out, const struct handover *h)
{
    struct header header = {.version = VERSION,
                            .header_size = sizeof(header),
                            .kind = (uint32_t)h->kind,
                            .pid = (int32_t)h->pid,
                            .report_fd = h->report_fd,
                            .socket_size = sizeof(*h->sockets),
                            .socket_count = (uint32_t)h->socket_count,
                            .fd_count = (uint32_t)h->fd_count,
                            .client_count = (uint32_t)h->client_count};
    struct body body = {.body_size = sizeof(body),
                        .proc_size = sizeof(*h->procs),
                        .generation = h->generation,
                        .scoreboard_fd = h->scoreboard_fd,
                        .limits = h->limits,
                        .proc_count = (uint32_t)h->proc_count,
                        .ledger_len = h->ledger_len};

    memcpy(header.magic, magic, sizeof(magic));
    memcpy(body.pidfile, h->pidfile, sizeof(body.pidfile));
    add_all(out, &header, 1, sizeof(header));
    add_all(out, h->sockets, h->socket_count, sizeof(*h->sockets));
    add_all(out, h->fds, h->fd_count, sizeof(*h->fds));
    add_all(out, &body, 1, sizeof(body));
    add_all(out, h->procs, h->proc_count, sizeof(*h->procs));
    add_all(out, h->ledger, h->ledger_len, 1);
}

int handover_write(const struct handover *h)
{
    struct strbuf record = {0};
    int fd = memfd_create("gcorn-handover", MFD_CLOEXEC);

    add_record(&record, h);
    if (fd >= 0 && write_all(fd, record.data, record.len) < 0)
        fd_close(&fd);
    strbuf_release(&record);
    return fd;
}

int handover_pass(const struct handover *h, int record_fd, bool on)
{
    int result = fd_set_cloexec(record_fd, !on);

    if (h->report_fd >= 0 && fd_set_cloexec(h->report_fd, !on) < 0)
        result = -1;
    for (size_t i = 0; i < h->socket_count; i++) {
        if (fd_set_cloexec(h->sockets[i].fd, !on) < 0)
            result = -1;
    }
    for (size_t i = 0; i < h->fd_count; i++) {
        if (fd_set_cloexec(h->fds[i], !on) < 0)
            result = -1;
    }
    return result;
}

void handover_set_variable(int record_fd)
{
    char number[16];

    (void)snprintf(number, sizeof(number), "%d", record_fd);
    if (record_fd < 0)
        (void)unsetenv(variable); /* cannot fail: the name is valid */
    else if (setenv(variable, number, 1) < 0)
        abort(); /* out of memory, as in xmalloc */
}

/* ---- reading ----------------------------------------------------------------------------- */

/* The bytes that are left. */
struct rest {
    const char *at;
    size_t len;
};

/* The next bytes, or NULL when there are not so many. */
static const void *take(struct rest *rest, size_t len)
{
    const void *at = rest->at;

    if (len > rest->len)
        return NULL;
    rest->at += len;
    rest->len -= len;
    return at;
}

/* A struct of `known` bytes, of which the writer has `written`: less of it stays 0, more is left
 * out. False when the record ends before. */
static bool take_struct(struct rest *rest, void *to, size_t known, size_t written)
{
    const void *from = take(rest, written);

    if (!from)
        return false;
    memset(to, 0, known);
    memcpy(to, from, written < known ? written : known);
    return true;
}

static void *copy_items(struct rest *rest, size_t count, size_t size)
{
    const void *from = take(rest, count * size);

    if (!from)
        return NULL;
    char *copy = xmalloc(count * size + 1);
    memcpy(copy, from, count * size);
    return copy;
}

static bool ends(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

/* What this process opened itself is close-on-exec, and what was passed cannot be: so each number
 * is good once. */
static bool was_passed(int fd)
{
    int flags = fd >= FIRST_PASSED_FD ? fcntl(fd, F_GETFD) : FD_CLOEXEC;

    return flags >= 0 && !(flags & FD_CLOEXEC) && fd_set_cloexec(fd, true) == 0;
}

static bool read_sockets(struct handover *h, const struct header *header, struct rest *rest)
{
    size_t count = header->socket_count;

    if (count > HANDOVER_SOCKETS_MAX || header->socket_size < sizeof(struct handover_socket))
        return false;
    h->sockets = xcalloc(count + 1, sizeof(*h->sockets));
    for (size_t i = 0; i < count; i++) {
        struct handover_socket *s = &h->sockets[i];

        if (!take_struct(rest, s, sizeof(*s), header->socket_size) || s->use > HANDOVER_CONTROL ||
            !ends(s->text, sizeof(s->text)) || !ends(s->name, sizeof(s->name)) ||
            !ends(s->path, sizeof(s->path)) || !was_passed(s->fd))
            return false;
        h->socket_count++; /* so that a failure closes what is good so far */
    }
    return true;
}

static bool read_fds(struct handover *h, const struct header *header, struct rest *rest)
{
    if (header->fd_count > HANDOVER_FDS_MAX)
        return false;
    h->fds = copy_items(rest, header->fd_count, sizeof(*h->fds));
    for (size_t i = 0; h->fds && i < header->fd_count; i++) {
        if (!was_passed(h->fds[i]))
            return false;
        h->fd_count++;
    }
    return h->fds != NULL;
}

static bool read_body(struct handover *h, struct rest *rest)
{
    struct body body;

    if (!take_struct(rest, &body, sizeof(body), sizeof(body)) || body.body_size != sizeof(body) ||
        body.proc_size != sizeof(*h->procs) || body.proc_count > HANDOVER_PROCS_MAX ||
        body.ledger_len > HANDOVER_LEDGER_MAX || !ends(body.pidfile, sizeof(body.pidfile)))
        return false;
    h->generation = body.generation;
    h->scoreboard_fd = body.scoreboard_fd;
    h->limits = body.limits;
    h->proc_count = body.proc_count;
    h->ledger_len = (size_t)body.ledger_len;
    h->procs = copy_items(rest, h->proc_count, sizeof(*h->procs));
    memcpy(h->pidfile, body.pidfile, sizeof(h->pidfile));
    h->ledger = copy_items(rest, h->ledger_len, 1);
    return h->procs && h->ledger && rest->len == 0;
}

/* Without a body the record still serves. */
static void forget_body(struct handover *h)
{
    free(h->procs);
    free(h->ledger);
    h->procs = NULL;
    h->ledger = NULL;
    h->generation = 0;
    h->scoreboard_fd = -1;
    h->limits = (struct handover_limits){0};
    h->proc_count = h->ledger_len = 0;
    h->pidfile[0] = '\0';
    h->is_known = false;
}

static bool read_record(struct handover *h, struct rest *rest)
{
    struct rest start = *rest;
    struct header header;

    if (!take_struct(rest, &header, sizeof(header), HEADER_SIZE_MIN) ||
        memcmp(header.magic, magic, sizeof(magic)) != 0 || header.header_size < HEADER_SIZE_MIN)
        return false;
    *rest = start;
    if (!take_struct(rest, &header, sizeof(header), header.header_size) ||
        header.kind < HANDOVER_TRIAL || header.kind > HANDOVER_IN_PLACE ||
        header.client_count > header.fd_count)
        return false;
    h->kind = (enum handover_kind)header.kind;
    h->pid = header.pid;
    if (header.report_fd >= 0 && !was_passed(header.report_fd))
        return false;
    h->report_fd = header.report_fd;
    if (!read_sockets(h, &header, rest) || !read_fds(h, &header, rest))
        return false;
    h->client_count = header.client_count;
    h->is_known = header.version == VERSION && read_body(h, rest);
    if (!h->is_known)
        forget_body(h);
    return true;
}

/* All that the memfd holds, NUL-ended behind its len bytes, to be freed; NULL when it cannot be. */
static char *read_all(int fd, size_t *len)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > RECORD_MAX)
        return NULL;
    *len = (size_t)st.st_size;
    char *all = xmalloc(*len + 1);
    for (size_t done = 0; done < *len;) {
        ssize_t n = pread(fd, all + done, *len - done, (off_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            free(all);
            return NULL;
        }
        done += (size_t)n;
    }
    return all;
}

int handover_receive(struct handover *h, struct error *err)
{
    const char *text = getenv(variable);
    int64_t fd;
    size_t len;

    *h = (struct handover){.report_fd = -1, .scoreboard_fd = -1};
    if (!text)
        return 0;
    bool is_number = parse_int(text, FIRST_PASSED_FD, INT32_MAX, &fd) == 0;
    handover_set_variable(-1);
    if (!is_number || !was_passed((int)fd))
        return error_set(err, EXIT_FAILED, "%s: no descriptor was passed", variable);
    int record_fd = (int)fd;
    char *all = read_all(record_fd, &len);
    struct rest rest = {.at = all, .len = len};
    bool is_good = all && read_record(h, &rest);
    free(all);
    fd_close(&record_fd);
    if (is_good)
        return 0;
    handover_release(h);
    return error_set(err, EXIT_FAILED, "%s: descriptor %d holds no record of a handover", variable,
                     (int)fd);
}

int handover_claim(struct handover *h, int fd)
{
    for (size_t i = 0; fd >= 0 && i < h->fd_count; i++) {
        if (h->fds[i] != fd)
            continue;
        h->fds[i] = -1;
        return fd;
    }
    return -1;
}

int handover_take_socket(struct handover_socket *s, struct listener *l, struct error *err)
{
    const struct listener described = {.fd = s->fd,
                                       .text = s->text,
                                       .name = s->name,
                                       .inherited = s->inherited,
                                       .path = s->has_path ? s->path : NULL,
                                       .dev = (dev_t)s->dev,
                                       .ino = (ino_t)s->ino};

    s->fd = -1;
    return listener_adopt(l, &described, err);
}

/* ---- the end ----------------------------------------------------------------------------- */

void handover_close_rest(struct handover *h)
{
    for (size_t i = 0; i < h->socket_count; i++) {
        int fd = h->sockets[i].fd;

        fd_close(&fd);
    }
    for (size_t i = 0; i < h->fd_count; i++) {
        int fd = h->fds[i];

        fd_close(&fd);
    }
    h->socket_count = h->fd_count = 0;
}

void handover_drop(struct handover *h)
{
    free(h->sockets);
    free(h->fds);
    free(h->procs);
    free(h->ledger);
    *h = (struct handover){.report_fd = -1, .scoreboard_fd = -1};
}

void handover_release(struct handover *h)
{
    fd_close(&h->report_fd);
    handover_close_rest(h);
    handover_drop(h);
}
