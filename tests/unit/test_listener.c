/* SPDX-License-Identifier: MIT
 *
 * Listening sockets: the forms of a bind text, what the errors say, and whose files are removed.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"
#include "system/net/bind_address.h"
#include "system/net/listener.h"

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/gcorn-listener-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir); /* fails when a test left a file behind */
}

static void open_ok(struct listener *l, const char *text)
{
    struct error err = {0};

    if (listener_open(l, text, 16, &err) < 0)
        fail_msg("%s: %s", text, err.text);
}

static void expect_error(const char *text, enum exit_status status, const char *part)
{
    struct listener l;
    struct error err = {0};

    assert_int_equal(listener_open(&l, text, 16, &err), -1);
    assert_int_equal(err.status, status);
    if (!strstr(err.text, part))
        fail_msg("'%s' lacks '%s'", err.text, part);
    assert_int_equal(l.fd, -1);
    assert_null(l.text);
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);

    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

/* ---- forms ---------------------------------------------------------------------------------- */

static void test_tcp_port_zero(void **state)
{
    struct listener l;
    char name[64];

    (void)state;
    open_ok(&l, "127.0.0.1:0");
    assert_int_equal(l.family, AF_INET);
    assert_string_equal(l.text, "127.0.0.1:0");
    assert_string_equal(l.host, "127.0.0.1");
    assert_true(atoi(l.port) > 0);
    (void)snprintf(name, sizeof(name), "http://127.0.0.1:%s", l.port);
    assert_string_equal(l.name, name);
    assert_true(fcntl(l.fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(l.fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(option(l.fd, SOL_SOCKET, SO_ACCEPTCONN), 1);
    assert_int_equal(option(l.fd, SOL_SOCKET, SO_REUSEADDR), 1);
    assert_false(l.inherited);
    listener_close(&l, true);
    assert_int_equal(l.fd, -1);
    listener_close(&l, true); /* harmless */
}

static void test_tcp_accepted_has_nodelay(void **state)
{
    struct listener l;
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);

    (void)state;
    open_ok(&l, "127.0.0.1:0");
    assert_int_equal(getsockname(l.fd, (struct sockaddr *)&ss, &len), 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&ss, len), 0);
    int conn = accept4(l.fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(conn >= 0);
    assert_int_equal(option(conn, IPPROTO_TCP, TCP_NODELAY), 1);
    fd_close(&conn);
    fd_close(&client);
    listener_close(&l, true);
}

static void test_tcp_all_addresses(void **state)
{
    struct listener l;

    (void)state;
    open_ok(&l, ":0");
    assert_string_equal(l.host, "0.0.0.0");
    listener_close(&l, true);
    open_ok(&l, "tcp://127.0.0.1:0");
    assert_string_equal(l.host, "127.0.0.1");
    listener_close(&l, true);
}

static void test_tcp_name(void **state)
{
    struct listener l;

    (void)state;
    open_ok(&l, "LocalHost:0");
    assert_string_equal(l.host, "127.0.0.1"); /* IPv4 first */
    listener_close(&l, true);
}

static void test_tcp_ipv6(void **state)
{
    struct listener l;
    struct error err = {0};
    char name[64];

    (void)state;
    if (listener_open(&l, "[0:0::1]:0", 16, &err) < 0)
        skip(); /* a machine without IPv6 */
    assert_int_equal(l.family, AF_INET6);
    assert_string_equal(l.host, "::1");
    (void)snprintf(name, sizeof(name), "http://[::1]:%s", l.port);
    assert_string_equal(l.name, name);
    listener_close(&l, true);
    open_ok(&l, "[::]:0");
    assert_string_equal(l.host, "::");
    listener_close(&l, true);
}

static void test_check_texts(void **state)
{
    static const char *const good[] = {
        "127.0.0.1",       "127.0.0.1:80", "localhost",          "my-host.example:8000",
        ":8000",           "[::1]",        "[::1]:8000",         "[::]:0",
        "[fe80::1%lo]:80", "unix:/a",      "unix:relative.sock", "unix:///run/a",
        "fd://3",          "fd://17",      "0.0.0.0:65535",      "unix:@a",
        "unix://@a",       "unix:@a/b:1",
    };
    static const char *const bad[] = {
        "",        "foo:99999", "foo:-1", "foo:",        "foo:80x",
        ":",       "8000",      "::1",    "::1:80",      "[::1",
        "[::1]80", "[foo]:80",  "[]:80",  "unix:",       "unix://",
        "unix:@",  "unix://@",  "fd://",  "fd://2",      "fd://x",
        "fd://-1", "a b:80",    "a/b:80", "http://a:80", "https://localhost",
    };
    struct error err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (listener_check(good[i], &err) < 0)
            fail_msg("%s", err.text);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (listener_check(bad[i], &err) == 0)
            fail_msg("'%s' was taken", bad[i]);
        assert_int_equal(err.status, EXIT_USAGE);
        assert_ptr_equal(strstr(err.text, "bind: "), err.text);
    }
}

/* ---- errors --------------------------------------------------------------------------------- */

static void test_error_malformed(void **state)
{
    char text[400];

    (void)state;
    expect_error("foo:99999", EXIT_USAGE, "bind: 'foo:99999' has no valid port");
    expect_error("::1:8000", EXIT_USAGE, "brackets, as in [::1]:8000");
    expect_error("8000", EXIT_USAGE, "':8000'");
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    expect_error(text, EXIT_USAGE, "too long");
    memcpy(text, "unix:/", 6);
    expect_error(text, EXIT_USAGE, "at most 107");
}

static void test_error_in_use(void **state)
{
    struct listener l;
    char text[64], message[128];

    (void)state;
    open_ok(&l, "127.0.0.1:0");
    (void)snprintf(text, sizeof(text), "127.0.0.1:%s", l.port);
    (void)snprintf(message, sizeof(message), "cannot bind %s: Address already in use", text);
    expect_error(text, EXIT_BIND, message);
    listener_close(&l, true);
    expect_error("192.0.2.1:0", EXIT_BIND, "cannot bind 192.0.2.1:0: Cannot assign");
}

/* ---- unix ----------------------------------------------------------------------------------- */

static void unix_text(char *text, size_t size)
{
    (void)snprintf(text, size, "unix:%s/s", dir);
}

static void test_unix_open_and_unlink(void **state)
{
    struct listener l;
    struct stat st;
    char text[100];

    (void)state;
    unix_text(text, sizeof(text));
    mode_t old = umask(007);
    open_ok(&l, text);
    (void)umask(old);
    assert_int_equal(l.family, AF_UNIX);
    assert_string_equal(l.name, text);
    assert_string_equal(l.host, "");
    assert_string_equal(l.port, "");
    assert_int_equal(stat(text + 5, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0770);
    listener_close(&l, true);
    assert_int_equal(stat(text + 5, &st), -1);
}

static void test_unix_stale_is_replaced(void **state)
{
    struct listener l;
    char text[100];

    (void)state;
    unix_text(text, sizeof(text));
    open_ok(&l, text);
    listener_close(&l, false); /* as a killed server leaves it */
    assert_int_equal(access(text + 5, F_OK), 0);
    open_ok(&l, text);
    listener_close(&l, true);
}

static void test_unix_in_use(void **state)
{
    struct listener l, full;
    struct error err;
    char text[100];

    (void)state;
    unix_text(text, sizeof(text));
    open_ok(&l, text);
    expect_error(text, EXIT_BIND, "already in use by another server");
    assert_int_equal(access(text + 5, F_OK), 0);
    listener_close(&l, true);

    /* A full backlog is a server too. */
    assert_int_equal(listener_open(&full, text, 0, &err), 0);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    (void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", text + 5);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&un, sizeof(un)), 0);
    expect_error(text, EXIT_BIND, "already in use by another server");
    fd_close(&client);
    listener_close(&full, true);
}

static void test_unix_foreign_file_stays(void **state)
{
    char text[100];

    (void)state;
    unix_text(text, sizeof(text));
    int fd = open(text + 5, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    fd_close(&fd);
    expect_error(text, EXIT_BIND, "a file that is not a socket has this name");
    assert_int_equal(unlink(text + 5), 0);
}

static void test_unix_successor_stays(void **state)
{
    struct listener mine, successor;
    char text[100];

    (void)state;
    unix_text(text, sizeof(text));
    open_ok(&mine, text);
    assert_int_equal(unlink(text + 5), 0); /* somebody tidied up, and a new server came */
    open_ok(&successor, text);
    listener_close(&mine, true);
    assert_int_equal(access(text + 5, F_OK), 0);
    listener_close(&successor, true);
}

static void test_unix_no_directory(void **state)
{
    (void)state;
    expect_error("unix:/nonexistent/dir/s", EXIT_BIND, "No such file or directory");
}

/* ---- inherited ------------------------------------------------------------------------------ */

static void test_fd_listening(void **state)
{
    struct listener owner, l;
    char text[32], path_text[100];

    (void)state;
    open_ok(&owner, "127.0.0.1:0");
    int fd = dup(owner.fd);
    (void)snprintf(text, sizeof(text), "fd://%d", fd);
    open_ok(&l, text);
    assert_int_equal(l.fd, fd);
    assert_true(l.inherited);
    assert_string_equal(l.name, text);
    assert_string_equal(l.port, owner.port);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    listener_close(&l, true);
    listener_close(&owner, true);

    unix_text(path_text, sizeof(path_text));
    open_ok(&owner, path_text);
    (void)snprintf(text, sizeof(text), "fd://%d", fd = dup(owner.fd));
    open_ok(&l, text);
    assert_int_equal(l.family, AF_UNIX);
    listener_close(&l, true); /* the file belongs to who made it */
    assert_int_equal(access(path_text + 5, F_OK), 0);
    listener_close(&owner, true);
}

static void test_fd_refused(void **state)
{
    char text[32];
    int pair[2];

    (void)state;
    expect_error("fd://987", EXIT_BIND, "cannot use fd://987: no such descriptor");
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    (void)snprintf(text, sizeof(text), "fd://%d", pair[0]);
    expect_error(text, EXIT_BIND, "not a listening stream socket");
    assert_true(fcntl(pair[0], F_GETFD) >= 0); /* a refused descriptor is not closed */
    fd_close(&pair[0]);
    fd_close(&pair[1]);
    int fd = open("/dev/null", O_RDONLY);
    (void)snprintf(text, sizeof(text), "fd://%d", fd);
    expect_error(text, EXIT_BIND, "Socket operation on non-socket");
    fd_close(&fd);
}

/* What is close-on-exec is our own, and has its number by accident. */
static void test_fd_of_our_own(void **state)
{
    struct listener owner;
    char text[32];

    (void)state;
    open_ok(&owner, "127.0.0.1:0");
    (void)snprintf(text, sizeof(text), "fd://%d", owner.fd);
    expect_error(text, EXIT_BIND, "no such descriptor was passed");
    assert_true(fcntl(owner.fd, F_GETFD) >= 0);
    listener_close(&owner, true);
}

/* ---- same ----------------------------------------------------------------------------------- */

static void test_same(void **state)
{
    struct listener l;
    char text[100], other[100];

    (void)state;
    open_ok(&l, "localhost:0");
    assert_true(listener_same(&l, "localhost:0"));
    assert_true(listener_same(&l, "LOCALHOST:0"));
    (void)snprintf(text, sizeof(text), "127.0.0.1:%s", l.port);
    assert_true(listener_same(&l, text));
    assert_false(listener_same(&l, "127.0.0.1:1"));
    assert_false(listener_same(&l, "fd://5"));
    assert_false(listener_same(&l, "no such text"));
    listener_close(&l, true);
    assert_false(listener_same(&l, "localhost:0"));

    open_ok(&l, ":0");
    assert_true(listener_same(&l, "0.0.0.0:0"));
    listener_close(&l, true);

    unix_text(other, sizeof(other));
    open_ok(&l, other);
    (void)snprintf(text, sizeof(text), "unix://%s/s", dir);
    assert_true(listener_same(&l, text));
    assert_false(listener_same(&l, "unix:/other"));
    assert_int_equal(unlink(l.path), 0); /* by somebody: nobody reaches it any more */
    assert_false(listener_same(&l, other));
    listener_close(&l, true);
}

static void test_same_text(void **state)
{
    (void)state;
    assert_true(listener_same_text("LOCALHOST:1", "localhost:1"));
    assert_true(listener_same_text("[::0:1]:1", "[::1]:1"));
    assert_true(listener_same_text("unix:a", "unix:a"));
    assert_false(listener_same_text("localhost:1", "localhost:2"));
    assert_false(listener_same_text("unix:a", "a"));
    assert_false(listener_same_text("1:2:3", "1:2:3"));
}

/* The name is what is left of a connection's address: no file, no NUL at its end. */
static void test_unix_abstract(void **state)
{
    struct listener l;
    struct error err;
    struct sockaddr_un un = {0};
    socklen_t len = sizeof(un);
    char text[100];
    pid_t holder;

    (void)state;
    int text_len = snprintf(text, sizeof(text), "unix:@gcorn-test-%d", (int)getpid());
    assert_int_equal(listener_probe(text, &holder, &err), LISTENER_FREE);
    open_ok(&l, text);
    assert_int_equal(getsockname(l.fd, (struct sockaddr *)&un, &len), 0);
    assert_int_equal(len, offsetof(struct sockaddr_un, sun_path) + (size_t)text_len - 5);
    assert_int_equal(un.sun_path[0], '\0');
    assert_memory_equal(un.sun_path + 1, text + 6, (size_t)text_len - 6);
    assert_string_equal(l.name, text);
    assert_int_equal(l.family, AF_UNIX);
    assert_null(l.path);
    assert_int_equal(access(text + 5, F_OK), -1);
    assert_true(listener_same(&l, text));
    assert_false(listener_same(&l, "unix:@other"));
    assert_int_equal(listener_probe(text, &holder, &err), LISTENER_IN_USE);
    expect_error(text, EXIT_BIND, ": already in use by another server");
    listener_stop(&l);
    assert_int_equal(listener_probe(text, &holder, &err), LISTENER_FREE);
    listener_close(&l, true);
    assert_false(listener_same_text("unix:@a", "unix:./@a"));
    assert_true(listener_same_text("unix:@a", "unix://@a"));
}

/* A relative path leads to the file from wherever the process is later. */
static void test_unix_relative(void **state)
{
    struct listener l;
    char path[100];

    (void)state;
    char *before = getcwd(NULL, 0);
    assert_int_equal(chdir(dir), 0);
    open_ok(&l, "unix:relative");
    assert_true(listener_same(&l, "unix:relative"));
    (void)snprintf(path, sizeof(path), "%s/relative", dir);
    assert_string_equal(l.path, path);
    assert_int_equal(chdir("/"), 0);
    assert_false(listener_same(&l, "unix:relative"));
    listener_stop(&l);
    assert_int_equal(access(path, F_OK), -1);
    assert_string_equal(l.name, "unix:relative");
    listener_close(&l, true);
    assert_int_equal(chdir(before), 0);
    free(before);
}

/* ---- queues ----------------------------------------------------------------------------------
 */

static int connect_to(const struct listener *l)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    int fd = socket(l->family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(getsockname(l->fd, (struct sockaddr *)&ss, &len), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
    return fd;
}

static void test_queue(void **state)
{
    struct listener_queue queue;
    struct listener l;

    (void)state;
    open_ok(&l, "127.0.0.1:0");
    assert_int_equal(listener_get_queue(&l, &queue), 0);
    assert_int_equal(queue.length, 0);
    assert_int_equal(queue.limit, 16);
    int one = connect_to(&l), two = connect_to(&l);
    assert_int_equal(listener_get_queue(&l, &queue), 0);
    assert_int_equal(queue.length, 2);
    int taken = accept(l.fd, NULL, NULL);
    assert_true(taken >= 0);
    assert_int_equal(listener_get_queue(&l, &queue), 0);
    assert_int_equal(queue.length, 1);
    (void)close(one);
    (void)close(two);
    (void)close(taken);
    listener_stop(&l);
    assert_int_equal(listener_get_queue(&l, &queue), -1);
    listener_close(&l, true);
}

/* Its queue is in no socket option. */
static void test_queue_of_a_unix_socket_is_unknown(void **state)
{
    char *text = xasprintf("unix:%s/queue", dir);
    struct listener_queue queue;
    struct listener l;

    (void)state;
    open_ok(&l, text);
    assert_int_equal(listener_get_queue(&l, &queue), -1);
    listener_close(&l, true);
    free(text);
}

static void test_texts_overlap(void **state)
{
    static const struct {
        const char *one, *other;
        bool overlap; /* where [::] takes IPv4 too */
    } rows[] = {
        {"0.0.0.0:80", "127.0.0.1:80", true},
        {"0.0.0.0:80", "127.0.0.1:81", false},
        {"127.0.0.1:80", "127.0.0.2:80", false},
        {"0.0.0.0:0", "127.0.0.1:0", false},
        {"[::]:80", "[::1]:80", true},
        {"[::1]:80", "[::2]:80", false},
        {"[::]:80", "127.0.0.1:80", true},
        {"[::1]:80", "127.0.0.1:80", false},
        {"[::1]:80", "0.0.0.0:80", false},
        {":80", "[::ffff:1.2.3.4]:80", true},
        {"1.2.3.4:80", "[::ffff:1.2.3.4]:80", true},
        {"1.2.3.5:80", "[::ffff:1.2.3.4]:80", false},
        {"localhost:80", "127.0.0.1:80", false},
        {"unix:a", "0.0.0.0:80", false},
        {"fd://3", "0.0.0.0:80", false},
        {":", "0.0.0.0:80", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *const both[] = {rows[i].one, rows[i].other};
        bool is_any = bind_is_any6(both[0]) && !bind_is_v6_only(both[0], NULL, 0);
        bool wanted = rows[i].overlap && (is_any || strchr(both[1], '[') || both[0][0] != '[');

        assert_int_equal(bind_texts_overlap(both[0], both[1], both, 2), wanted);
        assert_int_equal(bind_texts_overlap(both[1], both[0], both, 2), wanted);
    }
    static const char *const pair[] = {"[::]:80", ":80", "[::]:81"};
    assert_true(bind_is_v6_only(pair[0], pair, 3));
    assert_false(bind_texts_overlap(pair[0], pair[1], pair, 3));
    assert_int_equal(bind_is_v6_only(pair[2], pair, 3), bind_is_v6_only(pair[2], NULL, 0));
    assert_false(bind_is_v6_only(pair[1], pair, 3));
    static const char *const mapped[] = {"[::]:80", "[::ffff:0.0.0.0]:80"};
    assert_true(bind_is_v6_only(mapped[0], mapped, 2));
    assert_false(bind_texts_overlap(mapped[0], mapped[1], mapped, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_overlap),
        cmocka_unit_test(test_tcp_port_zero),
        cmocka_unit_test(test_tcp_accepted_has_nodelay),
        cmocka_unit_test(test_tcp_all_addresses),
        cmocka_unit_test(test_tcp_name),
        cmocka_unit_test(test_tcp_ipv6),
        cmocka_unit_test(test_check_texts),
        cmocka_unit_test(test_error_malformed),
        cmocka_unit_test(test_error_in_use),
        cmocka_unit_test(test_unix_open_and_unlink),
        cmocka_unit_test(test_unix_stale_is_replaced),
        cmocka_unit_test(test_unix_in_use),
        cmocka_unit_test(test_unix_foreign_file_stays),
        cmocka_unit_test(test_unix_successor_stays),
        cmocka_unit_test(test_unix_no_directory),
        cmocka_unit_test(test_fd_listening),
        cmocka_unit_test(test_fd_refused),
        cmocka_unit_test(test_fd_of_our_own),
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_same_text),
        cmocka_unit_test(test_unix_abstract),
        cmocka_unit_test(test_unix_relative),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_queue_of_a_unix_socket_is_unknown),
    };

    return cmocka_run_group_tests_name("listener", tests, make_dir, remove_dir);
}
