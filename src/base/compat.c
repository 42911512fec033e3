/* SPDX-License-Identifier: MIT
 *
 * See compat.h.
 */
#include "base/compat.h"

#include <locale.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef COMPAT_HAS_TEXTS

struct signal_text {
    const char *name, *text;
};

static const struct signal_text signals[] = {
    [SIGHUP] = {"HUP", "Hangup"},
    [SIGINT] = {"INT", "Interrupt"},
    [SIGQUIT] = {"QUIT", "Quit"},
    [SIGILL] = {"ILL", "Illegal instruction"},
    [SIGTRAP] = {"TRAP", "Trace/breakpoint trap"},
    [SIGABRT] = {"ABRT", "Aborted"},
    [SIGBUS] = {"BUS", "Bus error"},
    [SIGFPE] = {"FPE", "Floating point exception"},
    [SIGKILL] = {"KILL", "Killed"},
    [SIGUSR1] = {"USR1", "User defined signal 1"},
    [SIGSEGV] = {"SEGV", "Segmentation fault"},
    [SIGUSR2] = {"USR2", "User defined signal 2"},
    [SIGPIPE] = {"PIPE", "Broken pipe"},
    [SIGALRM] = {"ALRM", "Alarm clock"},
    [SIGTERM] = {"TERM", "Terminated"},
    [SIGCHLD] = {"CHLD", "Child exited"},
    [SIGCONT] = {"CONT", "Continued"},
    [SIGSTOP] = {"STOP", "Stopped (signal)"},
    [SIGTSTP] = {"TSTP", "Stopped"},
    [SIGTTIN] = {"TTIN", "Stopped (tty input)"},
    [SIGTTOU] = {"TTOU", "Stopped (tty output)"},
    [SIGURG] = {"URG", "Urgent I/O condition"},
    [SIGXCPU] = {"XCPU", "CPU time limit exceeded"},
    [SIGXFSZ] = {"XFSZ", "File size limit exceeded"},
    [SIGVTALRM] = {"VTALRM", "Virtual timer expired"},
    [SIGPROF] = {"PROF", "Profiling timer expired"},
    [SIGWINCH] = {"WINCH", "Window changed"},
    [SIGPOLL] = {"POLL", "I/O possible"},
    [SIGPWR] = {"PWR", "Power failure"},
    [SIGSYS] = {"SYS", "Bad system call"},
#ifdef SIGSTKFLT
    [SIGSTKFLT] = {"STKFLT", "Stack fault"},
#endif
};

static struct signal_text find_signal(int number)
{
    bool is_known = number > 0 && (size_t)number < sizeof(signals) / sizeof(signals[0]);

    return is_known ? signals[number] : (struct signal_text){NULL, NULL};
}

const char *compat_sigabbrev_np(int number)
{
    return find_signal(number).name;
}

const char *compat_sigdescr_np(int number)
{
    return find_signal(number).text;
}

/* Both libraries have the C locale ready-made: newlocale() allocates nothing for it. */
const char *compat_strerrordesc_np(int error_number)
{
    return strerror_l(error_number, newlocale(LC_ALL_MASK, "C", (locale_t)0));
}

#endif

#ifdef COMPAT_HAS_REST

int compat_malloc_trim(size_t pad)
{
    (void)pad;
    return 0;
}

static struct {
    void (*function)(int status, void *argument);
    void *argument;
} exit_call;

static void run_exit_call(void)
{
    exit_call.function(-1, exit_call.argument);
}

int compat_on_exit(void (*function)(int status, void *argument), void *argument)
{
    exit_call.function = function;
    exit_call.argument = argument;
    return atexit(run_exit_call);
}

int compat_dladdr1(const void *address, Dl_info *info, void **extra, int flags)
{
    (void)flags;
    *extra = NULL;
    return dladdr(address, info);
}

#endif

#ifdef COMPAT_HAS_PWRITEV2

/* The kernel takes the offset in two halves, of which the second means nothing on 64 bits. */
ssize_t compat_pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    long low = (long)offset;
    long high = sizeof(long) >= sizeof(offset) ? 0 : (long)((int64_t)offset >> 32);

    return syscall(SYS_pwritev2, fd, parts, (long)count, low, high, flags);
}

#endif
