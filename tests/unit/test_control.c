/* SPDX-License-Identifier: MIT
 *
 * The control socket's protocol, on socketpairs with a master that is a few variables; and the text
 * of a status, whatever the slots hold.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"
#include "master/operator/control.h"
#include "master/proc/plan.h"
#include "master/operator/rates.h"
#include "master/operator/status.h"
#include "settings/config.h"
#include "settings/config_set.h"
#include "settings/setting.h"
#include "system/ipc/scoreboard.h"

/* ---- a master ---------------------------------------------------------------------------------
 */

static struct {
    size_t status_len;
    uint64_t next_reload;
    const char *fails_at_once;
    unsigned asked, stops, reopened;
    unsigned workers;
    uint64_t next_dump;
    pid_t dump_pid;
} fake;

static struct control control;
static struct ev_loop *loop;

static void fake_status(void *master, struct strbuf *answer)
{
    assert_ptr_equal(master, &fake);
    strbuf_addstr(answer, "{\"ok\": true}");
    while (answer->len < fake.status_len)
        strbuf_addch(answer, ' ');
}

static uint64_t fake_next_reload(void *master)
{
    (void)master;
    return fake.next_reload;
}

static void fake_reload(void *master)
{
    (void)master;
    fake.asked++;
    if (fake.fails_at_once)
        control_reload_failed(&control, fake.next_reload, fake.next_reload, fake.fails_at_once);
}

static void fake_stop(void *master)
{
    (void)master;
    fake.stops++;
}

static void fake_config(void *master, struct strbuf *answer)
{
    (void)master;
    strbuf_addstr(answer, "{\"ok\": true, \"settings\": []}");
}

static unsigned fake_workers_wanted(void *master)
{
    (void)master;
    return fake.workers;
}

static int fake_set_workers(void *master, int64_t number, struct strbuf *answer, struct error *err)
{
    (void)master;
    if (number < 1 || number > 9)
        return error_set(err, EXIT_FAILED, "not %lld", (long long)number);
    fake.workers = (unsigned)number;
    strbuf_addstr(answer, "{\"ok\": true}");
    return 0;
}

static int fake_reopen(void *master, struct error *err)
{
    (void)master;
    fake.reopened++;
    return fake.fails_at_once ? error_set(err, EXIT_FAILED, "%s", fake.fails_at_once) : 0;
}

static uint64_t fake_dump(void *master, pid_t pid, const char **why)
{
    (void)master;
    fake.dump_pid = pid;
    *why = "no dump";
    return fake.next_dump;
}

static int fake_upgrade(void *master, struct error *err)
{
    (void)master;
    return fake.fails_at_once ? error_set(err, EXIT_FAILED, "%s", fake.fails_at_once) : 0;
}

static const struct control_ops fake_ops = {
    fake_status,         fake_next_reload, fake_reload, fake_stop, fake_config,
    fake_workers_wanted, fake_set_workers, fake_reopen, fake_dump, fake_upgrade,
};

static int init(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    fake.next_reload = 1;
    fake.workers = 4;
    loop = ev_loop_new(EVFLAG_NOENV);
    control_init(&control, loop, &fake_ops, &fake);
    return 0;
}

static int release(void **state)
{
    (void)state;
    control_close(&control);
    ev_loop_destroy(loop);
    return 0;
}

/* ---- clients ----------------------------------------------------------------------------------
 */

static int client(void)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    control_add(&control, ends[0]);
    return ends[1];
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* All that can happen now happens. */
static void turn(void)
{
    for (int i = 0; i < 5; i++)
        (void)ev_run(loop, EVRUN_NOWAIT);
}

/* Reads to the end, while the loop turns, and closes. */
static void assert_answer(int fd, const char *want)
{
    struct strbuf got = {0};
    char bytes[65536];
    ssize_t n;

    do {
        turn();
        n = recv(fd, bytes, sizeof(bytes), 0);
        if (n > 0)
            strbuf_add(&got, bytes, (size_t)n);
    } while (n > 0);
    assert_true(n == 0 || errno == ECONNRESET); /* what it did not read is lost */
    assert_string_equal(got.data ? got.data : "", want);
    strbuf_release(&got);
    (void)close(fd);
}

static void assert_silent(int fd)
{
    char byte;

    turn();
    assert_int_equal(recv(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, EAGAIN);
}

static unsigned busy(void)
{
    unsigned n = 0;

    for (size_t i = 0; i < CONTROL_CLIENTS; i++)
        n += control.clients[i].state != CLIENT_FREE;
    return n;
}

/* ---- the protocol ------------------------------------------------------------------------------
 */

struct talk {
    const char *line, *want;
};

/* Each on a connection of its own. */
static void assert_talks(const struct talk *talks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int fd = client();

        say(fd, talks[i].line);
        assert_answer(fd, talks[i].want);
        assert_int_equal(busy(), 0);
    }
}

static void test_control_lines(void **state)
{
    static const char ok[] = "{\"ok\": true}\n";
    static const struct talk rows[] = {
        {"status\n", ok},
        {"status\r\n", ok},
        {"  status \t\n", ok},
        {"status\nreload\n", ok},
        {"stop\n", ok},
        {"\n", "{\"ok\": false, \"error\": \"no such command: \"}\n"},
        {"statu\n", "{\"ok\": false, \"error\": \"no such command: statu\"}\n"},
        {"status2\n", "{\"ok\": false, \"error\": \"no such command: status2\"}\n"},
        {"STATUS\n", "{\"ok\": false, \"error\": \"no such command: STATUS\"}\n"},
        {"\x1b\"\xff\n", "{\"ok\": false, \"error\": \"no such command: \\u001b\\\"\\ufffd\"}\n"},
        {"status now\n", "{\"ok\": false, \"error\": \"this command takes no further word\"}\n"},
        {"config\n", "{\"ok\": true, \"settings\": []}\n"},
        {"config x\n", "{\"ok\": false, \"error\": \"this command takes no further word\"}\n"},
        {"reopen\n", ok},
    };

    (void)state;
    assert_talks(rows, ARRAY_LEN(rows));
    assert_int_equal(fake.stops, 1);
    assert_int_equal(fake.reopened, 1);
    assert_int_equal(fake.asked, 0);
}

static void test_control_workers(void **state)
{
    static const char ok[] = "{\"ok\": true}\n";
    static const char usage[] = "{\"ok\": false, \"error\": \"workers: needs +N, -N or set N\"}\n";
    static const struct {
        const char *line;
        const char *want;
        unsigned workers;
    } rows[] = {
        {"workers +1\n", ok, 5},
        {"workers +5\n", ok, 9},
        {"  workers\t-3 \r\n", ok, 1},
        {"workers set 7\n", ok, 7},
        {"workers set\t \t7\n", ok, 7},
        {"workers -4\n", "{\"ok\": false, \"error\": \"not 0\"}\n", 4},
        {"workers set 0\n", "{\"ok\": false, \"error\": \"not 0\"}\n", 4},
        {"workers -2147483647\n", "{\"ok\": false, \"error\": \"not -2147483643\"}\n", 4},
        {"workers +2147483647\n", "{\"ok\": false, \"error\": \"not 2147483651\"}\n", 4},
        {"workers +2147483648\n", usage, 4},
        {"workers\n", usage, 4},
        {"workers \n", usage, 4},
        {"workers 3\n", usage, 4},
        {"workers +\n", usage, 4},
        {"workers + 1\n", usage, 4},
        {"workers +1 1\n", usage, 4},
        {"workers +-1\n", usage, 4},
        {"workers set\n", usage, 4},
        {"workers set -1\n", usage, 4},
        {"workers set3\n", usage, 4},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = client();

        fake.workers = 4;
        say(fd, rows[i].line);
        assert_answer(fd, rows[i].want);
        assert_int_equal(fake.workers, rows[i].workers);
    }
    int fd = client();
    assert_int_equal(send(fd, "workers +1\0002\n", 13, 0), 13);
    assert_answer(fd, "{\"ok\": false, \"error\": \"a word has a NUL byte in it\"}\n");
}

static void test_control_reopen_fails(void **state)
{
    int fd = client();

    (void)state;
    fake.fails_at_once = "errorlog: no";
    say(fd, "reopen\n");
    assert_answer(fd, "{\"ok\": false, \"error\": \"errorlog: no\"}\n");
}

static void test_control_nul_is_a_byte(void **state)
{
    int fd = client();

    (void)state;
    assert_int_equal(send(fd, "status\0\n", 8, 0), 8);
    assert_answer(fd, "{\"ok\": false, \"error\": \"no such command: status\\u0000\"}\n");
}

static void test_control_byte_by_byte(void **state)
{
    int fd = client();

    (void)state;
    for (const char *c = "status"; *c; c++) {
        assert_int_equal(send(fd, c, 1, 0), 1);
        assert_silent(fd);
    }
    say(fd, "\n");
    assert_answer(fd, "{\"ok\": true}\n");
}

static void test_control_end_is_a_newline(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "status");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_answer(fd, "{\"ok\": true}\n");
}

static void test_control_hang_up(void **state)
{
    (void)state;
    (void)close(client());
    turn();
    assert_int_equal(busy(), 0);
}

static void test_control_long_line(void **state)
{
    char line[CONTROL_LINE_MAX + 1];
    int fd = client();

    (void)state;
    memset(line, 'x', sizeof(line));
    assert_int_equal(send(fd, line, CONTROL_LINE_MAX - 1, 0), CONTROL_LINE_MAX - 1);
    assert_silent(fd);
    say(fd, "x");
    assert_answer(fd, "{\"ok\": false, \"error\": \"the command is too long\"}\n");
    fd = client();
    line[CONTROL_LINE_MAX - 1] = '\n'; /* the longest that is read */
    assert_int_equal(send(fd, line, CONTROL_LINE_MAX, 0), CONTROL_LINE_MAX);
    assert_answer(fd, "{\"ok\": false, \"error\": \"no such command: "
                      "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}\n");
}

/* An answer that the socket does not take at once comes whole, and in the meantime others come
 * too. */
static void test_control_long_answer(void **state)
{
    struct strbuf want = {0};
    int fd = client(), other;

    (void)state;
    fake.status_len = 4u << 20;
    fake_status(&fake, &want);
    strbuf_addch(&want, '\n');
    say(fd, "status\n");
    turn();
    assert_int_equal(busy(), 1);
    fake.status_len = 0;
    other = client();
    say(other, "status\n");
    assert_answer(other, "{\"ok\": true}\n");
    assert_answer(fd, want.data);
    strbuf_release(&want);
}

static void test_control_too_many(void **state)
{
    int fds[CONTROL_CLIENTS];

    (void)state;
    for (size_t i = 0; i < CONTROL_CLIENTS; i++)
        fds[i] = client();
    assert_answer(client(), "{\"ok\": false, \"error\": \"too many clients of the control socket "
                            "at once\"}\n");
    say(fds[3], "status\n");
    assert_answer(fds[3], "{\"ok\": true}\n");
    fds[3] = client(); /* there is room again */
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        say(fds[i], "status\n");
        assert_answer(fds[i], "{\"ok\": true}\n");
    }
}

/* Lets the loop run until nobody is connected any more. */
static void run_until_free(void)
{
    while (busy() > 0)
        (void)ev_run(loop, EVRUN_ONCE);
}

static void test_control_stalled_reader_and_writer(void **state)
{
    uint64_t start = now_ms();
    int silent, deaf, slow;

    (void)state;
    control.stall_ms = 50;
    ev_now_update(loop);
    silent = client();
    slow = client();
    say(slow, "stat");
    deaf = client();
    fake.status_len = 4u << 20;
    say(deaf, "status\n");
    run_until_free();
    assert_true(now_ms() - start >= 50);
    assert_answer(silent, "");
    assert_answer(slow, "");
    (void)close(deaf);
}

/* Bytes that trickle in do not prolong the line's time. */
static void test_control_trickle(void **state)
{
    int fd;

    (void)state;
    control.stall_ms = 30;
    ev_now_update(loop);
    fd = client();
    while (busy() > 0) {
        (void)send(fd, "x", 1, MSG_NOSIGNAL);
        (void)poll(NULL, 0, 1); /* not a line's length at once */
        (void)ev_run(loop, EVRUN_ONCE);
    }
    assert_true(control.clients[0].line_len < CONTROL_LINE_MAX);
    (void)close(fd);
}

/* ---- reload ------------------------------------------------------------------------------------
 */

static void test_control_reload_waits(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "reload\n");
    assert_silent(fd);
    assert_int_equal(fake.asked, 1);
    control_reload_done(&control, 0, 1); /* one from before */
    control_reload_failed(&control, 0, 0, "other");
    control_reload_failed(&control, 2, 9, "other");
    assert_silent(fd);
    control_reload_done(&control, 1, 7);
    assert_answer(fd, "{\"ok\": true, \"generation\": 7}\n");
}

static void test_control_reload_fails(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "reload\n");
    assert_silent(fd);
    control_reload_failed(&control, 1, 1, "app.so: \"x\"");
    assert_answer(fd, "{\"ok\": false, \"error\": \"app.so: \\\"x\\\"\"}\n");
    fake.next_reload = 2;
    fake.fails_at_once = "settings";
    fd = client();
    say(fd, "reload\n");
    assert_answer(fd, "{\"ok\": false, \"error\": \"settings\"}\n");
    assert_int_equal(busy(), 0);
}

static void test_control_reload_of_a_stopping_server(void **state)
{
    int fd = client();

    (void)state;
    fake.next_reload = 0;
    say(fd, "reload\n");
    assert_answer(fd, "{\"ok\": false, \"error\": \"the server is stopping\"}\n");
    assert_int_equal(fake.asked, 0);
}

/* Each gets the outcome of the reload that covers its request. */
static void test_control_reloads_coalesce(void **state)
{
    int first = client(), second = client(), third = client();

    (void)state;
    say(first, "reload\n");
    turn();
    fake.next_reload = 2;
    say(second, "reload\n");
    say(third, "reload\n");
    assert_silent(second);
    control_reload_failed(&control, 1, 1, "no");
    assert_answer(first, "{\"ok\": false, \"error\": \"no\"}\n");
    assert_silent(second);
    control_reload_done(&control, 2, 2);
    assert_answer(second, "{\"ok\": true, \"generation\": 2}\n");
    assert_answer(third, "{\"ok\": true, \"generation\": 2}\n");
}

static void test_control_who_waits_may_leave(void **state)
{
    int fd = client(), half = client();

    (void)state;
    say(fd, "reload\n");
    say(half, "reload\n");
    assert_int_equal(shutdown(half, SHUT_WR), 0);
    turn();
    assert_int_equal(busy(), 2);
    (void)close(fd);
    while (busy() == 2)
        (void)ev_run(loop, EVRUN_ONCE);
    assert_int_equal(busy(), 1); /* who only says that it writes no more is still there */
    control_reload_done(&control, 1, 2);
    assert_answer(half, "{\"ok\": true, \"generation\": 2}\n");
}

/* ---- dump --------------------------------------------------------------------------------------
 */

static void test_control_dump(void **state)
{
    static const char members[] = "\"dumps\": []";
    int all = client(), one = client(), reload = client();

    (void)state;
    say(reload, "reload\n");
    turn();
    fake.next_dump = 1;
    say(all, "dump\n");
    assert_silent(all);
    assert_int_equal(fake.dump_pid, 0);
    fake.next_dump = 2;
    say(one, "dump  4711 \n");
    assert_silent(one);
    assert_int_equal(fake.dump_pid, 4711);
    control_reload_done(&control, UINT64_MAX, 2); /* each waits for its own */
    assert_answer(reload, "{\"ok\": true, \"generation\": 2}\n");
    control_reload_failed(&control, 0, UINT64_MAX, "the server is stopping");
    control_dump_done(&control, 3, members, strlen(members));
    assert_silent(all);
    control_dump_done(&control, 2, members, strlen(members));
    assert_answer(one, "{\"ok\": true, \"dumps\": []}\n");
    assert_silent(all);
    control_dump_done(&control, 1, members, strlen(members));
    assert_answer(all, "{\"ok\": true, \"dumps\": []}\n");
    assert_int_equal(busy(), 0);
}

static void test_control_upgrade(void **state)
{
    int one = client(), reload = client(), refused = client(), done = client();

    (void)state;
    say(reload, "reload\n");
    say(one, "upgrade\n");
    assert_silent(one);
    fake.fails_at_once = "one is under way";
    say(refused, "upgrade\n");
    assert_answer(refused, "{\"ok\": false, \"error\": \"one is under way\"}\n");
    control_reload_done(&control, UINT64_MAX, 2); /* each waits for its own */
    assert_answer(reload, "{\"ok\": true, \"generation\": 2}\n");
    assert_silent(one);
    control_upgrade_failed(&control, "it does not boot");
    assert_answer(one, "{\"ok\": false, \"error\": \"it does not boot\"}\n");
    fake.fails_at_once = NULL;
    say(done, "upgrade\n");
    assert_silent(done);
    control_upgrade_done(&control, 7);
    assert_answer(done, "{\"ok\": true, \"pid\": 7}\n");
    assert_int_equal(busy(), 0);
}

static void test_control_dump_refused(void **state)
{
    static const char pid[] = "{\"ok\": false, \"error\": \"dump takes the pid of a worker\"}\n";
    static const struct talk rows[] = {
        {"dump\n", "{\"ok\": false, \"error\": \"no dump\"}\n"},
        {"dump 1\n", "{\"ok\": false, \"error\": \"no dump\"}\n"},
        {"dump 0\n", pid},
        {"dump -1\n", pid},
        {"dump 1 2\n", pid},
        {"dump 99999999999\n", pid},
        {"dump xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n", pid},
    };

    (void)state;
    assert_talks(rows, ARRAY_LEN(rows));
}

/* ---- the socket --------------------------------------------------------------------------------
 */

static void test_control_socket(void **state)
{
    char dir[] = "/tmp/test_control.XXXXXX", one[64], two[64];
    struct listener l = {.fd = -1}, none = {.fd = -1};
    struct error err;
    struct stat st;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(one, sizeof(one), "%s/one", dir);
    (void)snprintf(two, sizeof(two), "%s/two", dir);
    mode_t before = umask(0);
    assert_int_equal(control_listen(&l, one, &(struct file_notice){NULL, NULL}, &err), 0);
    assert_int_equal(umask(before), 0); /* as it was */
    assert_int_equal(stat(one, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_null(control_path(&control));
    control_serve(&control, &l);
    assert_string_equal(control_path(&control), one);
    assert_int_equal(l.fd, -1);
    assert_int_equal(control_listen(&l, one, &(struct file_notice){NULL, NULL}, &err),
                     -1); /* it is alive */
    assert_int_equal(err.status, EXIT_BIND);
    assert_non_null(strstr(err.text, "control_socket: cannot bind unix:/tmp/test_control."));
    assert_int_equal(control_listen(&l, two, &(struct file_notice){NULL, NULL}, &err), 0);
    control_serve(&control, &l);
    assert_int_equal(access(one, F_OK), -1);
    assert_int_equal(access(two, F_OK), 0);
    control_serve(&control, &none);
    assert_null(control_path(&control));
    assert_int_equal(access(two, F_OK), -1);
    assert_int_equal(rmdir(dir), 0);
}

/* ---- status ------------------------------------------------------------------------------------
 */

static char *status_text(const struct status *s)
{
    struct strbuf out = {0};

    status_add_json(&out, s);
    return strbuf_detach(&out);
}

static void test_status_text(void **state)
{
    struct listener one = {.name = (char[]){"http://127.0.0.1:8000"}},
                    two = {.name = (char[]){"unix:a\"b"}};
    struct listener *listeners[] = {&one, &two};
    struct status_reload reload = {.at = 86400, .generation = 1, .why = "no \xff"};
    struct status_call calls[] = {{.method = "GET", .target = "/a\n", .ms = 12},
                                  {.method = "POST", .target = "/b", .ms = 7}};
    struct status_worker workers[] = {
        {.number = 0,
         .pid = 8,
         .generation = 2,
         .phase = "ready",
         .state = "idle",
         .rates = {.p50_ms = -1, .p99_ms = -1}},
        {.number = 1,
         .pid = 9,
         .generation = 2,
         .phase = "ready",
         .state = "calling",
         .requests = UINT64_MAX,
         .connections = 3,
         .in_flight = 2,
         .published = 9,
         .delivered = 8,
         .messages_lost = 7,
         .rates = {.requests_per_s = 1.25, .p50_ms = 0.0004, .p99_ms = 1234.5678},
         .cpu_percent = 99.96,
         .rss_bytes = 4096,
         .calls = calls,
         .call_count = 2},
    };
    struct status s = {.state = "serving",
                       .pid = 7,
                       .uptime_ms = 5,
                       .generation = 2,
                       .app = "a.so:h",
                       .build_id = "",
                       .workers_wanted = 2,
                       .rates = {.requests_per_s = 12.34, .p50_ms = -1, .p99_ms = 3},
                       .listeners = listeners,
                       .listener_count = 2,
                       .last_reload = &reload,
                       .workers = workers,
                       .worker_count = 2};
    char *text = status_text(&s);

    (void)state;
    assert_string_equal(
        text,
        "{\"ok\": true, \"version\": \"" GCORN_VERSION "\", \"state\": \"serving\", \"pid\": 7, "
        "\"uptime_ms\": 5, \"generation\": 2, \"application\": \"a.so:h\", \"build_id\": null, "
        "\"workers_wanted\": 2, \"requests_per_s\": 12.3, \"p50_ms\": null, \"p99_ms\": 3.000, "
        "\"listeners\": [\"http://127.0.0.1:8000\", \"unix:a\\\"b\"], "
        "\"last_reload\": {\"ok\": false, \"generation\": 1, \"error\": \"no \\ufffd\", "
        "\"at\": \"1970-01-02T00:00:00Z\"}, \"workers\": [{\"number\": 0, \"pid\": 8, "
        "\"generation\": 2, \"phase\": \"ready\", \"state\": \"idle\", \"requests\": 0, "
        "\"connections\": 0, \"in_flight\": 0, \"messages_published\": 0, "
        "\"messages_delivered\": 0, \"messages_lost\": 0, \"requests_per_s\": 0.0, \"p50_ms\": "
        "null, "
        "\"p99_ms\": null, \"cpu_percent\": 0.0, \"rss_bytes\": null, \"request\": null, "
        "\"others\": []}, "
        "{\"number\": 1, \"pid\": 9, \"generation\": 2, "
        "\"phase\": \"ready\", \"state\": \"calling\", \"requests\": 9007199254740991, "
        "\"connections\": 3, \"in_flight\": 2, \"messages_published\": 9, "
        "\"messages_delivered\": 8, \"messages_lost\": 7, \"requests_per_s\": 1.2, \"p50_ms\": "
        "0.000, "
        "\"p99_ms\": 1234.568, \"cpu_percent\": 100.0, \"rss_bytes\": 4096, \"request\": "
        "{\"method\": \"GET\", \"target\": \"/a\\u000a\", "
        "\"ms\": 12}, \"others\": [{\"method\": \"POST\", \"target\": \"/b\", \"ms\": 7}]}]}");
    free(text);
}

enum { PLACES = 3 };

/* Slots full of anything are shown, and nothing worse. */
static void test_status_of_broken_slots(void **state)
{
    struct worker_proc procs[PLACES] = {
        {.phase = PROC_READY, .pid = 10, .number = 1, .generation = 2},
        {.phase = PROC_EMPTY},
        {.phase = PROC_RETIRING, .pid = 11, .number = 0, .generation = 1},
    };
    struct plan plan = {.procs = procs, .proc_count = PLACES};
    struct error err;
    struct scoreboard *scoreboard = scoreboard_new(PLACES, &err);
    struct status s = {0};
    struct samples samples;

    (void)state;
    assert_non_null(scoreboard);
    samples_init(&samples, PLACES);
    memset(scoreboard_slot(scoreboard, 0), 0xff, sizeof(struct slot));
    for (unsigned i = 0; i < SLOT_CALLS; i++)
        slot_call_begin(&scoreboard_slot(scoreboard, 0)->calls[i], UINT64_MAX);
    struct slot *slot = scoreboard_slot(scoreboard, 2);
    slot->state = SLOT_CALLING;
    slot->call_count = 3;
    struct slot_call *first = &slot->calls[0], *third = &slot->calls[2];
    slot_call_begin(first, 1000);
    slot_set_text(first->method, sizeof(first->method), "GET", 3);
    slot_set_text(first->target, sizeof(first->target), "/a?secret=1", 11);
    slot_call_begin(third, 900);
    slot_set_text(third->target, sizeof(third->target), "/longer", 7);
    status_set_workers(&s, &plan, scoreboard, &samples, 1500);
    assert_int_equal(s.worker_count, 2);
    assert_int_equal(s.workers[0].pid, 11); /* in the order of numbers */
    assert_string_equal(s.workers[0].phase, "retiring");
    assert_int_equal(s.workers[0].call_count, 2);
    assert_string_equal(s.workers[0].calls[0].target, "/longer");
    assert_int_equal(s.workers[0].calls[0].ms, 600);
    assert_string_equal(s.workers[0].calls[1].target, "/a");
    assert_int_equal(s.workers[0].calls[1].ms, 500);
    assert_string_equal(s.workers[1].state, "empty");
    assert_int_equal(s.workers[1].call_count, SLOT_CALLS);
    assert_int_equal(s.workers[1].calls[0].ms, 0);
    assert_int_equal(strlen(s.workers[1].calls[0].target),
                     sizeof(s.workers[1].calls[0].target) - 1);
    char *text = status_text(&s);
    assert_non_null(strstr(text, "\"target\": \"\\ufffd\\ufffd"));
    assert_null(strstr(text, "secret"));
    free(text);
    status_release(&s);
    samples_release(&samples);
    scoreboard_free(scoreboard);
}

/* The settings of a start that gave one, then another. */
static void test_status_config(void **state)
{
    static const struct config_origin origin = {SOURCE_COMMAND_LINE, "command line"};
    struct config before, after;
    struct strbuf out = {0};
    struct error err;

    (void)state;
    config_init(&before);
    config_init(&after);
    assert_int_equal(config_set(&before, setting_find("workers"), "2", &origin, &err), 0);
    assert_int_equal(config_set(&after, setting_find("workers"), "4", &origin, &err), 0);
    assert_int_equal(config_set(&before, setting_find("raw_env"), "KEY=one", &origin, &err), 0);
    assert_int_equal(config_set(&after, setting_find("raw_env"), "KEY=two", &origin, &err), 0);
    char **at_start = status_keep_config(&before);
    config_release(&before);
    status_add_config_json(&out, &after, at_start);
    assert_true(strncmp(out.data, "{\"ok\": true, \"settings\": [{\"key\": ", 34) == 0);
    assert_non_null(strstr(out.data, "{\"key\": \"workers\", \"value\": 4, \"origin\": \"command "
                                     "line\", \"is_secret\": false, \"is_changed\": true, "
                                     "\"was\": 2}, "));
    assert_non_null(strstr(out.data, "{\"key\": \"timeout\", \"value\": \"30s\", \"origin\": "
                                     "\"default\", \"is_secret\": false, \"is_changed\": false, "
                                     "\"was\": null}, "));
    assert_non_null(strstr(out.data, "{\"key\": \"raw_env\", \"value\": null, \"origin\": "
                                     "\"command line\", \"is_secret\": true, \"is_changed\": "
                                     "true, \"was\": null}"));
    assert_null(strstr(out.data, "KEY"));
    status_free_config(at_start);
    status_free_config(NULL);
    config_release(&after);
    strbuf_release(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, init, release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_control_lines),
        TEST(test_control_workers),
        TEST(test_control_reopen_fails),
        TEST(test_control_nul_is_a_byte),
        TEST(test_control_byte_by_byte),
        TEST(test_control_end_is_a_newline),
        TEST(test_control_hang_up),
        TEST(test_control_long_line),
        TEST(test_control_long_answer),
        TEST(test_control_too_many),
        TEST(test_control_stalled_reader_and_writer),
        TEST(test_control_trickle),
        TEST(test_control_reload_waits),
        TEST(test_control_reload_fails),
        TEST(test_control_reload_of_a_stopping_server),
        TEST(test_control_reloads_coalesce),
        TEST(test_control_who_waits_may_leave),
        TEST(test_control_dump),
        TEST(test_control_upgrade),
        TEST(test_control_dump_refused),
        TEST(test_control_socket),
        cmocka_unit_test(test_status_text),
        cmocka_unit_test(test_status_of_broken_slots),
        cmocka_unit_test(test_status_config),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
