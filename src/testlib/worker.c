/* SPDX-License-Identifier: MIT
 *
 * The worker that a test stands for (gcorn_test.h): its start and its end.
 */
#include "testlib/hooks.h"
#include "testlib/messages.h"
#include "testlib/metrics.h"
#include "testlib/request.h"
#include "testlib/state.h"
#include "testlib/test_loop.h"

/* Once in the process, as where an application is loaded. */
static int run_on_load(void)
{
    if (testlib.was_loaded || !test_hooks.on_load)
        return 0;
    testlib.was_loaded = test_hooks.on_load() == 0;
    return testlib.was_loaded ? 0 : -1;
}

int gcorn_test_worker_start(void)
{
    gcorn_test_worker_stop();
    testlib_init();
    if (testlib.had_worker)
        metrics_restart();
    if (run_on_load() < 0)
        return -1;
    if (test_hooks.on_worker_init && test_hooks.on_worker_init() < 0)
        return -1;
    testlib.has_worker = testlib.had_worker = true;
    return 0;
}

void gcorn_test_worker_stop(void)
{
    if (!testlib.has_worker)
        return;
    testlib.has_worker = false;
    gcorn_test_drain(true);
    for (struct test *t = testlib.tests; t; t = t->next)
        request_cut(t);
    test_stop_threads();
    if (test_hooks.on_worker_exit)
        test_hooks.on_worker_exit();
    test_stop_timers();
    test_end_messages();
    gcorn_test_drain(false);
}
