/* SPDX-License-Identifier: MIT
 *
 * The error log: its format, its levels, one line for each message whatever it holds, errno kept.
 * And error texts on their way up.
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
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/utf8.h"
#include "base/util.h"
#include "in_child.h"

static int ends[2];
static char text[70000];

/* What was logged since the last call. */
static const char *logged(void)
{
    ssize_t n = read(ends[0], text, sizeof(text) - 1);

    if (n < 0)
        assert_int_equal(errno, EAGAIN);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void expect_tail(const char *want)
{
    const char *got = logged();
    size_t len = strlen(got), want_len = strlen(want);

    if (len < want_len || strcmp(got + len - want_len, want) != 0)
        fail_msg("'%s' does not end in '%s'", got, want);
}

static void test_log_format(void **state)
{
    int year, month, day, hour, minute, second, zone, end = 0;
    long pid;
    char level[16];

    (void)state;
    log_info("hello %d", 42);
    const char *line = logged();
    assert_int_equal(sscanf(line, "[%4d-%2d-%2d %2d:%2d:%2d %5d] [%ld] [%15[A-Z]] hello 42\n%n",
                            &year, &month, &day, &hour, &minute, &second, &zone, &pid, level, &end),
                     9);
    assert_int_equal(end, strlen(line));
    assert_int_equal(line[26], ']');
    assert_int_equal(pid, getpid());
    assert_string_equal(level, "INFO");
    assert_true(year >= 2024 && month >= 1 && month <= 12);
}

static void test_log_levels(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("a");
    expect_tail("[DEBUG] a\n");
    log_warnx("b");
    expect_tail("[WARNING] b\n");
    log_errorx("c");
    expect_tail("[ERROR] c\n");
    log_critical("d");
    expect_tail("[CRITICAL] d\n");
    log_set_level(LOG_LEVEL_WARNING);
    assert_false(log_wants(LOG_LEVEL_INFO));
    assert_true(log_wants(LOG_LEVEL_WARNING));
    log_info("unseen");
    log_debug("unseen");
    log_request(LOG_LEVEL_INFO, NULL, "unseen");
    assert_string_equal(logged(), "");
    log_request(LOG_LEVEL_CRITICAL, NULL, "%s", "seen");
    expect_tail("[CRITICAL] seen\n");
    log_set_level(LOG_LEVEL_INFO);
}

static void test_log_errno(void **state)
{
    (void)state;
    errno = ENOENT;
    log_warn("open %s", "x");
    assert_int_equal(errno, ENOENT);
    expect_tail("[WARNING] open x: No such file or directory\n");
    log_error("y");
    assert_int_equal(errno, ENOENT);
    expect_tail("[ERROR] y: No such file or directory\n");
    log_warnx("z");
    expect_tail("[WARNING] z\n");
    assert_int_equal(errno, ENOENT);
    errno = EBADF;
    log_set_fd(-1); /* a log that cannot be written */
    log_info("lost");
    log_set_fd(ends[1]);
    assert_int_equal(errno, EBADF);
}

static void test_log_escapes(void **state)
{
    char every[256];

    (void)state;
    log_info("a\nb\r\x01\x7f\x1b[m\tc\\");
    expect_tail("] a\\x0ab\\x0d\\x01\\x7f\\x1b[m\\x09c\\\n");
    log_info("caf\xc3\xa9"); /* UTF-8 is no control */
    expect_tail("] caf\xc3\xa9\n");
    log_info("\xc2\x9b"
             "31m \xc2\xa0 caf\xe9 \xed\xa0\x80"); /* CSI, and what is no UTF-8 */
    expect_tail("] \\xc2\\x9b31m \xc2\xa0 caf\\xe9 \\xed\\xa0\\x80\n");
    for (int i = 0; i < 255; i++)
        every[i] = (char)(i + 1);
    every[255] = '\0';
    log_info("%s", every);
    const char *line = logged();
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

/* A line is at most one PIPE_BUF, cut if need be, and always ends. */
static void test_log_long(void **state)
{
    static char wide[10000];

    (void)state;
    for (size_t len = LOG_LINE_MAX - 120; len < LOG_LINE_MAX + 20; len++) {
        for (int control = 0; control < 2; control++) {
            memset(wide, control ? '\n' : 'x', len);
            wide[len] = '\0';
            log_info("%s", wide);
            const char *line = logged();
            size_t got = strlen(line);
            assert_true(got <= LOG_LINE_MAX && got > LOG_LINE_MAX - 130);
            assert_ptr_equal(strchr(line, '\n'), line + got - 1);
        }
    }
    memset(wide, 'x', sizeof(wide) - 1);
    errno = ENOENT;
    log_warn("%s", wide);
    assert_true(strlen(logged()) <= LOG_LINE_MAX);
}

static void test_log_file(void **state)
{
    char path[] = "/tmp/gcorn-log-XXXXXX";
    struct stat st;

    (void)state;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "old\n", 4), 4);
    (void)close(fd);
    fd = open(path, LOG_FILE_FLAGS, 0644);
    assert_true(fd >= 0);
    log_file_opened(fd);
    assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_APPEND);
    log_set_fd(fd);
    assert_int_equal(log_fd(), fd);
    log_info("new");
    log_set_fd(ends[1]);
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(st.st_size > 8); /* behind what was there */
    (void)close(fd);
    assert_int_equal(unlink(path), 0);
}

static void test_log_standard_fd(void **state)
{
    static const struct {
        const char *path;
        int want;
    } rows[] = {{"-", 7},
                {"/dev/stdout", 1},
                {"/dev/stderr", 2},
                {"/dev/fd/1", 1},
                {"/dev/fd/2", 2},
                {"/proc/self/fd/1", 1},
                {"/proc/self/fd/2", 2},
                {"/proc/self/fd/22", -1},
                {"/proc/self/fd/3", -1},
                {"/proc/1/fd/1", -1},
                {"/dev/stdin", -1},
                {"/dev/stdout2", -1},
                {"stdout", -1},
                {"", -1}};
    char own[40];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(log_standard_fd(rows[i].path, 7), rows[i].want);
    (void)snprintf(own, sizeof(own), "/proc/%d/fd/1", (int)getpid());
    assert_int_equal(log_standard_fd(own, 7), 1);
}

/* The message of a JSON line, and what is before it; the line is checked. */
static const char *json_message(char *head, size_t size)
{
    const char *line = logged();
    size_t len = strlen(line);
    const char *message = strstr(line, ",\"message\":\"");

    assert_non_null(message);
    assert_true(len <= LOG_LINE_MAX);
    assert_string_equal(line + len - 3, "\"}\n");
    assert_ptr_equal(strchr(line, '\n'), line + len - 1);
    (void)snprintf(head, size, "%.*s", (int)(message - line), line);
    text[len - 3] = '\0';
    return message + strlen(",\"message\":\"");
}

static void test_log_json(void **state)
{
    char head[200], want[100];
    char year[5], ms[4], zone[7];
    int end = 0;

    (void)state;
    log_set_format(LOG_FORMAT_JSON);
    log_warnx("a\n\"b\" caf\xc3\xa9 \xff");
    assert_string_equal(json_message(head, sizeof(head)), "a\\u000a\\\"b\\\" caf\xc3\xa9 \\ufffd");
    (void)snprintf(want, sizeof(want), ",\"pid\":%d,\"level\":\"warning\"", (int)getpid());
    assert_string_equal(head + strlen("{\"time\":\"2026-11-22T12:34:56.789+00:00\""), want);
    assert_int_equal(
        sscanf(head,
               "{\"time\":\"%4[0-9]-%*2[0-9]-%*2[0-9]T%*2[0-9]:%*2[0-9]:%*2[0-9].%3[0-9]"
               "%6[-+0-9:]\"%n",
               year, ms, zone, &end),
        3);
    assert_int_equal(strlen(ms), 3);
    assert_int_equal(zone[3], ':');

    log_request(LOG_LEVEL_ERROR, "id-\"7", "about %s", "it");
    assert_string_equal(json_message(head, sizeof(head)), "about it");
    assert_non_null(strstr(head, ",\"level\":\"error\",\"request_id\":\"id-\\\"7\""));
    log_set_format(LOG_FORMAT_TEXT);
    log_request(LOG_LEVEL_ERROR, "id-\"7", "about %s", "it");
    expect_tail("[ERROR] [id-\"7] about it\n");
}

/* However long, and whatever escaping makes of it. */
static void test_log_json_long(void **state)
{
    static const char *const pieces[] = {"x", "\"", "\n", "\xc3\xa9", "\xf0\x9f\x90\x84", "\xff"};
    static char wide[10000];
    char head[200];

    (void)state;
    log_set_format(LOG_FORMAT_JSON);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        for (size_t start = 0; start < 8; start++) {
            size_t len = strlen(pieces[i]);
            memset(wide, 'x', start);
            for (size_t at = start; at + len < sizeof(wide); at += len)
                memcpy(wide + at, pieces[i], len + 1);
            log_request(LOG_LEVEL_INFO, "7", "%s", wide);
            const char *message = json_message(head, sizeof(head));
            assert_true(strlen(head) + strlen(message) > LOG_LINE_MAX - 120);
            /* nothing cut in two but perhaps by vsnprintf, which shows as U+FFFD */
            assert_int_equal(utf8_whole(message, strlen(message)), strlen(message));
        }
    }
    log_set_format(LOG_FORMAT_TEXT);
}

static void test_log_output(void **state)
{
    char head[200];

    (void)state;
    log_set_level(LOG_LEVEL_CRITICAL);
    errno = ENOENT;
    log_output(42, "a\0b\r", 4);
    assert_int_equal(errno, ENOENT);
    expect_tail("[42] [OUTPUT] a\\x00b\\x0d\n");
    log_set_format(LOG_FORMAT_JSON);
    log_output(42, "a\0b", 3);
    assert_string_equal(json_message(head, sizeof(head)), "a\\u0000b");
    assert_non_null(strstr(head, ",\"pid\":42,\"level\":\"output\""));
    log_set_format(LOG_FORMAT_TEXT);
    log_set_level(LOG_LEVEL_INFO);
}

/* A full pipe loses lines; how many, it is told in its own form. */
static void test_log_lost(void **state)
{
    int full[2];
    char head[200];

    (void)state;
    assert_int_equal(pipe2(full, O_NONBLOCK), 0);
    while (write(full[1], "xxxxxxxx", 8) == 8)
        continue;
    log_set_fd(full[1]);
    log_info("one");
    log_info("two");
    assert_int_equal(log_write(full[1], "x\n", 2), -1);
    assert_int_equal(errno, EAGAIN);
    log_set_fd(ends[1]);
    log_info("three");
    const char *got = logged();
    assert_non_null(strstr(got, "[WARNING] error log: dropped 2 lines: reader too slow\n"));
    assert_non_null(strstr(got, "[INFO] three\n"));
    log_set_fd(full[1]);
    log_info("four");
    log_after_fork();
    log_set_fd(ends[1]);
    log_set_format(LOG_FORMAT_JSON);
    log_info("five");
    assert_string_equal(json_message(head, sizeof(head)), "five");
    log_set_format(LOG_FORMAT_TEXT);
    (void)close(full[0]);
    (void)close(full[1]);
}

/* In a child: a file there may grow to 10 bytes. */
static void append_past_the_limit(void *arg)
{
    const struct rlimit limit = {10, 10};
    char path[] = "/tmp/gcorn-log-XXXXXX";
    struct stat st;
    int fd = mkostemp(path, O_APPEND | O_CLOEXEC);

    (void)arg;
    CHECK(fd >= 0 && unlink(path) == 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(log_append(fd, "12345\n7890123\n", 14) == 6 && errno == EFBIG);
    CHECK(fstat(fd, &st) == 0 && st.st_size == 6); /* no half line */
    CHECK(log_append(fd, "789\n", 4) == 4);
}

static void test_full_file_has_whole_lines(void **state)
{
    (void)state;
    expect_exit(append_past_the_limit, NULL, 0);
}

/* An application that closes all that it finds open closes the log, too. */
static void log_after_close(void *arg)
{
    int fds[2], fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    char line[200] = "";

    (void)arg;
    CHECK(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
    int kept = dup(STDERR_FILENO);
    log_set_fd(fd);
    (void)close(fd);
    CHECK(dup2(fds[1], STDERR_FILENO) == STDERR_FILENO);
    log_info("still heard");
    CHECK(dup2(kept, STDERR_FILENO) == STDERR_FILENO);
    CHECK(read(fds[0], line, sizeof(line) - 1) > 0 && strstr(line, "still heard\n"));
}

static void test_closed_log_goes_to_standard_error(void **state)
{
    (void)state;
    expect_exit(log_after_close, NULL, 0);
}

static void test_log_fatal(void **state)
{
    int status;

    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        fatal("cannot %s", "go on");
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    expect_tail("[CRITICAL] cannot go on\n");
}

static void test_error(void **state)
{
    struct error err;
    char wide[3000];

    (void)state;
    assert_int_equal(error_set(&err, EXIT_BIND, "bind %s", "x"), -1);
    assert_int_equal(err.status, EXIT_BIND);
    assert_string_equal(err.text, "bind x");
    assert_int_equal(error_prefix(&err, "%s:%d", "f", 3), -1);
    assert_string_equal(err.text, "f:3: bind x");
    assert_int_equal(err.status, EXIT_BIND);

    memset(wide, 'x', sizeof(wide) - 1);
    wide[sizeof(wide) - 1] = '\0';
    assert_int_equal(error_set(&err, EXIT_APP, "%s", wide), -1);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    assert_int_equal(error_prefix(&err, "p"), -1);
    assert_memory_equal(err.text, "p: xxx", 6);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    /* a prefix that leaves no room, at every length around the end */
    for (size_t len = sizeof(err.text) - 6; len < sizeof(err.text) + 6; len++) {
        (void)error_set(&err, EXIT_APP, "why");
        (void)error_prefix(&err, "%.*s", (int)len, wide);
        assert_true(strlen(err.text) < sizeof(err.text));
        assert_memory_equal(err.text, wide, sizeof(err.text) - 6);
    }
}

static int make_pipe(void **state)
{
    (void)state;
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
        return -1;
    log_set_fd(ends[1]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_file_has_whole_lines),
        cmocka_unit_test(test_closed_log_goes_to_standard_error),
        cmocka_unit_test(test_log_format),
        cmocka_unit_test(test_log_levels),
        cmocka_unit_test(test_log_errno),
        cmocka_unit_test(test_log_escapes),
        cmocka_unit_test(test_log_long),
        cmocka_unit_test(test_log_file),
        cmocka_unit_test(test_log_standard_fd),
        cmocka_unit_test(test_log_fatal),
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_log_json),
        cmocka_unit_test(test_log_json_long),
        cmocka_unit_test(test_log_output),
        cmocka_unit_test(test_log_lost),
    };

    return cmocka_run_group_tests(tests, make_pipe, NULL);
}
