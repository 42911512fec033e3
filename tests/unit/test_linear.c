/* SPDX-License-Identifier: MIT
 *
 * Bytes that come one at a time cost the same each, however many there were before: a client that
 * drips cannot make a long head or body cost more than its bytes. Measured in processor time, the
 * shortest of several runs: four times the bytes take four times as long, and sixteen times where
 * each byte costs a scan of those before it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "base/strbuf.h"
#include "http/request/request.h"

enum { SHORT_LEN = 100 * 1000, FACTOR = 4, FACTOR_MAX = 9, RUNS = 5 };

static const struct request_limits limits = {
    .head = {.fields_max = 1000000, .head_max = 4 * SHORT_LEN * FACTOR},
    .chunk_ext_max = 4 * SHORT_LEN * FACTOR,
    .body_place.mem_max = 65536,
    .body_place.dir = "/tmp",
};

#define CHUNKED "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

/* A request: begin, then a piece as often as it takes, then end. */
static const struct shape {
    const char *name, *begin, *piece, *end;
} shapes[] = {
    {"request line", "GET /", "a", " HTTP/1.1\r\nHost: h\r\n\r\n"},
    {"one field", "GET / HTTP/1.1\r\nHost: h\r\nA: ", "a", "\r\n\r\n"},
    {"many fields", "GET / HTTP/1.1\r\nHost: h\r\n", "A: b\r\n", "\r\n"},
    {"chunks", CHUNKED, "1\r\nx\r\n", "0\r\n\r\n"},
    {"chunk extension", CHUNKED "1;a=", "b", "\r\nx\r\n0\r\n\r\n"},
    {"trailers", CHUNKED "0\r\n", "A: b\r\n", "\r\n"},
};

static uint64_t cpu_ns(void)
{
    struct timespec t;

    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t feed(const struct strbuf *text)
{
    struct request r = {0};
    struct arena arena;

    arena_init(&arena);
    request_init(&r, &limits, &arena);
    uint64_t start = cpu_ns();
    for (size_t i = 0; i < text->len; i++)
        if (request_feed(&r, text->data + i, 1) != 1)
            fail();
    uint64_t took = cpu_ns() - start;
    assert_int_equal(r.state, REQUEST_DONE);
    request_release(&r);
    arena_release(&arena);
    return took;
}

static uint64_t shortest(const struct shape *shape, size_t len)
{
    struct strbuf text = {0};
    uint64_t least = UINT64_MAX;

    strbuf_addstr(&text, shape->begin);
    while (text.len < len)
        strbuf_addstr(&text, shape->piece);
    strbuf_addstr(&text, shape->end);
    for (int i = 0; i < RUNS; i++) {
        uint64_t took = feed(&text);

        least = took < least ? took : least;
    }
    strbuf_release(&text);
    return least;
}

static void test_single_bytes_cost_the_same_each(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        uint64_t few = shortest(&shapes[i], SHORT_LEN);
        uint64_t many = shortest(&shapes[i], FACTOR * SHORT_LEN);

        if (many > FACTOR_MAX * few)
            fail_msg("%s: %d bytes take %llu us, %d times as many %llu us", shapes[i].name,
                     SHORT_LEN, (unsigned long long)few / 1000, FACTOR,
                     (unsigned long long)many / 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_single_bytes_cost_the_same_each)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
