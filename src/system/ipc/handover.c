/* SPDX-License-Identifier: MIT
 *
 * See handover.h. The record in its memfd:
 *
 *   struct header    header_size tells where a later version has more fields after these
 *   sockets          and socket_size the same of a socket
 *   descriptors      fd_count numbers, of those that are named in the header since version 4; a
 *                    version that does not know one closes it
 */
#include "system/ipc/handover.h"

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
#include "system/file/memfile.h"
#include "system/net/handed_fd.h"
#include "system/net/listener.h"

enum { VERSION = 4, KIND_BESIDE = 2, FIRST_PASSED_FD = 3, RECORD_MAX = 64 << 20 };

static const char variable[] = "GCORN_HANDOVER";
static const char magic[8] = "gcornho";

struct header {
    char magic[8];
    uint32_t version;
    uint32_t header_size;
    uint32_t kind; /* KIND_BESIDE; unreleased versions knew others */
    int32_t pid;
    int32_t report_fd;
    uint32_t socket_size;
    uint32_t socket_count;
    uint32_t fd_count;
    uint32_t unused;     /* since version 2 */
    uint32_t generation; /* since version 3 */
    int32_t bus_fd;      /* this and the next since version 4; below 3: none */
    int32_t wake_fd;
    int32_t memory_fd;
    uint32_t unused_too;
};

enum { HEADER_SIZE_MIN = offsetof(struct header, unused) };

static const struct handover none = {.report_fd = -1, .bus_fd = -1, .wake_fd = -1, .memory_fd = -1};

/* ---- writing ----------------------------------------------------------------------------- */

void handover_init(struct handover *h)
{
    *h = none;
    h->pid = getpid();
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

/* The descriptors of memory that there are; returns how many. */
static uint32_t list_fds(const struct handover *h, int32_t fds[3])
{
    const int all[] = {h->bus_fd, h->wake_fd, h->memory_fd};
    uint32_t count = 0;

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i] >= 0)
            fds[count++] = all[i];
    }
    return count;
}

static void add_record(struct strbuf *out, const struct handover *h)
{
    int32_t fds[3];
    struct header header = {.version = VERSION,
                            .header_size = sizeof(header),
                            .kind = KIND_BESIDE,
                            .pid = (int32_t)h->pid,
                            .report_fd = h->report_fd,
                            .socket_size = sizeof(*h->sockets),
                            .socket_count = (uint32_t)h->socket_count,
                            .fd_count = list_fds(h, fds),
                            .generation = h->generation,
                            .bus_fd = h->bus_fd,
                            .wake_fd = h->wake_fd,
                            .memory_fd = h->memory_fd};

    memcpy(header.magic, magic, sizeof(magic));
    strbuf_add(out, &header, sizeof(header));
    if (h->socket_count > 0)
        strbuf_add(out, h->sockets, h->socket_count * sizeof(*h->sockets));
    strbuf_add(out, fds, header.fd_count * sizeof(fds[0]));
}

int handover_write(const struct handover *h)
{
    struct strbuf record = {0};
    int fd = memfile_new("gcorn-handover");

    add_record(&record, h);
    if (fd >= 0 && write_all(fd, record.data, record.len) < 0)
        fd_close(&fd);
    strbuf_release(&record);
    return fd;
}

int handover_pass(const struct handover *h, int record_fd)
{
    if (fd_set_cloexec(record_fd, false) < 0 ||
        (h->report_fd >= 0 && fd_set_cloexec(h->report_fd, false) < 0))
        return -1;
    for (size_t i = 0; i < h->socket_count; i++) {
        if (fd_set_cloexec(h->sockets[i].fd, false) < 0)
            return -1;
    }
    int32_t fds[3];
    for (uint32_t i = list_fds(h, fds); i > 0; i--) {
        if (fd_set_cloexec(fds[i - 1], false) < 0)
            return -1;
    }
    return 0;
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

/* The bytes that are not read yet. */
struct rest {
    const char *at;
    size_t len;
};

/* The next len bytes; NULL when there are fewer.  */
static const void *take(struct rest *rest, size_t len)
{
    const void *at = rest->at;

    if (len > rest->len)
        return NULL;
    rest->at += len;
    rest->len -= len;
    return at;
}

/* Reads a struct of `known` bytes, of which the writer has written `written`: missing ones are 0,
 * further ones are skipped. Returns false when the record ends before. */
static bool take_struct(struct rest *rest, void *to, size_t known, size_t written)
{
    const void *from = take(rest, written);

    if (!from)
        return false;
    memset(to, 0, known);
    memcpy(to, from, written < known ? written : known);
    return true;
}

static bool ends(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

/* Was the descriptor passed? Then it is open without close-on-exec, which it gets here: so a number
 * is accepted once. */
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

/* Takes a descriptor that the header names, if it does. */
static bool take_fd(int32_t fd, int32_t named, int *to)
{
    if (fd != named || *to >= 0)
        return false;
    *to = fd;
    return true;
}

/* Takes the descriptors of memory, and closes those that a later version passes. */
static bool take_fds(struct handover *h, const struct header *header, struct rest *rest)
{
    int32_t fd;

    for (uint32_t count = header->fd_count; count > 0; count--) {
        if (!take_struct(rest, &fd, sizeof(fd), sizeof(fd)) || !was_passed(fd))
            return false;
        if (!take_fd(fd, header->bus_fd, &h->bus_fd) &&
            !take_fd(fd, header->wake_fd, &h->wake_fd) &&
            !take_fd(fd, header->memory_fd, &h->memory_fd))
            (void)close(fd);
    }
    return true;
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
        header.kind != KIND_BESIDE)
        return false;
    h->pid = header.pid;
    h->generation = header.generation;
    if (header.report_fd >= 0 && !was_passed(header.report_fd))
        return false;
    h->report_fd = header.report_fd;
    return read_sockets(h, &header, rest) && take_fds(h, &header, rest);
}

/* Reads the whole memfd into len bytes, which the caller frees; NULL when that fails. */
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

    *h = none;
    if (!text)
        return 0;
    bool is_number = parse_int(text, FIRST_PASSED_FD, INT32_MAX, &fd) == 0;
    handover_set_variable(-1);
    if (!is_number || !was_passed((int)fd))
        return error_set(err, EXIT_FAILED, "%s: it names no descriptor that was passed", variable);
    int record_fd = (int)fd;
    char *all = read_all(record_fd, &len);
    struct rest rest = {.at = all, .len = len};
    bool is_good = all && read_record(h, &rest);
    free(all);
    fd_close(&record_fd);
    h->is_received = is_good;
    if (is_good)
        return 0;
    handover_release(h);
    return error_set(err, EXIT_FAILED, "%s: descriptor %d is not the record of a handover",
                     variable, (int)fd);
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
    h->socket_count = 0;
}

void handover_drop(struct handover *h)
{
    free(h->sockets);
    *h = none;
}

void handover_release(struct handover *h)
{
    fd_close(&h->report_fd);
    fd_close(&h->bus_fd);
    fd_close(&h->wake_fd);
    fd_close(&h->memory_fd);
    handover_close_rest(h);
    handover_drop(h);
}
