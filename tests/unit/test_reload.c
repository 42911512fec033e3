/* SPDX-License-Identifier: MIT
 *
 * A reload between HUP and its outcome: deadlines, a newer HUP, who is answered, what is dropped, and
 * how the master's own files change hands. The process that prepares is a child that does nothing.
 */
#include "master_case.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "master/reload.h"
#include "settings/config_set.h"
#include "settings/setting.h"
#include "system/net/listener.h"
#include "temp_dir.h"

static int client_fd = -1;

static void wait_for_ever(void *arg, int fd)
{
    (void)arg;
    (void)fd;
    for (;;)
        pause();
}

static void on_tick(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    (void)loop;
    (void)timer;
    (void)revents;
}

static int setup(void **state)
{
    (void)master_setup(state);
    prepare_init(&m.prepare, m.loop, wait_for_ever, NULL);
    ev_init(&m.tick, on_tick);
    m.systemd = (struct systemd){.state = 0};
    current.config.boot_timeout_ms = BOOT_MS;
    candidate.next = candidate.prev = &candidate;
    candidate.error_fd = dup(log_file);
    return 0;
}

static int teardown(void **state)
{
    pid_t pid = m.prepare.pid;

    prepare_end(&m.prepare);
    if (pid > 0)
        (void)waitpid(pid, NULL, 0);
    ev_timer_stop(m.loop, &m.tick);
    pidfile_close(&m.pidfile);
    pidfile_close(&m.next_pidfile);
    control_close(&m.control);
    fd_close(&candidate.error_fd);
    if (client_fd >= 0)
        (void)close(client_fd);
    client_fd = -1;
    return master_teardown(state);
}

/* A client of the control socket has asked for a reload, and waits. */
static void ask(void)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    control_add(&m.control, ends[0]);
    client_fd = ends[1];
    assert_int_equal(write(client_fd, "reload\n", 7), 7);
    (void)ev_run(m.loop, EVRUN_NOWAIT);
    assert_true(m.reload_requested);
}

static const char *answer(void)
{
    static char text[2048];
    ssize_t n = read(client_fd, text, sizeof(text) - 1);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void begin(void)
{
    m.reload_requested = true;
    reload_begin(&m);
    assert_int_equal(m.prepare.state, PREPARE_RUNS);
    (void)logged();
}

static void reap_preparing(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    (void)prepare_reaped(&m.prepare, pid, status);
}

/* ---- preparing ------------------------------------------------------------------------------ */

static void test_preparation_has_boot_timeout(void **state)
{
    uint64_t before = now_ms();

    (void)state;
    begin();
    assert_in_range(m.reload_step_ms, before, now_ms());
    assert_int_equal(m.prepare_by_ms, m.reload_step_ms + BOOT_MS);
    assert_int_equal(reload_wake_ms(&m), m.prepare_by_ms);
    pid_t pid = m.prepare.pid;
    reload_decide(&m, m.prepare_by_ms - 1);
    assert_true(reload_is_trying(&m));
    (void)snprintf(m.prepare.step, sizeof(m.prepare.step), "thinking");
    reload_decide(&m, m.prepare_by_ms);
    assert_false(reload_is_trying(&m));
    assert_string_equal(m.last_reload.why,
                        "it was not prepared within boot_timeout (20.0 s): thinking");
    assert_int_equal(reload_wake_ms(&m), NO_DEADLINE);
    reap_preparing(pid);
}

static void test_process_that_cannot_be_started_is_tried_again(void **state)
{
    (void)state;
    begin();
    pid_t pid = m.prepare.pid;
    prepare_end(&m.prepare);
    reap_preparing(pid);
    m.prepare.state = PREPARE_WAITS;
    m.prepare.retry_ms = m.reload_step_ms + 1000;
    assert_int_equal(reload_wake_ms(&m), m.prepare.retry_ms);
    reload_decide(&m, m.prepare.retry_ms - 1);
    assert_int_equal(m.prepare.state, PREPARE_WAITS);
    reload_decide(&m, m.prepare.retry_ms);
    assert_int_equal(m.prepare.state, PREPARE_RUNS);
    pid = m.prepare.pid;
    prepare_end(&m.prepare);
    reap_preparing(pid);
    m.prepare.state = PREPARE_WAITS;
    (void)error_set(&m.prepare.err, EXIT_FAILED, "no process");
    reload_decide(&m, m.prepare_by_ms);
    assert_string_equal(m.last_reload.why, "no process");
}

static void test_missing_descriptor_delays_the_preparation(void **state)
{
    struct rlimit limit, none = {.rlim_cur = 0};

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none.rlim_max = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    m.reload_requested = true;
    reload_begin(&m);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(m.prepare.state, PREPARE_WAITS);
    assert_non_null(strstr(logged(), "Reload: no process can be started: Too many open files; "
                                     "trying again in 1 s"));
    reload_decide(&m, m.prepare.retry_ms);
    assert_int_equal(m.prepare.state, PREPARE_RUNS);
    assert_string_equal(logged(), "");
}

static void test_failed_preparation_fails_the_reload(void **state)
{
    (void)state;
    begin();
    pid_t pid = m.prepare.pid;
    prepare_end(&m.prepare);
    reap_preparing(pid);
    m.prepare.state = PREPARE_FAILED;
    (void)error_set(&m.prepare.err, EXIT_FAILED, "no disk");
    reload_decide(&m, now_ms());
    assert_int_equal(m.prepare.state, PREPARE_NONE);
    assert_non_null(strstr(logged(), "Reload failed: no disk. Generation 1 goes on unchanged"));
}

static void test_bad_record_fails_the_reload(void **state)
{
    (void)state;
    begin();
    pid_t pid = m.prepare.pid;
    prepare_end(&m.prepare);
    reap_preparing(pid);
    m.prepare.state = PREPARE_DONE;
    m.prepare.is_whole = true;
    m.last_generation = 1;
    reload_decide(&m, now_ms());
    assert_int_equal(m.prepare.state, PREPARE_NONE);
    assert_null(m.candidate);
    assert_int_equal(m.last_generation, 1);
    assert_string_equal(m.last_reload.why, "the record of what was prepared is malformed");
}

static void test_stop_ends_the_preparation(void **state)
{
    (void)state;
    begin();
    pid_t pid = m.prepare.pid;
    m.stop_at_ms = now_ms() + 10000;
    reload_decide(&m, now_ms());
    assert_int_equal(m.prepare.state, PREPARE_NONE);
    assert_string_equal(logged(), "");
    reap_preparing(pid);
}

/* ---- a newer HUP ---------------------------------------------------------------------------- */

static void test_newer_hup_supersedes_a_slow_preparation(void **state)
{
    (void)state;
    begin();
    pid_t first = m.prepare.pid;
    m.reload_requested = true;
    uint64_t due = m.reload_step_ms + RELOAD_PATIENCE_MS;
    assert_int_equal(reload_wake_ms(&m), due);
    reload_decide(&m, due - 1);
    assert_int_equal(m.prepare.pid, first);
    reload_decide(&m, due);
    assert_true(m.prepare.pid != first && m.prepare.state == PREPARE_RUNS);
    assert_false(m.reload_requested);
    assert_int_equal(m.reloads_begun, 2);
    assert_int_equal(m.reload_first, 1); /* both are answered by this one's outcome */
    assert_non_null(strstr(logged(), "has been prepared for 2.0 s"));
    assert_int_equal(m.last_reload.at, 0);
    reap_preparing(first);
}

static void test_newer_hup_supersedes_a_slow_candidate(void **state)
{
    struct proc *canary = add_worker(0, &candidate, PROC_BOOTING);

    (void)state;
    tries_a_candidate();
    m.reload_step_ms = now_ms() - RELOAD_PATIENCE_MS;
    m.reloads_begun = 1;
    reload_decide(&m, now_ms());
    assert_ptr_equal(m.candidate, &candidate); /* no newer one */
    m.reload_requested = true;
    m.stop_at_ms = now_ms() + 10000;
    reload_decide(&m, now_ms());
    assert_ptr_equal(m.candidate, &candidate); /* nothing would begin instead */
    m.stop_at_ms = NO_DEADLINE;
    reload_decide(&m, now_ms());
    assert_null(m.candidate);
    assert_int_equal(m.plan.candidate, 0);
    assert_int_equal(canary->w->phase, PROC_KILLED);
    assert_int_equal(m.prepare.state, PREPARE_RUNS);
    assert_int_equal(m.reloads_begun, 2);
}

/* ---- who is answered ------------------------------------------------------------------------ */

static void test_client_hears_that_it_is_done(void **state)
{
    (void)state;
    ask();
    m.reloads_begun = m.reload_committed = 1;
    m.rolling = true;
    m.plan.workers = 0;
    reload_decide(&m, now_ms());
    assert_false(m.rolling);
    assert_string_equal(answer(), "{\"ok\": true, \"generation\": 1}\n");
    assert_true(m.last_reload.ok && m.last_reload.at != 0);
}

static void test_client_of_the_next_reload_goes_on_waiting(void **state)
{
    (void)state;
    m.reloads_begun = m.reload_committed = 1;
    ask(); /* for the second */
    m.rolling = true;
    m.plan.workers = 0;
    reload_decide(&m, now_ms());
    assert_string_equal(answer(), "");
}

static void test_client_hears_why_it_failed(void **state)
{
    (void)state;
    ask();
    tries_a_candidate();
    m.reloads_begun = m.reload_first = 1;
    m.candidate_failure = xstrdup("why");
    reload_decide(&m, now_ms());
    assert_string_equal(answer(), "{\"ok\": false, \"error\": \"why\"}\n");
}

static void test_client_hears_that_the_roll_failed(void **state)
{
    (void)state;
    ask();
    m.reloads_begun = m.reload_committed = 1;
    m.rolling = true;
    m.roll_failure = xstrdup("why");
    reload_decide(&m, now_ms());
    assert_string_equal(answer(),
                        "{\"ok\": false, \"error\": \"generation 1 serves, but not all of "
                        "its workers booted: why\"}\n");
}

static void test_hook_runs_at_each_outcome(void **state)
{
    (void)state;
    current.config.on_reload = ":";
    m.rolling = true;
    m.plan.workers = 0;
    reload_decide(&m, now_ms());
    pid_t pid = m.hooks.list[0].pid;
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    m.hooks.list[0].pid = 0;
    m.rolling = true;
    m.roll_failure = xstrdup("why");
    reload_decide(&m, now_ms());
    pid = m.hooks.list[0].pid;
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* ---- the commit ----------------------------------------------------------------------------- */

static void commit(void)
{
    candidate.next = candidate.prev = &current;
    current.next = current.prev = &candidate;
    tries_a_candidate();
    m.candidate_is_ready = true;
    m.reloads_begun = 1;
    reload_decide(&m, now_ms());
    assert_ptr_equal(m.current, &candidate);
    current.next = current.prev = &current;
    candidate.next = candidate.prev = &candidate;
}

static void test_unchanged_application_is_said_so(void **state)
{
    (void)state;
    commit();
    const char *log = logged();
    assert_non_null(strstr(log, "Reloaded: generation 1 -> 2, "));
    assert_non_null(strstr(log, "Application: build-id none, unchanged"));
    assert_null(strstr(log, "only a restart"));
}

static void test_changed_application_is_named(void **state)
{
    (void)state;
    (void)snprintf(current.image.build_id, sizeof(current.image.build_id), "aa");
    (void)snprintf(candidate.image.build_id, sizeof(candidate.image.build_id), "bb");
    candidate.config.daemon = true;
    commit();
    const char *log = logged();
    assert_non_null(strstr(log, "Application: build-id aa -> bb"));
    assert_non_null(strstr(log, "daemon: only a restart can change it"));
}

/* ---- dropping ------------------------------------------------------------------------------- */

static void test_dropped_reload_leaves_nothing_open(void **state)
{
    char path[64];
    struct error err;
    struct privileges nobody = {.uid = 0};

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/pid", temp_dir);
    assert_int_equal(pidfile_open(&m.next_pidfile, path, &nobody, &err), 0);
    m.next_control = (struct listener){.fd = dup(STDERR_FILENO)};
    tries_a_candidate();
    m.candidate_failure = xstrdup("why");
    reload_drop(&m);
    assert_true(m.next_control.fd < 0 && m.next_pidfile.fd < 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_null(m.candidate_failure);
    assert_null(m.candidate);
    assert_int_equal(candidate.refs, 999);
    reload_drop(&m); /* again */
    assert_int_equal(candidate.refs, 999);
}

/* ---- the master's files --------------------------------------------------------------------- */

static char *in_dir(const char *name)
{
    return xasprintf("%s/%s", temp_dir, name);
}

static void test_pid_file_changes_with_the_settings(void **state)
{
    struct error err;
    char *one = in_dir("one"), *two = in_dir("two");

    (void)state;
    current.config.pidfile = one;
    assert_int_equal(reload_open_pidfile(&m, &current, &err), 0);
    assert_true(m.pidfile_changes && m.next_pidfile.fd >= 0);
    reload_apply_files(&m);
    assert_true(m.pidfile.fd >= 0 && m.next_pidfile.fd < 0 && !m.pidfile_changes);
    assert_true(pidfile_is(&m.pidfile, one));
    assert_int_equal(reload_open_pidfile(&m, &current, &err), 0);
    assert_false(m.pidfile_changes);
    current.config.pidfile = two;
    assert_int_equal(reload_open_pidfile(&m, &current, &err), 0);
    assert_true(m.pidfile_changes);
    assert_true(pidfile_is(&m.pidfile, one)); /* until the reload is done */
    reload_apply_files(&m);
    assert_true(pidfile_is(&m.pidfile, two));
    assert_int_equal(access(one, F_OK), -1);
    current.config.pidfile = NULL;
    assert_int_equal(reload_open_pidfile(&m, &current, &err), 0);
    assert_true(m.pidfile_changes);
    reload_apply_files(&m);
    assert_int_equal(access(two, F_OK), -1);
    assert_null(m.pidfile.path);
    free(one);
    free(two);
}

static void test_control_socket_changes_with_the_settings(void **state)
{
    struct error err;
    char *one = in_dir("one"), *two = in_dir("two");

    (void)state;
    current.config.control_socket = one;
    assert_int_equal(reload_open_control(&m, &current.config, &err), 0);
    assert_true(m.control_changes && m.next_control.fd >= 0);
    reload_apply_files(&m);
    assert_false(m.control_changes);
    assert_string_equal(control_path(&m.control), one);
    assert_true(m.next_control.fd < 0);
    assert_int_equal(reload_open_control(&m, &current.config, &err), 0);
    assert_false(m.control_changes);
    current.config.control_socket = two;
    assert_int_equal(reload_open_control(&m, &current.config, &err), 0);
    assert_true(m.control_changes);
    assert_string_equal(control_path(&m.control), one);
    reload_apply_files(&m);
    assert_string_equal(control_path(&m.control), two);
    assert_int_equal(access(one, F_OK), -1);
    current.config.control_socket = NULL;
    assert_int_equal(reload_open_control(&m, &current.config, &err), 0);
    assert_true(m.control_changes);
    reload_apply_files(&m);
    assert_null(control_path(&m.control));
    assert_int_equal(access(two, F_OK), -1);
    free(one);
    free(two);
}

static void test_default_control_socket_may_fail(void **state)
{
    const struct config_origin origin = {SOURCE_COMMAND_LINE, "command line"};
    struct error err;

    (void)state;
    current.config.control_socket = "/nonexistent/dir/ctl";
    assert_int_equal(reload_open_control(&m, &current.config, &err), 0);
    assert_non_null(strstr(logged(), "gcornctl cannot be used"));
    assert_int_equal(config_set(&current.config, setting_find("control_socket"),
                                "/nonexistent/dir/ctl", &origin, &err),
                     0);
    assert_int_equal(reload_open_control(&m, &current.config, &err), -1);
}

static void test_unpromoted_master_opens_no_control_socket(void **state)
{
    struct error err;

    (void)state;
    m.successor.is_promoted = false;
    current.config.control_socket = "/nonexistent/dir/ctl";
    assert_int_equal(reload_open_control(&m, &current.config, &err), 0);
    assert_false(m.control_changes);
}

static void test_inherited_control_socket_is_taken(void **state)
{
    struct error err;
    char *path = in_dir("ctl");

    (void)state;
    assert_int_equal(
        control_listen(&m.successor.control, path, &(struct file_notice){NULL, NULL}, &err), 0);
    int fd = m.successor.control.fd;
    current.config.control_socket = path;
    assert_int_equal(reload_open_control(&m, &current.config, &err), 0);
    assert_true(m.control_changes && m.next_control.fd == fd && m.successor.control.fd < 0);
    reload_apply_files(&m);
    assert_string_equal(control_path(&m.control), path);
    control_close(&m.control);
    free(path);
}

/* ---- the tick ------------------------------------------------------------------------------- */

static void assert_tick(uint64_t ms)
{
    reload_set_tick(&m);
    assert_true(ev_is_active(&m.tick));
    assert_int_equal((uint64_t)(m.tick.repeat * 1000 + 0.5), ms);
}

static void test_tick_is_a_quarter_of_the_shortest_timeout(void **state)
{
    (void)state;
    current.config.timeout_ms = 0;
    assert_tick(1000);
    current.config.timeout_ms = 30000;
    assert_tick(1000);
    current.config.timeout_ms = 2000;
    assert_tick(500);
    current.config.timeout_ms = 10;
    assert_tick(100);
    current.config.timeout_ms = 30000;
    candidate.config.timeout_ms = 800;
    current.next = current.prev = &candidate;
    candidate.next = candidate.prev = &current;
    assert_tick(200);
    candidate.next = candidate.prev = &candidate;
    current.next = current.prev = &current;
    m.systemd.notify.watchdog_ms = 1200;
    assert_tick(300);
    m.systemd.notify.watchdog_ms = 12;
    assert_tick(100);
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(preparation_has_boot_timeout),
        T(process_that_cannot_be_started_is_tried_again),
        T(missing_descriptor_delays_the_preparation),
        T(failed_preparation_fails_the_reload),
        T(bad_record_fails_the_reload),
        T(stop_ends_the_preparation),
        T(newer_hup_supersedes_a_slow_preparation),
        T(newer_hup_supersedes_a_slow_candidate),
        T(client_hears_that_it_is_done),
        T(client_of_the_next_reload_goes_on_waiting),
        T(client_hears_why_it_failed),
        T(client_hears_that_the_roll_failed),
        T(hook_runs_at_each_outcome),
        T(unchanged_application_is_said_so),
        T(changed_application_is_named),
        T(dropped_reload_leaves_nothing_open),
        T(pid_file_changes_with_the_settings),
        T(control_socket_changes_with_the_settings),
        T(default_control_socket_may_fail),
        T(unpromoted_master_opens_no_control_socket),
        T(inherited_control_socket_is_taken),
        T(tick_is_a_quarter_of_the_shortest_timeout),
    };

    return cmocka_run_group_tests(tests, temp_dir_make, temp_dir_remove);
}
