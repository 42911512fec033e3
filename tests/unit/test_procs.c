/* SPDX-License-Identifier: MIT
 *
 * What becomes of a worker process: what it says, its deadlines, its end. In a master without
 * listening sockets (master_case.h).
 */
#include "master_case.h"

#include <fcntl.h>

#include "master/workers/boots.h"
#include "master/workers/crashes.h"
#include "master/workers/liveness.h"
#include "master/preload/template.h"
#include "master/workers/procs.h"
#include "master/workers/reap.h"
#include "master/reload.h"
#include "master/workers/retire.h"
#include "master/stop.h"

static void say(struct proc *p, enum up_type type, const char *text)
{
    assert_int_equal(channel_send_up(p->channel.up_write, type, text), 0);
    proc_read(&m.procs, p, SPEECH_PASS_MAX);
}

static void say_and_act(struct proc *p, enum up_type type, const char *text)
{
    say(p, type, text);
    procs_act_on(&m, p, now_ms());
}

/* Its number's next worker may start at once, and nothing was counted. */
static bool is_blameless(const struct proc *p)
{
    const struct backoff *b = &backoffs[p->w->number];

    return b->failures == 0 && b->crashes == 0 && b->kills == 0 && b->not_before_ms == 0;
}

/* ---- what it says ------------------------------------------------------------------------ */

static void test_reading_only_notes(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_BOOTING);
    uint64_t deadline_ms = p->w->deadline_ms;

    (void)state;
    say(p, UP_READY, NULL);
    assert_int_equal(p->w->phase, PROC_BOOTING);
    assert_true(p->w->deadline_ms == deadline_ms);
    assert_true(p->noted.is_ready && m.procs.has_news);
    say(p, UP_RECYCLE, "max_requests");
    assert_false(p->w->recycle);
    assert_string_equal(p->noted.wish, "max_requests");
}

static void test_ready_ends_the_boot(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_BOOTING);
    uint64_t before = now_ms();

    (void)state;
    m.boot_by_ms = p->w->heard_ms = 0;
    say_and_act(p, UP_READY, NULL);
    assert_int_equal(p->w->phase, PROC_READY);
    assert_true(p->w->deadline_ms == NO_DEADLINE);
    assert_true(p->w->ready_ms >= before && p->w->heard_ms >= before);
    assert_true(m.boot_by_ms >= before + BOOT_MS); /* the next one has all its time */
    assert_true(current.is_proven);
    assert_false(m.candidate_is_ready);
    assert_int_equal(last_order(p, NULL), 0);
    assert_false(p->noted.is_ready);
}

static void test_ready_in_a_late_boot_is_in_time(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_LATE);

    (void)state;
    say_and_act(p, UP_READY, NULL);
    p->noted.has_stacks = true; /* those of the late boot come after it */
    procs_act_on(&m, p, now_ms());
    assert_int_equal(p->w->phase, PROC_READY);
    assert_true(is_blameless(p));
}

static void test_ready_during_drain_is_told_to_say_close(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_BOOTING);

    (void)state;
    m.stop_at_ms = now_ms() + 1000;
    say_and_act(p, UP_READY, NULL);
    assert_int_equal(last_order(p, NULL), DOWN_CLOSE);
}

static void test_ready_of_a_canary_is_noted_for_the_reload(void **state)
{
    (void)state;
    tries_a_candidate();
    say_and_act(add_worker(0, &candidate, PROC_BOOTING), UP_READY, NULL);
    assert_true(m.candidate_is_ready);
    assert_int_equal(m.plan.generation, 1); /* a later step commits */
    assert_true(candidate.is_proven && !current.is_proven);
}

static void test_ready_of_the_admin_process_is_no_workers(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_BOOTING);

    (void)state;
    m.has_served = false;
    p->w->number = plan_admin_number(&m.plan);
    say_and_act(p, UP_READY, NULL);
    assert_int_equal(p->w->phase, PROC_READY);
    assert_false(m.has_served || current.is_proven);
}

static void test_ready_of_a_retired_worker_changes_nothing(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_RETIRING);

    (void)state;
    p->w->ready_ms = 0;
    say_and_act(p, UP_READY, NULL);
    assert_int_equal(p->w->phase, PROC_RETIRING);
    assert_true(p->w->ready_ms == 0);
}

static void test_heartbeat_is_heard(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_BOOTING);

    (void)state;
    say_and_act(p, UP_READY, NULL);
    p->w->heard_ms = 0;
    say(p, UP_HEARTBEAT, NULL);
    assert_true(p->w->heard_ms > 0);
}

static void test_boot_failure_in_service_is_logged_and_slowed_down(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_BOOTING);

    (void)state;
    say_and_act(p, UP_BOOTFAIL, "no such symbol");
    assert_int_equal(p->w->phase, PROC_BOOT_FAILED);
    assert_true(p->w->deadline_ms != NO_DEADLINE);
    assert_non_null(strstr(logged(), "failed to boot: no such symbol"));
    assert_null(m.candidate_failure);
    assert_int_equal(m.stop_wish, STOP_NOT);
    assert_true(phase_holds_number(p->w->phase)); /* until it has exited */
}

static void test_boot_failure_of_a_canary_fails_the_reload(void **state)
{
    (void)state;
    tries_a_candidate();
    say_and_act(add_worker(0, &candidate, PROC_BOOTING), UP_BOOTFAIL, "first");
    say_and_act(add_worker(1, &candidate, PROC_BOOTING), UP_BOOTFAIL, "second");
    assert_string_equal(m.candidate_failure, "first");
    assert_string_equal(logged(), "");
}

static void test_boot_failure_in_a_roll_ends_the_wait(void **state)
{
    (void)state;
    m.rolling = true;
    say_and_act(add_worker(0, &current, PROC_BOOTING), UP_BOOTFAIL, "why");
    assert_string_equal(m.roll_failure, "why");
    assert_non_null(strstr(logged(), "failed to boot: why"));
}

static void test_boot_failure_of_the_start_ends_it_with_one_line(void **state)
{
    (void)state;
    m.has_served = false;
    say_and_act(add_worker(0, &current, PROC_BOOTING), UP_BOOTFAIL, "why");
    say_and_act(add_worker(1, &current, PROC_BOOTING), UP_BOOTFAIL, "why");
    assert_int_equal(m.stop_wish, STOP_QUICKLY);
    assert_int_equal(m.stop_status, EXIT_APP);
    const char *text = logged(), *line = strstr(text, "Worker failed to boot: why");
    assert_non_null(line);
    assert_null(strstr(line + strlen("Worker failed to boot"), "failed to boot"));
}

static void test_boot_failure_while_stopping_is_no_news(void **state)
{
    (void)state;
    m.plan.stopping = true;
    say_and_act(add_worker(0, &current, PROC_BOOTING), UP_BOOTFAIL, "why");
    assert_string_equal(logged(), "");
}

static void test_boot_failure_of_a_retired_worker_ends_it_quietly(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_RETIRING);

    (void)state;
    p->w->ready_ms = 0;
    say_and_act(p, UP_BOOTFAIL, "why");
    assert_int_equal(p->w->phase, PROC_KILLED);
    assert_int_equal(ended_by(p), SIGKILL);
    assert_string_equal(logged(), "");
}

static void test_wishes_to_leave(void **state)
{
    static const struct {
        const char *why;
        enum worker_end end;
        unsigned crashes;
    } rows[] = {{"max_requests", END_MAX_REQUESTS, 0},
                {"SIGTERM", END_SIGTERM, 0},
                {"its listening socket is gone", END_CRASH, 1}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct proc *p = add_worker(i, &current, PROC_BOOTING);

        say_and_act(p, UP_READY, NULL);
        say_and_act(p, UP_RECYCLE, rows[i].why);
        say_and_act(p, UP_RECYCLE, "max_requests"); /* the first reason counts */
        assert_int_equal(p->w->phase, PROC_READY);
        assert_true(p->w->recycle);
        assert_int_equal(p->w->end, rows[i].end);
        assert_int_equal(backoffs[i].crashes, rows[i].crashes);
        assert_null(p->noted.wish);
    }
}

static void test_wish_of_a_retired_worker_is_granted_already(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_RETIRING);

    (void)state;
    p->speech.said = 1u << UP_READY;
    p->w->end = END_RELOAD;
    say_and_act(p, UP_RECYCLE, "max_requests");
    assert_false(p->w->recycle);
    assert_int_equal(p->w->end, END_RELOAD);
}

static void test_wrong_messages_kill_with_one_line(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_READY);

    (void)state;
    p->speech.said = 1u << UP_READY;
    say(p, UP_READY, NULL);
    assert_int_equal(p->w->phase, PROC_READY);
    procs_act_on(&m, p, now_ms());
    assert_int_equal(p->w->phase, PROC_KILLED);
    assert_int_equal(p->w->end, END_CRASH);
    assert_int_equal(backoffs[0].crashes, 1);
    const char *line = strstr(logged(), "a message on its status pipe does not fit");
    assert_non_null(line);
    assert_non_null(strstr(line, "; killing it"));
    assert_int_equal(ended_by(p), SIGKILL);
    say(p, UP_READY, NULL); /* it is heard no more */
    procs_act_on(&m, p, now_ms());
    assert_string_equal(logged(), "");
    assert_int_equal(backoffs[0].crashes, 1);
}

static void test_wrong_messages_in_a_boot_fail_it(void **state)
{
    struct proc *p = add_worker(0, &candidate, PROC_BOOTING);

    (void)state;
    tries_a_candidate();
    say_and_act(p, UP_HEARTBEAT, NULL); /* before READY */
    assert_int_equal(p->w->phase, PROC_KILLED);
    assert_non_null(strstr(m.candidate_failure, "does not fit what it said before"));
}

/* ---- a crash ----------------------------------------------------------------------------- */

static void test_crash_frees_the_number_and_counts_once(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_READY);

    (void)state;
    say_and_act(p, UP_DYING, NULL);
    assert_int_equal(p->w->phase, PROC_CRASHED);
    assert_int_equal(p->w->end, END_CRASH);
    assert_int_equal(backoffs[0].crashes, 1);
    assert_true(p->w->crash_by_ms == p->w->deadline_ms);
    say_and_act(p, UP_CRASHED, NULL);
    assert_true(p->stack_log != 0); /* its stacks are waited for */
    assert_int_equal(last_order(p, NULL), 0);
    assert_non_null(strstr(logged(), "Worker (pid:"));
    p->noted.has_stacks = true;
    procs_act_on(&m, p, now_ms());
    assert_int_equal(last_order(p, NULL), DOWN_GO);
    assert_true(p->w->deadline_ms <= now_ms() + 1000);
    assert_int_equal(backoffs[0].crashes, 1);
}

static void test_crash_in_a_boot_holds_its_number(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_BOOTING);

    (void)state;
    say_and_act(p, UP_DYING, NULL);
    assert_int_equal(p->w->phase, PROC_BOOT_CRASHED);
    assert_int_equal(p->w->end, END_UNASKED);
    assert_true(is_blameless(p)); /* its end is that of its boot */
}

static void test_crash_by_the_masters_signal_only_goes_on(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_ABORTED);
    uint64_t deadline_ms = p->w->deadline_ms;

    (void)state;
    p->w->end = END_TIMEOUT;
    say_and_act(p, UP_DYING, NULL);
    say_and_act(p, UP_CRASHED, NULL);
    assert_int_equal(p->w->phase, PROC_ABORTED);
    assert_int_equal(last_order(p, NULL), DOWN_GO);
    assert_true(p->w->deadline_ms == deadline_ms);
    assert_string_equal(logged(), "");
    assert_true(p->stack_log == 0);
}

/* The stacks of the hung call come when it has crashed meanwhile: they are not those of the crash. */
static void test_stacks_of_before_do_not_end_a_crash(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_FINISHING);

    (void)state;
    stack_log_await(&m.stack_logs, p, NULL, LOG_LEVEL_CRITICAL);
    uint64_t first = p->stack_log;
    say_and_act(p, UP_DYING, NULL);
    say_and_act(p, UP_CRASHED, NULL);
    assert_true(p->stack_log != 0 && p->stack_log != first);
    assert_int_equal(p->w->phase, PROC_CRASHED);
    assert_false(p->noted.has_stacks);
}

static void test_crash_is_late(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_CRASHED);
    uint64_t now = now_ms();

    (void)state;
    p->w->crash_by_ms = now + 60000; /* it has not answered yet, and has time for that */
    p->w->deadline_ms = now;
    procs_end_late(&m, now);
    assert_int_equal(p->w->phase, PROC_CRASHED);
    assert_true(p->w->deadline_ms > now && p->w->deadline_ms <= now + 1000);
    p->w->crash_by_ms = p->w->deadline_ms = now;
    procs_end_late(&m, now);
    assert_int_equal(p->w->phase, PROC_KILLED);
    assert_int_equal(ended_by(p), SIGKILL);
}

/* ---- deadlines --------------------------------------------------------------------------- */

static void test_deadlines(void **state)
{
    static const struct {
        enum proc_phase phase, after;
        int signal;       /* 0: none */
        const char *line; /* NULL: none */
        unsigned failures, crashes;
    } rows[] = {
        {PROC_BOOTING, PROC_LATE, 0, "is not ready within boot_timeout", 0, 0},
        {PROC_LATE, PROC_KILLED, SIGKILL, "failed to boot: it was not ready within boot_timeout", 1,
         0},
        {PROC_BOOT_FAILED, PROC_KILLED, SIGKILL, NULL, 1, 0},
        {PROC_RETIRING, PROC_KILLED, SIGKILL, "did not finish within graceful_timeout", 0, 0},
        {PROC_HURRIED, PROC_KILLED, SIGKILL, "did not finish within graceful_timeout", 0, 0},
        {PROC_EXPLAINING, PROC_ABORTED, SIGABRT, NULL, 0, 0},
        {PROC_FINISHING, PROC_ABORTED, SIGABRT, NULL, 0, 0},
        {PROC_ABORTED, PROC_KILLED, SIGKILL, NULL, 0, 0},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct proc *p = add_worker(i, &current, rows[i].phase);
        uint64_t now = now_ms();

        p->w->deadline_ms = now + 1;
        procs_end_late(&m, now);
        assert_int_equal(p->w->phase, rows[i].phase); /* not yet */
        procs_end_late(&m, now + 1);
        assert_int_equal(p->w->phase, rows[i].after);
        assert_true(rows[i].after == PROC_KILLED ? p->w->deadline_ms == NO_DEADLINE
                                                 : p->w->deadline_ms > now + 1);
        const char *text = logged();
        assert_true(rows[i].line ? strstr(text, rows[i].line) != NULL : text[0] == '\0');
        assert_int_equal(backoffs[i].failures, rows[i].failures);
        assert_int_equal(backoffs[i].crashes, rows[i].crashes);
        if (rows[i].signal != 0)
            assert_int_equal(ended_by(p), rows[i].signal);
    }
}

static void test_quick_stop_says_nothing_of_who_is_late(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_RETIRING);

    (void)state;
    m.quick = m.plan.stopping = true;
    p->w->deadline_ms = 1;
    procs_end_late(&m, now_ms());
    assert_int_equal(p->w->phase, PROC_KILLED);
    assert_string_equal(logged(), "");
}

/* Timers come before pipes. */
static void test_ready_that_is_unread_at_the_deadline_counts(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_BOOTING);

    (void)state;
    assert_int_equal(channel_send_up(p->channel.up_write, UP_READY, NULL), 0);
    p->w->deadline_ms = 1;
    procs_end_late(&m, now_ms());
    assert_int_equal(p->w->phase, PROC_READY);
    assert_string_equal(logged(), "");
}

static void test_late_canary_fails_the_reload(void **state)
{
    struct proc *p = add_worker(0, &candidate, PROC_LATE);

    (void)state;
    tries_a_candidate();
    p->noted.has_stacks = true;
    procs_act_on(&m, p, now_ms());
    assert_int_equal(p->w->phase, PROC_KILLED);
    assert_string_equal(m.candidate_failure, "it was not ready within boot_timeout");
    assert_true(is_blameless(p)); /* what counts is its generation's */
}

/* ---- a hung worker ----------------------------------------------------------------------- */

static void test_explained_worker_is_aborted(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_EXPLAINING);

    (void)state;
    p->w->end = END_TIMEOUT;
    procs_act_on(&m, p, now_ms());
    assert_int_equal(p->w->phase, PROC_EXPLAINING); /* its stacks are not there yet */
    p->noted.has_stacks = true;
    procs_act_on(&m, p, now_ms());
    assert_int_equal(p->w->phase, PROC_ABORTED);
    assert_true(p->w->deadline_ms <= now_ms() + 2000);
    assert_false(p->noted.has_stacks);
    assert_int_equal(ended_by(p), SIGABRT);
}

static void test_hung_loop_is_found(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_READY);
    uint64_t now = now_ms();

    (void)state;
    current.config.heartbeat_ms = 1000;
    p->w->heard_ms = now;
    liveness_check(&m, now);
    assert_int_equal(p->w->phase, PROC_READY);
    p->w->heard_ms = now - 1500;
    liveness_check(&m, now);
    assert_int_equal(p->w->phase, PROC_EXPLAINING);
    assert_int_equal(p->w->end, END_SILENT);
    assert_true(p->stack_log != 0);
    assert_int_equal(backoffs[0].crashes, 1);
    assert_non_null(
        strstr(logged(), "its event loop has not run for 1.5 s; last request: no request"));
    liveness_check(&m, now); /* once */
    assert_string_equal(logged(), "");
}

static void test_hung_retiring_worker_counts_for_nothing(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_RETIRING);

    (void)state;
    current.config.heartbeat_ms = 1000;
    p->w->heard_ms = 1;
    liveness_check(&m, now_ms());
    assert_int_equal(p->w->phase, PROC_EXPLAINING);
    assert_true(is_blameless(p));
}

/* The master was away: nothing before that counts. */
static void test_nothing_counts_while_the_master_was_away(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_READY);

    (void)state;
    current.config.heartbeat_ms = 1000;
    p->w->heard_ms = 1;
    m.counted_from_ms = now_ms();
    liveness_check(&m, now_ms());
    assert_int_equal(p->w->phase, PROC_READY);
}

/* A call of this age, in the worker's place for it. */
static void set_call(struct proc *p, unsigned thread, uint64_t age_ms)
{
    slot_call_begin(&proc_slot(&m.procs, p)->calls[thread], now_ms() - age_ms);
}

static void test_slow_call_is_told_of_once(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_READY);

    (void)state;
    current.config.slow_request_ms = 1000;
    set_call(p, 0, 500);
    liveness_check(&m, now_ms());
    assert_string_equal(logged(), "");
    set_call(p, 0, 1500);
    liveness_check(&m, now_ms());
    assert_non_null(strstr(logged(), "Slow request"));
    liveness_check(&m, now_ms());
    assert_string_equal(logged(), "");
    set_call(p, 0, 1200); /* a later one */
    liveness_check(&m, now_ms());
    assert_non_null(strstr(logged(), "Slow request"));
    assert_int_equal(p->w->phase, PROC_READY);
    assert_true(p->stack_log == 0); /* nothing waits for its stacks */
}

static void test_partly_hung_worker_finishes_its_other_calls(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_READY);

    (void)state;
    current.config.threads = 2;
    current.config.timeout_ms = 1000;
    set_call(p, 0, 1500);
    set_call(p, 1, 100);
    liveness_check(&m, now_ms());
    assert_int_equal(p->w->phase, PROC_FINISHING);
    assert_int_equal(p->w->end, END_TIMEOUT);
    assert_int_equal(last_order(p, NULL), DOWN_RETIRE);
    assert_true(p->w->told_to_drain);
    assert_true(p->w->deadline_ms > now_ms() + GRACE_MS - 1000);
    p->noted.has_stacks = true;
    procs_act_on(&m, p, now_ms());
    assert_int_equal(p->w->phase, PROC_FINISHING); /* one call is to be finished yet */
    slot_call_end(&proc_slot(&m.procs, p)->calls[1]);
    procs_act_on(&m, p, now_ms());
    assert_int_equal(p->w->phase, PROC_ABORTED);
    assert_int_equal(ended_by(p), SIGABRT);
}

static void test_quick_stop_waits_for_no_other_call(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_FINISHING);

    (void)state;
    current.config.threads = 2;
    current.config.timeout_ms = 1000;
    set_call(p, 0, 1500);
    set_call(p, 1, 100);
    p->noted.has_stacks = true;
    m.quick = true;
    procs_act_on(&m, p, now_ms());
    assert_int_equal(p->w->phase, PROC_ABORTED);
}

/* A stopped process takes no signal before it goes on. */
static void test_stopped_worker_is_continued_to_abort(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_EXPLAINING);
    int status;

    (void)state;
    assert_int_equal(kill(p->w->pid, SIGSTOP), 0);
    assert_int_equal(waitpid(p->w->pid, &status, WUNTRACED), p->w->pid);
    procs_abort(&m, p, PROC_IS_EXPLAINED);
    (void)alarm(20);
    assert_int_equal(ended_by(p), SIGABRT);
    (void)alarm(0);
}

/* ---- retiring ---------------------------------------------------------------------------- */

static void test_retire_orders(void **state)
{
    enum { PROMOTED, QUICK, STOPPING, REPLACED };
    static const struct {
        int how;
        enum down_type order;
        enum proc_phase phase;
        enum worker_end end;
        uint32_t grace_ms, idle_ms;
    } rows[] = {
        {REPLACED, DOWN_RETIRE, PROC_RETIRING, END_NOT_WANTED, GRACE_MS, GRACE_MS - GRACE_MS / 8},
        {STOPPING, DOWN_STOP, PROC_HURRIED, END_WITH_SERVER, GRACE_MS, 500},
        {QUICK, DOWN_QUIT, PROC_HURRIED, END_WITH_SERVER, 2000, 500},
    };

    (void)state;
    current.config.keepalive_drain_ms = 500;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct proc *p = add_worker(i, &current, PROC_READY);
        uint64_t before = now_ms();
        uint32_t idle_ms = 0;

        m.plan.stopping = rows[i].how != REPLACED;
        m.quick = rows[i].how == QUICK;
        proc_retire(&m, p);
        assert_int_equal(p->w->phase, rows[i].phase);
        assert_int_equal(p->w->end, rows[i].end);
        assert_true(p->w->deadline_ms >= before + rows[i].grace_ms &&
                    p->w->deadline_ms <= now_ms() + rows[i].grace_ms);
        assert_true(p->w->told_to_drain);
        assert_int_equal(last_order(p, &idle_ms), rows[i].order);
        assert_int_equal(idle_ms, rows[i].idle_ms);
    }
}

static void test_retired_twice_keeps_the_earlier_deadline_and_reason(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_READY);

    (void)state;
    proc_retire(&m, p);
    uint64_t deadline_ms = p->w->deadline_ms = now_ms() + 5;
    m.plan.stopping = true;
    proc_retire(&m, p);
    assert_true(p->w->deadline_ms == deadline_ms);
    assert_int_equal(p->w->end, END_NOT_WANTED);
    assert_int_equal(p->w->phase, PROC_HURRIED);
    m.quick = true;
    p->w->deadline_ms = now_ms() + GRACE_MS;
    proc_retire(&m, p);
    assert_true(p->w->deadline_ms <= now_ms() + 2000);
    assert_int_equal(last_order(p, NULL), DOWN_QUIT);
}

static void test_hurried_worker_closes_idle_connections_soon(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_READY);
    uint32_t idle_ms = 0;

    (void)state;
    current.config.keepalive_drain_ms = 300;
    proc_retire(&m, p);
    uint64_t deadline_ms = p->w->deadline_ms;
    proc_hurry(p);
    assert_int_equal(p->w->phase, PROC_HURRIED);
    assert_true(p->w->deadline_ms == deadline_ms);
    assert_int_equal(last_order(p, &idle_ms), DOWN_RETIRE);
    assert_int_equal(idle_ms, 300);
}

static void test_old_processes_may_accept(void **state)
{
    static const struct {
        enum proc_phase phase;
        enum slot_state slot;
        bool told, may;
    } rows[] = {
        {PROC_RETIRING, SLOT_IDLE, true, true},        {PROC_RETIRING, SLOT_DRAINING, true, false},
        {PROC_RETIRING, SLOT_BOOTING, true, false},    {PROC_RETIRING, SLOT_BOOTING, false, true},
        {PROC_CRASHED, SLOT_IDLE, false, false},       {PROC_KILLED, SLOT_IDLE, false, false},
        {PROC_BOOT_FAILED, SLOT_BOOTING, true, false}, {PROC_ABORTED, SLOT_IDLE, true, true},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct proc *p = add_worker(0, &current, rows[i].phase);
        pid_t pid = p->w->pid;

        proc_slot(&m.procs, p)->state = rows[i].slot;
        p->w->told_to_drain = rows[i].told;
        if (procs_may_accept(&m, 2) != rows[i].may)
            fail_msg("row %u", i);
        assert_false(procs_may_accept(&m, 1)); /* only older ones are asked about */
        fd_close(&p->channel.up_write);
        proc_clear(&m.procs, p);
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
}

/* ---- stopping ---------------------------------------------------------------------------- */

static void test_stop_wishes(void **state)
{
    (void)state;
    master_note_stop(&m, STOP_GRACEFULLY, 5);
    master_note_stop(&m, STOP_AT_ONCE, 3);
    master_note_stop(&m, STOP_AT_ONCE, 4);
    master_note_stop(&m, STOP_GRACEFULLY, 6);
    assert_int_equal(m.stop_wish, STOP_AT_ONCE);
    assert_int_equal(m.stop_status, 3);
    assert_true(m.is_due);
    stop_decide(&m, now_ms());
    assert_int_equal(m.stop_wish, STOP_NOT);
    assert_true(m.plan.stopping && !m.quick);
    assert_int_equal(m.exit_status, 3);
    master_note_stop(&m, STOP_QUICKLY, 9); /* quicker, and for the same reason */
    stop_decide(&m, now_ms());
    assert_true(m.quick);
    assert_int_equal(m.exit_status, 3);
}

static void test_drain_ends_by_itself_or_by_a_second_term(void **state)
{
    uint64_t now = now_ms();

    (void)state;
    for (int second = 0; second < 2; second++) {
        struct proc *p = add_worker((unsigned)second, &current, PROC_READY);

        current.config.drain_delay_ms = 1000;
        m.plan.stopping = false;
        m.stop_at_ms = NO_DEADLINE;
        master_note_stop(&m, STOP_GRACEFULLY, 0);
        stop_decide(&m, now);
        assert_false(m.plan.stopping);
        assert_true(m.stop_at_ms == now + 1000);
        assert_int_equal(last_order(p, NULL), DOWN_CLOSE);
        stop_decide(&m, now + 999);
        assert_false(m.plan.stopping);
        if (second)
            master_note_stop(&m, STOP_GRACEFULLY, 0);
        stop_decide(&m, second ? now + 999 : now + 1000);
        assert_true(m.plan.stopping);
        assert_true(m.stop_at_ms == NO_DEADLINE);
    }
}

static void test_stop_retires_again_and_ends_boots(void **state)
{
    struct proc *ready = add_worker(0, &current, PROC_READY);
    struct proc *retiring = add_worker(1, &current, PROC_RETIRING);
    struct proc *booting = add_worker(2, &current, PROC_BOOTING);
    struct proc *crashed = add_worker(3, &current, PROC_CRASHED);

    (void)state;
    m.rolling = true;
    master_note_stop(&m, STOP_AT_ONCE, 0);
    stop_decide(&m, now_ms());
    assert_int_equal(ready->w->phase, PROC_READY); /* the step that retires comes later */
    assert_int_equal(retiring->w->phase, PROC_HURRIED);
    assert_int_equal(last_order(retiring, NULL), DOWN_STOP);
    assert_int_equal(booting->w->phase, PROC_KILLED);
    assert_int_equal(booting->w->end, END_WITH_SERVER);
    assert_int_equal(crashed->w->phase, PROC_CRASHED);
    assert_false(m.rolling);
    assert_string_equal(logged(), "");
}

/* Clients wait, and no worker serves them: those that boot are needed; those that will not serve
 * may exit, unless the stop is quick. */
static void test_stop_leaves_boots_that_clients_wait_for(void **state)
{
    struct proc *booting = add_worker(0, &current, PROC_BOOTING);
    struct proc *failed = add_worker(1, &current, PROC_BOOT_FAILED);

    (void)state;
    m.plan.stopping = true;
    procs_kill_booting(&m);
    assert_int_equal(booting->w->phase, PROC_BOOTING);
    assert_int_equal(failed->w->phase, PROC_BOOT_FAILED);
    m.quick = true;
    procs_kill_booting(&m);
    assert_int_equal(booting->w->phase, PROC_BOOTING);
    assert_int_equal(failed->w->phase, PROC_KILLED);
}

/* A READY that is still in the pipe: its worker serves clients. */
static void test_stop_reads_ready_before_it_ends_boots(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_BOOTING);

    (void)state;
    assert_int_equal(channel_send_up(p->channel.up_write, UP_READY, NULL), 0);
    master_note_stop(&m, STOP_GRACEFULLY, 0);
    stop_decide(&m, now_ms());
    assert_int_equal(p->w->phase, PROC_READY);
}

static void test_given_up_canary_is_killed(void **state)
{
    struct proc *canary = add_worker(0, &candidate, PROC_BOOTING);
    struct proc *other = add_worker(1, &current, PROC_BOOTING);

    (void)state;
    tries_a_candidate();
    procs_kill_canary(&m);
    assert_int_equal(canary->w->phase, PROC_KILLED);
    assert_int_equal(canary->w->end, END_RELOAD);
    assert_int_equal(other->w->phase, PROC_BOOTING);
}

/* ---- ends -------------------------------------------------------------------------------- */

/* Ends its child with the signal, and reaps it. */
static void die(struct proc *p, int number)
{
    siginfo_t info;

    if (number != 0)
        assert_int_equal(kill(p->w->pid, number), 0);
    assert_int_equal(waitid(P_PID, (id_t)p->w->pid, &info, WEXITED | WNOWAIT), 0);
    fd_close(&p->channel.up_write);
    m.child_has_ended = true;
    reap_children(&m, now_ms());
    assert_int_equal(p->w->phase, PROC_EMPTY);
}

static void test_killed_worker_is_counted_and_its_place_empty(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_READY);

    (void)state;
    p->w->slow_ms = p->w->crash_by_ms = 7;
    p->w->recycle = p->w->told_to_drain = true;
    p->noted.wish = xstrdup("x");
    die(p, SIGKILL);
    assert_int_equal(backoffs[0].crashes, 1);
    assert_non_null(strstr(logged(), "was sent SIGKILL, not by gcorn"));
    assert_true(p->w->slow_ms == 0 && !p->w->recycle && !p->w->told_to_drain && p->w->pid == 0);
    assert_true(!p->settings && !p->noted.wish && p->stack_log == 0 && p->w->crash_by_ms == 0);
    assert_false(m.child_has_ended);
    assert_int_equal(current.refs, 1000);
}

static unsigned count_open(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void test_ended_worker_leaves_nothing_open(void **state)
{
    unsigned before = count_open();
    struct proc *p = add_worker(0, &current, PROC_READY);

    (void)state;
    fd_close(&p->channel.down_worker);
    p->channel.down_worker = -1;
    die(p, SIGKILL);
    assert_int_equal(count_open(), before);
}

/* What was of the worker before is not the next one's in its place. */
static void test_place_is_taken_again_by_a_fresh_worker(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_READY);

    (void)state;
    p->speech.said = ~0u;
    p->speech.is_over = true;
    p->tracer = 4711;
    p->inherited_size = 1 << 20;
    p->noted.boot_failure = xstrdup("x");
    p->noted.is_dying = p->noted.is_ready = false;
    p->noted.has_stacks = true;
    die(p, SIGKILL);
    assert_true(p->speech.said == 0 && !p->speech.is_over && p->tracer == 0);
    assert_true(p->inherited_size == 0 && !p->noted.has_stacks && !p->noted.boot_failure);
    p = add_worker(0, &current, PROC_BOOTING);
    say_and_act(p, UP_READY, NULL);
    assert_int_equal(p->w->phase, PROC_READY);
    assert_int_equal(p->w->end, END_UNASKED);
}

static void test_nothing_is_reaped_without_sigchld(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_READY);
    siginfo_t info;

    (void)state;
    assert_int_equal(kill(p->w->pid, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)p->w->pid, &info, WEXITED | WNOWAIT), 0);
    reap_children(&m, now_ms());
    assert_int_equal(p->w->phase, PROC_READY);
}

static void test_kill_in_a_boot_is_tried_again_at_once(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_BOOTING);

    (void)state;
    die(p, SIGTERM);
    assert_int_equal(backoffs[0].failures, 0);
    assert_int_equal(backoffs[0].kills, 1);
    assert_true(backoffs[0].not_before_ms == 0);
    assert_null(m.candidate_failure);
}

static void test_kills_of_a_canary_count_when_its_time_is_over(void **state)
{
    (void)state;
    tries_a_candidate();
    m.boot_by_ms = now_ms() + 60000;
    die(add_worker(0, &candidate, PROC_BOOTING), SIGKILL);
    assert_null(m.candidate_failure);
    assert_int_equal(m.plan.canary.kills, 1);
    assert_int_equal(backoffs[0].kills, 0);
    m.boot_by_ms = 1;
    die(add_worker(0, &candidate, PROC_BOOTING), SIGKILL);
    assert_non_null(strstr(m.candidate_failure, "before it was ready"));
}

static void test_crash_in_a_boot_is_its_failure(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_BOOTING);

    (void)state;
    say_and_act(p, UP_DYING, NULL);
    die(p, SIGKILL); /* also if it had to be killed in the end */
    assert_int_equal(backoffs[0].failures, 1);
    assert_int_equal(backoffs[0].kills, 0);
    assert_non_null(strstr(logged(), "failed to boot: it "));
}

static void test_last_words_are_read(void **state)
{
    struct proc *p = add_worker(0, &candidate, PROC_BOOTING);

    (void)state;
    tries_a_candidate();
    assert_int_equal(channel_send_up(p->channel.up_write, UP_BOOTFAIL, "why"), 0);
    die(p, SIGKILL);
    assert_string_equal(m.candidate_failure, "why");
}

static void test_canary_that_was_ready_and_died_counts(void **state)
{
    struct proc *p = add_worker(0, &candidate, PROC_BOOTING);

    (void)state;
    tries_a_candidate();
    assert_int_equal(channel_send_up(p->channel.up_write, UP_READY, NULL), 0);
    die(p, SIGKILL);
    assert_true(m.candidate_is_ready);
    assert_null(m.candidate_failure);
}

static void test_end_of_a_retiring_worker_counts_for_nothing(void **state)
{
    struct proc *p = add_worker(0, &current, PROC_RETIRING);

    (void)state;
    die(p, SIGKILL);
    assert_int_equal(backoffs[0].crashes + backoffs[0].failures, 0);
}

/* ---- starting ---------------------------------------------------------------------------- */

static void test_failed_starts_are_tried_again_until_their_time_is_over(void **state)
{
    uint64_t now = now_ms();

    (void)state;
    m.boot_by_ms = now + 60000;
    boots_not_started(&m, "no room");
    assert_true(m.spawn_not_before_ms >= now + 1000 && m.spawn_not_before_ms <= now_ms() + 1000);
    assert_non_null(strstr(logged(), "cannot start a worker: no room"));
    m.boot_by_ms = now_ms() + 200;
    boots_not_started(&m, "no room");
    assert_true(m.spawn_not_before_ms == m.boot_by_ms); /* the last try */
    m.rolling = true;
    boots_give_up(&m, m.boot_by_ms - 1);
    assert_null(m.roll_failure);
    boots_give_up(&m, m.boot_by_ms);
    assert_string_equal(m.roll_failure, "no process can be started: no room");
    tries_a_candidate();
    boots_give_up(&m, m.boot_by_ms);
    assert_string_equal(m.candidate_failure, "no process can be started: no room");
}

static void test_start_without_processes_ends(void **state)
{
    (void)state;
    m.has_served = false;
    boots_not_started(&m, "no room");
    m.boot_by_ms = 1;
    boots_give_up(&m, now_ms());
    assert_int_equal(m.stop_wish, STOP_QUICKLY);
    assert_int_equal(m.stop_status, EXIT_FAILED);
}

static void test_full_table_is_said_once(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++)
        places[i].phase = PROC_KILLED;
    assert_false(boots_start(&m, 0, 1));
    assert_non_null(strstr(logged(), "No worker can be started"));
    assert_false(boots_start(&m, 0, 1));
    assert_string_equal(logged(), "");
    struct template dead = {.fd = -1}; /* there is room again, but it cannot fork */
    current.template = &dead;
    current.config.preload_app = true;
    places[3].phase = PROC_EMPTY;
    assert_false(boots_start(&m, 0, 1));
    assert_non_null(strstr(logged(), "cannot start a worker"));
    places[3].phase = PROC_KILLED;
    assert_false(boots_start(&m, 0, 1));
    assert_non_null(strstr(logged(), "No worker can be started"));
    for (unsigned i = 0; i < PLACES; i++)
        places[i].phase = PROC_EMPTY;
}

/* ---- a reload ---------------------------------------------------------------------------- */

static void test_reload_request_is_noted(void **state)
{
    (void)state;
    reload_request(&m);
    assert_true(m.reload_requested && m.is_due);
    m.upgrade.phase = UPGRADE_BOOTING; /* it has to wait */
    reload_begin(&m);
    assert_true(m.reload_requested);
    assert_int_equal(m.reloads_begun, 0);
    m.reload_requested = false;
    m.stop_at_ms = 1;
    reload_request(&m);
    assert_false(m.reload_requested);
}

static void test_failed_reload_is_dropped(void **state)
{
    (void)state;
    tries_a_candidate();
    candidate.next = candidate.prev = &candidate;
    m.reloads_begun = m.reload_first = 1;
    m.candidate_failure = xstrdup("why");
    m.plan.canary.failures = 3;
    reload_decide(&m, now_ms());
    assert_null(m.candidate);
    assert_null(m.candidate_failure);
    assert_int_equal(m.plan.candidate, 0);
    assert_int_equal(m.plan.canary.failures, 0);
    assert_non_null(strstr(logged(), "Reload failed: why. Generation 1 goes on unchanged"));
    assert_false(m.last_reload.ok);
    assert_string_equal(m.last_reload.why, "why");
    assert_int_equal(candidate.refs, 999);
}

static void test_roll_that_fails_is_over(void **state)
{
    (void)state;
    m.rolling = true;
    m.roll_failure = xstrdup("why");
    reload_decide(&m, now_ms());
    assert_false(m.rolling);
    assert_null(m.roll_failure);
    assert_non_null(strstr(m.last_reload.why, "not all of its workers booted: why"));
    m.roll_failure = xstrdup("later"); /* no roll waits for it */
    m.last_reload.why[0] = '\0';
    reload_decide(&m, now_ms());
    assert_null(m.roll_failure);
    assert_string_equal(m.last_reload.why, "");
}

static void test_roll_is_over_when_all_serve_and_no_old_one_accepts(void **state)
{
    struct proc *old = add_worker(4, &current, PROC_RETIRING);

    (void)state;
    m.plan.generation = 2;
    m.rolling = true;
    (void)add_worker(0, &candidate, PROC_READY);
    proc_slot(&m.procs, old)->state = SLOT_IDLE;
    reload_decide(&m, now_ms());
    assert_true(m.rolling); /* number 1 is missing */
    (void)add_worker(1, &candidate, PROC_READY);
    reload_decide(&m, now_ms());
    assert_true(m.rolling); /* the old one accepts yet */
    proc_slot(&m.procs, old)->state = SLOT_DRAINING;
    reload_decide(&m, now_ms());
    assert_false(m.rolling);
    assert_true(m.last_reload.ok);
}

static void test_ready_canary_makes_its_generation_count(void **state)
{
    uint64_t before = now_ms();

    (void)state;
    candidate.config.boot_timeout_ms = 7000;
    candidate.config.workers = 3;
    candidate.error_fd = log_file;
    candidate.next = candidate.prev = &current;
    current.next = current.prev = &candidate;
    tries_a_candidate();
    m.candidate_is_ready = true;
    m.reloads_begun = 4;
    backoffs[1].not_before_ms = before + 30000;
    reload_decide(&m, now_ms());
    assert_true(m.current == &candidate && !m.candidate && !m.candidate_is_ready);
    assert_true(m.plan.generation == 2 && m.plan.candidate == 0 && m.plan.workers == 3);
    assert_true(m.rolling && m.reload_committed == 4);
    assert_true(m.boot_by_ms >= before + 7000 && m.boot_by_ms <= now_ms() + 7000);
    assert_true(backoffs[1].not_before_ms == 0);
    assert_int_equal(current.refs, 999);
    current.next = current.prev = &current;
}

static void prepare_nothing(void *arg, int fd)
{
    (void)arg;
    (void)fd;
}

static void test_reload_begins_once(void **state)
{
    (void)state;
    prepare_init(&m.prepare, m.loop, prepare_nothing, NULL);
    m.reloads_begun = 4;
    reload_begin(&m);
    assert_int_equal(m.reloads_begun, 4); /* none is wanted */
    m.reload_requested = true;
    reload_begin(&m);
    assert_false(m.reload_requested);
    assert_true(m.reloads_begun == 5 && m.reload_first == 5);
    assert_true(reload_is_trying(&m));
    m.reload_requested = true; /* a newer one waits */
    reload_begin(&m);
    assert_true(m.reload_requested && m.reloads_begun == 5);
    pid_t pid = m.prepare.pid;
    prepare_end(&m.prepare);
    (void)waitpid(pid, NULL, 0);
}

static void test_stopping_server_decides_no_reload(void **state)
{
    (void)state;
    tries_a_candidate();
    m.candidate_is_ready = m.plan.stopping = true;
    reload_decide(&m, now_ms());
    assert_int_equal(m.plan.generation, 1);
}

/* ---- requests ---------------------------------------------------------------------------- */

static void test_workers_wanted_by_signals(void **state)
{
    (void)state;
    requests_change_workers(&m, 1);
    requests_change_workers(&m, 1);
    assert_int_equal(m.plan.workers, 4);
    assert_int_equal(m.workers_before, 2);
    assert_true(m.is_due);
    requests_change_workers(&m, -3);
    assert_int_equal(m.plan.workers, 1);
    (void)logged();
    requests_change_workers(&m, -1);
    assert_int_equal(m.plan.workers, 1);
    assert_non_null(strstr(logged(), "workers: cannot go below 1"));
    m.plan.workers = plan_most_workers(&m.plan);
    requests_change_workers(&m, 1);
    assert_int_equal(m.plan.workers, plan_most_workers(&m.plan));
    assert_non_null(strstr(logged(), "this master has room for"));
}

/* Each signal counts once. */
static void test_requests_by_signals_are_acted_on_once(void **state)
{
    (void)state;
    m.rolling = m.upgrade_requested = true;
    requests_act(&m);
    assert_non_null(strstr(logged(), "USR2 is ignored: a reload is under way"));
    current.config.daemon = true;
    m.retire_requested = true;
    requests_act(&m);
    assert_int_equal(m.plan.workers, 0);
    m.plan.workers = 2;
    (void)logged();
    requests_act(&m);
    assert_int_equal(m.plan.workers, 2);
    assert_string_equal(logged(), "");
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, master_setup, master_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(reading_only_notes),
        T(ready_ends_the_boot),
        T(ready_in_a_late_boot_is_in_time),
        T(ready_during_drain_is_told_to_say_close),
        T(ready_of_a_canary_is_noted_for_the_reload),
        T(ready_of_the_admin_process_is_no_workers),
        T(ready_of_a_retired_worker_changes_nothing),
        T(heartbeat_is_heard),
        T(boot_failure_in_service_is_logged_and_slowed_down),
        T(boot_failure_of_a_canary_fails_the_reload),
        T(boot_failure_in_a_roll_ends_the_wait),
        T(boot_failure_of_the_start_ends_it_with_one_line),
        T(boot_failure_while_stopping_is_no_news),
        T(boot_failure_of_a_retired_worker_ends_it_quietly),
        T(wishes_to_leave),
        T(wish_of_a_retired_worker_is_granted_already),
        T(wrong_messages_kill_with_one_line),
        T(wrong_messages_in_a_boot_fail_it),
        T(crash_frees_the_number_and_counts_once),
        T(crash_in_a_boot_holds_its_number),
        T(crash_by_the_masters_signal_only_goes_on),
        T(stacks_of_before_do_not_end_a_crash),
        T(crash_is_late),
        T(deadlines),
        T(quick_stop_says_nothing_of_who_is_late),
        T(ready_that_is_unread_at_the_deadline_counts),
        T(late_canary_fails_the_reload),
        T(explained_worker_is_aborted),
        T(hung_loop_is_found),
        T(hung_retiring_worker_counts_for_nothing),
        T(nothing_counts_while_the_master_was_away),
        T(slow_call_is_told_of_once),
        T(partly_hung_worker_finishes_its_other_calls),
        T(quick_stop_waits_for_no_other_call),
        T(stopped_worker_is_continued_to_abort),
        T(retire_orders),
        T(retired_twice_keeps_the_earlier_deadline_and_reason),
        T(hurried_worker_closes_idle_connections_soon),
        T(old_processes_may_accept),
        T(stop_wishes),
        T(drain_ends_by_itself_or_by_a_second_term),
        T(stop_retires_again_and_ends_boots),
        T(stop_leaves_boots_that_clients_wait_for),
        T(stop_reads_ready_before_it_ends_boots),
        T(given_up_canary_is_killed),
        T(killed_worker_is_counted_and_its_place_empty),
        T(ended_worker_leaves_nothing_open),
        T(place_is_taken_again_by_a_fresh_worker),
        T(nothing_is_reaped_without_sigchld),
        T(kill_in_a_boot_is_tried_again_at_once),
        T(kills_of_a_canary_count_when_its_time_is_over),
        T(crash_in_a_boot_is_its_failure),
        T(last_words_are_read),
        T(canary_that_was_ready_and_died_counts),
        T(end_of_a_retiring_worker_counts_for_nothing),
        T(failed_starts_are_tried_again_until_their_time_is_over),
        T(start_without_processes_ends),
        T(full_table_is_said_once),
        T(reload_request_is_noted),
        T(failed_reload_is_dropped),
        T(roll_that_fails_is_over),
        T(roll_is_over_when_all_serve_and_no_old_one_accepts),
        T(ready_canary_makes_its_generation_count),
        T(reload_begins_once),
        T(stopping_server_decides_no_reload),
        T(workers_wanted_by_signals),
        T(requests_by_signals_are_acted_on_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
