/* SPDX-License-Identifier: MIT
 *
 * The life of a worker process: every event in every phase. The expectations are written out, in
 * words of their own.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "master/proc/phase.h"

static const char *const names[PROC_PHASES] = {
    "empty",    "pending", "recalled",   "booting",   "late",    "failed",  "boom",  "ready",
    "retiring", "hurried", "explaining", "finishing", "aborted", "crashed", "killed"};

/* One row a phase; in the order of enum proc_event. "-": the master never lets it happen; ".": it
 * changes nothing. */
static const char *const table[PROC_PHASES][PROC_EVENTS + 1] = {
    {"empty", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"},
    {"pending", "booting", "-", "-", "-", "recalled", "-", "-", "-", "-", "-", "-"},
    {"recalled", "retiring", "-", "-", "-", ".", ".", "-", "-", "-", "-", "-"},
    {"booting", "-", "ready", "failed", "boom", "retiring", "-", "-", "-", ".", "late", "killed"},
    {"late", "-", "ready", "failed", "boom", "retiring", "-", "-", "-", "killed", "killed",
     "killed"},
    {"failed", "-", ".", ".", ".", "-", "-", "-", "-", ".", "killed", "killed"},
    {"boom", "-", ".", ".", ".", "-", "-", "-", "-", ".", "killed", "killed"},
    {"ready", "-", ".", ".", "crashed", "retiring", "-", "explaining", "finishing", ".", "-",
     "killed"},
    {"retiring", "-", ".", "killed", "crashed", ".", "hurried", "explaining", "finishing", ".",
     "killed", "killed"},
    {"hurried", "-", ".", "killed", "crashed", ".", ".", "explaining", "finishing", ".", "killed",
     "killed"},
    {"explaining", "-", ".", ".", ".", "-", "-", "-", "-", "aborted", "aborted", "killed"},
    {"finishing", "-", ".", ".", "crashed", "-", "-", "-", "-", "aborted", "aborted", "killed"},
    {"aborted", "-", ".", ".", ".", "-", "-", "-", "-", ".", "killed", "killed"},
    {"crashed", "-", ".", ".", ".", "-", "-", "-", "-", ".", "killed", "killed"},
    {"killed", "-", ".", ".", ".", "-", "-", "-", "-", ".", "-", "."},
};

static void test_phase_every_event_in_every_phase(void **state)
{
    (void)state;
    for (unsigned phase = 0; phase < PROC_PHASES; phase++) {
        assert_string_equal(table[phase][0], names[phase]);
        for (unsigned event = 0; event < PROC_EVENTS; event++) {
            const char *want = table[phase][event + 1];

            assert_int_equal(phase_allows(phase, event), strcmp(want, "-") != 0);
            if (strcmp(want, "-") == 0)
                continue;
            if (strcmp(want, ".") == 0)
                want = names[phase];
            assert_string_equal(names[phase_after(phase, event)], want);
        }
    }
}

/* What a process says is input: no message of one that has a pid may meet an assertion. */
static void test_phase_allows_whatever_a_process_says(void **state)
{
    static const enum proc_event said[] = {PROC_IS_READY, PROC_FAILS_TO_BOOT, PROC_IS_DYING};

    (void)state;
    for (unsigned phase = PROC_BOOTING; phase < PROC_PHASES; phase++) {
        for (size_t i = 0; i < ARRAY_LEN(said); i++)
            assert_true(phase_allows(phase, said[i]));
        assert_true(phase_allows(phase, PROC_IS_EXPLAINED));
        assert_true(phase_allows(phase, PROC_IS_KILLED));
    }
}

/* The master retires only what may retire, and again what retires. */
static void test_phase_traits_agree_with_the_table(void **state)
{
    (void)state;
    for (enum proc_phase phase = PROC_PENDING; phase < PROC_PHASES; phase++) {
        bool again = phase == PROC_RECALLED || phase_is_retiring(phase);

        assert_int_equal(phase_allows(phase, PROC_IS_RETIRED), phase_may_retire(phase) || again);
        assert_int_equal(phase_allows(phase, PROC_IS_FORKED), phase_is_pending(phase));
        assert_int_not_equal(phase_holds_number(phase), phase_is_leaving(phase));
        assert_int_equal(phase_allows(phase, PROC_DEADLINE_PASSES),
                         phase != PROC_READY && phase != PROC_KILLED && !phase_is_pending(phase));
    }
}

static void test_phase_names_for_operators(void **state)
{
    static const char *const shown[PROC_PHASES] = {
        "empty",    "booting",  "retiring", "booting", "booting", "booting", "booting", "ready",
        "retiring", "retiring", "killing",  "killing", "killing", "killing", "killing"};

    (void)state;
    for (unsigned phase = 0; phase < PROC_PHASES; phase++) {
        assert_string_equal(phase_name(phase), shown[phase]);
        assert_int_equal(phase_is_booting(phase), strcmp(shown[phase], "booting") == 0);
    }
}

static void test_phase_of_the_dying(void **state)
{
    (void)state;
    for (unsigned phase = 0; phase < PROC_PHASES; phase++) {
        const char *name = names[phase];
        bool crashes = strcmp(name, "boom") == 0 || strcmp(name, "crashed") == 0;

        assert_int_equal(phase_has_crashed(phase), crashes);
        assert_int_equal(phase_is_dying(phase),
                         crashes || strcmp(name, "killed") == 0 || strcmp(name, "failed") == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_phase_every_event_in_every_phase),
        cmocka_unit_test(test_phase_allows_whatever_a_process_says),
        cmocka_unit_test(test_phase_traits_agree_with_the_table),
        cmocka_unit_test(test_phase_names_for_operators),
        cmocka_unit_test(test_phase_of_the_dying),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
