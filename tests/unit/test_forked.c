/* SPDX-License-Identifier: MIT
 *
 * A child that the application forks: which descriptors it has, what gcorn.h's functions do in it,
 * and what becomes of it when it comes back to the server. Each case in a process of its own, for
 * forks are watched until the process ends.
 */
#include "worker_case.h"

#include "in_child.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>

#include "base/owned.h"
#include "gcorn.h"
#include "worker/call/forked.h"

static struct worker_case the_case;
static void (*in_call)(struct gcorn_environ *env);
static int own_fd; /* the application's */

static struct gcorn_body *handler(struct gcorn_environ *env,
                                  struct gcorn_start_response *start_response)
{
    in_call(env);
    (void)gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, "whole");
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void become_worker(void)
{
    worker_case_init(&the_case);
    worker_case_start(&the_case, handler, 0);
    forked_init(the_case.w);
    own_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* The exit status of a child that the worker's application forks, and that runs this. */
static int status_of_child(void (*run)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        run();
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void check_descriptors(void)
{
    const struct channel *c = &the_case.channel;

    CHECK(!is_open(c->up_write) && !is_open(c->down_worker));
    CHECK(!is_open(the_case.w->conns[0].wire.fd));
    CHECK(is_open(own_fd) && is_open(0) && is_open(1) && is_open(2));
    CHECK(is_open(log_fd()));
}

static void check_parent(void)
{
    CHECK(is_open(the_case.channel.up_write) && is_open(the_case.channel.down_worker));
    CHECK(is_open(the_case.w->conns[0].wire.fd));
    CHECK(worker_this() == the_case.w);
    owned_lock(); /* it was let go of */
    owned_unlock();
}

static void fork_beside_connections(void *unused)
{
    (void)unused;
    become_worker();
    (void)worker_case_connect(&the_case);
    owned_add(the_case.w->conns[0].wire.fd); /* as accept does */
    CHECK(status_of_child(check_descriptors) == 0);
    check_parent();
    CHECK(status_of_child(check_descriptors) == 0); /* and once more */
    check_parent();
}

static void test_child_has_the_applications_descriptors_alone(void **state)
{
    (void)state;
    expect_exit(fork_beside_connections, NULL, 0);
}

static void check_functions(void)
{
    CHECK(worker_this() == NULL);
    CHECK(gcorn_worker_number() == 0 && gcorn_loop() == NULL && gcorn_threads() == 1);
    CHECK(!gcorn_draining());
    gcorn_wake((UINT64_C(1) << 20) | 0);
}

static void fork_a_child_that_asks(void *unused)
{
    (void)unused;
    become_worker();
    CHECK(gcorn_worker_number() == 3);
    CHECK(status_of_child(check_functions) == 0);
    CHECK(gcorn_worker_number() == 3);
}

static void test_child_has_no_worker(void **state)
{
    (void)state;
    expect_exit(fork_a_child_that_asks, NULL, 0);
}

static void return_to_server(void)
{
    forked_check();
}

static void fork_a_child_that_returns(void *unused)
{
    (void)unused;
    become_worker();
    CHECK(status_of_child(return_to_server) == EXIT_FAILED);
    forked_check(); /* the worker itself is no child */
}

static void test_child_that_returns_to_the_server_is_ended(void **state)
{
    (void)state;
    expect_exit(fork_a_child_that_returns, NULL, 0);
}

static void fork_and_return(struct gcorn_environ *env)
{
    int status;
    pid_t pid = fork();

    (void)env;
    if (pid == 0)
        return; /* from the handler, in the child */
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILED);
}

static void serve_a_handler_that_forks(void *unused)
{
    (void)unused;
    become_worker();
    in_call = fork_and_return;
    int client = worker_case_ask(&the_case, "/");
    (void)worker_case_answer(&the_case, client, "whole"); /* by the worker, once */
    CHECK(strstr(worker_case_read(client), "HTTP") == NULL);
    CHECK(the_case.slot->counts.begun == 1);
}

static void test_child_that_returns_from_a_handler_answers_nobody(void **state)
{
    (void)state;
    expect_exit(serve_a_handler_that_forks, NULL, 0);
}

static void check_body(struct gcorn_environ *env)
{
    int status, body_fd = env->request.body.fd;
    pid_t pid;

    CHECK(body_fd >= 0);
    pid = fork();
    if (pid == 0)
        _exit(is_open(body_fd) ? 0 : 1);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void serve_an_upload(void *unused)
{
    static char body[2048 * 1024]; /* more than is kept in memory */

    (void)unused;
    become_worker();
    in_call = check_body;
    int client = worker_case_connect(&the_case);
    worker_case_send(client, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2097152\r\n\r\n");
    memset(body, 'b', sizeof(body));
    for (size_t sent = 0; sent < sizeof(body);) {
        ssize_t n = send(client, body + sent, sizeof(body) - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        worker_case_turn(&the_case);
    }
    (void)worker_case_answer(&the_case, client, "whole");
}

/* Its own request's body it may read; it is a file without a name. */
static void test_child_of_a_call_keeps_the_body_of_its_request(void **state)
{
    (void)state;
    expect_exit(serve_an_upload, NULL, 0);
}

static void check_everything_is_there(void)
{
    CHECK(is_open(the_case.channel.up_write));
    CHECK(worker_this() == the_case.w);
    forked_check(); /* it is the server's */
}

static void fork_by_server(void *unused)
{
    (void)unused;
    become_worker();
    forked_by_server(true);
    CHECK(status_of_child(check_everything_is_there) == 0);
    forked_by_server(false);
    (void)worker_case_connect(&the_case);
    owned_add(the_case.w->conns[0].wire.fd);
    CHECK(status_of_child(check_descriptors) == 0);
}

static void test_child_of_the_server_keeps_everything(void **state)
{
    (void)state;
    expect_exit(fork_by_server, NULL, 0);
}

/* Handlers of forks run in the reverse order of their registration: one that is registered before the
 * server's runs while that holds the lock, and one that is registered later runs before it. */
static _Thread_local bool is_application_thread;
static int lock_held[2], server_forks[2]; /* pipes */

static void before_servers_handler(void)
{
    if (!is_application_thread && server_forks[1] >= 0)
        CHECK(write(server_forks[1], "f", 1) == 1);
}

static void after_servers_handler(void)
{
    char byte;

    if (!is_application_thread)
        return;
    CHECK(write(lock_held[1], "l", 1) == 1);
    CHECK(read(server_forks[0], &byte, 1) == 1);
    (void)poll(NULL, 0, 100); /* for the server's fork to go past the lock, if it does */
}

static void *fork_in_thread(void *unused)
{
    (void)unused;
    is_application_thread = true;
    CHECK(status_of_child(check_descriptors) == 0);
    return NULL;
}

static void take_lock_in_child(void)
{
    (void)alarm(5);
    owned_lock();
    owned_unlock();
}

static void fork_while_a_thread_forks(void *unused)
{
    pthread_t thread;
    char byte;

    (void)unused;
    CHECK(pipe(lock_held) == 0 && pipe(server_forks) == 0);
    CHECK(pthread_atfork(after_servers_handler, NULL, NULL) == 0);
    become_worker();
    (void)worker_case_connect(&the_case);
    owned_add(the_case.w->conns[0].wire.fd);
    CHECK(pthread_atfork(before_servers_handler, NULL, NULL) == 0);
    CHECK(pthread_create(&thread, NULL, fork_in_thread, NULL) == 0);
    CHECK(read(lock_held[0], &byte, 1) == 1);
    forked_by_server(true);
    CHECK(status_of_child(take_lock_in_child) == 0);
    forked_by_server(false);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void test_server_forks_while_a_thread_forks_lock_is_free(void **state)
{
    (void)state;
    expect_exit(fork_while_a_thread_forks, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_child_has_the_applications_descriptors_alone),
        cmocka_unit_test(test_child_has_no_worker),
        cmocka_unit_test(test_child_that_returns_to_the_server_is_ended),
        cmocka_unit_test(test_child_that_returns_from_a_handler_answers_nobody),
        cmocka_unit_test(test_child_of_a_call_keeps_the_body_of_its_request),
        cmocka_unit_test(test_child_of_the_server_keeps_everything),
        cmocka_unit_test(test_server_forks_while_a_thread_forks_lock_is_free),
    };

    log_set_level(LOG_LEVEL_CRITICAL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
