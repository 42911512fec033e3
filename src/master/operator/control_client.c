/* SPDX-License-Identifier: MIT
 *
 * See control_client.h. control_client_set() alone owns watchers and timers.
 */
#include "master/operator/control_client.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "master/operator/control.h"

enum { GONE_CHECK_MS = 1000 }; /* how often waiting clients are tested for a close */

static void set_timer(struct control_client *client, uint64_t after_ms, uint64_t repeat_ms)
{
    struct ev_loop *loop = client->control->loop;

    ev_timer_stop(loop, &client->timer);
    ev_timer_set(&client->timer, (double)after_ms / 1000, (double)repeat_ms / 1000);
    ev_timer_start(loop, &client->timer);
}

void control_client_set(struct control_client *client, enum client_state state)
{
    struct control *c = client->control;

    assert(client->fd >= 0);
    client->state = state;
    ev_io_stop(c->loop, &client->io);
    switch (state) {
    case CLIENT_READING:
    case CLIENT_WRITING:
        ev_io_set(&client->io, client->fd, state == CLIENT_READING ? EV_READ : EV_WRITE);
        ev_io_start(c->loop, &client->io);
        set_timer(client, c->stall_ms, 0);
        break;
    case CLIENT_WAITING: set_timer(client, GONE_CHECK_MS, GONE_CHECK_MS); break;
    case CLIENT_FREE:
        ev_timer_stop(c->loop, &client->timer);
        fd_close(&client->fd);
        strbuf_release(&client->answer);
        break;
    }
}

void control_client_wait(struct control_client *client, enum client_wait what)
{
    assert(client->state == CLIENT_READING);
    client->waits_for = what;
    control_client_set(client, CLIENT_WAITING);
}

void control_client_flush(struct control_client *client)
{
    const struct strbuf *answer = &client->answer;

    assert(client->state != CLIENT_FREE && client->sent <= answer->len);

    while (client->sent < answer->len) {
        ssize_t n = send(client->fd, answer->data + client->sent, answer->len - client->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            control_client_set(client, CLIENT_WRITING);
            return;
        }
        if (n < 0)
            break; /* the client has closed the connection */
        client->sent += (size_t)n;
    }
    control_client_set(client, CLIENT_FREE);
}

void control_add_error(struct strbuf *answer, const char *why)
{
    strbuf_addstr(answer, "{\"ok\": false, \"error\": ");
    json_add_string(answer, why);
    strbuf_addstr(answer, "}\n");
}

void control_client_refuse(struct control_client *client, const char *why)
{
    control_add_error(&client->answer, why);
    control_client_flush(client);
}
