/* SPDX-License-Identifier: MIT
 *
 * examples/bridge: programs, and the hooks as a server calls them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <gcorn_test.h>

gcorn_app handler;

static void ask(const char *head, int status, const char *body)
{
    struct gcorn_test *t = gcorn_test_request(handler, head, NULL, 0);

    assert_true(t->complete);
    assert_int_equal(t->status, status);
    assert_string_equal(t->body, body);
    gcorn_test_close(t);
}

static void test_bridge_programs(void **state)
{
    (void)state;
    ask("GET /?run=3+square+4+square+add HTTP/1.1", 200, "25\n");
    ask("GET /?run=1+drop HTTP/1.1", 422, "no result\n");
    ask("GET /?run=1+add HTTP/1.1", 422, "the stack is too short or too long\n");
    ask("GET /?run=square HTTP/1.1", 422, "the stack is too short or too long\n");
    ask("GET /?run=one HTTP/1.1", 400, "the program does not compile\n");
    ask("GET / HTTP/1.1", 400, "ask for /?run=PROGRAM\n");
}

/* A late signal that comes after its call must not reach the next one. */
static void test_bridge_late_call(void **state)
{
    (void)state;
    gcorn_on_call_late();
    ask("GET /?run=1 HTTP/1.1", 200, "1\n");
}

/* Nothing is locked after a fork, on either side. */
static void test_bridge_fork(void **state)
{
    (void)state;
    gcorn_on_fork(GCORN_FORK_BEFORE);
    gcorn_on_fork(GCORN_FORK_PARENT);
    ask("GET /?run=1 HTTP/1.1", 200, "1\n");
    gcorn_on_fork(GCORN_FORK_BEFORE);
    gcorn_on_fork(GCORN_FORK_CHILD);
    ask("GET /?run=2 HTTP/1.1", 200, "2\n");
}

static int begin(void **state)
{
    (void)state;
    return gcorn_test_worker_start();
}

static int end(void **state)
{
    (void)state;
    gcorn_test_worker_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bridge_programs),
        cmocka_unit_test(test_bridge_late_call),
        cmocka_unit_test(test_bridge_fork),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
