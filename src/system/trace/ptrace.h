/* SPDX-License-Identifier: MIT
 *
 * ptrace - the threads of another process: what /proc tells of them, and holding them still for a
 * moment by ptrace.
 *
 * They are held by PTRACE_SEIZE and PTRACE_INTERRUPT, which send no signal: the application's
 * handlers do not run, and poll, nanosleep, read and the like go on as if nothing had been. A few
 * system calls (epoll_wait, sigtimedwait, semop: signal(7)) return EINTR nevertheless, as they do
 * after SIGSTOP and SIGCONT. However the tracer ends, the kernel detaches its threads.
 */
#ifndef GCORN_SYSTEM_TRACE_PTRACE_H
#define GCORN_SYSTEM_TRACE_PTRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct strbuf;

enum { THREADS_MAX = 256 };

enum thread_hold {
    THREAD_FREE,
    THREAD_REFUSED, /* the reason is in error */
    THREAD_SEIZED,  /* ours, but it has not stopped yet */
    THREAD_HELD,
    THREAD_GONE,
};

struct thread {
    pid_t tid;
    enum thread_hold hold;
    int error;
    int signal; /* that it was just being given when it stopped; 0: none */
    char name[16];
    char state;                  /* as in /proc/PID/stat; '?': unknown */
    char wchan[48];              /* where in the kernel it waits; "": nowhere, or it is not told */
    uint64_t user_ms, system_ms; /* of processor time */
    uint64_t pc;                 /* once held: the instruction it is at; 0: unknown */
};

struct threads {
    pid_t pid;
    struct thread *list; /* owned; the main thread first */
    size_t count;
    size_t unseen;    /* beyond THREADS_MAX */
    uint64_t held_ms; /* for how long they were held, once released */
    uint64_t began_ms;
};

/* Looks at all threads of a process. 0, or -1 with errno: there is no such process. */
int threads_look(struct threads *t, pid_t pid);

/* Holds them all, those too that were started meanwhile, or as many as stop before the deadline
 * (now_ms); each says in `hold` what became of it. How many are held. */
size_t threads_hold(struct threads *t, uint64_t deadline_ms);

/* Detaches the threads, which go on as before. */
void threads_let_go(struct threads *t);

/* Releases the list; detaches the threads first if that was not done. */
void threads_release(struct threads *t);

/* "sleeping in hrtimer_nanosleep; user 12 ms, system 3 ms" */
void thread_describe(const struct thread *t, struct strbuf *out);

/* Why a process cannot be traced: which process traces it already, or what forbids it. error: of
 * PTRACE_SEIZE. */
void threads_explain_refusal(pid_t pid, int error, struct strbuf *out);

#endif
