/* SPDX-License-Identifier: MIT
 *
 * See process.h.
 */
#include "system/process/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/error.h"
#include "base/owned.h"
#include "base/util.h"

enum { FDS_MAX = 1 << 20 };

/* ---- program ----------------------------------------------------------------------------- */

static bool is_file(const char *path, const struct stat *wanted)
{
    struct stat st;

    return stat(path, &st) == 0 && st.st_dev == wanted->st_dev && st.st_ino == wanted->st_ino;
}

/* Searches PATH as the shell did; NULL when that finds another program. */
static char *find_in_path(const char *name, const struct stat *self)
{
    const char *path = getenv("PATH");

    while (path && *path != '\0') {
        size_t len = strcspn(path, ":");
        char *candidate = xasprintf("%.*s%s%s", (int)len, path, len > 0 ? "/" : "", name);

        if (is_file(candidate, self))
            return candidate;
        free(candidate);
        path += len + (path[len] == ':');
    }
    return NULL;
}

char *process_program(const char *name)
{
    static const char self[] = "/proc/self/exe";
    char target[4096];
    struct stat st;

    if (stat(self, &st) < 0)
        return xstrdup(name);
    if (strchr(name, '/') && is_file(name, &st))
        return xstrdup(name);
    char *found = strchr(name, '/') ? NULL : find_in_path(name, &st);
    if (found)
        return found;
    ssize_t len = readlink(self, target, sizeof(target) - 1);
    target[len > 0 ? len : 0] = '\0';
    return xstrdup(len > 0 ? target : self);
}

bool process_is_child(pid_t pid)
{
    siginfo_t info;

    return pid > 0 && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

void process_die_with_parent(pid_t expected_parent, int signal_number)
{
    (void)prctl(PR_SET_PDEATHSIG, signal_number); /* cannot fail with a valid signal */
    /* No signal comes from a parent that died before that line. The new parent is not always pid 1.
     */
    if (getppid() != expected_parent)
        _exit(EXIT_STOPPED);
}

/* The tracer is a helper, a sibling of the worker: Yama lets descendants of the named process
 * trace, too (Documentation/admin-guide/LSM/Yama.rst). PR_SET_PTRACER_ANY would allow every process
 * of this user. PR_SET_DUMPABLE is not needed: for workers of another user the helper has root's
 * CAP_SYS_PTRACE (privileges_take). */
void process_allow_tracing(pid_t master_pid)
{
    (void)prctl(PR_SET_PTRACER, (unsigned long)master_pid, 0, 0, 0); /* EINVAL: there is no Yama */
}

/* ---- descriptors ------------------------------------------------------------------------- */

int process_put_on_null(int first, int last)
{
    int rc = 0;
    int fd =
        open("/dev/null", O_RDWR); /* not close-on-exec: it may get one of the numbers itself */

    if (fd < 0)
        return -1;
    for (int i = first; i <= last && rc == 0; i++)
        rc = dup2(fd, i) < 0 ? -1 : 0;
    if (fd > last)
        fd_close(&fd);
    return rc;
}

int process_stdin_null(void)
{
    owned_fill_standard();
    return process_put_on_null(STDIN_FILENO, STDIN_FILENO);
}

static bool is_kept(int fd, const int *keep, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (keep[i] == fd)
            return true;
    }
    return false;
}

static void close_unless_kept(int fd, const int *keep, size_t count, bool keep_given)
{
    int flags = fd > STDERR_FILENO ? fcntl(fd, F_GETFD) : -1;

    if (flags < 0 || (keep_given && !(flags & FD_CLOEXEC)) || is_kept(fd, keep, count))
        return;
    (void)close(fd); /* nothing was written to it by this process */
}

/* Without /proc. */
static void close_each(const int *keep, size_t count, bool keep_given)
{
    struct rlimit limit;
    int end = FDS_MAX;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FDS_MAX)
        end = (int)limit.rlim_cur;
    for (int fd = STDERR_FILENO + 1; fd < end; fd++)
        close_unless_kept(fd, keep, count, keep_given);
}

void process_close_all_but(const int *keep, size_t count, bool keep_given)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;

    if (!dir) {
        close_each(keep, count, keep_given);
        return;
    }
    while ((entry = readdir(dir))) {
        int fd = atoi(entry->d_name); /* "." and "..": 0, which stays */

        if (fd != dirfd(dir))
            close_unless_kept(fd, keep, count, keep_given);
    }
    (void)closedir(dir);
}

/* ---- clocks ------------------------------------------------------------------------------ */

void process_take_zone(void)
{
    time_t now = time(NULL);
    struct tm tm;

    if (localtime_r(&now, &tm))
        zone_set((int32_t)tm.tm_gmtoff);
}

/* By its clock, which is finer than the ticks of /proc/PID/stat. */
int process_cpu_us(pid_t pid, uint64_t *cpu_us)
{
    struct timespec used;
    clockid_t clock;
    int error = clock_getcpuclockid(pid, &clock);

    if (error != 0) {
        errno = error;
        return -1;
    }
    if (clock_gettime(clock, &used) < 0)
        return -1;
    *cpu_us = (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
    return 0;
}
