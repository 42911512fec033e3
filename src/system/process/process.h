/* SPDX-License-Identifier: MIT
 *
 * process - what a process is to the system: its title, its signals across a fork, its parent, its
 * first three descriptors, its limits, and becoming a daemon. (Its user: privileges.h.)
 */
#ifndef GCORN_SYSTEM_PROCESS_PROCESS_H
#define GCORN_SYSTEM_PROCESS_PROCESS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

struct error;

/* Makes the memory of the command line and the environment available for titles, and names the
 * process "gcorn". Call it before anything keeps a pointer into argv or the environment. Returns
 * the arguments to use from now on: a copy that lasts for ever, NULL-ended; argv's own strings are
 * overwritten. The environment moves by itself. */
char **process_title_init(int argc, char **argv);

/* What ps and /proc/PID/cmdline show from now on: "gcorn: worker [hello.so:handler]". Cut to the
 * space there is. Does nothing before process_title_init. */
void process_title_set(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Around fork: block, fork, then unblock in the parent and process_signals_reset in the child. A
 * signal that meets the child in between stays pending, and then finds the child's own
 * dispositions: it neither runs a handler of the master nor is lost. */
void process_signals_block(sigset_t *old);
void process_signals_unblock(const sigset_t *old);

/* In a child: every disposition to its default. What is blocked stays so. */
void process_signals_default(void);

/* In a child, also before exec: every disposition to its default, then nothing blocked. */
void process_signals_reset(void);

/* The program that this process runs, by the name that it was started with if that leads to it: a
 * path as in argv[0], or where PATH has it; else the file's own path. To be freed. */
char *process_program(const char *name);

/* Is it a child of this process, alive or not yet reaped? Then its pid is its own. */
bool process_is_child(pid_t pid);

/* In a child, once expected_parent is its parent for good and it has changed its user (both undo
 * the setting): SIGTERM arrives when the parent dies. Leaves with _exit(0) when it is dead already.
 * expected_parent: getpid() of the parent, from before the fork. The handler of SIGTERM must see to
 * it that a call that never returns ends too: alarm(2), whose default kills, is enough. */
void process_die_with_parent(pid_t expected_parent);

/* In a worker: its master and the master's other children may trace it (system/trace/stacks.h),
 * where the kernel's Yama lets only ancestors. Harmless without Yama. */
void process_allow_tracing(pid_t master_pid);

/* Goes on as a daemon: a session of its own, no terminal, stdin and stdout on /dev/null, and of
 * what the starter had open nothing but listening sockets. stderr stays until the report, for what
 * goes wrong while starting; the directory and the umask stay. The first process waits in here, and
 * exits with what process_daemon_report is told, or with EXIT_FAILED when the daemon dies without a
 * word. 0 in the daemon, or -1 with err filled. Before any thread, event loop or pid file: they do
 * not survive the fork. */
int process_daemonize(struct error *err);

/* Tells the waiting process what to exit with: 0 once requests are served. Then stderr goes to
 * /dev/null, also when the error log is there: the starter may wait until all have closed it (ssh
 * does). Only the first call counts, and only in a daemon. */
void process_daemon_report(int status);

/* Is this a daemon that has not reported yet? */
bool process_daemon_starts(void);

/* In a child of such a daemon: closes what would keep the waiting process from noticing that the
 * master died; stderr goes to /dev/null, since the child lives on after the report. */
void process_daemon_forget(void);

/* Puts stdin on /dev/null and opens stdout and stderr there if they are closed, so that no socket
 * is ever given one of their numbers. Before anything is opened. 0, or -1 with errno. */
int process_stdin_null(void);

/* Sets the zone of the log's times (base/ascii.h) to what the C library says of now. In a process
 * without application code: an application may change TZ, or hold the C library's lock. */
void process_take_zone(void);

/* How many bytes of memory a process has to itself: resident, less what it shares as files; what it
 * has from before a fork counts, shared as it may be. 0, or -1 with errno. Reads /proc; does not
 * block. */
int process_private_memory(pid_t pid, uint64_t *size);

/* How many bytes of memory it has resident, shared ones included. As above. */
int process_resident_memory(pid_t pid, uint64_t *size);

/* From now on this process can map at most so many bytes more than it has (RLIMIT_AS). 0, or -1
 * with errno. Reads /proc. */
int process_limit_memory(uint64_t more);

/* How much CPU time all threads of a process have used. 0, or -1 with errno. */
int process_cpu_us(pid_t pid, uint64_t *cpu_us);

/* Who traces the process (ptrace(2)): a debugger, strace, a helper of ours. 0: nobody. */
pid_t process_tracer(pid_t pid);

/* Raises the soft limit of open files to wanted (RLIM_INFINITY: all there is), as far as the hard
 * one allows; never lowers it. *got is what holds now. 0, or -1 with errno. */
int process_raise_nofile(rlim_t wanted, rlim_t *got);

/* Does the kernel write a core of this process, which SIGKILL would end? Linux 4.15; else false. */
bool process_dumps_core(pid_t pid);

#endif
