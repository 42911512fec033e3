/* SPDX-License-Identifier: MIT
 *
 * What the log and the access log say about workers that hang, crash or die, by what their slots
 * have. Each line is compared as a whole but for its time.
 */
#include "master_case.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "master/postmortem/report.h"
#include "master/preload/template.h"

enum { ID = 0x1f };

static struct proc *p;
static struct slot *s;
static struct oom oom;
static int access_file = -1;

static int setup(void **state)
{
    (void)master_setup(state);
    p = add_worker(0, &current, PROC_READY);
    s = proc_slot(&m.procs, p);
    s->pid = (int32_t)p->w->pid;
    s->call_count = 1;
    access_file = memfd_create("access", MFD_CLOEXEC);
    current.access_fd = access_file;
    current.config.access_log_format = "json";
    oom_init(&oom, "/nonexistent", now_ms());
    return 0;
}

static int teardown(void **state)
{
    oom_release(&oom);
    (void)close(access_file);
    current.access_fd = -1;
    return master_teardown(state);
}

static void set_request(unsigned number, const char *target)
{
    struct slot_call *call = &s->calls[number];

    call->request_id = ID + number;
    call->answers = 1;
    slot_set_text(call->method, sizeof(call->method), "GET", 3);
    slot_set_text(call->target, sizeof(call->target), target, strlen(target));
    slot_set_text(call->peer, sizeof(call->peer), "192.0.2.1", 9);
}

static void run_request(unsigned number, const char *target, uint64_t age_ms)
{
    set_request(number, target);
    slot_call_begin(&s->calls[number], now_ms() - age_ms);
}

/* The message of the one line in the log, without its time and pid. */
static void assert_logged(const char *level, const char *format, ...)
{
    const char *line = logged();
    char want[600], *after = strstr(line, level);
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(want, sizeof(want), format, ap);
    va_end(ap);
    if (!after)
        print_error("no %s: %s\n", level, line);
    assert_non_null(after);
    after += strlen(level) + 2;
    after[strcspn(after, "\n")] = '\0';
    assert_string_equal(after, want);
    assert_string_equal(after + strlen(after) + 1, "");
}

#define REQUEST "GET /a of 192.0.2.1, request 000000000000001f"

/* ---- hangs -------------------------------------------------------------------------------- */

static void test_hung_call_and_loop(void **state)
{
    int pid = (int)p->w->pid;

    (void)state;
    set_request(0, "/a?secret=1");
    report_hung(p, &s->calls[0], HEALTH_CALL_TOO_LONG, 1250);
    assert_logged("CRITICAL", "WORKER TIMEOUT (pid:%d) after 1.2 s in " REQUEST "", pid);
    report_hung(p, &s->calls[0], HEALTH_UNRESPONSIVE, 12050);
    assert_logged("CRITICAL",
                  "WORKER UNRESPONSIVE (pid:%d): its event loop has not run for 12.0 s; "
                  "last request: " REQUEST "",
                  pid);
    report_slow(p, &s->calls[0], 3400);
    assert_logged("WARNING", "Slow request: worker (pid:%d) has spent 3.4 s so far in " REQUEST "",
                  pid);
    report_late(p, &s->calls[0], 3450);
    assert_logged("WARNING",
                  "Late call: worker (pid:%d) has spent 3.4 s in " REQUEST
                  "; gcorn_on_call_late is called",
                  pid);
}

static void test_query_is_shown_only_without_redaction(void **state)
{
    (void)state;
    current.config.crash_redact = false;
    set_request(0, "/a?secret=1");
    report_slow(p, &s->calls[0], 0);
    assert_non_null(strstr(logged(), "GET /a?secret=1 of"));
}

static void test_callback_is_no_request(void **state)
{
    char id[SLOT_GIVEN_ID_SIZE];

    (void)state;
    report_slow(p, &s->calls[0], 0);
    assert_non_null(strstr(logged(), "so far in no request\n"));
    set_request(0, "tick");
    s->calls[0].request_id = 0;
    report_slow(p, &s->calls[0], 0);
    assert_non_null(strstr(logged(), "so far in GET tick\n"));
    assert_null(report_request_id(&s->calls[0], id));
    assert_null(report_request_id(NULL, id));
    s->calls[0].request_id = ID;
    s->calls[0].peer[0] = '\0';
    report_slow(p, &s->calls[0], 0);
    assert_non_null(strstr(logged(), "GET tick of a unix peer, request 000000000000001f"));
    assert_string_equal(report_request_id(&s->calls[0], id), "000000000000001f");
}

/* ---- crashes ------------------------------------------------------------------------------ */

static void test_fault_is_named(void **state)
{
    const struct {
        int signal, code, sender;
        const char *text;
    } faults[] = {
        {SIGSEGV, SEGV_MAPERR, 0, "SIGSEGV! Nothing is mapped at address 0xbeef; In"},
        {SIGSEGV, SEGV_ACCERR, 0, "SIGSEGV! No access to address 0xbeef; In"},
        {SIGSEGV, SI_KERNEL, 0, "SIGSEGV! At a non-canonical address; In"},
        {SIGFPE, FPE_INTDIV, 0, "SIGFPE! Division by zero at 0xbeef; In"},
        {SIGFPE, FPE_FLTDIV, 0, "SIGFPE! At address 0xbeef; In"},
        {SIGBUS, BUS_ADRALN, 0, "SIGBUS! At address 0xbeef; In"},
        {SIGILL, ILL_ILLOPC, 0, "SIGILL! At address 0xbeef; In"},
        {SIGABRT, SI_TKILL, (int)p->w->pid, "SIGABRT! Raised by itself; In"},
        {SIGSEGV, SI_USER, 1, "SIGSEGV! Sent by pid 1; In"},
        {SIGABRT, SI_USER, 0, "SIGABRT! In"},
        {1000, SI_KERNEL, 0, "SIG?! In"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        s->crash = (struct slot_crash){.signal = faults[i].signal,
                                       .code = faults[i].code,
                                       .sender = faults[i].sender,
                                       .call = -1,
                                       .tid = (int32_t)p->w->pid,
                                       .address = 0xbeef};
        report_crash(p, s);
        const char *line = logged();
        if (!strstr(line, faults[i].text))
            print_error("%s: %s\n", faults[i].text, line);
        assert_non_null(strstr(line, faults[i].text));
        assert_non_null(strstr(line, "[CRITICAL]"));
        assert_null(strstr(line, "in thread"));
    }
}

static void test_call_of_a_crash(void **state)
{
    (void)state;
    set_request(0, "/a?secret=1");
    s->crash =
        (struct slot_crash){.signal = SIGSEGV, .code = SI_KERNEL, .at_ms = 5250, .answered = 6};
    report_crash(p, s);
    assert_non_null(strstr(logged(), " Between two calls; the last one was for " REQUEST "; "));
    slot_call_begin(&s->calls[0], 4000);
    s->crash.tid = 17;
    report_crash(p, s);
    const char *line = logged();
    assert_non_null(strstr(line, " 1.250 s into " REQUEST ", number 7 of this worker; "));
    assert_non_null(strstr(line, "; in thread 17\n"));
    s->crash.call = SLOT_CALLS + 1; /* it is damaged */
    report_crash(p, s);
    assert_non_null(strstr(logged(), " In a thread that runs no request"));
    assert_null(report_crashed_call(s));
    s->crash.call = 0;
    assert_ptr_equal(report_crashed_call(s), &s->calls[0]);
}

static void test_crash_in_a_boot_names_the_step(void **state)
{
    const char *const steps[] = {
        [BOOT_LOAD] = " Before it was ready, while its application was loaded (in a constructor?)",
        [BOOT_INIT] = " Before it was ready, in gcorn_on_worker_init",
        [BOOT_CHECK] = " Before it was ready, in the request of reload_check_path (GET /a)"};

    (void)state;
    p->w->phase = PROC_BOOT_CRASHED;
    set_request(0, "/a?secret=1");
    s->crash = (struct slot_crash){.signal = SIGSEGV};
    for (unsigned step = 0; step < ARRAY_LEN(steps); step++) {
        if (!steps[step])
            continue;
        atomic_store(&s->boot_step, step);
        report_crash(p, s);
        const char *line = logged();
        assert_non_null(strstr(line, steps[step]));
        assert_non_null(strstr(line, "[ERROR]"));
    }
}

static void test_what_clients_were_told(void **state)
{
    const struct {
        uint32_t client, answered, cut;
        const char *text;
    } clients[] = {
        {CRASH_CLIENT_NONE, 0, 0, " MiB\n"},
        {CRASH_CLIENT_ANSWERED, 0, 0, "; the client was answered 500\n"},
        {CRASH_CLIENT_CUT, 0, 0, "; its answer was cut short\n"},
        {CRASH_CLIENT_RESET, 0, 0, "; its connection was reset during the answer\n"},
        {CRASH_CLIENT_LOST, 0, 0, "; the client did not take its answer 500\n"},
        {CRASH_CLIENT_NONE, 2, 0, " MiB; 2 other connections were answered 503\n"},
        {CRASH_CLIENT_NONE, 0, 3, " MiB; 3 other answers were cut short\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        s->crash = (struct slot_crash){.signal = SIGSEGV,
                                       .call = -1,
                                       .tid = (int32_t)p->w->pid,
                                       .client = clients[i].client,
                                       .client_status = 500,
                                       .others_answered = clients[i].answered,
                                       .others_cut = clients[i].cut};
        report_crash(p, s);
        assert_non_null(strstr(logged(), clients[i].text));
    }
    s->crash = (struct slot_crash){.code = 0x103, .call = -1};
    report_crash(p, s);
    assert_non_null(strstr(logged(), "exited with code 3: the application called exit()."));
}

static void test_crash_of_a_template(void **state)
{
    const struct template t = {.pid = 44};
    const struct template_fault fault = {
        .signal = SIGSEGV, .code = SEGV_MAPERR, .address = 0x10, .sender = 0};

    (void)state;
    report_template_crash(&t, &fault, "");
    assert_logged("ERROR",
                  "Template (pid:44) was sent SIGSEGV! Nothing is mapped at address 0x10; As it "
                  "forks workers");
    report_template_crash(&t, &fault, ", in a test");
    assert_logged("ERROR", "Template (pid:44) was sent SIGSEGV! Nothing is mapped at address 0x10; "
                           "Before it was ready, in a test");
}

/* ---- deaths ------------------------------------------------------------------------------- */

static void test_death_names_all_calls(void **state)
{
    int pid = (int)p->w->pid;

    (void)state;
    s->call_count = 2;
    run_request(0, "/a", 0);
    run_request(1, "/b", 0);
    assert_false(report_death(p, s, W_EXITCODE(3, 0), &oom));
    assert_logged("ERROR",
                  "Worker (pid:%d) exited with code 3 while it ran " REQUEST
                  " and GET /b of 192.0.2.1, request 0000000000000020",
                  pid);
    slot_call_end(&s->calls[0]);
    slot_call_end(&s->calls[1]);
    assert_false(report_death(p, s, SIGTERM, &oom));
    assert_logged("ERROR", "Worker (pid:%d) was killed by SIGTERM (Terminated)", pid);
    assert_false(report_death(p, s, 0, &oom));
    assert_logged("ERROR", "Worker (pid:%d) exited with code 0", pid);
    p->w->phase = PROC_RETIRING;
    assert_false(report_death(p, s, 0, &oom));
    assert_string_equal(logged(), "");
}

static void test_kill_by_another_process(void **state)
{
    int pid = (int)p->w->pid;

    (void)state;
    run_request(0, "/a", 0);
    assert_false(report_death(p, s, SIGKILL, &oom));
    assert_logged("ERROR",
                  "Worker (pid:%d) was sent SIGKILL while it ran " REQUEST
                  ", not by gcorn; no cgroup counts out-of-memory kills",
                  pid);
    p->w->phase = PROC_KILLED; /* by gcorn */
    slot_call_end(&s->calls[0]);
    assert_false(report_death(p, s, SIGKILL, &oom));
    assert_logged("ERROR", "Worker (pid:%d) was killed by SIGKILL (Killed)", pid);
}

static void test_end_of_a_hung_worker(void **state)
{
    int pid = (int)p->w->pid;

    (void)state;
    p->w->phase = PROC_ABORTED;
    run_request(0, "/a", 0);
    assert_false(report_death(p, s, SIGABRT, &oom));
    assert_logged("ERROR", "Worker (pid:%d) was killed; its client could not be answered", pid);
    s->crash = (struct slot_crash){.client = CRASH_CLIENT_ANSWERED, .client_status = 504};
    assert_false(report_death(p, s, SIGABRT, &oom));
    assert_logged("ERROR", "Worker (pid:%d) was killed; the client was answered 504", pid);
    s->crash = (struct slot_crash){.client = CRASH_CLIENT_NONE};
    s->calls[0].answers = 0;
    assert_false(report_death(p, s, SIGABRT, &oom));
    assert_logged("ERROR", "Worker (pid:%d) was killed", pid);
    assert_false(report_death(p, s, 0, &oom));
    assert_logged("WARNING", "Worker (pid:%d) finished all its calls after the timeout, and ended",
                  pid);
}

/* ---- the last request ---------------------------------------------------------------------- */

/* What the access log has got since the last call. */
static const char *access_lines(void)
{
    static char text[2048];
    ssize_t n = pread(access_file, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    assert_int_equal(ftruncate(access_file, 0), 0);
    assert_int_equal(lseek(access_file, 0, SEEK_SET), 0);
    return text;
}

static void test_access_line_of_requests_that_ran(void **state)
{
    const struct {
        enum proc_phase phase;
        uint32_t stage, client;
        const char *status, *ended;
    } ends[] = {
        {PROC_CRASHED, CRASH_ANSWERED, CRASH_CLIENT_ANSWERED, "\"status\":500,", "crash"},
        {PROC_CRASHED, CRASH_ANSWERED - 1, CRASH_CLIENT_ANSWERED, "\"method\":\"GET\"", "crash"},
        {PROC_CRASHED, CRASH_ANSWERED, CRASH_CLIENT_LOST, "\"path\":\"/a\"", "crash"},
        {PROC_ABORTED, CRASH_ANSWERED, CRASH_CLIENT_NONE, "192.0.2.1", "timeout"},
        {PROC_READY, CRASH_ANSWERED, CRASH_CLIENT_NONE, "000000000000001f", "killed"},
    };
    char ended[40];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        p->w->phase = ends[i].phase;
        run_request(0, "/a", 0);
        s->crash = (struct slot_crash){.client = ends[i].client, .client_status = 500, .call = -1};
        atomic_store(&s->crash.stage, ends[i].stage);
        report_last_request(p, s);
        const char *line = access_lines();
        (void)snprintf(ended, sizeof(ended), "\"ended\":\"%s\"", ends[i].ended);
        if (!strstr(line, ends[i].status) || !strstr(line, ended))
            print_error("%s", line);
        assert_non_null(strstr(line, ends[i].status));
        assert_non_null(strstr(line, ended));
        assert_int_equal(i == 0, strstr(line, "500") != NULL);
    }
    p->w->phase = PROC_READY;
    s->calls[0].answers = 0; /* the worker has written its line */
    report_last_request(p, s);
    assert_string_equal(access_lines(), "");
    s->calls[0].answers = 1;
    slot_call_end(&s->calls[0]);
    report_last_request(p, s);
    assert_string_equal(access_lines(), "");
    assert_string_equal(logged(), "");
}

static void test_kept_request_is_named(void **state)
{
    int pid = (int)p->w->pid;

    (void)state;
    set_request(0, "/a");
    s->crash = (struct slot_crash){.saved = 1};
    report_last_request(p, s);
    assert_string_equal(logged(), ""); /* no crash_dir */
    current.config.crash_dir = "/crashes";
    current.config.wsgi_app = "app.so:handler";
    report_last_request(p, s);
    assert_logged("INFO",
                  "Worker (pid:%d): its request is kept: gcorn --replay "
                  "/crashes/%010d-000000000000001f.http app.so:handler",
                  pid, pid);
    s->crash.call = -1;
    report_last_request(p, s);
    s->crash = (struct slot_crash){.saved = 0};
    report_last_request(p, s);
    assert_string_equal(logged(), "");
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(hung_call_and_loop),     T(query_is_shown_only_without_redaction),
        T(callback_is_no_request), T(fault_is_named),
        T(call_of_a_crash),        T(crash_in_a_boot_names_the_step),
        T(what_clients_were_told), T(crash_of_a_template),
        T(death_names_all_calls),  T(kill_by_another_process),
        T(end_of_a_hung_worker),   T(access_line_of_requests_that_ran),
        T(kept_request_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
