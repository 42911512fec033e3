/* SPDX-License-Identifier: MIT
 *
 * The stats, what is read out of them with the slots, and how that is shown: counts of workers that
 * go are there exactly once, a writer is noticed, readiness, the text for Prometheus.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "gcorn.h"
#include "master/telemetry/stats.h"
#include "master/telemetry/prometheus.h"
#include "master/telemetry/snapshot.h"
#include "system/ipc/metric_slots.h"
#include "worker/call/app_metrics.h"

enum { PLACES = 4, NOW = 100000, FRESH = 5000 };

static struct stats *stats;
static struct scoreboard *scoreboard;
static struct strbuf text;

static int setup(void **state)
{
    struct error err;

    (void)state;
    stats = stats_new(PLACES, &err);
    scoreboard = scoreboard_new(PLACES, &err);
    return stats && scoreboard ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    stats_free(stats);
    scoreboard_free(scoreboard);
    strbuf_release(&text);
    metrics_init(NULL);
    return 0;
}

static void set_proc(unsigned place, enum proc_phase phase, unsigned number, bool is_admin)
{
    const struct stats_proc proc = {
        .phase = phase, .pid = getpid(), .number = number, .is_admin = is_admin, .ready_ms = 1};

    (void)stats_open(stats);
    stats_set_proc(stats, place, &proc);
    stats_close(stats);
}

static void set_state(enum server_state state)
{
    stats_open(stats)->state = state;
    stats_close(stats);
}

static unsigned bury(struct slot *slot)
{
    (void)stats_open(stats);
    unsigned lost = stats_add_exited(stats, slot);
    stats_close(stats);
    return lost;
}

/* What /metrics would say now. */
static const char *shown(void)
{
    struct snapshot s;

    strbuf_reset(&text);
    assert_int_equal(snapshot_take(&s, stats, scoreboard), 0);
    prometheus_add(&text, &s);
    snapshot_release(&s);
    return text.data;
}

/* A whole line of it. */
static void expect_line(const char *line)
{
    char *wanted = xasprintf("\n%s\n", line);

    if (!strstr(shown(), wanted))
        fail_msg("no line '%s' in:\n%s", line, text.data);
    free(wanted);
}

/* ---- counting once ----------------------------------------------------------------------- */

static void test_gone_counts_once(void **state)
{
    struct slot *slot = scoreboard_slot(scoreboard, 1);

    (void)state;
    set_proc(1, PROC_READY, 0, false);
    slot->counts.by_status[200 - SLOT_STATUS_MIN] = 7;
    slot->counts.connections = 3;
    expect_line("gcorn_requests_total{code=\"200\"} 7");
    assert_int_equal(bury(slot), 0);
    expect_line("gcorn_requests_total{code=\"200\"} 7"); /* its place is still said to be taken */
    set_proc(1, PROC_EMPTY, 0, false);
    expect_line("gcorn_requests_total{code=\"200\"} 7");
    set_proc(1, PROC_READY, 0, false);
    slot->counts.by_status[200 - SLOT_STATUS_MIN] = 5; /* of the next worker */
    expect_line("gcorn_requests_total{code=\"200\"} 12");
    expect_line("gcorn_connections_total 3");
}

static void test_admin_is_no_worker(void **state)
{
    (void)state;
    set_proc(0, PROC_READY, 0, false);
    set_proc(1, PROC_READY, PLACES, true);
    scoreboard_slot(scoreboard, 1)->counts.connections = 9;
    expect_line("gcorn_workers{state=\"idle\"} 1");
    expect_line("gcorn_connections_total 0");
}

/* Counters and histograms stay, gauges go with their worker. */
static void test_metrics_of_the_gone(void **state)
{
    static const double bounds[] = {0.1, 1};
    struct slot *slot = scoreboard_slot(scoreboard, 0);

    (void)state;
    set_proc(0, PROC_READY, 0, false);
    for (int worker = 1; worker <= 2; worker++) {
        metrics_init(slot);
        gcorn_metric_add(gcorn_counter("orders_total{kind=\"book\"}", "Orders."), 2);
        gcorn_metric_set(gcorn_gauge("pending", "Waiting.", GCORN_GAUGE_SUM), 5);
        struct gcorn_metric *h = gcorn_histogram("lat{route=\"/a\"}", "Latency.", bounds, 2);
        gcorn_metric_observe(h, 0.1);
        gcorn_metric_observe(h, 0.5);
        gcorn_metric_observe(h, 3);
        expect_line("pending 5");
        expect_line(worker == 1 ? "orders_total{kind=\"book\"} 2"
                                : "orders_total{kind=\"book\"} 4");
        assert_int_equal(bury(slot), 0);
        assert_null(strstr(shown(), "pending"));
    }
    expect_line("# HELP orders_total Orders.");
    expect_line("# TYPE orders_total counter");
    expect_line("orders_total{kind=\"book\"} 4");
    expect_line("# TYPE lat histogram");
    expect_line("lat_bucket{route=\"/a\",le=\"0.1\"} 2");
    expect_line("lat_bucket{route=\"/a\",le=\"1\"} 4");
    expect_line("lat_bucket{route=\"/a\",le=\"+Inf\"} 6");
    expect_line("lat_sum{route=\"/a\"} 7.2");
    expect_line("lat_count{route=\"/a\"} 6");
}

/* A worker's gauges; has_set: else it has made them, and set none. */
static void set_gauges(unsigned place, bool has_set, double value)
{
    struct slot *slot = scoreboard_slot(scoreboard, place);

    set_proc(place, PROC_READY, place, false);
    metrics_init(slot);
    struct gcorn_metric *total = gcorn_gauge("all", "A.", GCORN_GAUGE_SUM),
                        *greatest = gcorn_gauge("greatest", "G.", GCORN_GAUGE_MAX),
                        *last = gcorn_gauge("last", "L.", GCORN_GAUGE_LAST);
    if (!has_set)
        return;
    gcorn_metric_set(total, value);
    gcorn_metric_set(greatest, value);
    gcorn_metric_add(last, value);
}

static void test_gauges_take_sum_greatest_or_last(void **state)
{
    (void)state;
    set_gauges(0, false, 0);
    expect_line("greatest 0");
    set_gauges(2, true, -5);
    set_gauges(1, true, -7); /* before the other in the scoreboard, and later set */
    expect_line("# TYPE greatest gauge");
    expect_line("# TYPE last gauge");
    expect_line("all -12");
    expect_line("greatest -5");
    expect_line("last -7");
    assert_int_equal(bury(scoreboard_slot(scoreboard, 2)), 0);
    set_proc(2, PROC_EMPTY, 0, false);
    expect_line("all -7");
    expect_line("greatest -7");
    expect_line("last -7");
    assert_int_equal(bury(scoreboard_slot(scoreboard, 1)), 0);
    set_proc(1, PROC_EMPTY, 0, false);
    expect_line("greatest 0");
    expect_line("last -7"); /* no worker has set it since */
    set_gauges(2, true, 3);
    expect_line("last 3");
}

static void test_greatest_survives_nan(void **state)
{
    (void)state;
    set_gauges(0, true, NAN);
    set_gauges(1, true, 2);
    set_gauges(2, true, NAN);
    expect_line("greatest 2");
}

/* A worker that has damaged its slot; no later value would count. */
static void test_gauge_of_the_future_is_left_out(void **state)
{
    struct slot *broken = scoreboard_slot(scoreboard, 0);

    (void)state;
    set_gauges(0, true, 9);
    for (uint32_t i = 0; i < atomic_load(&broken->metric_count); i++)
        atomic_store(&broken->metrics[i].set_ns, UINT64_MAX);
    assert_int_equal(bury(broken), 0);
    set_proc(0, PROC_EMPTY, 0, false);
    set_gauges(1, true, 2);
    expect_line("last 2");
}

static void test_metrics_without_room(void **state)
{
    struct slot *slot = scoreboard_slot(scoreboard, 0);
    unsigned made = 0, lost = 0;

    (void)state;
    for (int worker = 0; worker < STATS_METRICS / SLOT_METRICS + 1; worker++) {
        metrics_init(slot);
        for (int i = 0; i < SLOT_METRICS; i++) {
            char name[32];

            (void)snprintf(name, sizeof(name), "n%u_total", made++);
            assert_non_null(gcorn_counter(name, ""));
        }
        lost += bury(slot);
    }
    assert_int_equal(lost, SLOT_METRICS);
    assert_int_equal(stats_facts(stats)->metric_count, STATS_METRICS);
}

/* ---- reading while it is written --------------------------------------------------------- */

static void test_writer_is_noticed(void **state)
{
    uint64_t sequence;
    struct snapshot s;

    (void)state;
    assert_true(stats_begin(stats, &sequence));
    assert_true(stats_is_same(stats, sequence));
    (void)stats_open(stats);
    assert_false(stats_is_same(stats, sequence));
    assert_int_equal(snapshot_take(&s, stats, scoreboard), -1); /* it never ends: bounded */
    stats_close(stats);
    assert_false(stats_is_same(stats, sequence));
    assert_true(stats_begin(stats, &sequence));
    assert_int_equal(snapshot_take(&s, stats, scoreboard), 0);
    snapshot_release(&s);
}

/* The master, for the two tests below: moves counts from slot to stats as fast as it can. */
enum { ROUNDS = 20000 };
static _Atomic bool is_writing;

static void *write_on(void *arg)
{
    struct slot *slot = arg;

    for (int i = 0; i < ROUNDS; i++) {
        __atomic_store_n(&slot->counts.connections, 1, __ATOMIC_RELEASE);
        (void)bury(slot);
    }
    atomic_store(&is_writing, false);
    return NULL;
}

/* No sum ever falls or is too large; and under ThreadSanitizer, none is a race. */
static void test_sums_never_fall(void **state)
{
    uint64_t last = 0;
    pthread_t writer;

    (void)state;
    set_proc(2, PROC_READY, 0, false);
    atomic_store(&is_writing, true);
    assert_int_equal(pthread_create(&writer, NULL, write_on, scoreboard_slot(scoreboard, 2)), 0);
    while (atomic_load(&is_writing)) {
        struct snapshot s;

        if (snapshot_take(&s, stats, scoreboard) < 0)
            continue; /* it writes all the time: every turn met it */
        assert_true(s.counts.connections >= last && s.counts.connections <= ROUNDS);
        last = s.counts.connections;
        snapshot_release(&s);
    }
    (void)pthread_join(writer, NULL);
    assert_int_equal(stats_facts(stats)->gone.connections, ROUNDS);
}

/* ---- who may write ----------------------------------------------------------------------- */

/* Runs what in a child; true when it has ended by SIGSEGV, false when it returned. */
static bool faults(void (*what)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer would explain it */
        what();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void make_read_only(void)
{
    if (stats_make_read_only(stats) < 0 || scoreboard_make_read_only(scoreboard) < 0)
        _exit(2);
}

static void write_stats(void)
{
    make_read_only();
    (void)stats_open(stats);
}

static void write_slot(void)
{
    make_read_only();
    scoreboard_slot(scoreboard, 0)->pid = 1;
}

static void read_both(void)
{
    uint64_t sequence;

    make_read_only();
    if (!stats_begin(stats, &sequence) || scoreboard_slot(scoreboard, 0)->pid != 0)
        _exit(3);
}

static void test_reader_cannot_write(void **state)
{
    (void)state;
    assert_true(faults(write_stats));
    assert_true(faults(write_slot));
    assert_false(faults(read_both));
}

/* Each mapping of the two, of this process, is asked to become writable. How many did. */
static int count_opened(void)
{
    unsigned long start, end;
    char line[512];
    int opened = 0;
    FILE *maps = fopen("/proc/self/maps", "re");

    if (!maps)
        _exit(4);
    while (fgets(line, sizeof(line), maps)) {
        if (strstr(line, "gcorn-") && sscanf(line, "%lx-%lx", &start, &end) == 2)
            opened += mprotect((void *)start, end - start, PROT_READ | PROT_WRITE) == 0;
    }
    (void)fclose(maps);
    return opened;
}

static void open_again(void)
{
    make_read_only();
    if (count_opened() > 0)
        _exit(5);
}

/* With the right to (an inherited mapping keeps it), and by the memfd, where it is still open. */
static void map_again(void)
{
    for (int fd = 3; fd < 64; fd++) {
        char link[64] = "", path[32];

        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (readlink(path, link, sizeof(link) - 1) < 0 || !strstr(link, "gcorn-"))
            continue;
        if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED ||
            pwrite(fd, "x", 1, 0) == 1 || ftruncate(fd, 0) == 0)
            _exit(6);
    }
}

static void test_memory_is_sealed(void **state)
{
    (void)state;
    if (!stats_is_sealed(stats) || !scoreboard_is_sealed(scoreboard))
        skip(); /* Linux before 5.1 */
    assert_false(faults(open_again));
    assert_false(faults(map_again));
}

static void guard(unsigned own)
{
    if (scoreboard_guard(scoreboard, own == PLACES ? NULL : scoreboard_slot(scoreboard, own)) < 0)
        _exit(2);
}

static void write_own(void)
{
    guard(PLACES);
    guard(1);
    memset(scoreboard_slot(scoreboard, 1), 1, sizeof(struct slot));
    atomic_store(&scoreboard_hints(scoreboard)->slow_until_ms, 1);
}

static void write_before(void)
{
    guard(1);
    scoreboard_slot(scoreboard, 0)->crash.stack[0] = 1;
}

static void write_behind(void)
{
    guard(1);
    scoreboard_slot(scoreboard, 2)->pid = 1;
}

static void write_former(void)
{
    guard(2);
    guard(1);
    scoreboard_slot(scoreboard, 2)->pid = 1;
}

static void write_header(void)
{
    guard(1);
    (void)scoreboard_claim(scoreboard, 1);
}

static void write_hints_of_template(void)
{
    guard(PLACES);
    atomic_store(&scoreboard_hints(scoreboard)->slow_until_ms, 1);
}

static void test_worker_writes_its_own_slot_alone(void **state)
{
    (void)state;
    assert_false(faults(write_own));
    assert_true(faults(write_before));
    assert_true(faults(write_behind));
    assert_true(faults(write_former));
    assert_true(faults(write_header));
    assert_true(faults(write_hints_of_template));
}

/* The master's numbers are its own: what becomes of the copy, or of a slot, does not come back. */
static void test_spoiled_memory_is_not_read_back(void **state)
{
    struct snapshot s;

    (void)state;
    set_proc(1, PROC_READY, 0, false);
    scoreboard_slot(scoreboard, 1)->counts.connections = 3;
    (void)bury(scoreboard_slot(scoreboard, 1));
    for (int byte = 0; byte < 256; byte += byte % 2 == 0 && byte % 64 != 0 ? 2 : 1) {
        unsigned long start, end; /* an odd one is waited for: few of them */
        char line[512];
        FILE *maps = fopen("/proc/self/maps", "re");

        assert_non_null(maps);
        while (fgets(line, sizeof(line), maps)) {
            if (strstr(line, "gcorn-") && sscanf(line, "%lx-%lx", &start, &end) == 2)
                memset((void *)start, byte, end - start);
        }
        (void)fclose(maps);
        strbuf_reset(&text);
        if (snapshot_take(&s, stats, scoreboard) == 0) {
            prometheus_add(&text, &s);
            (void)snapshot_is_ready(&s, 1, FRESH, NOW, &text);
            snapshot_release(&s);
        }
        (void)slot_call_count(scoreboard_slot(scoreboard, 0));
        (void)bury(scoreboard_slot(scoreboard, 1));
    }
    for (unsigned i = 0; i < PLACES; i++)
        set_proc(i, PROC_EMPTY, 0, false);
    assert_int_equal(stats_facts(stats)->metric_count, 0);
    expect_line("gcorn_connections_total 3");
}

/* ---- readiness --------------------------------------------------------------------------- */

static const char *why_not(unsigned needed)
{
    struct snapshot s;

    strbuf_reset(&text);
    strbuf_addstr(&text, "");
    assert_int_equal(snapshot_take(&s, stats, scoreboard), 0);
    bool is_ready = snapshot_is_ready(&s, needed, FRESH, NOW, &text);
    snapshot_release(&s);
    assert_true(is_ready == (text.len == 0));
    return text.data;
}

static void test_ready(void **state)
{
    struct slot *one = scoreboard_slot(scoreboard, 0), *two = scoreboard_slot(scoreboard, 1);

    (void)state;
    assert_string_equal(why_not(1), "starting: no worker has been ready yet\n"
                                    "0 of 0 workers can serve, and 1 should\n");
    set_state(SERVER_SERVING);
    set_proc(0, PROC_READY, 0, false);
    set_proc(1, PROC_READY, 1, false);
    set_proc(2, PROC_READY, PLACES, true);
    atomic_store(&one->loop_ms, NOW - FRESH);
    assert_string_equal(why_not(1), "");
    assert_string_equal(why_not(2), "1 of 2 workers can serve, and 2 should\n");
    slot_call_begin(&two->calls[0], NOW - FRESH); /* whatever its loop said */
    assert_string_equal(why_not(2), "");
    slot_call_begin(&two->calls[0], NOW - FRESH - 1);
    assert_string_equal(why_not(2), "1 of 2 workers can serve, and 2 should\n");
    atomic_store(&one->loop_ms, NOW - FRESH - 1);
    assert_string_equal(why_not(1), "0 of 2 workers can serve, and 1 should\n");
    atomic_store(&one->loop_ms, NOW + 3); /* read after the clock was */
    assert_string_equal(why_not(1), "");
    set_proc(0, PROC_RETIRING, 0, false);
    assert_string_equal(why_not(1), "0 of 2 workers can serve, and 1 should\n");
    set_proc(0, PROC_READY, 0, false);
    set_state(SERVER_RELOADING);
    assert_string_equal(why_not(1), "");
    atomic_store(&one->full_since_ms, NOW - FRESH);
    assert_string_equal(why_not(1), "");
    atomic_store(&one->full_since_ms, NOW - FRESH - 1);
    assert_string_equal(why_not(1), "0 of 2 workers can serve, and 1 should\n"
                                    "1 workers are full and can end no connection\n");
    atomic_store(&one->full_since_ms, NOW + 3);
    assert_string_equal(why_not(1), "");
    atomic_store(&one->full_since_ms, 0);
    set_state(SERVER_DRAINING);
    assert_string_equal(why_not(1), "draining\n");
    set_state(SERVER_STOPPING);
    assert_string_equal(why_not(1), "stopping\n");
}

/* ---- the text ---------------------------------------------------------------------------- */

static void test_times(void **state)
{
    struct slot *slot = scoreboard_slot(scoreboard, 0);

    (void)state;
    set_proc(0, PROC_READY, 0, false);
    slot_times_add(&slot->counts.durations, 3);
    slot_times_add(&slot->counts.durations, 63);
    slot_times_add(&slot->counts.durations, 64);
    slot_times_add(&slot->counts.durations, 1000000);
    slot_times_add(&slot->counts.durations, 200000000);
    expect_line("gcorn_request_seconds_bucket{le=\"6.4e-05\"} 2");
    expect_line("gcorn_request_seconds_bucket{le=\"0.000128\"} 3");
    expect_line("gcorn_request_seconds_bucket{le=\"0.524288\"} 3");
    expect_line("gcorn_request_seconds_bucket{le=\"1.048576\"} 4");
    expect_line("gcorn_request_seconds_bucket{le=\"67.108864\"} 4");
    expect_line("gcorn_request_seconds_bucket{le=\"+Inf\"} 5");
    expect_line("gcorn_request_seconds_sum 201.00013");
    expect_line("gcorn_request_seconds_count 5");
    assert_null(strstr(text.data, "le=\"3.2e-05\""));
}

static void test_how_requests_ended(void **state)
{
    struct slot_counts *counts = &scoreboard_slot(scoreboard, 0)->counts;

    (void)state;
    set_proc(0, PROC_READY, 0, false);
    expect_line("gcorn_requests_total{code=\"0\",ended=\"killed\"} 0");
    counts->begun = 12;
    slot_counts_end(counts, 200, ENDED_WHOLE, 3);
    slot_counts_end(counts, 504, ENDED_TIMEOUT, 1);
    slot_counts_end(counts, 200, ENDED_CLIENT_GONE, 1);
    slot_counts_end(counts, 200, ENDED_APPLICATION, 1);
    slot_counts_end(counts, 200, ENDED_CLIENT_GONE, 1);
    slot_counts_end(counts, 0, ENDED_KILLED, 2);
    assert_int_equal(slot_requests(counts), 9);
    assert_int_equal(slot_in_flight(counts), 3);
    expect_line("gcorn_requests_total{code=\"200\"} 3");
    expect_line("gcorn_requests_total{code=\"504\",ended=\"timeout\"} 1");
    expect_line("gcorn_requests_total{code=\"200\",ended=\"client gone\"} 2");
    expect_line("gcorn_requests_total{code=\"200\",ended=\"application\"} 1");
    expect_line("gcorn_requests_total{code=\"0\",ended=\"killed\"} 2");
    expect_line("gcorn_requests_in_flight 3");
    assert_int_equal(bury(scoreboard_slot(scoreboard, 0)), 0);
    expect_line("gcorn_requests_total{code=\"504\",ended=\"timeout\"} 1");
    expect_line("gcorn_requests_in_flight 0");
}

/* More kinds of ends than the table has room for: they are counted all the same. */
static void test_many_ends(void **state)
{
    struct slot_counts counts = {0}, sum = {0};

    (void)state;
    for (int status = SLOT_STATUS_MIN; status <= SLOT_STATUS_MAX; status++)
        slot_counts_end(&counts, status, ENDED_CLIENT_GONE, 1);
    slot_counts_end(&counts, 600, ENDED_WHOLE, 1);
    assert_int_equal(slot_requests(&counts), 501);
    slot_counts_add(&sum, &counts);
    slot_counts_add(&sum, &counts);
    assert_int_equal(slot_requests(&sum), 1002);
    assert_int_equal(counts.ends[ENDED_CLIENT_GONE].count, 500 - (SLOT_ENDS - SLOT_ENDED_KINDS));
    memset(&counts, 0xff, sizeof(counts)); /* a broken worker */
    assert_int_equal(slot_in_flight(&counts), 0);
    slot_counts_add(&sum, &counts);
    assert_int_equal(slot_requests(&sum), 1002);
    for (int i = 0; i < SLOT_ENDED_KINDS; i++)
        assert_int_equal(slot_ended_of(slot_ended_name((enum slot_ended)i)), i);
    assert_int_equal(slot_ended_of(NULL), ENDED_WHOLE);
    assert_int_equal(slot_ended_of("something new"), ENDED_OTHER);
}

static void test_calls(void **state)
{
    struct slot *one = scoreboard_slot(scoreboard, 0), *two = scoreboard_slot(scoreboard, 1);

    (void)state;
    set_proc(0, PROC_READY, 0, false);
    set_proc(1, PROC_READY, 1, false);
    one->call_count = two->call_count = 4;
    for (int i = 0; i < 3; i++)
        slot_call_begin(&one->calls[i], NOW);
    expect_line("gcorn_calls_running 3");
    expect_line("gcorn_calls_limit 8");
    expect_line("gcorn_workers{state=\"busy\"} 1");
    set_proc(0, PROC_RETIRING, 0, false);
    expect_line("gcorn_calls_running 3");
    expect_line("gcorn_calls_limit 7");
}

static void test_listeners_and_ends(void **state)
{
    struct stats_facts *f;

    (void)state;
    f = stats_open(stats);
    f->listener_count = 2;
    f->listeners[0] = (struct stats_listener){
        .name = "unix:/a\"b\\c", .is_known = true, .queued = 4, .limit = 128};
    f->listeners[1] = (struct stats_listener){.name = "fd://3"};
    f->ends[END_KILLED] = 2;
    f->reloads_failed = 1;
    stats_close(stats);
    expect_line("gcorn_listen_backlog{listener=\"unix:/a\\\"b\\\\c\"} 4");
    expect_line("gcorn_listen_backlog_limit{listener=\"unix:/a\\\"b\\\\c\"} 128");
    assert_null(strstr(shown(), "fd://3"));
    expect_line("gcorn_worker_restarts_total{reason=\"killed\"} 2");
    expect_line("gcorn_worker_restarts_total{reason=\"reload\"} 0");
    assert_null(strstr(shown(), "not_wanted"));
    expect_line("gcorn_reloads_total{result=\"failed\"} 1");
}

/* One TYPE a family, its samples together, whatever the order they were made in, and whichever
 * generations disagree. */
static void test_families(void **state)
{
    (void)state;
    set_proc(0, PROC_READY, 0, false);
    set_proc(1, PROC_READY, 1, false);
    metrics_init(scoreboard_slot(scoreboard, 0));
    (void)gcorn_counter("a_total{x=\"2\"}", "A.\n\\");
    (void)gcorn_counter("b_total", "B.");
    (void)gcorn_counter("a_total{x=\"1\"}", "A.\n\\");
    (void)gcorn_counter("a_total", "A.\n\\");
    (void)gcorn_counter("a_total2", "Another.");
    metrics_init(scoreboard_slot(scoreboard, 1));
    (void)gcorn_gauge("b_total", "B, but a gauge.", GCORN_GAUGE_SUM);
    assert_non_null(strstr(shown(), "# HELP a_total A.\\n\\\\\n# TYPE a_total counter\na_total 0\n"
                                    "a_total{x=\"1\"} 0\na_total{x=\"2\"} 0\n"
                                    "# HELP a_total2 Another.\n# TYPE a_total2 counter\n"));
    const char *first = strstr(text.data, "# TYPE b_total ");
    assert_non_null(first);
    assert_null(strstr(first + 1, "# TYPE b_total "));
    const char *sample = strstr(text.data, "\nb_total ");
    assert_non_null(sample);
    assert_null(strstr(sample + 1, "\nb_total "));
}

/* A name that a deploy gave other bounds, or another kind: what is counted now is what is shown. */
static void test_new_code_wins(void **state)
{
    static const double old_bounds[] = {1}, new_bounds[] = {2};
    struct slot *slot = scoreboard_slot(scoreboard, 0);

    (void)state;
    set_proc(0, PROC_READY, 0, false);
    metrics_init(slot);
    gcorn_metric_observe(gcorn_histogram("h", "H.", old_bounds, 1), 1);
    gcorn_metric_add(gcorn_counter("k{a=\"1\"}", "K."), 1);
    assert_int_equal(bury(slot), 0);
    expect_line("h_count 1"); /* until there is another */
    metrics_init(slot);
    struct gcorn_metric *h = gcorn_histogram("h", "H.", new_bounds, 1);
    gcorn_metric_set(gcorn_gauge("k{b=\"2\"}", "K.", GCORN_GAUGE_SUM), 7);
    for (int i = 0; i < 5; i++)
        gcorn_metric_observe(h, 2);
    expect_line("h_bucket{le=\"2\"} 5");
    expect_line("h_count 5");
    expect_line("# TYPE k gauge");
    expect_line("k{b=\"2\"} 7");
    assert_null(strstr(text.data, "k{a="));
    assert_int_equal(bury(slot), 0);
    metrics_init(slot);
    gcorn_metric_observe(gcorn_histogram("h", "H.", new_bounds, 1), 2);
    expect_line("h_count 6"); /* not those of before */
}

/* What a broken worker may have in its slot is left out, whole. */
static void test_untrusted_metrics(void **state)
{
    struct slot *slot = scoreboard_slot(scoreboard, 0);

    (void)state;
    set_proc(0, PROC_READY, 0, false);
    memset(slot->metrics, 'x', sizeof(slot->metrics));
    atomic_store(&slot->metric_count, UINT32_MAX);
    assert_null(strstr(shown(), "xxx"));
    memset(slot->metrics, 0, sizeof(slot->metrics));
    strcpy(slot->metrics[0].name, "evil 1\ngcorn_generation");
    strcpy(slot->metrics[1].name, "gcorn_generation");
    strcpy(slot->metrics[2].name, "good_total");
    slot->metrics[3] = (struct slot_metric){.name = "h", .type = SLOT_HISTOGRAM, .bound_count = 17};
    slot->metrics[4] = (struct slot_metric){.name = "t", .type = SLOT_METRIC_TYPES};
    assert_null(strstr(shown(), "evil"));
    expect_line("gcorn_generation 0");
    expect_line("good_total 0");
    assert_null(strstr(text.data, "# TYPE h "));
    assert_null(strstr(text.data, "# TYPE t "));
}

/* ---- names and the functions of gcorn.h --------------------------------------------------- */

static void test_names(void **state)
{
    static const char *const good[] = {"a",
                                       "a:b_9",
                                       "_x{l=\"\"}",
                                       "a{b=\"c\",d=\"\\\\\\\"\\n\"}",
                                       "a{b=\"\xc3\xa4,}\"}",
                                       "a{b=\"a\",bb=\"b\",c=\"\"}"};
    static const char *const bad[] = {"",
                                      "9a",
                                      "a b",
                                      "a{",
                                      "a{}",
                                      "a{b}",
                                      "a{b=c}",
                                      "a{b=\"c}",
                                      "a{b=\"c\",}",
                                      "a{b=\"c\"}x",
                                      "a{b:c=\"d\"}",
                                      "a{b=\"\\t\"}",
                                      "a{b=\"\n\"}",
                                      "gcorn_a",
                                      "a{b=\"\xff\"}",
                                      "a-b",
                                      "a{b=\"\\\"}",
                                      "a{b=\"\xc3\"}",
                                      "a{b=\"c\",b=\"d\"}",
                                      "a{b=\"c\",d=\"e\",b=\"f\"}",
                                      "a{__name__=\"b\"}"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(metric_name_is_valid(good[i], SLOT_COUNTER));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (metric_name_is_valid(bad[i], SLOT_COUNTER))
            fail_msg("'%s' is no name", bad[i]);
    }
    assert_true(metric_name_is_valid("a{le=\"1\"}", SLOT_GAUGE));
    assert_false(metric_name_is_valid("a{le=\"1\"}", SLOT_HISTOGRAM));
    assert_true(metric_name_is_valid("a{lel=\"1\"}", SLOT_HISTOGRAM));
}

static void test_gcorn_metrics(void **state)
{
    static const double bounds[] = {1, 2}, falling[] = {2, 1};
    struct slot *slot = scoreboard_slot(scoreboard, 0);

    (void)state;
    assert_null(gcorn_counter("early_total", "")); /* no worker */
    metrics_init(slot);
    struct gcorn_metric *c = gcorn_counter("c_total", "C."),
                        *g = gcorn_gauge("g", NULL, GCORN_GAUGE_SUM),
                        *h = gcorn_histogram("h", "H.", bounds, 2);
    assert_non_null(c);
    assert_ptr_equal(c, gcorn_counter("c_total", "C."));
    assert_null(gcorn_gauge("c_total", "C.", GCORN_GAUGE_SUM));
    assert_null(gcorn_histogram("h", "H.", bounds, 1));
    assert_null(gcorn_histogram("f", "F.", falling, 2));
    assert_null(gcorn_gauge("c_total{a=\"b\"}", "C., of another kind", GCORN_GAUGE_SUM));
    assert_null(gcorn_counter("h_bucket{le=\"1\"}", "A sample of h."));
    assert_null(gcorn_counter("h_sum", "A sample of h."));
    assert_null(gcorn_histogram("h", "Other bounds.", NULL, 0));
    gcorn_metric_add(c, 1.5);
    gcorn_metric_add(c, -1);
    gcorn_metric_set(c, 9);
    gcorn_metric_observe(c, 9);
    gcorn_metric_set(g, 4);
    gcorn_metric_add(g, -1);
    gcorn_metric_observe(h, 1);
    gcorn_metric_add(h, 7);
    gcorn_metric_add(NULL, 1);
    assert_true(atomic_load(&slot->metrics[0].value) == 1.5);
    assert_true(atomic_load(&slot->metrics[1].value) == 3);
    assert_true(atomic_load(&slot->metrics[2].value) == 1);
    assert_int_equal(atomic_load(&slot->metrics[2].buckets[0]), 1);
    assert_int_equal(atomic_load(&slot->metric_count), 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_gone_counts_once),
        TEST(test_admin_is_no_worker),
        TEST(test_metrics_of_the_gone),
        TEST(test_gauges_take_sum_greatest_or_last),
        TEST(test_greatest_survives_nan),
        TEST(test_gauge_of_the_future_is_left_out),
        TEST(test_metrics_without_room),
        TEST(test_writer_is_noticed),
        TEST(test_sums_never_fall),
        TEST(test_reader_cannot_write),
        TEST(test_memory_is_sealed),
        TEST(test_worker_writes_its_own_slot_alone),
        TEST(test_spoiled_memory_is_not_read_back),
        TEST(test_ready),
        TEST(test_times),
        TEST(test_how_requests_ended),
        TEST(test_many_ends),
        TEST(test_calls),
        TEST(test_listeners_and_ends),
        TEST(test_families),
        TEST(test_new_code_wins),
        TEST(test_untrusted_metrics),
        TEST(test_names),
        TEST(test_gcorn_metrics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
