/* SPDX-License-Identifier: MIT
 *
 * See state.h.
 */
#include "testlib/state.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "testlib/test_loop.h"
#include "testlib/hooks.h"

enum { CLOCK_START_MS = 1000000 };

struct testlib testlib = {.now_ms = CLOCK_START_MS, .lock = PTHREAD_MUTEX_INITIALIZER};

static void on_turn(struct ev_loop *loop, struct ev_async *async, int revents)
{
    (void)loop;
    (void)async;
    (void)revents; /* it was needed to wake the loop, no more */
}

static void wake_loop(void)
{
    ev_async_send(testlib.loop, &testlib.turn);
}

void testlib_init(void)
{
    const char *tmp = getenv("TMPDIR");

    if (testlib.loop)
        return;
    testlib.loop = ev_loop_new(EVFLAG_NOENV);
    assert(testlib.loop);
    ev_async_init(&testlib.turn, on_turn);
    ev_async_start(testlib.loop, &testlib.turn);
    test_loop_init(wake_loop);
    testlib.context = (struct http_context){
        .limits = {
            .head = {.line_max = 4094, .field_max = 8190, .fields_max = 100, .head_max = 64 * 1024},
            .body_max = UINT64_C(1) << 40,
            .holds_body = test_hooks.on_head != NULL,
            .chunk_ext_max = 4096,
            .body_place = {.mem_max = 64 * 1024, .dir = tmp && *tmp != '\0' ? tmp : "/tmp"}}};
    testlib.wall_offset_ms = (int64_t)time(NULL) * 1000 - (int64_t)atomic_load(&testlib.now_ms);
    testlib_set_date();
}

int64_t testlib_wall_ms(void)
{
    return (int64_t)atomic_load(&testlib.now_ms) + testlib.wall_offset_ms;
}

void testlib_set_date(void)
{
    http_context_set_date(&testlib.context, testlib_wall_ms() / 1000);
}
