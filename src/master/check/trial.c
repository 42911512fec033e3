/* SPDX-License-Identifier: MIT
 *
 * See trial.h. A child reports one byte, or the text of its error, through a pipe.
 */
#include "master/check/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/spool.h"
#include "base/util.h"
#include "base/wait_status.h"
#include "settings/config.h"
#include "system/code/image.h"
#include "system/process/privileges.h"
#include "system/process/signals.h"
#include "worker/call/app.h"
#include "worker/crash/crash_file.h"
#include "worker/worker.h"

enum { TRIAL_PASSED = '+' };

/* The function to try in a child: returns 0, or -1 with err. */
struct trial {
    int (*run)(const struct trial *trial, struct error *err);
    const struct config *config;
    const struct privileges *privileges;
};

/* ---- in the child ------------------------------------------------------------------------ */

/* As in a start, the file is opened with the master's privileges and loaded with a worker's. */
static int try_app(const struct trial *trial, struct error *err)
{
    struct image image;
    struct app app = {0};
    const char *symbol;

    if (app_open(trial->config->wsgi_app, &image, &symbol, NULL, err) < 0 ||
        privileges_take(trial->privileges, trial->config->allow_setuid, err) < 0)
        return -1;
    return app_load(&app, &image, symbol, err);
}

static int try_uploads(const struct trial *trial, struct error *err)
{
    const char *dir = worker_upload_dir(trial->config);
    const struct spool_place place = {.mem_max = 0, .dir = dir}; /* one byte makes the file */
    struct spool spool;

    if (privileges_take(trial->privileges, trial->config->allow_setuid, err) < 0)
        return -1;
    spool_init(&spool, &place, NULL);
    int result = spool_append(&spool, "", 1);
    if (result == 0)
        result = spool_finish(&spool);
    if (result < 0)
        (void)error_set(err, EXIT_FAILED, "user %u cannot create a file in %s: %s",
                        (unsigned)trial->privileges->uid, dir, strerror(errno));
    spool_release(&spool);
    return result;
}

static int try_crash_dir(const struct trial *trial, struct error *err)
{
    if (privileges_take(trial->privileges, trial->config->allow_setuid, err) < 0)
        return -1;
    int fd = crash_file_dir_open(trial->config->crash_dir, err);
    if (fd < 0)
        return -1;
    fd_close(&fd);
    return 0;
}

/* Reports one byte, TRIAL_PASSED, or the error's text; when the application exits or hangs while it
 * is loaded, the child reports nothing. */
static void __attribute__((noreturn)) trial_child(const struct trial *trial, int report_fd)
{
    const struct config *config = trial->config;
    struct error err = {.text = ""};

    signals_reset();
    (void)alarm((unsigned)((config->boot_timeout_ms + 999) / 1000)); /* SIGALRM ends this process */
    (void)umask((mode_t)config->umask);
    for (size_t i = 0; i < config->raw_env.count; i++)
        (void)putenv(xstrdup(config->raw_env.items[i]));
    int result = trial->run(trial, &err);
    if (result == 0)
        (void)snprintf(err.text, sizeof(err.text), "%c", TRIAL_PASSED);
    (void)write_all(report_fd, err.text, strlen(err.text)); /* else the exit status says it */
    _exit(result < 0 ? EXIT_APP : EXIT_STOPPED);
}

/* ---- in the parent ----------------------------------------------------------------------- */

/* Describes the end of a child, as an error text. */
static void describe_end(int status, struct error *err)
{
    char end[WAIT_STATUS_TEXT_SIZE];

    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        (void)error_set(err, EXIT_APP, "the application was not loaded within boot_timeout");
    else if (WIFSIGNALED(status))
        (void)error_set(err, EXIT_APP, "the process that loaded the application %s",
                        wait_status_text(status, end));
    else
        (void)error_set(err, EXIT_APP, "the application called exit(%d) while it was loaded",
                        WEXITSTATUS(status));
}

/* Reads what the child reports, to its end. */
static void read_report(int fd, struct error *err)
{
    size_t len = 0;
    ssize_t n;

    while (len < sizeof(err->text) - 1 &&
           ((n = read(fd, err->text + len, sizeof(err->text) - 1 - len)) > 0 ||
            (n < 0 && errno == EINTR)))
        len += n > 0 ? (size_t)n : 0;
    err->text[len] = '\0';
    err->status = EXIT_APP;
}

/* Returns 0; or -1 with the child's error, which is "" when it has ended with this status without a
 * report. */
static int run_trial(const struct trial *trial, int *status, struct error *err)
{
    static const char passed[] = {TRIAL_PASSED, '\0'};
    int ends[2];

    /* gcorn may have been started with SIGCHLD ignored: then waitpid would find no child */
    (void)signal(SIGCHLD, SIG_DFL);
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set(err, EXIT_FAILED, "pipe: %s", strerror(errno));
    (void)fflush(NULL); /* what stdio holds would be written twice */
    pid_t pid = fork();
    if (pid < 0) {
        (void)close(ends[0]);
        (void)close(ends[1]);
        return error_set(err, EXIT_FAILED, "fork: %s", strerror(errno));
    }
    if (pid == 0)
        trial_child(trial, ends[1]);
    (void)close(ends[1]);
    read_report(ends[0], err);
    (void)close(ends[0]);
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        continue;
    return strcmp(err->text, passed) == 0 ? 0 : -1;
}

int trial_app(const struct config *config, const struct privileges *privileges, struct error *err)
{
    const struct trial trial = {.run = try_app, .config = config, .privileges = privileges};
    int status = 0, result = run_trial(&trial, &status, err);

    if (result < 0 && err->text[0] == '\0')
        describe_end(status, err);
    return result;
}

int trial_uploads(const struct config *config, const struct privileges *privileges,
                  struct error *err)
{
    const struct trial trial = {.run = try_uploads, .config = config, .privileges = privileges};
    int status = 0, result = run_trial(&trial, &status, err);

    if (result < 0 && err->text[0] == '\0')
        (void)error_set(err, EXIT_FAILED, "cannot create a file within boot_timeout");
    return result;
}

int trial_crash_dir(const struct config *config, const struct privileges *privileges,
                    struct error *err)
{
    const struct trial trial = {.run = try_crash_dir, .config = config, .privileges = privileges};
    int status = 0;

    if (!config->crash_dir)
        return 0;
    int result = run_trial(&trial, &status, err);
    if (result < 0 && err->text[0] == '\0')
        (void)error_set(err, EXIT_APP, "crash_dir: cannot open the directory within boot_timeout");
    return result;
}
