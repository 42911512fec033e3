/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "master/proc/message_limits.h"

enum { NOW = 5000 };

static void test_speech_of_a_life(void **state)
{
    static const enum up_type lives[][6] = {
        {UP_READY, UP_HEARTBEAT, UP_RECYCLE, UP_RECYCLE, UP_DYING, UP_CRASHED},
        {UP_BOOTFAIL},
        {UP_DYING, UP_CRASHED},
        {UP_READY, UP_DYING, UP_HEARTBEAT, UP_CRASHED},
        {UP_READY, UP_CRASHED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lives) / sizeof(lives[0]); i++) {
        struct speech s = {0};

        for (size_t j = 0; j < 6 && lives[i][j] != 0; j++)
            assert_true(speech_take(&s, lives[i][j]));
    }
}

static void test_speech_that_does_not_fit(void **state)
{
    static const enum up_type pairs[][2] = {{UP_READY, UP_READY},       {UP_READY, UP_BOOTFAIL},
                                            {UP_BOOTFAIL, UP_BOOTFAIL}, {UP_BOOTFAIL, UP_READY},
                                            {UP_DYING, UP_DYING},       {UP_CRASHED, UP_CRASHED},
                                            {UP_BOOTFAIL, UP_HEARTBEAT}};
    struct speech s = {0};

    (void)state;
    assert_false(speech_take(&s, UP_HEARTBEAT));
    assert_false(speech_take(&s, UP_RECYCLE));
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        s = (struct speech){0};
        assert_true(speech_take(&s, pairs[i][0]));
        assert_false(speech_take(&s, pairs[i][1]));
    }
}

static void test_speech_floods(void **state)
{
    struct speech s = {0};

    (void)state;
    for (uint64_t second = 0; second < 3; second++) {
        for (int i = 0; i < SPEECH_SECOND_MAX; i++)
            assert_true(
                speech_count(&s, NOW + second * 1000 + (uint64_t)i * 999 / SPEECH_SECOND_MAX));
    }
    assert_false(speech_count(&s, NOW + 2999));
    assert_true(speech_count(&s, NOW + 3000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_speech_of_a_life),
        cmocka_unit_test(test_speech_that_does_not_fit),
        cmocka_unit_test(test_speech_floods),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
