/* SPDX-License-Identifier: MIT
 *
 * Stacks of other processes: children of this one that sleep, loop, crash, end or are traced
 * already. What they saw of it they tell by their exit status.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "base/util.h"
#include "system/trace/stacks.h"

#ifdef HAVE_LIBDW
enum { HAS_STACKS = 1 };
#else
enum { HAS_STACKS = 0 };
#endif

#ifdef __clang__
#define NOINLINE __attribute__((noinline, optnone))
#else
#define NOINLINE __attribute__((noinline, noipa))
#endif

enum { TEXT_MAX = 1 << 20, PATIENCE_MS = 30000 };

/* ---- targets --------------------------------------------------------------------------------- */

struct target {
    pid_t pid;
    int ready; /* it writes a byte when it is where it wants to be */
    int go;    /* and ends when this is closed */
};

struct ends {
    int ready, go;
};

static struct target start(void (*fn)(const struct ends *ends))
{
    int ready[2], go[2];

    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        const struct ends ends = {ready[1], go[0]};

        (void)close(go[1]);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        fn(&ends);
        _exit(0);
    }
    assert_true(pid > 0);
    (void)close(ready[1]);
    (void)close(go[0]);
    return (struct target){pid, ready[0], go[1]};
}

static void say_ready(const struct ends *ends)
{
    if (write(ends->ready, "r", 1) != 1)
        _exit(98);
}

static void await_ready(const struct target *t)
{
    char byte;

    assert_int_equal(read(t->ready, &byte, 1), 1);
}

/* Lets it end, and returns its wait status. A thread that did not stop in time is traced by this
 * process until both end: a process is reaped only after such threads of its. */
static int finish(struct target *t)
{
    pid_t got;
    int status;

    fd_close(&t->go);
    while ((got = waitpid(-1, &status, __WALL)) != t->pid)
        assert_true(got > 0);
    fd_close(&t->ready);
    return status;
}

static void finish_killed(struct target *t)
{
    assert_int_equal(kill(t->pid, SIGKILL), 0);
    assert_int_equal(finish(t), SIGKILL);
}

static char process_state(pid_t pid)
{
    char path[64], text[512] = "";

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return '-';
    size_t n = fread(text, 1, sizeof(text) - 1, file);
    (void)fclose(file);
    text[n] = '\0';
    return strrchr(text, ')') ? strrchr(text, ')')[2] : '-';
}

static int dump(pid_t pid, struct strbuf *text)
{
    const struct stacks_target target = {.pid = pid, .text_max = TEXT_MAX};

    strbuf_reset(text);
    int result = stacks_write(&target, text);
    assert_non_null(text->data);
    return result;
}

/* Dumps until it says all of these, NULL-ended: a thread takes a moment to get where it is going.
 */
static void dump_until(pid_t pid, struct strbuf *text, const char *const *wanted)
{
    uint64_t deadline_ms = now_ms() + PATIENCE_MS;
    const char *missing;

    do {
        assert_int_equal(dump(pid, text), 0);
        missing = NULL;
        for (size_t i = 0; wanted[i] && !missing; i++)
            missing = strstr(text->data, wanted[i]) ? NULL : wanted[i];
    } while (missing && now_ms() < deadline_ms);
    if (missing)
        print_error("no %s in:\n%s\n", missing, text->data);
    assert_null(missing);
}

/* ---- waiting threads ------------------------------------------------------------------------- */

static atomic_int interrupted;

static NOINLINE void *thread_in_poll(void *arg)
{
    struct pollfd one = {.fd = *(const int *)arg, .events = POLLIN};

    (void)prctl(PR_SET_NAME, "poller");
    if (poll(&one, 1, -1) < 0)
        interrupted++;
    return NULL;
}

static NOINLINE void *thread_in_read(void *arg)
{
    char byte;

    (void)prctl(PR_SET_NAME, "reader");
    if (read(*(const int *)arg, &byte, 1) < 0)
        interrupted++;
    return NULL;
}

static NOINLINE void *thread_in_nanosleep(void *arg)
{
    const struct timespec length = {.tv_nsec = 100000000};
    struct pollfd one = {.fd = *(const int *)arg};

    (void)prctl(PR_SET_NAME, "sle) (per");
    while (poll(&one, 1, 0) == 0) {
        if (nanosleep(&length, NULL) < 0)
            interrupted++;
    }
    return NULL;
}

static NOINLINE void wait_in_threads(const struct ends *ends)
{
    static void *(*const functions[])(void *) = {thread_in_poll, thread_in_read,
                                                 thread_in_nanosleep};
    pthread_t threads[ARRAY_LEN(functions)];
    int go = ends->go;

    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        if (pthread_create(&threads[i], NULL, functions[i], &go) != 0)
            _exit(97);
    }
    say_ready(ends);
    for (size_t i = 0; i < ARRAY_LEN(functions); i++)
        (void)pthread_join(threads[i], NULL);
    _exit(interrupted);
}

static void test_stacks_of_waiting_threads(void **state)
{
    static const char *const wanted[] = {"4 threads\n",
                                         "\"poller\": sleeping",
                                         "\"reader\": sleeping",
                                         "\"sle) (per\": sleeping",
                                         "; user ",
#ifdef HAVE_LIBDW
                                         " thread_in_poll+0x",
                                         " thread_in_read+0x",
                                         " thread_in_nanosleep+0x",
                                         "test_stacks.c:",
                                         " wait_in_threads+0x",
                                         " main+0x",
#else
                                         "built without libdw",
                                         "(libc.so.6+0x",
#endif
                                         "stopped for ",
                                         NULL};
    struct target t = start(wait_in_threads);
    struct strbuf text = {0};

    (void)state;
    await_ready(&t);
    dump_until(t.pid, &text, wanted);
    for (int i = 0; i < 20; i++)
        assert_int_equal(dump(t.pid, &text), 0);
    int status = finish(&t);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0); /* nobody was interrupted */
    strbuf_release(&text);
}

static NOINLINE void loop_for_ever(void)
{
    static volatile unsigned turns;

    for (;;)
        turns = turns + 1;
}

static void loop(const struct ends *ends)
{
    say_ready(ends);
    loop_for_ever();
}

static void test_stacks_of_a_loop(void **state)
{
    static const char *const wanted[] = {": running; user ",
#ifdef HAVE_LIBDW
                                         "#0 loop_for_ever+0x", " main+0x",
#endif
                                         NULL};
    struct target t = start(loop);
    struct strbuf text = {0};

    (void)state;
    await_ready(&t);
    dump_until(t.pid, &text, wanted);
    assert_int_equal(process_state(t.pid), 'R'); /* it goes on */
    finish_killed(&t);
    strbuf_release(&text);
}

/* A process that a shell has stopped stays so, and can be continued. */
static void test_stacks_of_a_stopped_process(void **state)
{
    static const char *const wanted[] = {": stopped", "stopped for ", NULL};
    struct target t = start(loop);
    struct strbuf text = {0};
    int status;

    (void)state;
    await_ready(&t);
    assert_int_equal(kill(t.pid, SIGSTOP), 0);
    assert_int_equal(waitpid(t.pid, &status, WUNTRACED), t.pid);
    dump_until(t.pid, &text, wanted);
    uint64_t deadline_ms = now_ms() + PATIENCE_MS; /* it stops once more by itself */
    while (process_state(t.pid) != 'T' && now_ms() < deadline_ms)
        (void)poll(NULL, 0, 1);
    assert_int_equal(process_state(t.pid), 'T');
    assert_int_equal(kill(t.pid, SIGCONT), 0);
    assert_int_equal(waitpid(t.pid, &status, WCONTINUED), t.pid);
    assert_true(WIFCONTINUED(status));
    finish_killed(&t);
    strbuf_release(&text);
}

/* ---- a crash --------------------------------------------------------------------------------- */

static const struct ends *crash_ends;

static NOINLINE void on_fault(int number)
{
    (void)number;
    say_ready(crash_ends);
    for (;;)
        (void)pause();
}

static NOINLINE void write_to_nowhere(volatile int *place)
{
    *place = 1; /* the fault */
}

static NOINLINE void crash(const struct ends *ends)
{
    stack_t own = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
    const struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK};
    int *volatile page = (int *)(uintptr_t)16; /* UBSan knows NULL */

    crash_ends = ends;
    if (sigaltstack(&own, NULL) < 0 || sigaction(SIGSEGV, &action, NULL) < 0)
        _exit(97);
    write_to_nowhere(page);
}

/* Through the handler's frame to what faulted, on another stack. */
static void test_stacks_of_a_crash(void **state)
{
    struct target t = start(crash);
    struct strbuf text = {0};

    (void)state;
    await_ready(&t);
    assert_int_equal(dump(t.pid, &text), 0);
    if (HAS_STACKS) {
        const char *handler = strstr(text.data, " on_fault+0x");
        const char *fault = strstr(text.data, " write_to_nowhere+0x");
        const char *caller = strstr(text.data, " crash+0x");

        assert_non_null(handler);
        assert_non_null(fault);
        assert_non_null(caller);
        assert_true(handler < fault && fault < caller);
    }
    finish_killed(&t);
    strbuf_release(&text);
}

static NOINLINE void wait_for_ever(const struct ends *ends)
{
    say_ready(ends);
    for (;;)
        (void)pause();
}

static NOINLINE int recurse(const struct ends *ends, int depth)
{
    volatile int deeper = depth - 1;

    if (depth > 0)
        return recurse(ends, deeper) + deeper;
    wait_for_ever(ends);
    return 0;
}

static void recurse_deeply(const struct ends *ends)
{
    (void)recurse(ends, 1000);
}

static void test_stacks_are_bounded(void **state)
{
    struct target t = start(recurse_deeply);
    struct strbuf text = {0};

    (void)state;
    await_ready(&t);
    assert_int_equal(dump(t.pid, &text), 0);
    if (HAS_STACKS) {
        assert_non_null(strstr(text.data, "  #99 recurse+0x"));
        assert_null(strstr(text.data, "  #100 "));
        assert_non_null(strstr(text.data, "  (more frames)\n"));
    }
    for (size_t max = 0; max < 150; max += 3) {
        const struct stacks_target target = {.pid = t.pid, .text_max = max};

        strbuf_reset(&text);
        strbuf_addstr(&text, "before");
        (void)stacks_write(&target, &text);
        assert_memory_equal(text.data, "before", 6);
        assert_true(text.len <= 6 + (max > 8 ? max : 8)); /* what says that it is cut */
        assert_string_equal(text.data + text.len - 7, "\n(cut)\n");
    }
    finish_killed(&t);
    strbuf_release(&text);
}

/* ---- many threads ---------------------------------------------------------------------------- */

static void wait_in_many_threads(const struct ends *ends)
{
    pthread_t threads[200];
    pthread_attr_t small;
    int go = ends->go;

    (void)pthread_attr_init(&small);
    (void)pthread_attr_setstacksize(&small, 1 << 17);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        if (pthread_create(&threads[i], &small, thread_in_poll, &go) != 0)
            _exit(97);
    }
    say_ready(ends);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        (void)pthread_join(threads[i], NULL);
    _exit(interrupted > 0);
}

static void test_stacks_of_many_threads(void **state)
{
    static const char *const wanted[] = {"201 threads\n",
#ifdef HAVE_LIBDW
                                         "stack of 200 threads: ",
#endif
                                         NULL};
    struct target t = start(wait_in_many_threads);
    struct strbuf text = {0};

    (void)state;
    await_ready(&t);
    dump_until(t.pid, &text, wanted);
    uint64_t before_ms = now_ms();
    assert_int_equal(dump(t.pid, &text), 0);
    const char *stopped = strstr(text.data, "stopped for ");
    assert_non_null(stopped);
    print_message("201 threads: %llu ms, %.*s\n", (unsigned long long)(now_ms() - before_ms),
                  (int)strcspn(stopped, "\n"), stopped);
    assert_int_equal(finish(&t), 0);
    strbuf_release(&text);
}

static void *begin_and_end(void *arg)
{
    return arg;
}

static void start_threads_for_ever(const struct ends *ends)
{
    pthread_t thread;

    say_ready(ends);
    for (;;) {
        if (pthread_create(&thread, NULL, begin_and_end, NULL) == 0)
            (void)pthread_join(thread, NULL);
    }
}

static void test_stacks_while_threads_come_and_go(void **state)
{
    struct target t = start(start_threads_for_ever);
    struct strbuf text = {0};

    (void)state;
    await_ready(&t);
    for (int i = 0; i < 20; i++) {
        int result = dump(t.pid, &text);

        if (result < 0)
            print_error("%s\n", text.data);
        assert_int_equal(result, 0);
    }
    assert_int_not_equal(process_state(t.pid), 't');
    finish_killed(&t);
    strbuf_release(&text);
}

/* ---- signals --------------------------------------------------------------------------------- */

enum { SIGNALS = 300 };

static volatile sig_atomic_t signals_got;

static void count_signal(int number)
{
    (void)number;
    signals_got++;
}

static void count_signals(const struct ends *ends)
{
    struct timespec pause = {.tv_nsec = 100000};
    struct pollfd one = {.fd = ends->go};

    (void)signal(SIGRTMIN, count_signal);
    say_ready(ends);
    while (poll(&one, 1, 0) <= 0) /* it may be interrupted */
        (void)nanosleep(&pause, NULL);
    _exit(signals_got == SIGNALS ? 0 : 1);
}

/* Real-time signals are queued: each must arrive, also one that meets a tracer. */
static void test_stacks_lose_no_signal(void **state)
{
    struct target t = start(count_signals);
    struct strbuf text = {0};
    int status;

    (void)state;
    await_ready(&t);
    pid_t sender = fork();
    if (sender == 0) {
        const struct timespec pause = {.tv_nsec = 200000};

        for (int i = 0; i < SIGNALS; i++) {
            while (sigqueue(t.pid, SIGRTMIN, (union sigval){0}) < 0 && errno == EAGAIN)
                (void)nanosleep(&pause, NULL);
            (void)nanosleep(&pause, NULL);
        }
        _exit(0);
    }
    while (waitpid(sender, &status, WNOHANG) == 0)
        assert_int_equal(dump(t.pid, &text), 0);
    assert_int_equal(finish(&t), 0);
    strbuf_release(&text);
}

/* ---- no stacks ------------------------------------------------------------------------------- */

static void await_end(const struct ends *ends)
{
    char byte;

    say_ready(ends);
    if (read(ends->go, &byte, 1) != 0) /* its end */
        _exit(97);
}

static void test_stacks_of_the_dead(void **state)
{
    struct target t = start(await_end);
    struct strbuf text = {0};
    uint64_t deadline_ms = now_ms() + PATIENCE_MS;

    (void)state;
    await_ready(&t);
    fd_close(&t.go);
    while (process_state(t.pid) != 'Z' && now_ms() < deadline_ms)
        (void)poll(NULL, 0, 1);
    assert_int_equal(dump(t.pid, &text), -1); /* a zombie */
    assert_non_null(strstr(text.data, "no stack of thread"));
    assert_non_null(strstr(text.data, ": it has ended\n"));
    assert_int_equal(finish(&t), 0);
    assert_int_equal(dump(t.pid, &text), -1); /* nothing any more */
    assert_non_null(strstr(text.data, ": it has ended\n"));
    strbuf_release(&text);
}

static void end_at_once(const struct ends *ends)
{
    say_ready(ends);
}

static void test_stacks_of_the_dying(void **state)
{
    struct strbuf text = {0};

    (void)state;
    for (int i = 0; i < 20; i++) {
        struct target t = start(end_at_once);

        await_ready(&t);
        (void)dump(t.pid, &text); /* whatever there is */
        /* the tracer may have seen its end, which then is still its parent's to reap */
        int status;
        fd_close(&t.go);
        fd_close(&t.ready);
        assert_true(waitpid(t.pid, &status, 0) == t.pid || errno == ECHILD);
    }
    strbuf_release(&text);
}

static void test_stacks_of_the_traced(void **state)
{
    struct target t = start(await_end);
    struct strbuf text = {0};
    char wanted[64];
    int traced[2];

    (void)state;
    await_ready(&t);
    assert_int_equal(pipe(traced), 0);
    pid_t tracer = fork();
    if (tracer == 0) {
        (void)prctl(PR_SET_NAME, "other tracer");
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (ptrace(PTRACE_SEIZE, t.pid, NULL, NULL) < 0 || write(traced[1], "t", 1) != 1)
            _exit(97);
        for (;;)
            (void)pause();
    }
    char byte;
    assert_int_equal(read(traced[0], &byte, 1), 1);
    assert_int_equal(dump(t.pid, &text), -1);
    (void)snprintf(wanted, sizeof(wanted), "; process %d (other tracer) traces it already\n",
                   (int)tracer);
    assert_non_null(strstr(text.data, wanted));
    assert_non_null(strstr(text.data, ": sleeping")); /* the rest is told */
    assert_int_equal(kill(tracer, SIGKILL), 0);
    assert_int_equal(waitpid(tracer, NULL, 0), tracer);
    assert_int_equal(dump(t.pid, &text), 0);
    assert_int_equal(finish(&t), 0);
    fd_close(&traced[0]);
    fd_close(&traced[1]);
    strbuf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stacks_of_waiting_threads),
        cmocka_unit_test(test_stacks_of_a_loop),
        cmocka_unit_test(test_stacks_of_a_stopped_process),
        cmocka_unit_test(test_stacks_of_a_crash),
        cmocka_unit_test(test_stacks_are_bounded),
        cmocka_unit_test(test_stacks_of_many_threads),
        cmocka_unit_test(test_stacks_while_threads_come_and_go),
        cmocka_unit_test(test_stacks_lose_no_signal),
        cmocka_unit_test(test_stacks_of_the_dead),
        cmocka_unit_test(test_stacks_of_the_dying),
        cmocka_unit_test(test_stacks_of_the_traced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
