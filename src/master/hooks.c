/* SPDX-License-Identifier: MIT
 *
 * See hooks.h. posix_spawn, so that the child is never a copy of the master; all descriptors of the
 * master but the standard ones are close-on-exec.
 */
#include "master/hooks.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "base/wait_status.h"
#include "system/ipc/sd_notify.h"
#include "system/process/daemon.h"

static struct hook *find(struct hooks *h, pid_t pid)
{
    for (size_t i = 0; i < HOOKS_MAX; i++) {
        if (h->list[i].pid == pid)
            return &h->list[i];
    }
    return NULL;
}

/* The variables of a command: the facts, and the master's own without those that are meant for the
 * master alone (NOTIFY_SOCKET and the like) and without those of a hook that started gcorn. So each
 * name is present once: shells differ in which of two they take. */
static char **environment(const char *const *facts, char *event, char *master)
{
    size_t own = 0, count = 0;

    while (environ[own])
        own++;
    char **all = xmalloc((own + HOOK_FACTS_MAX + 3) * sizeof(*all));
    all[count++] = event;
    all[count++] = master;
    for (size_t i = 0; facts && facts[i]; i++) {
        assert(i < HOOK_FACTS_MAX && strncmp(facts[i], HOOK_VARIABLE, strlen(HOOK_VARIABLE)) == 0);
        all[count++] = (char *)(uintptr_t)facts[i];
    }
    for (size_t i = 0; i < own; i++) {
        if (!sd_notify_owns_variable(environ[i]) &&
            strncmp(environ[i], HOOK_VARIABLE, strlen(HOOK_VARIABLE)) != 0)
            all[count++] = environ[i];
    }
    all[count] = NULL;
    return all;
}

/* Starts the shell with all signals unblocked and at their defaults. Returns 0, or an error
 * number. */
static int spawn_shell(const struct hooks *h, pid_t *pid, const char *command,
                       char *const *variables)
{
    char sh[] = "sh", option[] = "-c";
    char *words[] = {sh, option, (char *)(uintptr_t)command, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;

    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    int error = posix_spawnattr_init(&attributes);
    if (error != 0)
        return error;
    (void)posix_spawn_file_actions_init(&files); /* cannot fail: nothing is allocated */
    if (daemon_is_starting())                    /* the command may outlive the start */
        (void)posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
    (void)posix_spawnattr_setsigmask(&attributes, &none);
    (void)posix_spawnattr_setsigdefault(&attributes, &all);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    mode_t own = umask(h->umask); /* the setting umask is for the application's files */
    error = posix_spawn(pid, "/bin/sh", &files, &attributes, words, variables);
    (void)umask(own);
    (void)posix_spawn_file_actions_destroy(&files);
    (void)posix_spawnattr_destroy(&attributes);
    return error;
}

/* Returns 0, or an error number. */
static int spawn_command(const struct hooks *h, pid_t *pid, const char *event, const char *command,
                         pid_t master_pid, const char *const *facts)
{
    char *event_fact = xasprintf(HOOK_VARIABLE "EVENT=%s", event);
    char *master_fact = xasprintf(HOOK_VARIABLE "MASTER_PID=%d", (int)master_pid);
    char **variables = environment(facts, event_fact, master_fact);
    int error = spawn_shell(h, pid, command, variables);

    free(variables);
    free(event_fact);
    free(master_fact);
    return error;
}

void hooks_run(struct hooks *h, const char *event, const char *command, const char *const *facts)
{
    struct hook *hook = find(h, 0);

    if (!command)
        return;
    if (!hook) {
        log_warnx("%s: its command is not run: %d hook commands run already", event, HOOKS_MAX);
        return;
    }
    int error = spawn_command(h, &hook->pid, event, command, getpid(), facts);
    if (error == 0) {
        hook->event = event;
        return;
    }
    hook->pid = 0;
    log_errorx("%s: its command cannot be run: %s", event, strerror(error));
}

/* Fills in how the command ended. True: it failed. */
static bool has_failed(int status, char *text, size_t size)
{
    char end[WAIT_STATUS_TEXT_SIZE];

    (void)snprintf(text, size, "its command %s", wait_status_text(status, end));
    return status != 0;
}

int hooks_run_and_wait(const struct hooks *h, const char *event, const char *command,
                       const char *const *facts, struct error *err)
{
    char how[160];
    int status = 0;
    pid_t pid;

    if (!command)
        return 0;
    int error = spawn_command(h, &pid, event, command, getppid(), facts);
    if (error != 0)
        return error_set(err, EXIT_FAILED, "%s: its command cannot be run: %s", event,
                         strerror(error));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return has_failed(status, how, sizeof(how)) ? error_set(err, EXIT_FAILED, "%s: %s", event, how)
                                                : 0;
}

bool hooks_reaped(struct hooks *h, pid_t pid, int status)
{
    struct hook *hook = find(h, pid);
    char how[160];

    if (!hook)
        return false;
    hook->pid = 0;
    if (has_failed(status, how, sizeof(how)))
        log_warnx("%s: %s", hook->event, how);
    return true;
}
