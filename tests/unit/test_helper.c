/* SPDX-License-Identifier: MIT
 *
 * Helpers: what a job writes arrives, however its process ends, and nothing of the master's is left
 * in it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "master/postmortem/helper.h"

static struct helpers helpers;
static struct ev_loop *loop;

struct outcome {
    struct strbuf text;
    int status;
    unsigned calls;
};

static int init(void **state)
{
    (void)state;
    loop = ev_loop_new(EVFLAG_NOENV);
    helpers_init(&helpers, loop);
    return 0;
}

static int release(void **state)
{
    (void)state;
    helpers_close(&helpers);
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    ev_loop_destroy(loop);
    return 0;
}

static void on_done(void *data, const char *text, size_t len, int status)
{
    struct outcome *o = data;

    assert_int_equal(text[len], '\0');
    strbuf_reset(&o->text);
    strbuf_add(&o->text, text, len);
    o->status = status;
    o->calls++;
}

static struct helper_job job_of(void (*work)(const void *arg, struct strbuf *out), const void *arg,
                                struct outcome *o)
{
    return (struct helper_job){.work = work, .arg = arg, .time_s = 60, .done = on_done, .data = o};
}

/* As the master does it: the loop turns, and what has ended is reaped. */
static void run_until_done(const struct outcome *o)
{
    pid_t pid;
    int status;

    while (o->calls == 0) {
        (void)ev_run(loop, EVRUN_NOWAIT);
        if ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            assert_true(helpers_reaped(&helpers, pid, status));
        (void)usleep(200);
    }
    assert_int_equal(o->calls, 1);
}

static void run(struct outcome *o, struct helper_job job)
{
    *o = (struct outcome){0};
    assert_int_equal(helper_start(&helpers, &job), 0);
    assert_int_equal(o->calls, 0);
    run_until_done(o);
}

/* ---- texts ----------------------------------------------------------------------------------- */

static void say_it(const void *arg, struct strbuf *out)
{
    strbuf_addstr(out, arg);
}

static void say_nothing(const void *arg, struct strbuf *out)
{
    (void)arg;
    (void)out;
}

static void say_much(const void *arg, struct strbuf *out)
{
    (void)arg;
    while (out->len < HELPER_TEXT_MAX)
        strbuf_addch(out, (char)('a' + out->len % 26));
}

static void test_helper_text(void **state)
{
    struct outcome o;

    (void)state;
    run(&o, job_of(say_it, "hello", &o));
    assert_string_equal(o.text.data, "hello");
    assert_int_equal(o.status, 0);
    strbuf_release(&o.text);
    run(&o, job_of(say_nothing, NULL, &o));
    assert_int_equal(o.text.len, 0);
    assert_int_equal(o.status, 0);
    strbuf_release(&o.text);
}

/* More than a pipe holds. */
static void test_helper_long_text(void **state)
{
    struct outcome o;

    (void)state;
    run(&o, job_of(say_much, NULL, &o));
    assert_int_equal(o.text.len, HELPER_TEXT_MAX);
    for (size_t i = 0; i < o.text.len; i++)
        assert_int_equal(o.text.data[i], 'a' + i % 26);
    strbuf_release(&o.text);
}

/* ---- bad ends -------------------------------------------------------------------------------- */

static void no_core_file(void)
{
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
}

static void crash(const void *arg, struct strbuf *out)
{
    no_core_file();
    strbuf_addstr(out, "so far");
    (void)raise(*(const int *)arg);
}

static void hang(const void *arg, struct strbuf *out)
{
    (void)arg;
    strbuf_addstr(out, "so far");
    for (;;)
        (void)pause();
}

static void test_helper_crash(void **state)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    struct outcome o;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        run(&o, job_of(crash, &numbers[i], &o));
        assert_string_equal(o.text.data, "so far");
        assert_true(WIFSIGNALED(o.status));
        assert_int_equal(WTERMSIG(o.status), numbers[i]);
        strbuf_release(&o.text);
    }
}

static void test_helper_past_its_time(void **state)
{
    struct outcome o;
    struct helper_job job = job_of(hang, NULL, &o);

    (void)state;
    job.time_s = 1;
    run(&o, job);
    assert_string_equal(o.text.data, "so far");
    assert_true(WIFSIGNALED(o.status));
    assert_int_equal(WTERMSIG(o.status), SIGALRM);
    strbuf_release(&o.text);
}

/* Its user could have stopped it. */
static void stop_itself(const void *arg, struct strbuf *out)
{
    (void)arg;
    (void)out;
    (void)raise(SIGSTOP);
}

static void test_helper_that_is_stopped_is_killed(void **state)
{
    struct outcome o;
    struct helper_job job = job_of(stop_itself, NULL, &o);

    (void)state;
    job.time_s = 0;
    run(&o, job);
    assert_true(WIFSIGNALED(o.status));
    assert_int_equal(WTERMSIG(o.status), SIGKILL);
    strbuf_release(&o.text);
}

static void map_much(const void *arg, struct strbuf *out)
{
    const size_t most = HELPER_MEMORY_MAX;
    void *half = mmap(NULL, most / 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *whole = mmap(NULL, most, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)arg;
    strbuf_addf(out, "%s %s", half == MAP_FAILED ? "refused" : "mapped",
                whole == MAP_FAILED ? strerror(errno) : "mapped");
}

static void test_helper_memory_is_limited(void **state)
{
    struct outcome o;

    (void)state;
    run(&o, job_of(map_much, NULL, &o));
    assert_string_equal(o.text.data, "mapped Cannot allocate memory");
    strbuf_release(&o.text);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static void list_descriptors(const void *arg, struct strbuf *out)
{
    (void)arg;
    for (int fd = STDERR_FILENO + 1; fd < 1000; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            strbuf_addf(out, "%d ", fd);
    }
}

static void test_helper_keeps_only_its_descriptors(void **state)
{
    int one = open("/dev/null", O_RDONLY), two = dup(one), three = dup(one);
    char wanted[16];
    struct outcome o;
    struct helper_job job = job_of(list_descriptors, NULL, &o);

    (void)state;
    job.keeps[job.keep_count++] = two;
    run(&o, job);
    (void)snprintf(wanted, sizeof(wanted), "%d ", two);
    const char *pipe_fd = o.text.data + strlen(wanted);
    assert_memory_equal(o.text.data, wanted, strlen(wanted));
    assert_true(atoi(pipe_fd) > three);
    assert_string_equal(strchr(pipe_fd, ' '), " "); /* and no more */
    (void)close(one);
    (void)close(two);
    (void)close(three);
    strbuf_release(&o.text);
}

/* ---- several --------------------------------------------------------------------------------- */

static void test_helpers_at_once(void **state)
{
    struct outcome hanging[HELPERS_MAX] = {0}, o = {0};
    struct helper_job job = job_of(say_it, "x", &o);

    (void)state;
    for (size_t i = 0; i < HELPERS_MAX; i++) {
        struct helper_job each = job_of(hang, NULL, &hanging[i]);

        assert_int_equal(helper_start(&helpers, &each), 0);
    }
    assert_int_equal(helper_start(&helpers, &job), -1);
    assert_int_equal(errno, EBUSY);
    assert_int_equal(kill(helpers.list[3].pid, SIGTERM), 0);
    run_until_done(&hanging[3]);
    assert_int_equal(WTERMSIG(hanging[3].status), SIGTERM);
    assert_int_equal(helper_start(&helpers, &job), 0); /* there is room again */
    run_until_done(&o);
    assert_string_equal(o.text.data, "x");
    assert_false(helpers_reaped(&helpers, getpid(), 0)); /* somebody else */
    helpers_close(&helpers);
    for (size_t i = 0; i < HELPERS_MAX; i++) {
        assert_int_equal(hanging[i].calls, i == 3);
        strbuf_release(&hanging[i].text);
    }
    strbuf_release(&o.text);
}

static void wait_for_parent_to_die(const void *arg, struct strbuf *out)
{
    (void)out;
    (void)write_all(*(const int *)arg, "r", 1);
    for (;;)
        (void)pause();
}

/* The master may be killed: nobody reads the text any more. */
static void test_helper_ends_with_its_master(void **state)
{
    int ready[2], status;
    char byte;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    (void)fflush(NULL);
    pid_t master = fork();
    if (master == 0) {
        struct outcome o;
        struct helper_job job = job_of(wait_for_parent_to_die, &ready[1], &o);

        job.keeps[job.keep_count++] = ready[1];
        if (helper_start(&helpers, &job) < 0)
            _exit(97);
        for (;;)
            (void)pause();
    }
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(kill(master, SIGKILL), 0);
    assert_int_equal(waitpid(master, &status, 0), master);
    assert_int_equal(read(ready[0], &byte, 1), 0); /* the last that had it is gone */
    (void)close(ready[0]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, init, release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_helper_text),
        TEST(test_helper_long_text),
        TEST(test_helper_crash),
        TEST(test_helper_past_its_time),
        TEST(test_helper_that_is_stopped_is_killed),
        TEST(test_helper_memory_is_limited),
        TEST(test_helper_keeps_only_its_descriptors),
        TEST(test_helpers_at_once),
        TEST(test_helper_ends_with_its_master),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
