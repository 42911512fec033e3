/* SPDX-License-Identifier: MIT
 *
 * See process.h. Two things here are global because the process has only one of them: the memory of
 * the title, and the socket to the process that waits for the daemon.
 */
#include "system/process/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/error.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/util.h"

static struct {
    char *start;
    size_t size;
    char **strings;     /* of the environment's copy, also those that unsetenv takes out of it */
    char **environment; /* the copy's array: setenv leaves it for one of its own */
} title;

static int report_fd = -1; /* in a daemon that has not reported */

/* ---- title ------------------------------------------------------------------------------- */

static char **copy_strings(char **strings)
{
    size_t count = 0;

    while (strings[count])
        count++;
    char **copy = xcalloc(count + 1, sizeof(*copy));
    for (size_t i = 0; i < count; i++)
        copy[i] = xstrdup(strings[i]);
    return copy;
}

static char **copy_pointers(char **strings)
{
    size_t count = 0;

    while (strings[count])
        count++;
    char **copy = xcalloc(count + 1, sizeof(*copy));
    memcpy(copy, strings, count * sizeof(*copy));
    return copy;
}

/* The end of the strings that lie one after the other from end on, as the kernel laid them out. */
static char *follow(char **strings, char *end)
{
    for (size_t i = 0; strings[i] == end; i++)
        end += strlen(end) + 1;
    return end;
}

char **process_title_init(int argc, char **argv)
{
    char **args = copy_strings(argv);

    if (argc > 0) {
        title.start = argv[0];
        title.size = (size_t)(follow(environ, follow(argv, argv[0])) - argv[0]);
        title.strings = copy_strings(environ);
        title.environment = copy_pointers(title.strings);
        environ = title.environment;
        /* glibc's names for messages point into argv[0] too. */
        program_invocation_name = args[0];
        const char *slash = strrchr(args[0], '/');
        program_invocation_short_name = slash ? args[0] + (slash - args[0]) + 1 : args[0];
    }
    (void)prctl(PR_SET_NAME, "gcorn"); /* cannot fail with a valid pointer */
    return args;
}

void process_title_set(const char *fmt, ...)
{
    va_list ap;

    if (title.size == 0)
        return;
    va_start(ap, fmt);
    int len = vsnprintf(title.start, title.size, fmt, ap);
    va_end(ap);
    /* ps shows the whole of the old command line's space: leave nothing of it behind the title. A
     * title longer than that space is read on into the environment's (fs/proc/base.c). */
    if (len >= 0 && (size_t)len < title.size)
        memset(title.start + len, 0, title.size - (size_t)len);
}

/* ---- signals ----------------------------------------------------------------------------- */

void process_signals_block(sigset_t *old)
{
    sigset_t all;

    (void)sigfillset(&all); /* neither can fail: the arguments are constant */
    (void)sigprocmask(SIG_SETMASK, &all, old);
}

void process_signals_unblock(const sigset_t *old)
{
    (void)sigprocmask(SIG_SETMASK, old, NULL); /* cannot fail: as above */
}

void process_signals_default(void)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};

    /* Refused for KILL, STOP and the C library's own: those have no other disposition. */
    for (int sig = 1; sig <= SIGRTMAX; sig++)
        (void)sigaction(sig, &dfl, NULL);
}

void process_signals_reset(void)
{
    sigset_t none;

    process_signals_default();
    (void)sigemptyset(&none);
    process_signals_unblock(&none); /* last: what is pending must meet the dispositions above */
}

/* ---- program ----------------------------------------------------------------------------- */

static bool is_file(const char *path, const struct stat *wanted)
{
    struct stat st;

    return stat(path, &st) == 0 && st.st_dev == wanted->st_dev && st.st_ino == wanted->st_ino;
}

/* As the shell has found it; NULL when it leads elsewhere. */
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

void process_die_with_parent(pid_t expected_parent)
{
    /* Not SIGKILL: a worker whose loop turns sees the end of its channel and finishes the requests
     * it has, which KILL would break off at once. The signal is for the others: one that boots dies
     * of it, one stuck in a call runs its handler. */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* cannot fail with a valid signal */
    /* A parent that died before the line above sends nothing. Who adopts is not always pid 1. */
    if (getppid() != expected_parent)
        _exit(EXIT_STOPPED);
}

/* By a helper, which is the worker's sibling: who is named here stands for its descendants too
 * (Documentation/admin-guide/LSM/Yama.rst). Not PR_SET_PTRACER_ANY, which would be every process of
 * this user. Nor PR_SET_DUMPABLE, see privileges_take: where workers have another user, the helper
 * traces by root's CAP_SYS_PTRACE. */
void process_allow_tracing(pid_t master_pid)
{
    (void)prctl(PR_SET_PTRACER, (unsigned long)master_pid, 0, 0, 0); /* EINVAL: there is no Yama */
}

/* ---- daemon ------------------------------------------------------------------------------ */

/* The first process: becomes the daemon's exit status. */
static _Noreturn void await_report(int fd, pid_t child)
{
    unsigned char status;
    ssize_t n;

    process_signals_reset(); /* ^C ends the wait, whatever main made of it */
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue; /* it only forks once more and leaves */
    do {
        n = read(fd, &status, 1);
    } while (n < 0 && errno == EINTR);
    _exit(n == 1 ? status : EXIT_FAILED);
}

static int put_on_null(int first, int last)
{
    int rc = 0;
    int fd = open("/dev/null", O_RDWR); /* to be inherited, when it gets one of the numbers */

    if (fd < 0)
        return -1;
    for (int i = first; i <= last && rc == 0; i++)
        rc = dup2(fd, i) < 0 ? -1 : 0;
    if (fd > last)
        fd_close(&fd);
    return rc;
}

static bool is_listening(int fd)
{
    int listening = 0;
    socklen_t len = sizeof(listening);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening;
}

/* What a script has open, such as the lock that it holds or the pipe that its reader waits for. Our
 * own are close-on-exec; a listening socket was passed, to be served. */
static void close_inherited(void)
{
    DIR *dir = opendir("/proc/self/fd");
    const struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        int fd = atoi(entry->d_name); /* "." and "..": 0, which stays */
        int flags = fd > STDERR_FILENO ? fcntl(fd, F_GETFD) : FD_CLOEXEC;

        if (flags >= 0 && !(flags & FD_CLOEXEC) && !is_listening(fd))
            (void)close(fd);
    }
    if (dir)
        (void)closedir(dir);
}

int process_daemonize(struct error *err)
{
    int fds[2];

    /* Not a pipe: when whoever waits was killed, the report must not raise SIGPIPE. */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return error_set(err, EXIT_FAILED, "cannot become a daemon: %s", strerror(errno));
    (void)fflush(NULL); /* else what is buffered is printed twice; errors are stdio's to keep */
    pid_t pid = fork();
    if (pid > 0) {
        fd_close(&fds[1]);
        await_report(fds[0], pid);
    }
    if (pid == 0) {
        fd_close(&fds[0]);
        (void)setsid(); /* cannot fail: a new child leads no group */
        /* Once more: only a session leader can come by a terminal again, by opening one. */
        pid = fork();
        if (pid > 0)
            _exit(EXIT_STOPPED);
    }
    if (pid < 0 || put_on_null(STDIN_FILENO, STDOUT_FILENO) < 0) {
        fd_close(&fds[0]);
        fd_close(&fds[1]);
        return error_set(err, EXIT_FAILED, "cannot become a daemon: %s", strerror(errno));
    }
    close_inherited();
    report_fd = fds[1];
    return 0;
}

void process_daemon_report(int status)
{
    unsigned char byte = (unsigned char)status;

    if (report_fd < 0)
        return;
    (void)send(report_fd, &byte, 1, MSG_NOSIGNAL); /* fails when nobody is left to be told */
    process_daemon_forget();
}

bool process_daemon_starts(void)
{
    return report_fd >= 0;
}

void process_daemon_forget(void)
{
    if (report_fd < 0)
        return;
    /* nor by the log's own number, unless it is a file, which holds nobody */
    bool is_logged = log_is_on(STDERR_FILENO) && !log_is_file(log_fd());
    fd_close(&report_fd);
    (void)put_on_null(STDERR_FILENO, STDERR_FILENO); /* failed: the terminal is held, no more */
    if (is_logged)
        (void)dup3(STDERR_FILENO, log_fd(), O_CLOEXEC);
}

/* ---- descriptors ------------------------------------------------------------------------- */

int process_stdin_null(void)
{
    owned_fill_standard();
    return put_on_null(STDIN_FILENO, STDIN_FILENO);
}

int process_raise_nofile(rlim_t wanted, rlim_t *got)
{
    struct rlimit limit;

    *got = 0;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -1;
    *got = limit.rlim_cur;
    rlim_t goal = wanted < limit.rlim_max ? wanted : limit.rlim_max; /* infinity is the largest */
    if (goal <= limit.rlim_cur)
        return 0;
    limit.rlim_cur = goal;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -1;
    *got = goal;
    return 0;
}

void process_take_zone(void)
{
    time_t now = time(NULL);
    struct tm tm;

    if (localtime_r(&now, &tm))
        zone_set((int32_t)tm.tm_gmtoff);
}

/* In pages. 0, or -1 with errno. */
static int read_statm(pid_t pid, uint64_t *total, uint64_t *resident, uint64_t *shared)
{
    char path[40], text[128];

    (void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    fd_close(&fd);
    text[n > 0 ? n : 0] = '\0';
    if (sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64, total, resident, shared) != 3 ||
        *shared > *resident) {
        errno = EINVAL;
        return -1;
    }
    return 0;
}

int process_private_memory(pid_t pid, uint64_t *size)
{
    uint64_t total, resident, shared;

    if (read_statm(pid, &total, &resident, &shared) < 0)
        return -1;
    *size = (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
    return 0;
}

int process_resident_memory(pid_t pid, uint64_t *size)
{
    uint64_t total, resident, shared;

    if (read_statm(pid, &total, &resident, &shared) < 0)
        return -1;
    *size = resident * (uint64_t)sysconf(_SC_PAGESIZE);
    return 0;
}

/* Relative, because a sanitizer reserves terabytes. */
int process_limit_memory(uint64_t more)
{
    uint64_t total, resident, shared;

    if (read_statm(getpid(), &total, &resident, &shared) < 0)
        return -1;
    rlim_t most = (rlim_t)(total * (uint64_t)sysconf(_SC_PAGESIZE) + more);
    const struct rlimit limit = {.rlim_cur = most, .rlim_max = most};
    return setrlimit(RLIMIT_AS, &limit);
}

/* A number of /proc/PID/status, by its key and colon; 0 when it is not there. */
static int status_number(pid_t pid, const char *key)
{
    char path[40], line[128];
    size_t len = strlen(key);
    int number = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, key, len) == 0) {
            number = atoi(line + len);
            break;
        }
    }
    if (file)
        (void)fclose(file);
    return number;
}

pid_t process_tracer(pid_t pid)
{
    return (pid_t)status_number(pid, "TracerPid:");
}

bool process_dumps_core(pid_t pid)
{
    return status_number(pid, "CoreDumping:") != 0;
}

/* Its clock is finer than the ticks of /proc/PID/stat, and asked with less ado. */
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
