/* SPDX-License-Identifier: MIT
 *
 * worker_case - a worker in the test's own process: its loop, its table of connections, a slot and
 * a channel whose master is the test. Connections are socket pairs. There are no listening sockets
 * and no signal handlers, and the loop turns only when the test says so.
 */
#ifndef TESTS_WORKER_CASE_H
#define TESTS_WORKER_CASE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "settings/config.h"
#include "system/code/sanitizer.h"
#include "system/ipc/channel.h"
#include "system/ipc/scoreboard.h"
#include "worker/accept/accept.h"
#include "worker/call/app.h"
#include "worker/call/call.h"
#include "worker/call/wake.h"
#include "worker/commands.h"
#include "worker/conn/conn.h"
#include "worker/conn/stream.h"
#include "worker/wire/wire.h"
#include "worker/single_request.h"
#include "worker/loop/clock.h"
#include "worker/loop/counts.h"
#include "worker/loop/pools.h"
#include "worker/loop/run_queue.h"
#include "worker/worker.h"

void __lsan_unregister_root_region(const void *p, size_t size) __attribute__((weak));

struct worker_case {
    struct config config;
    struct shared_hints hints;
    struct channel channel;
    struct worker_args args;
    struct slot *slot; /* shared with children of the test */
    struct worker *w;
};

enum { WORKER_CASE_CONNS = 160, WORKER_CASE_PATIENCE_MS = 20000 };

/* What a setting is to be before worker_case_start. */
static inline void worker_case_init(struct worker_case *t)
{
    *t = (struct worker_case){.slot = NULL};
    config_init(&t->config);
    t->config.worker_connections = WORKER_CASE_CONNS;
    t->config.workers = 1;
    assert_int_equal(channel_open(&t->channel), 0);
    t->slot =
        mmap(NULL, sizeof(*t->slot), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(t->slot != MAP_FAILED);
}

static inline void worker_case_start(struct worker_case *t, gcorn_app *handler, unsigned threads)
{
    if (threads > 0) {
        t->config.worker_class = WORKER_CLASS_GTHREAD;
        t->config.threads = (int)threads;
    }
    t->args = (struct worker_args){.role = "worker",
                                   .config = &t->config,
                                   .symbol = "handler",
                                   .channel = t->channel,
                                   .slot = t->slot,
                                   .hints = &t->hints,
                                   .number = 3,
                                   .generation = 7,
                                   .access_fd = -1,
                                   .master_pid = getppid()};
    struct worker *w = t->w = worker_new_alone(&t->args);

    assert_non_null(w);
    w->app = (struct app){.handler = handler};
    clock_init(w);
    pools_init(w);
    run_queue_init(w);
    wake_init(w);
    accept_init(w);
    commands_init(w);
    worker_look_at_clock(w);
    call_open(w);
    commands_start(w);
    ev_async_start(w->loop, &w->waker.turn);
    ev_check_start(w->loop, &w->pass_begin);
    w->slot->state = SLOT_IDLE;
}

static inline void worker_case_open(struct worker_case *t, gcorn_app *handler, unsigned threads)
{
    worker_case_init(t);
    worker_case_start(t, handler, threads);
}

/* One turn of the loop, which may sleep for a moment. */
static inline void worker_case_turn(struct worker_case *t)
{
    single_request_wait(t->w);
}

/* Turns the loop until the condition holds. */
#define WORKER_CASE_UNTIL(t, condition)                                                            \
    do {                                                                                           \
        uint64_t until_ms_ = now_ms() + WORKER_CASE_PATIENCE_MS;                                   \
        while (!(condition)) {                                                                     \
            if (now_ms() > until_ms_)                                                              \
                fail_msg("never: %s", #condition);                                                 \
            worker_case_turn(t);                                                                   \
        }                                                                                          \
    } while (0)

/* A few turns, for what must not happen. */
static inline void worker_case_turns(struct worker_case *t)
{
    for (int i = 0; i < 5; i++)
        worker_case_turn(t);
}

/* The client's end of a new connection. */
static inline int worker_case_connect(struct worker_case *t)
{
    static const struct http_local local = {"", "", "http"};
    static const struct sockaddr_storage address = {.ss_family = AF_UNIX};
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    conn_open(t->w, wire_plain(ends[0]), &local, &address);
    return ends[1];
}

static inline void worker_case_send(int client, const char *text)
{
    assert_int_equal(send(client, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static inline int worker_case_ask(struct worker_case *t, const char *target)
{
    char text[256];
    int client = worker_case_connect(t);

    (void)snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: t\r\n\r\n", target);
    worker_case_send(client, text);
    return client;
}

/* What has come by now, up to a NUL; "" when nothing has. */
static inline const char *worker_case_read(int client)
{
    static char text[64 * 1024];
    ssize_t n = recv(client, text, sizeof(text) - 1, MSG_DONTWAIT);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static inline bool worker_case_has(int client, const char *wanted)
{
    static char text[64 * 1024];
    ssize_t n = recv(client, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_PEEK);

    text[n > 0 ? n : 0] = '\0';
    return strstr(text, wanted) != NULL;
}

/* Turns the loop until the client has been sent this, and takes what has come. */
static inline const char *worker_case_answer(struct worker_case *t, int client, const char *wanted)
{
    WORKER_CASE_UNTIL(t, worker_case_has(client, wanted));
    return worker_case_read(client);
}

/* Has the worker closed its side, with nothing unread before that? */
static inline bool worker_case_is_closed(int client)
{
    char byte;

    return recv(client, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

/* The master's next message; 0: none. */
static inline int worker_case_told(struct worker_case *t, struct up_message *m)
{
    return channel_recv_up(t->channel.up_read, m) == 1 ? (int)m->type : 0;
}

static inline void worker_case_order(struct worker_case *t, enum down_type type, uint32_t ms)
{
    const struct down_message m = {.type = type, .ms = ms, .fds = {-1, -1}};

    assert_int_equal(channel_send_down(t->channel.down_master, &m), 0);
}

static inline void worker_case_unmap(void *table, size_t size)
{
    if (__lsan_unregister_root_region)
        __lsan_unregister_root_region(table, size);
    assert_int_equal(munmap(table, size), 0);
}

/* Nothing may be open, in flight or waiting. Clients are the test's to close before. */
static inline void worker_case_close(struct worker_case *t)
{
    struct worker *w = t->w;

    WORKER_CASE_UNTIL(t, w->open_conns == 0);
    assert_int_equal(w->waiting_count, 0);
    assert_int_equal(w->slot->connections_open, 0);
    for (size_t i = 0; i < w->exchanges_used; i++)
        assert_false(w->exchanges[i].is_lent);
    call_stop(w);
    worker_set_this(NULL);
    while (w->spare_count > 0) {
        struct gcorn_environ *env = w->spare[--w->spare_count];

        environ_release(env);
        free(env);
    }
    ev_loop_destroy(w->loop);
    forwarded_rules_release(&w->http.forwarded);
    networks_release(&w->peers.proxies);
    assert_true(buffer_pool_is_idle(&w->bodies));
    buffer_pool_release(&w->bodies);
    strbuf_release(&w->out);
    free(w->in);
    free(w->acceptors);
    free(w->callback_names);
    free(w->app_timers);
    free(w->app_threads);
    free(w->posts);
    worker_case_unmap(w->conns, w->max_conns * sizeof(*w->conns));
    worker_case_unmap(w->exchanges, w->max_conns * sizeof(*w->exchanges));
    free(w);
    channel_close(&t->channel);
    (void)munmap(t->slot, sizeof(*t->slot));
    config_release(&t->config);
}

#endif
