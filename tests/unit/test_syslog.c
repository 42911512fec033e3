/* SPDX-License-Identifier: MIT
 *
 * Lines for a syslog daemon that comes, goes and is too slow.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/syslog.h"
#include "base/util.h"
#include "temp_dir.h"

static char path[64], address[80];

static int daemon_start_at(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), small = 1;

    (void)snprintf(path, sizeof(path), "%s/log", temp_dir);
    (void)snprintf(address, sizeof(address), "unix:%s", path);
    (void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    return fd;
}

static void daemon_end(int fd)
{
    (void)close(fd);
    assert_int_equal(unlink(path), 0);
}

static void open_syslog(struct syslog *s)
{
    struct error err;

    *s = (struct syslog){.format = SYSLOG_RFC5424, .facility = 1};
    assert_int_equal(syslog_open(s, address, "gcorn", &err), 0);
}

static const char *receive(int fd)
{
    static char text[LOG_LINE_MAX + 1];
    ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void send_line(struct syslog *s, const char *text)
{
    syslog_send(s, SYSLOG_ERROR, 4711, text, strlen(text));
}

static void test_lines_have_priority_and_pid(void **state)
{
    int daemon = daemon_start_at();
    struct syslog s;

    (void)state;
    open_syslog(&s);
    syslog_reconnect(&s);
    assert_false(s.is_away);
    send_line(&s, "text");
    const char *got = receive(daemon);
    assert_int_equal(strncmp(got, "<11>1 ", 6), 0); /* facility 1, severity 3 */
    assert_non_null(strstr(got, " gcorn 4711 error - text"));
    s.format = SYSLOG_BSD;
    send_line(&s, "text");
    got = receive(daemon);
    assert_int_equal(strncmp(got, "<11>", 4), 0);
    assert_non_null(strstr(got, " gcorn[4711]: text"));
    syslog_close(&s);
    assert_int_equal(s.fd, -1);
    daemon_end(daemon);
}

static void test_dropped_lines_are_counted_and_reported_once(void **state)
{
    int daemon = daemon_start_at();
    struct syslog s;
    unsigned long count;
    char word[8];

    (void)state;
    open_syslog(&s);
    syslog_reconnect(&s);
    daemon_end(daemon);
    send_line(&s, "one");
    send_line(&s, "two"); /* the report of one fails, too, and stays counted */
    assert_int_equal(s.dropped, 2);
    errno = EXDEV;
    send_line(&s, "three");
    assert_int_equal(errno, EXDEV);
    daemon = daemon_start_at();
    send_line(&s, "four"); /* connects by itself */
    const char *report = strstr(receive(daemon), "error - syslog: dropped ");
    assert_non_null(report);
    assert_int_equal(sscanf(report, "error - syslog: dropped %lu %7[a-z]", &count, word), 2);
    assert_int_equal(count, 3);
    assert_string_equal(word, "lines");
    assert_non_null(strstr(receive(daemon), "error - four"));
    send_line(&s, "five");
    assert_non_null(strstr(receive(daemon), "error - five"));
    syslog_close(&s);
    daemon_end(daemon);
}

static void test_slow_daemon_does_not_block(void **state)
{
    int daemon = daemon_start_at();
    struct syslog s;

    (void)state;
    open_syslog(&s);
    syslog_reconnect(&s);
    for (int i = 0; i < 1000; i++)
        send_line(&s, "a line that fills the buffer of a daemon which does not read");
    assert_in_range(s.dropped, 1, 999);
    syslog_close(&s);
    daemon_end(daemon);
}

static void test_absence_is_logged_once(void **state)
{
    int daemon = daemon_start_at(), log[2];
    struct syslog s;
    char text[1000] = "";

    (void)state;
    daemon_end(daemon);
    open_syslog(&s);
    assert_int_equal(pipe2(log, O_CLOEXEC | O_NONBLOCK), 0);
    log_set_fd(log[1]);
    syslog_reconnect(&s);
    syslog_reconnect(&s);
    daemon = daemon_start_at();
    syslog_reconnect(&s);
    syslog_reconnect(&s);
    log_set_fd(STDERR_FILENO);
    assert_true(read(log[0], text, sizeof(text) - 1) > 0);
    const char *away = strstr(text, "[WARNING] syslog: cannot connect to ");
    assert_non_null(away);
    assert_non_null(strstr(away, "log: No such file or directory (retrying every second)\n"));
    assert_null(strstr(away + 30, "cannot connect"));
    const char *back = strstr(away, "[INFO] syslog: connected to ");
    assert_non_null(back);
    assert_null(strstr(back + 20, "syslog:"));
    fd_close(&log[0]);
    fd_close(&log[1]);
    syslog_close(&s);
    daemon_end(daemon);
}

static void test_other_addresses_are_refused(void **state)
{
    static const char *const bad[] = {"", "udp://localhost:514", "unix:", "unix://",
                                      "unix:///dev/log#stream"};
    struct syslog s = {.fd = 7};
    struct error err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        s.fd = 7;
        assert_int_equal(syslog_open(&s, bad[i], "gcorn", &err), -1);
        assert_int_equal(s.fd, -1);
        assert_int_equal(err.status, EXIT_USAGE);
    }
}

static void test_names_lose_what_they_may_not_have(void **state)
{
    int daemon = daemon_start_at();
    struct syslog s = {.facility = 1};
    struct error err;

    (void)state;
    assert_int_equal(syslog_open(&s, address, "a b:c[d]\x01", &err), 0);
    assert_string_equal(s.app, "a.b.c.d..");
    syslog_close(&s);
    assert_int_equal(syslog_open(&s, address, "", &err), 0);
    assert_string_equal(s.app, "-");
    syslog_close(&s);
    daemon_end(daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_have_priority_and_pid),
        cmocka_unit_test(test_dropped_lines_are_counted_and_reported_once),
        cmocka_unit_test(test_slow_daemon_does_not_block),
        cmocka_unit_test(test_absence_is_logged_once),
        cmocka_unit_test(test_other_addresses_are_refused),
        cmocka_unit_test(test_names_lose_what_they_may_not_have),
    };

    return cmocka_run_group_tests(tests, temp_dir_make, temp_dir_remove);
}
