/* SPDX-License-Identifier: MIT
 *
 * See replay.h.
 */
#include "worker/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
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
#include "http/exchange.h"
#include "worker/call/app.h"
#include "worker/call/call.h"
#include "worker/crash/crash_file.h"
#include "worker/loop/pools.h"
#include "worker/loop/state.h"
#include "worker/single_request.h"
#include "worker/worker.h"

/* Adds what was not kept of a body, its end or all of it: zeros, because the application was promised
 * that many bytes. The log says so, for the crash may depend on them. */
static void fill_body(struct request *r, const char *file)
{
    static const char zeros[4096];
    uint64_t framing = r->state == REQUEST_CHUNKS ? 2 : 0; /* the CRLF behind a chunk */

    bool has_head_alone = r->state == REQUEST_COUNTED && r->body.len == 0;
    if (!request_in_body(r) || r->body_left <= framing ||
        (r->body.len < CRASH_FILE_BODY_MAX && !has_head_alone))
        return;
    uint64_t missing = r->body_left - framing;
    log_warnx(
        "%s: holds the first %llu bytes of the body only; the other %llu are replaced by zeros",
        file, (unsigned long long)r->body.len, (unsigned long long)missing);
    while (missing > 0 && request_in_body(r)) {
        size_t n = missing < sizeof(zeros) ? (size_t)missing : sizeof(zeros);

        (void)request_feed(r, zeros, n);
        missing -= n;
    }
    if (r->state == REQUEST_CHUNKS)
        (void)request_feed(r, "\r\n0\r\n\r\n", 7);
}

/* Opens a file of a directory where workers may write, such as crash_dir: follows no link, and takes
 * no FIFO, whose writer may not come. Returns the descriptor, or -1 with err. */
static int open_request(const char *file, const struct privileges *workers, struct error *err)
{
    struct stat st;
    int fd = safe_open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0, workers);

    if (fd < 0)
        return error_set(err, EXIT_FAILED, "cannot open %s: %s", file,
                         errno == ELOOP ? "it is a symbolic link, or its path has one that the "
                                          "workers' user could have made: name the file itself"
                                        : safe_open_reason(errno));
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    fd_close(&fd);
    return error_set(err, EXIT_FAILED, "cannot read %s: it is not a regular file", file);
}

/* Reads a request; what follows it in the file is left alone. Closes fd. Returns 0, or -1 with err. */
static int read_request(struct request *r, int fd, const char *file, struct error *err)
{
    char bytes[16 * 1024];
    ssize_t n = 0;

    while (r->state < REQUEST_DONE && (n = read(fd, bytes, sizeof(bytes))) > 0)
        (void)request_feed(r, bytes, (size_t)n);
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
    return error_set(err, EXIT_FAILED, "%s: incomplete request: the file ends in the %s", file,
                     r->state == REQUEST_HEAD ? "head" : "body");
}

/* Loads the application from its own path, so that a debugger finds its symbols and sources; where a
 * worker's rights do not reach that path, from the copy, as a worker does. */
static int load_app(struct worker *w, struct image *image, const char *symbol, struct error *err)
{
    const char *path = image->parts[image->count - 1].path;

    image->from_disk = image->from_disk || faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0;
    int result = app_load(&w->app, image, symbol, err);
    if (result == 0)
        result = app_run_on_load(&w->app, err);
    if (result == 0 && w->app.on_worker_init && w->app.on_worker_init() < 0)
        return error_set(err, EXIT_APP, "gcorn_on_worker_init of the application failed");
    return result;
}

/* The answer's bytes as a client would get them. The application runs on to its end when they
 * cannot be written. */
struct output {
    struct worker *worker;
    int failed; /* errno of the first failure */
};

static void write_piece(void *state, const char *data, size_t len)
{
    struct output *out = state;

    if (out->failed == 0 && write_all(STDOUT_FILENO, data, len) < 0)
        out->failed = errno;
}

static bool wait_for_piece(void *state, struct gcorn_environ *env)
{
    const struct output *out = state;

    (void)env;
    single_request_wait(out->worker);
    return true;
}

static int run_request(struct worker *w, struct gcorn_environ *env, struct error *err)
{
    struct output out = {.worker = w};
    const struct exchange_sink sink = {.write = write_piece, .wait = wait_for_piece, .state = &out};

    env->h1.close = true;
    (void)single_request_run(w, env, &sink);
    (void)call_leave(w);
    if (out.failed == 0)
        return 0;
    return error_set(err, EXIT_FAILED, "cannot write the answer to standard output: %s",
                     ascii_error(out.failed));
}

/* From here on the process has the rights of a worker. */
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
    struct gcorn_environ *env = worker_take_environ(w, &peer, NULL);
    int result = read_request(&env->request, *request_fd, config->action_path, err);
    *request_fd = -1;
    if (result == 0)
        result = load_app(w, image, symbol, err);
    bool boots = result == 0;
    if (boots)
        result = run_request(w, env, err);
    call_finish(w, env);
    w->leave_by_ms = now_ms() + config->graceful_timeout_ms;
    (void)worker_end_threads(w);
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
    fd = open_request(config->action_path, &privileges, err);
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
