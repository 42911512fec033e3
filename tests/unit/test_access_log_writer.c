/* SPDX-License-Identifier: MIT
 *
 * The lines that wait in a slot: when they are written, what becomes of those that find no reader,
 * and of a line that is added before its answer has ended.
 */
#include "http_case.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "http/access_log.h"
#include "system/ipc/scoreboard.h"
#include "worker/access_log_writer.h"

struct log_case {
    struct http_case http;
    struct slot *slot;
    struct access_log_writer writer;
    int read_fd;
};

static void start(struct log_case *c, int fd)
{
    struct error err;

    c->slot = xcalloc(1, sizeof(*c->slot));
    c->slot->worker_number = 5;
    if (access_log_writer_init(&c->writer, c->slot, "%(U)s %(s)s %(p)s", fd, &err) < 0)
        fail_msg("%s", err.text);
    http_case_open(&c->http);
    http_case_feed(&c->http, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    c->http.env.response.status = 200;
}

static int open_pipe(void **state)
{
    struct log_case *c = *state = xcalloc(1, sizeof(*c));
    int ends[2];

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    c->read_fd = ends[0];
    start(c, ends[1]);
    return 0;
}

static int close_case(void **state)
{
    struct log_case *c = *state;

    http_case_close(&c->http);
    access_log_free(c->writer.format);
    free(c->slot);
    (void)close(c->read_fd);
    if (c->writer.fd >= 0)
        (void)close(c->writer.fd);
    free(c);
    return 0;
}

static const char *written(struct log_case *c)
{
    static char text[256 * 1024];
    ssize_t n = read(c->read_fd, text, sizeof(text) - 1);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;

    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

static void add(struct log_case *c)
{
    access_log_writer_add(&c->writer, &c->http.env, 1000);
}

static void test_lines_wait_in_the_slot_until_they_are_written(void **state)
{
    struct log_case *c = *state;
    char text[128], wanted[128];

    (void)snprintf(wanted, sizeof(wanted), "/a 200 <%d>\n/a 200 <%d>\n", (int)getpid(),
                   (int)getpid());
    add(c);
    add(c);
    assert_string_equal(written(c), "");
    size_t len = slot_get_log(c->slot, text, sizeof(text));
    assert_int_equal(count_lines(wanted), 2);
    assert_int_equal(len, strlen(wanted));
    assert_memory_equal(text, wanted, len);
    access_log_writer_write(&c->writer);
    assert_string_equal(written(c), wanted);
    assert_int_equal(atomic_load(&c->slot->log_len), 0);
    access_log_writer_write(&c->writer); /* there is nothing */
    assert_string_equal(written(c), "");
    assert_int_equal(c->slot->counts.log_lines_lost, 0);
}

static void test_full_slot_is_written_at_once(void **state)
{
    struct log_case *c = *state;
    size_t added = 0, lines = 0;

    while (lines == 0 && added < 1000) {
        add(c);
        added++;
        lines = count_lines(written(c));
    }
    assert_int_equal(lines, added - 1); /* all but the one for which there was no room */
    access_log_writer_write(&c->writer);
    assert_int_equal(count_lines(written(c)), 1);
}

static void test_early_line_is_the_lines_of_its_answer(void **state)
{
    struct log_case *c = *state;

    access_log_writer_add_early(&c->writer, &c->http.env, 1000);
    access_log_writer_add_early(&c->writer, &c->http.env, 1000); /* the rest is sent in two goes */
    add(c);
    access_log_writer_write(&c->writer);
    assert_int_equal(count_lines(written(c)), 1);
    add(c); /* the next answer has a line of its own */
    access_log_writer_write(&c->writer);
    assert_int_equal(count_lines(written(c)), 1);
}

static void test_early_line_is_taken_back(void **state)
{
    struct log_case *c = *state;

    add(c);
    access_log_writer_add_early(&c->writer, &c->http.env, 1000);
    access_log_writer_take_back(&c->writer);
    access_log_writer_take_back(&c->writer); /* there is none: nothing happens */
    assert_int_equal(atomic_load(&c->slot->log_len), c->writer.len);
    access_log_writer_write(&c->writer);
    assert_int_equal(count_lines(written(c)), 1);
    add(c);
    access_log_writer_write(&c->writer);
    assert_int_equal(count_lines(written(c)), 1);
}

static size_t fill(struct log_case *c)
{
    size_t lines = 0;

    while (c->slot->counts.log_lines_lost == 0 && lines < 100000) {
        add(c);
        access_log_writer_write(&c->writer);
        lines++;
    }
    return lines - 1;
}

static void test_lines_without_a_reader_are_counted(void **state)
{
    struct log_case *c = *state;
    size_t kept = fill(c);

    assert_int_equal(c->slot->counts.log_lines_lost, 1);
    assert_int_equal(c->writer.lost, 0); /* the log has said so at once */
    assert_true(c->writer.say_at_ms > now_ms() + 5000);
    add(c);
    add(c);
    access_log_writer_write(&c->writer);
    assert_int_equal(c->slot->counts.log_lines_lost, 3);
    assert_int_equal(c->writer.lost, 2); /* and says these in a while */
    assert_int_equal(c->writer.lost_errno, EAGAIN);
    assert_int_equal(c->writer.len, 0);
    c->writer.say_at_ms = now_ms();
    add(c);
    access_log_writer_write(&c->writer);
    assert_int_equal(c->writer.lost, 0);
    for (size_t seen = 0; seen < kept;) {
        size_t lines = count_lines(written(c));
        assert_true(lines > 0);
        seen += lines;
    }
    add(c); /* a reader is there again */
    access_log_writer_write(&c->writer);
    assert_int_equal(count_lines(written(c)), 1);
    assert_int_equal(c->slot->counts.log_lines_lost, 4);
}

static void test_end_writes_and_says_what_is_left(void **state)
{
    struct log_case *c = *state;

    add(c);
    access_log_writer_end(&c->writer);
    assert_int_equal(count_lines(written(c)), 1);
    (void)fill(c);
    add(c);
    access_log_writer_write(&c->writer);
    assert_int_equal(c->writer.lost, 1);
    access_log_writer_end(&c->writer);
    assert_int_equal(c->writer.lost, 0);
}

/* The heap may be broken: the line's values come from memory of the writer's own. */
static void test_dying_worker_makes_lines_without_the_requests_memory(void **state)
{
    struct log_case *c = *state;
    struct arena before = c->http.env.arena;

    access_log_writer_last(&c->writer);
    add(c);
    assert_memory_equal(&c->http.env.arena, &before, sizeof(before));
    access_log_writer_write(&c->writer);
    assert_int_equal(count_lines(written(c)), 1);
    (void)fill(c);
    assert_int_equal(c->writer.lost, 1); /* counted, not logged: the log takes locks */
}

static void test_file_takes_whole_lines_and_is_told_from_a_pipe(void **state)
{
    struct log_case *c = *state;
    int file = memfd_create("log", MFD_CLOEXEC);

    assert_false(c->writer.is_file);
    assert_int_equal(dup3(file, c->writer.fd, O_CLOEXEC), c->writer.fd);
    access_log_writer_reopened(&c->writer);
    assert_true(c->writer.is_file);
    add(c);
    access_log_writer_write(&c->writer);
    assert_true(lseek(file, 0, SEEK_END) > 0);
    (void)close(file);
}

static void test_file_is_known_from_the_start(void **state)
{
    struct log_case *c = *state;
    struct access_log_writer writer;
    struct error err;
    int file = memfd_create("log", MFD_CLOEXEC);

    assert_int_equal(access_log_writer_init(&writer, c->slot, "%(U)s", file, &err), 0);
    assert_true(writer.is_file);
    assert_int_equal(writer.worker, 5);
    access_log_free(writer.format);
    (void)close(file);
}

static void test_no_log_does_nothing(void **state)
{
    struct log_case *c = *state;
    struct access_log_writer none;
    struct error err;

    assert_int_equal(access_log_writer_init(&none, c->slot, "%(nonsense", -1, &err), 0);
    access_log_writer_add(&none, &c->http.env, 1);
    access_log_writer_add_early(&none, &c->http.env, 1);
    access_log_writer_take_back(&none);
    access_log_writer_write(&none);
    access_log_writer_end(&none);
    assert_int_equal(atomic_load(&c->slot->log_len), 0);
}

static void test_format_that_is_none_is_refused(void **state)
{
    struct log_case *c = *state;
    struct access_log_writer bad;
    struct error err = {0};

    assert_int_equal(access_log_writer_init(&bad, c->slot, "%(nonsense", c->writer.fd, &err), -1);
    assert_true(err.text[0] != '\0');
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, open_pipe, close_case)
    const struct CMUnitTest tests[] = {
        CASE(test_lines_wait_in_the_slot_until_they_are_written),
        CASE(test_full_slot_is_written_at_once),
        CASE(test_early_line_is_the_lines_of_its_answer),
        CASE(test_early_line_is_taken_back),
        CASE(test_lines_without_a_reader_are_counted),
        CASE(test_end_writes_and_says_what_is_left),
        CASE(test_dying_worker_makes_lines_without_the_requests_memory),
        CASE(test_file_takes_whole_lines_and_is_told_from_a_pipe),
        CASE(test_file_is_known_from_the_start),
        CASE(test_no_log_does_nothing),
        CASE(test_format_that_is_none_is_refused),
    };

    log_set_level(LOG_LEVEL_CRITICAL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
