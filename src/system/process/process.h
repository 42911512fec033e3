/* SPDX-License-Identifier: MIT
 *
 * process - this process and its place among others: its program, its parent and children, its first
 * three descriptors, its time zone and CPU time. system/process/ is what Linux knows of a process;
 * its title, signals, limits, user (privileges.h) and its files in /proc have headers of their own.
 */
#ifndef GCORN_SYSTEM_PROCESS_PROCESS_H
#define GCORN_SYSTEM_PROCESS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- program and relatives --------------------------------------------------------------- */

/* The path of the program that this process runs; the caller frees it. The name that it was started
 * with (argv[0], also by way of PATH) if that leads to the program: it may be a link that an upgrade
 * changes. Else the file's own path. */
char *process_program(const char *name);

/* Is pid a child of this process that is not reaped yet? Then the kernel has not reused its pid. */
bool process_is_child(pid_t pid);

/* In a child: this signal arrives when the parent dies. To be called once expected_parent is its
 * parent for good and after any change of user; both undo the setting. Exits with status 0 when the
 * parent is dead already. expected_parent: getpid() of the parent, taken before the fork. SIGKILL
 * ends also a process that is stopped. A handler of SIGTERM must end a call that never returns, too:
 * alarm(2), whose default kills, is enough. */
void process_die_with_parent(pid_t expected_parent, int signal_number);

/* Lets the master and its other children trace this process (ptrace(2), system/trace/stacks.h),
 * where Yama otherwise lets only ancestors. Does nothing without Yama. */
void process_allow_tracing(pid_t master_pid);

/* ---- descriptors ------------------------------------------------------------------------- */

/* Puts stdin on /dev/null and opens stdout and stderr there if they are closed, so that no socket
 * gets one of their numbers. To be called before anything is opened. Returns 0, or -1 with errno. */
int process_stdin_null(void);

/* Puts the descriptors first to last on /dev/null. They survive exec. Returns 0, or -1 with errno
 * and some of them changed. */
int process_put_on_null(int first, int last);

/* In a forked child: closes every descriptor above 2 but those in keep, where -1 is no descriptor.
 * keep_given: also keeps those that are not close-on-exec, which are not this program's own: it was
 * started with them. Needs no /proc. */
void process_close_all_but(const int *keep, size_t count, bool keep_given);

/* ---- clocks ------------------------------------------------------------------------------ */

/* Sets the zone of times in the logs (base/ascii.h) to what the C library says now. For processes
 * without application code: an application may change TZ or hold the C library's lock. */
void process_take_zone(void);

/* The CPU time that all threads of a process have used, in microseconds. Returns 0, or -1 with
 * errno. */
int process_cpu_us(pid_t pid, uint64_t *cpu_us);

#endif
