/* SPDX-License-Identifier: MIT
 *
 * See crash_file.h. The head is written from what struct request knows, not copied: its bytes may
 * have NULs in them by now, where the environ ended values in place.
 */
#include "worker/crash/crash_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/error.h"
#include "base/util.h"
#include "http/request/request.h"
#include "system/ipc/scoreboard.h"

int crash_file_dir_open(const char *path, struct error *err)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return error_set(err, EXIT_USAGE, "crash_dir: cannot open the directory %s: %s", path,
                         ascii_error(errno));
    if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0) {
        (void)error_set(err, EXIT_USAGE, "crash_dir: user %u cannot create a file in %s: %s",
                        (unsigned)geteuid(), path, ascii_error(errno));
        fd_close(&fd);
    }
    return fd;
}

/* ---- keeping the newest ------------------------------------------------------------------ */

enum { LIST_MAX = 65536 }; /* files in one go; the next worker finds the rest */

struct kept {
    char name[SLOT_FILE_NAME_SIZE];
    struct timespec at;
};

/* Is it a name that slot_file_name makes? Other files in the directory are left alone. */
static bool is_kept_name(const char *name)
{
    return strspn(name, "0123456789") == 10 && name[10] == '-' &&
           strspn(name + 11, "0123456789abcdef") == 16 && strcmp(name + 27, ".http") == 0;
}

static int oldest_first(const void *a, const void *b)
{
    const struct timespec *v = &((const struct kept *)a)->at, *w = &((const struct kept *)b)->at;

    if (v->tv_sec != w->tv_sec)
        return v->tv_sec < w->tv_sec ? -1 : 1;
    return (v->tv_nsec > w->tv_nsec) - (v->tv_nsec < w->tv_nsec);
}

/* Returns how many there are; the caller frees *list. */
static size_t list_kept(DIR *dir, struct kept **list)
{
    const struct dirent *entry;
    struct stat st;
    size_t count = 0, room = 0;

    *list = NULL;
    while (count < LIST_MAX && (entry = readdir(dir))) {
        if (!is_kept_name(entry->d_name) ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (count == room) {
            room = room > 0 ? 2 * room : 64;
            *list = xrealloc(*list, room * sizeof(**list));
        }
        struct kept *k = &(*list)[count++];
        slot_set_text(k->name, sizeof(k->name), entry->d_name, strlen(entry->d_name));
        k->at = st.st_mtim;
    }
    return count;
}

int crash_file_dir_trim(int dir_fd, unsigned keep)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct kept *list;

    if (!dir) {
        fd_close(&fd); /* keeps errno */
        return -1;
    }
    size_t count = list_kept(dir, &list);
    if (count > keep)
        qsort(list, count, sizeof(*list), oldest_first);
    for (size_t i = 0; i + keep < count; i++)
        (void)unlinkat(dirfd(dir), list[i].name, 0); /* failed: a sibling was first, or it stays */
    free(list);
    (void)closedir(dir); /* nothing was written */
    return 0;
}

/* ---- saving: all of this runs in a signal handler ---------------------------------------- */

/* A file being written, its bytes gathered. */
struct sink {
    int fd;
    bool failed; /* errno is of the first failure */
    size_t len;
    char bytes[1024];
};

static void sink_flush(struct sink *s)
{
    if (!s->failed && write_all(s->fd, s->bytes, s->len) < 0)
        s->failed = true;
    s->len = 0;
}

static void sink_add(struct sink *s, const char *p, size_t len)
{
    while (len > 0) {
        size_t room = sizeof(s->bytes) - s->len, n = len < room ? len : room;

        memcpy(s->bytes + s->len, p, n);
        s->len += n;
        p += n;
        len -= n;
        if (s->len == sizeof(s->bytes))
            sink_flush(s);
    }
}

static void sink_addstr(struct sink *s, const char *text)
{
    sink_add(s, text, strlen(text));
}

static void sink_add_hex(struct sink *s, uint64_t n)
{
    char digits[16];
    size_t at = sizeof(digits);

    do {
        digits[--at] = ascii_hex_digits[n & 15];
        n >>= 4;
    } while (n > 0);
    sink_add(s, digits + at, sizeof(digits) - at);
}

/* Is one of the words (lower case, NULL-ended) in the name, whatever its case? */
static bool name_has(const struct field *f, const char *const *words)
{
    for (; *words; words++) {
        size_t len = strlen(*words);

        for (size_t at = 0; at + len <= f->name_len; at++) {
            size_t i = 0;

            while (i < len && (f->name[at + i] | 0x20) == (*words)[i])
                i++;
            if (i == len)
                return true;
        }
    }
    return false;
}

/* Adds the text up to its query, which is replaced. */
static void add_uri(struct sink *s, const char *p, size_t len, bool redact)
{
    const char *query = redact ? memchr(p, '?', len) : NULL;

    sink_add(s, p, query ? (size_t)(query - p) : len);
    if (query)
        sink_addstr(s, "?redacted");
}

/* A secret is told by the name of its field. Many names are in use, so the words are broad: to redact
 * a harmless value does less harm than to keep a secret. */
static void add_field(struct sink *s, const struct field *f, bool redact)
{
    static const char *const secrets[] = {"auth",  "cookie",  "key",        "token",     "secret",
                                          "passw", "session", "credential", "signature", NULL};
    static const char *const uris[] = {"referer", "referrer", "uri", "url", NULL};

    sink_add(s, f->name, f->name_len);
    sink_addstr(s, ": ");
    if (redact && name_has(f, secrets))
        sink_addstr(s, "redacted");
    else
        add_uri(s, f->value, f->value_len, redact && name_has(f, uris));
    sink_addstr(s, "\r\n");
}

static void add_head(struct sink *s, const struct request *r, bool redact)
{
    sink_addstr(s, r->method);
    sink_addstr(s, " ");
    add_uri(s, r->target.p, r->target.len, redact);
    sink_addstr(s, r->minor_version == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
    for (size_t i = 0; i < r->field_count; i++)
        add_field(s, &r->fields[i], redact);
    sink_addstr(s, "\r\n");
}

static void add_body(struct sink *s, const struct request *r)
{
    char piece[256];
    uint64_t at = 0;

    while (at < r->body.len && at < CRASH_FILE_BODY_MAX) {
        size_t left = (size_t)(CRASH_FILE_BODY_MAX - at);
        ssize_t n = spool_read(&r->body, at, piece, left < sizeof(piece) ? left : sizeof(piece));

        if (n <= 0) {
            s->failed = true;
            return;
        }
        sink_add(s, piece, (size_t)n);
        at += (uint64_t)n;
    }
}

static void add_chunked_body(struct sink *s, const struct request *r)
{
    if (r->body.len > 0) {
        sink_add_hex(s, r->body.len);
        sink_addstr(s, "\r\n");
        add_body(s, r);
        if (r->body.len > CRASH_FILE_BODY_MAX)
            return;
        sink_addstr(s, "\r\n");
    }
    sink_addstr(s, "0\r\n\r\n");
}

int crash_file_save(int dir_fd, const char *name, const struct request *r, bool redact)
{
    struct sink s = {.len = 0};

    if (r->state == REQUEST_HEAD || !r->method || !r->fields) {
        errno = EINVAL;
        return -1;
    }
    s.fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOCTTY | O_CLOEXEC, 0600);
    if (s.fd < 0)
        return -1;
    add_head(&s, r, redact);
    if (r->chunked)
        add_chunked_body(&s, r);
    else
        add_body(&s, r);
    sink_flush(&s);
    fd_close(&s.fd); /* keeps errno */
    if (!s.failed)
        return 0;
    int reason = errno;
    (void)unlinkat(dir_fd, name, 0); /* half a request is useless */
    errno = reason;
    return -1;
}
