/* SPDX-License-Identifier: MIT
 *
 * See phase.h.
 */
#include "master/proc/phase.h"

#include <assert.h>

enum trait {
    PENDING = 1,
    BOOTS = 2,
    HOLDS_NUMBER = 4,
    MAY_RETIRE = 8,
    RETIRES = 16,
    LEAVES = 32,
    DIES = 64,
};

static const struct {
    const char *name;
    unsigned traits;
} phases[PROC_PHASES] = {
    [PROC_EMPTY] = {"empty", 0},
    [PROC_PENDING] = {"booting", PENDING | BOOTS | HOLDS_NUMBER | MAY_RETIRE},
    [PROC_RECALLED] = {"retiring", PENDING | LEAVES},
    [PROC_BOOTING] = {"booting", BOOTS | HOLDS_NUMBER | MAY_RETIRE},
    [PROC_LATE] = {"booting", BOOTS | HOLDS_NUMBER | MAY_RETIRE},
    [PROC_BOOT_FAILED] = {"booting", BOOTS | HOLDS_NUMBER | DIES},
    [PROC_BOOT_CRASHED] = {"booting", BOOTS | HOLDS_NUMBER | DIES},
    [PROC_READY] = {"ready", HOLDS_NUMBER | MAY_RETIRE},
    [PROC_RETIRING] = {"retiring", LEAVES | RETIRES},
    [PROC_HURRIED] = {"retiring", LEAVES | RETIRES},
    [PROC_EXPLAINING] = {"killing", LEAVES},
    [PROC_FINISHING] = {"killing", LEAVES},
    [PROC_ABORTED] = {"killing", LEAVES},
    [PROC_CRASHED] = {"killing", LEAVES | DIES},
    [PROC_KILLED] = {"killing", LEAVES | DIES},
};

/* The next phases, one row for each phase. NO: cannot happen; SAME: the event changes nothing. */
enum { NO = PROC_PHASES, SAME };

/* clang-format off */
#define ROW(phase, forked, ready, fails, dying, retired, hurried, hung, partly, explained, late, killed) \
    [PROC_##phase] = {                                                                                   \
        [PROC_IS_FORKED] = (forked),     [PROC_IS_READY] = (ready),     [PROC_FAILS_TO_BOOT] = (fails),  \
        [PROC_IS_DYING] = (dying),       [PROC_IS_RETIRED] = (retired), [PROC_IS_HURRIED] = (hurried),   \
        [PROC_IS_HUNG] = (hung),         [PROC_IS_PARTLY_HUNG] = (partly),                               \
        [PROC_IS_EXPLAINED] = (explained), [PROC_DEADLINE_PASSES] = (late), [PROC_IS_KILLED] = (killed)},
#define BOOT_ PROC_BOOTING
#define LATE_ PROC_LATE
#define FAIL_ PROC_BOOT_FAILED
#define BOOM_ PROC_BOOT_CRASHED
#define READY PROC_READY
#define RETIR PROC_RETIRING
#define HURRY PROC_HURRIED
#define RCALL PROC_RECALLED
#define EXPL_ PROC_EXPLAINING
#define FINSH PROC_FINISHING
#define ABORT PROC_ABORTED
#define CRASH PROC_CRASHED
#define KILL_ PROC_KILLED

static const unsigned char next[PROC_PHASES][PROC_EVENTS] = {
    /*                forked ready  fails  dying  retired hurried hung  partly explnd late   killed */
    ROW(EMPTY,        NO,    NO,    NO,    NO,    NO,    NO,    NO,    NO,    NO,    NO,    NO)
    ROW(PENDING,      BOOT_, NO,    NO,    NO,    RCALL, NO,    NO,    NO,    NO,    NO,    NO)
    ROW(RECALLED,     RETIR, NO,    NO,    NO,    SAME,  SAME,  NO,    NO,    NO,    NO,    NO)
    ROW(BOOTING,      NO,    READY, FAIL_, BOOM_, RETIR, NO,    NO,    NO,    SAME,  LATE_, KILL_)
    ROW(LATE,         NO,    READY, FAIL_, BOOM_, RETIR, NO,    NO,    NO,    KILL_, KILL_, KILL_)
    ROW(BOOT_FAILED,  NO,    SAME,  SAME,  SAME,  NO,    NO,    NO,    NO,    SAME,  KILL_, KILL_)
    ROW(BOOT_CRASHED, NO,    SAME,  SAME,  SAME,  NO,    NO,    NO,    NO,    SAME,  KILL_, KILL_)
    ROW(READY,        NO,    SAME,  SAME,  CRASH, RETIR, NO,    EXPL_, FINSH, SAME,  NO,    KILL_)
    ROW(RETIRING,     NO,    SAME,  KILL_, CRASH, SAME,  HURRY, EXPL_, FINSH, SAME,  KILL_, KILL_)
    ROW(HURRIED,      NO,    SAME,  KILL_, CRASH, SAME,  SAME,  EXPL_, FINSH, SAME,  KILL_, KILL_)
    ROW(EXPLAINING,   NO,    SAME,  SAME,  SAME,  NO,    NO,    NO,    NO,    ABORT, ABORT, KILL_)
    ROW(FINISHING,    NO,    SAME,  SAME,  CRASH, NO,    NO,    NO,    NO,    ABORT, ABORT, KILL_)
    ROW(ABORTED,      NO,    SAME,  SAME,  SAME,  NO,    NO,    NO,    NO,    SAME,  KILL_, KILL_)
    ROW(CRASHED,      NO,    SAME,  SAME,  SAME,  NO,    NO,    NO,    NO,    SAME,  KILL_, KILL_)
    ROW(KILLED,       NO,    SAME,  SAME,  SAME,  NO,    NO,    NO,    NO,    SAME,  NO,    SAME)
};
/* clang-format on */

bool phase_allows(enum proc_phase phase, enum proc_event event)
{
    return next[phase][event] != NO;
}

enum proc_phase phase_after(enum proc_phase phase, enum proc_event event)
{
    assert(phase < PROC_PHASES && event < PROC_EVENTS);
    assert(phase_allows(phase, event));
    return next[phase][event] == SAME ? phase : (enum proc_phase)next[phase][event];
}

static bool has(enum proc_phase phase, enum trait trait)
{
    return (phases[phase].traits & (unsigned)trait) != 0;
}

bool phase_is_pending(enum proc_phase phase)
{
    return has(phase, PENDING);
}

bool phase_holds_number(enum proc_phase phase)
{
    return has(phase, HOLDS_NUMBER);
}

bool phase_may_retire(enum proc_phase phase)
{
    return has(phase, MAY_RETIRE);
}

bool phase_is_booting(enum proc_phase phase)
{
    return has(phase, BOOTS);
}

bool phase_is_leaving(enum proc_phase phase)
{
    return has(phase, LEAVES);
}

bool phase_is_retiring(enum proc_phase phase)
{
    return has(phase, RETIRES);
}

bool phase_is_dying(enum proc_phase phase)
{
    return has(phase, DIES);
}

bool phase_has_crashed(enum proc_phase phase)
{
    return phase == PROC_CRASHED || phase == PROC_BOOT_CRASHED;
}

const char *phase_name(enum proc_phase phase)
{
    return phases[phase].name;
}
