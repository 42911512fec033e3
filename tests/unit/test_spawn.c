/* SPDX-License-Identifier: MIT
 *
 * Ordering a worker from a template: what the order carries, what the master keeps, and that a failure
 * leaves nothing. The test is the template. A worker that the master forks itself is tested with the
 * server as a whole.
 */
#include "master_case.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "base/log.h"
#include "master/postmortem/output.h"
#include "master/preload/template.h"
#include "master/workers/spawn.h"
#include "system/ipc/packet.h"

/* The order as it is sent (template.c). */
struct order {
    uint64_t serial;
    uint32_t place, number, is_canary, is_proven;
    uint32_t fd_mask;
};

static struct spawner spawner;
static struct template template;
static int orders = -1; /* the template's end */

static int setup(void **state)
{
    int fds[2];

    (void)master_setup(state);
    assert_int_equal(template_socket(fds), 0);
    assert_int_equal(fd_set_nonblock(fds[1]), 0);
    template = (struct template){.pid = 1, .fd = fds[0]};
    orders = fds[1];
    current.template = candidate.template = &template;
    current.config.preload_app = candidate.config.preload_app = true;
    spawner = (struct spawner){.plan = &m.plan,
                               .procs = &m.procs,
                               .scoreboard = m.scoreboard,
                               .stats = m.stats,
                               .loop = m.loop,
                               .activation = &start.activation};
    return 0;
}

static int teardown(void **state)
{
    for (unsigned i = 0; i < PLACES; i++) {
        output_end(m.procs.list[i].output);
        m.procs.list[i].output = NULL;
    }
    (void)close(template.fd);
    (void)close(orders);
    return master_teardown(state);
}

/* Takes the next order; its descriptors are the caller's to close. */
static struct order take_order(struct packet *packet)
{
    struct order order;

    assert_int_equal(packet_recv(orders, &order, sizeof(order), packet), 1);
    assert_int_equal(packet->len, sizeof(order));
    return order;
}

static void assert_no_order(void)
{
    struct order order;
    struct packet packet;

    assert_int_equal(packet_recv(orders, &order, sizeof(order), &packet), 0);
}

static int open_count(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void test_order_carries_the_workers_ends(void **state)
{
    const struct proc *p = &m.procs.list[3];
    struct packet packet;
    struct up_message message;

    (void)state;
    current.is_proven = true;
    assert_int_equal(spawn_worker(&spawner, 3, 1, &current), 0);
    struct order order = take_order(&packet);
    assert_int_equal(order.serial, 1);
    assert_int_equal(order.place, 3);
    assert_int_equal(order.number, 1);
    assert_false(order.is_canary);
    assert_true(order.is_proven);
    assert_int_equal(order.fd_mask, 1 | 2);
    assert_int_equal(packet.fd_count, 2);
    assert_int_equal(channel_send_up(packet.fds[0], UP_READY, NULL), 0);
    assert_int_equal(channel_recv_up(p->channel.up_read, &message), 1);
    assert_true(proc_order(p, DOWN_STOP, 5));
    struct down_message down;
    assert_int_equal(channel_recv_down(packet.fds[1], &down), 1);
    assert_int_equal(down.type, DOWN_STOP);
    packet_close_fds(&packet);
    /* the template had the only other copies: the master sees its end */
    assert_int_equal(channel_recv_up(p->channel.up_read, &message), -1);
}

static void test_ordered_worker_is_pending(void **state)
{
    const struct proc *p = &m.procs.list[0];
    uint64_t before = now_ms();

    (void)state;
    assert_int_equal(spawn_worker(&spawner, 0, 0, &current), 0);
    assert_int_equal(p->w->phase, PROC_PENDING);
    assert_int_equal(p->w->pid, 0);
    assert_int_equal(p->w->generation, 1);
    assert_ptr_equal(p->template, &template);
    assert_int_equal(p->serial, template.last_serial);
    assert_in_range(p->w->started_ms, before, now_ms());
    assert_int_equal(p->w->heard_ms, p->w->started_ms);
    assert_int_equal(p->w->deadline_ms, p->w->started_ms + BOOT_MS);
    assert_null(p->output);
    assert_true(p->channel.up_write < 0 && p->channel.down_worker < 0);
    const struct slot *slot = proc_slot(&m.procs, p);
    assert_int_equal(slot->worker_number, 0);
    assert_int_equal(slot->generation, 1);
    assert_int_equal(spawn_worker(&spawner, 1, 1, &current), 0);
    assert_int_equal(m.procs.list[1].serial, p->serial + 1);
}

static void test_slot_of_before_is_cleared(void **state)
{
    struct slot *slot = scoreboard_slot(m.scoreboard, 0);

    (void)state;
    slot->state = SLOT_DRAINING;
    slot->counts.connections = 7;
    slot->waiting = 3;
    assert_int_equal(spawn_worker(&spawner, 0, 1, &current), 0);
    assert_int_equal(slot->state, SLOT_BOOTING);
    assert_int_equal(slot->counts.connections, 0);
    assert_int_equal(slot->waiting, 0);
    assert_int_equal(slot->worker_number, 1);
}

static void test_candidate_and_trial_are_canaries(void **state)
{
    struct packet packet;

    (void)state;
    tries_a_candidate();
    candidate.config.reload_check_path = "/check";
    assert_int_equal(spawn_worker(&spawner, 0, 0, &candidate), 0);
    assert_true(take_order(&packet).is_canary);
    packet_close_fds(&packet);
    assert_int_equal(spawn_worker(&spawner, 1, 1, &current), 0);
    assert_false(take_order(&packet).is_canary);
    packet_close_fds(&packet);
    spawner.is_trial = true;
    current.config.reload_check_path = "/check";
    assert_int_equal(spawn_worker(&spawner, 2, 0, &current), 0);
    assert_true(take_order(&packet).is_canary);
    packet_close_fds(&packet);
}

static void test_output_is_captured(void **state)
{
    struct packet packet;

    (void)state;
    current.config.capture_output = true;
    assert_int_equal(spawn_worker(&spawner, 0, 0, &current), 0);
    assert_non_null(m.procs.list[0].output);
    assert_int_equal(take_order(&packet).fd_mask, 1 | 2 | 4);
    assert_int_equal(write(packet.fds[2], "said\n", 5), 5);
    output_take(m.procs.list[0].output);
    assert_non_null(strstr(logged(), "said\n"));
    packet_close_fds(&packet);
}

static void test_log_files_are_sent(void **state)
{
    struct packet packet;

    (void)state;
    current.error_fd = current.access_fd = log_fd();
    current.config.errorlog = "-";
    current.config.accesslog = "access";
    assert_int_equal(spawn_worker(&spawner, 0, 0, &current), 0);
    assert_int_equal(take_order(&packet).fd_mask, 1 | 2 | 16);
    packet_close_fds(&packet);
    current.config.errorlog = "error";
    assert_int_equal(spawn_worker(&spawner, 1, 1, &current), 0);
    assert_int_equal(take_order(&packet).fd_mask, 1 | 2 | 8 | 16);
    packet_close_fds(&packet);
    current.error_fd = current.access_fd = -1;
}

/* The template does not read: its socket is full. */
static void test_failed_order_leaves_nothing(void **state)
{
    unsigned place = 0;

    (void)state;
    current.config.capture_output = true;
    while (send(template.fd, "", 1, MSG_DONTWAIT) == 1)
        continue;
    int before = open_count();
    assert_int_equal(spawn_worker(&spawner, (int)place, 0, &current), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(open_count(), before);
    assert_int_equal(m.procs.list[place].w->phase, PROC_EMPTY);
    assert_null(m.procs.list[place].settings);
    assert_int_equal(current.refs, 1000);
}

static void test_master_keeps_two_descriptors_of_a_worker(void **state)
{
    struct packet packet;
    int before = open_count();

    (void)state;
    assert_int_equal(spawn_worker(&spawner, 0, 0, &current), 0);
    (void)take_order(&packet);
    packet_close_fds(&packet);
    assert_int_equal(open_count(), before + 2);
    current.config.capture_output = true;
    assert_int_equal(spawn_worker(&spawner, 1, 1, &current), 0);
    (void)take_order(&packet);
    packet_close_fds(&packet);
    assert_int_equal(open_count(), before + 2 + 3);
    assert_no_order();
}

/* ---- forked by the master: the children end at once, as their generation has no directory --------- */

static void test_forked_worker_boots(void **state)
{
    const struct proc *p = &m.procs.list[0];
    struct up_message message;
    sigset_t before, after;
    int open_before = open_count(), status;

    (void)state;
    current.template = NULL;
    current.error_fd = log_fd();
    (void)sigprocmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(spawn_worker(&spawner, 0, 0, &current), 0);
    (void)sigprocmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
    assert_int_equal(p->w->phase, PROC_BOOTING);
    assert_true(p->w->pid > 0 && !p->template);
    assert_int_equal(open_count(), open_before + 2);
    assert_int_equal(waitpid(p->w->pid, &status, 0), p->w->pid);
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_non_null(strstr(logged(), "cannot change to the directory of generation 1"));
    assert_int_equal(channel_recv_up(p->channel.up_read, &message),
                     -1); /* the end of its channel */
    places[0].pid = 0;
    current.error_fd = -1;
}

static void test_template_is_forked(void **state)
{
    struct template_news news;
    int open_before = open_count(), status;

    (void)state;
    candidate.template = NULL;
    candidate.config.capture_output = true;
    assert_int_equal(spawn_template(&spawner, &candidate), 0);
    struct template *t = candidate.template;
    assert_true(t && t->pid > 0 && t->output);
    assert_int_equal(t->last_serial, 0);
    assert_int_equal(open_count(), open_before + 2);
    assert_int_equal(waitpid(t->pid, &status, 0), t->pid);
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_int_equal(template_recv(t, &news), -1); /* the end of its socket */
    output_end(t->output);
    (void)close(t->fd);
    free(t);
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(order_carries_the_workers_ends),
        T(ordered_worker_is_pending),
        T(slot_of_before_is_cleared),
        T(candidate_and_trial_are_canaries),
        T(output_is_captured),
        T(log_files_are_sent),
        T(failed_order_leaves_nothing),
        T(master_keeps_two_descriptors_of_a_worker),
        T(forked_worker_boots),
        T(template_is_forked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
