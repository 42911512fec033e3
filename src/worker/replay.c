/* SPDX-License-Identifier: MIT
 *
 * See replay.h. The head is written anew out of what struct request knows, not copied: its bytes
 * may have NULs in them by now, where the environ ended values in place.
 */
#include "worker/replay.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/error.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "http/environ.h"
#include "http/request/request.h"
#include "http/answer/response.h"
#include "settings/config.h"
#include "system/code/image.h"
#include "system/process/privileges.h"
#include "system/file/safe_open.h"
#include "system/ipc/scoreboard.h"
#include "worker/call/app.h"
#include "worker/worker.h"

int replay_dir_open(const char *path, struct error *err)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return error_set(err, EXIT_USAGE, "crash_dir: cannot open the directory %s: %s", path,
                         ascii_error(errno));
    if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0) {
        (void)error_set(err, EXIT_USAGE, "crash_dir: user %u can make no file in %s: %s",
                        (unsigned)geteuid(), path, ascii_error(errno));
        fd_close(&fd);
    }
    return fd;
}

/* ---- keeping the newest ------------------------------------------------------------------ */

enum { LIST_MAX = 65536 }; /* files that are looked at in one go: the next worker finds the rest */

struct kept {
    char name[SLOT_FILE_NAME_SIZE];
    struct timespec at;
};

/* As slot_file_name makes it: whatever else lies there is somebody else's. */
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

/* How many there are; *list is to be freed. */
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

int replay_dir_trim(int dir_fd, unsigned keep)
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

/* The text up to its query, of which only the place is kept. */
static void add_uri(struct sink *s, const char *p, size_t len, bool redact)
{
    const char *query = redact ? memchr(p, '?', len) : NULL;

    sink_add(s, p, query ? (size_t)(query - p) : len);
    if (query)
        sink_addstr(s, "?redacted");
}

/* Secrets are known by the field's name: all kinds of names are in use, and a value too many that
 * is kept back does less harm than one too few. */
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

    while (at < r->body.len && at < REPLAY_BODY_MAX) {
        size_t left = (size_t)(REPLAY_BODY_MAX - at);
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
        if (r->body.len > REPLAY_BODY_MAX)
            return;
        sink_addstr(s, "\r\n");
    }
    sink_addstr(s, "0\r\n\r\n");
}

int replay_save(int dir_fd, const char *name, const struct request *r, bool redact)
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
    (void)unlinkat(dir_fd, name, 0); /* half a request is none */
    errno = reason;
    return -1;
}

/* ---- running ----------------------------------------------------------------------------- */

/* The rest of a body that was cut when it was kept. Zeros, because the application was promised so
 * many bytes; it is told to the person, whose crash may hang on them. */
static void fill_body(struct request *r, const char *file)
{
    static const char zeros[4096];
    uint64_t framing = r->state == REQUEST_CHUNKS ? 2 : 0; /* the CRLF behind a chunk */

    if (!request_in_body(r) || r->body.len < REPLAY_BODY_MAX || r->body_left <= framing)
        return;
    uint64_t missing = r->body_left - framing;
    log_warnx("%s holds the first %llu bytes of the body; the other %llu are zeros now", file,
              (unsigned long long)r->body.len, (unsigned long long)missing);
    while (missing > 0 && request_in_body(r)) {
        size_t n = missing < sizeof(zeros) ? (size_t)missing : sizeof(zeros);

        (void)request_feed(r, zeros, n);
        missing -= n;
    }
    if (r->state == REQUEST_CHUNKS)
        (void)request_feed(r, "\r\n0\r\n\r\n", 7);
}

/* Of a directory where workers write, as crash_dir is one: never through a link, and no FIFO, whose
 * writer may not come. The descriptor, or -1 with err. */
static int open_request(const char *file, const struct privileges *workers, struct error *err)
{
    struct stat st;
    int fd = safe_open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0, workers);

    if (fd < 0)
        return error_set(err, EXIT_FAILED, "cannot open %s: %s", file,
                         errno == ELOOP ? "it is a symbolic link, or lies behind one that the user "
                                          "of the workers could have placed: name the file itself"
                                        : safe_open_reason(errno));
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    fd_close(&fd);
    return error_set(err, EXIT_FAILED, "cannot read %s: it is not a regular file", file);
}

/* Takes fd. */
static int read_request(struct request *r, int fd, const char *file, struct error *err)
{
    char bytes[16 * 1024];
    ssize_t n = 0;

    while (r->state < REQUEST_DONE && (n = read(fd, bytes, sizeof(bytes))) > 0)
        (void)request_feed(r, bytes, (size_t)n); /* what is behind the request is left alone */
    int reason = errno;
    fd_close(&fd);
    if (n < 0)
        return error_set(err, EXIT_FAILED, "cannot read %s: %s", file, ascii_error(reason));
    fill_body(r, file);
    if (r->state == REQUEST_DONE)
        return 0;
    if (r->state == REQUEST_REFUSED)
        return error_set(err, EXIT_FAILED, "%s: the request is refused: %d: %s", file, r->refusal,
                         r->refusal_reason);
    return error_set(err, EXIT_FAILED, "%s holds no whole request: it ends in the %s", file,
                     r->state == REQUEST_HEAD ? "head" : "body");
}

/* From its own path, so that a debugger finds its symbols and its sources; from the copy, as in a
 * worker, where only the caller's own rights reach that path. */
static int load_app(struct worker *w, struct image *image, const char *symbol, struct error *err)
{
    const char *path = image->parts[image->count - 1].path;

    image->from_disk = image->from_disk || faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0;
    int result = app_load(&w->app, image, symbol, err);
    if (result == 0 && w->app.on_worker_init && w->app.on_worker_init() < 0)
        return error_set(err, EXIT_APP, "gcorn_on_worker_init of the application failed");
    return result;
}

/* The answer's bytes as a client would get them. */
static int write_answer(struct worker *w, struct gcorn_environ *env, struct error *err)
{
    struct strbuf out = {0};
    const char *piece;
    size_t len;
    bool more;
    int result = 0;

    do {
        more = framing_h1_next(env, &out, &piece, &len);
        if (result == 0 && (write_all(STDOUT_FILENO, out.data, out.len) < 0 ||
                            write_all(STDOUT_FILENO, piece, len) < 0))
            result = error_set(err, EXIT_FAILED, "cannot write the answer to standard output: %s",
                               ascii_error(errno)); /* the application runs on, to its end */
        strbuf_reset(&out);
        if (more && env->response.waits)
            worker_turn_alone(w);
    } while (more);
    strbuf_release(&out);
    return result;
}

static int run_request(struct worker *w, struct gcorn_environ *env, struct error *err)
{
    worker_look_at_clock(w);
    call_enter(w, NULL, env);
    env->was_run = true;
    if (w->app.on_pre_request)
        w->app.on_pre_request(env);
    response_run(env, w->app.handler);
    env->h1.close = true;
    int result = write_answer(w, env, err);
    (void)call_leave(w);
    return result;
}

/* All in this process from here on has the rights of a worker. */
static int run(const struct config *config, struct image *image, const char *symbol,
               int *request_fd, struct error *err)
{
    static const struct http_local local = {"127.0.0.1", "80", "http"};
    static const struct http_peer peer = {
        .local = &local, .remote_addr = "127.0.0.1", .remote_port = "0", .trust = FORWARDED_ALL};
    static struct worker_args args; /* static: exit handlers of the application may still ask */

    args = (struct worker_args){
        .config = config, .slot = xcalloc(1, sizeof(struct slot)), .access_fd = -1};
    (void)umask((mode_t)config->umask);
    struct worker *w = worker_new_alone(&args);
    if (!w)
        return error_set(err, EXIT_FAILED, "no event loop can be made: out of descriptors?");
    struct gcorn_environ *env = worker_take_environ(w, &peer);
    int result = read_request(&env->request, *request_fd, config->replay_file, err);
    *request_fd = -1;
    if (result == 0)
        result = load_app(w, image, symbol, err);
    bool boots = result == 0;
    if (boots)
        result = run_request(w, env, err);
    call_finish(w, env);
    if (boots && w->app.on_worker_exit)
        w->app.on_worker_exit();
    return result;
}

int replay_run(const struct config *config, struct error *err)
{
    struct privileges privileges;
    struct image image = {0};
    const char *symbol;
    int fd = -1, result = -1;

    if (privileges_resolve(&privileges, config->user, config->group, config->initgroups, err) < 0)
        goto out;
    fd = open_request(config->replay_file, &privileges, err);
    if (fd < 0 || app_open(config->wsgi_app, &image, &symbol, NULL, err) < 0 ||
        privileges_take(&privileges, config->allow_setuid, err) < 0)
        goto out;
    result = run(config, &image, symbol, &fd, err);
out:
    fd_close(&fd);
    image_close(&image);
    privileges_release(&privileges);
    return result;
}
