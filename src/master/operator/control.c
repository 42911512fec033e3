/* SPDX-License-Identifier: MIT
 *
 * See control.h: the socket and its clients; control_client.h has one client's states,
 * control_ops.h the commands.
 */
#include "master/operator/control.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/util.h"
#include "master/operator/control_client.h"
#include "master/operator/control_ops.h"

enum {
    BACKLOG = 16,
    ACCEPT_AGAIN_MS = 1000,
};

static void on_client(struct ev_loop *loop, struct ev_io *io, int revents);

/* ---- events ------------------------------------------------------------------------------ */

static void read_line(struct control_client *client)
{
    ssize_t n = recv(client->fd, client->line + client->line_len,
                     sizeof(client->line) - client->line_len, MSG_DONTWAIT);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n < 0 || (n == 0 && client->line_len == 0)) {
        control_client_set(client, CLIENT_FREE);
        return;
    }
    client->line_len += (size_t)n;
    const char *newline = memchr(client->line, '\n', client->line_len);
    if (newline || n == 0) /* the end of input ends the line too */
        control_run(client, newline ? (size_t)(newline - client->line) : client->line_len);
    else if (client->line_len == sizeof(client->line))
        control_client_refuse(client, "the command is too long");
}

static void on_client(struct ev_loop *loop, struct ev_io *io, int revents)
{
    struct control_client *client = io->data;

    (void)loop;
    (void)revents;
    if (client->state == CLIENT_READING)
        read_line(client);
    else
        control_client_flush(client);
}

/* True: the client has closed the connection. A half-closed client still reads the answer. */
static bool is_gone(const struct control_client *client)
{
    struct pollfd one = {.fd = client->fd};

    return poll(&one, 1, 0) > 0 && (one.revents & (POLLHUP | POLLERR)) != 0;
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    struct control_client *client = timer->data;

    (void)loop;
    (void)revents;
    if (client->state != CLIENT_WAITING || is_gone(client))
        control_client_set(client, CLIENT_FREE);
}

/* Sends an error, as far as the socket takes it without blocking, and closes. */
static void refuse(int fd, const char *why)
{
    struct strbuf answer = {0};

    control_add_error(&answer, why);
    (void)send(fd, answer.data, answer.len, MSG_NOSIGNAL | MSG_DONTWAIT); /* best effort */
    strbuf_release(&answer);
    (void)close(fd);
}

static struct control_client *find_free(struct control *c)
{
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        struct control_client *client = &c->clients[i];

        if (client->state == CLIENT_WAITING && is_gone(client))
            control_client_set(client, CLIENT_FREE);
        if (client->state == CLIENT_FREE)
            return client;
    }
    return NULL;
}

/* Returns NULL when there are too many clients; then fd is answered with an error and closed. */
static struct control_client *add_client(struct control *c, int fd)
{
    struct control_client *client = find_free(c);

    if (!client) {
        refuse(fd, "too many clients of the control socket at once");
        return NULL;
    }
    client->fd = fd;
    client->line_len = client->sent = 0;
    return client;
}

void control_add(struct control *c, int fd)
{
    struct control_client *client = add_client(c, fd);

    if (client)
        control_client_set(client, CLIENT_READING);
}

static bool is_allowed(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return false;
    if (peer.uid == 0 || peer.uid == geteuid())
        return true;
    log_warnx("Control socket: pid %d of user %u was refused", (int)peer.pid, (unsigned)peer.uid);
    return false;
}

static void on_accept(struct ev_loop *loop, struct ev_io *io, int revents)
{
    struct control *c = io->data;
    int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)revents;
    if (fd < 0) {
        if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
            return;
        log_warn("Control socket: accept"); /* out of descriptors: a retry at once would spin */
        ev_io_stop(loop, io);
        ev_timer_stop(loop, &c->accept_again);
        ev_timer_set(&c->accept_again, ACCEPT_AGAIN_MS / 1000.0, 0);
        ev_timer_start(loop, &c->accept_again);
    } else if (!is_allowed(fd)) {
        refuse(fd, "only root and the user of the server may ask it");
    } else {
        control_add(c, fd);
    }
}

static void on_accept_again(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    struct control *c = timer->data;

    (void)revents;
    ev_io_start(loop, &c->accepting);
}

/* ---- reloads ----------------------------------------------------------------------------- */

static bool waits(const struct control_client *client, enum client_wait what)
{
    return client->state == CLIENT_WAITING && client->waits_for == what;
}

static bool awaits(const struct control_client *client, uint64_t first, uint64_t last)
{
    return waits(client, WAIT_RELOAD) && client->reload >= first && client->reload <= last;
}

void control_reload_done(struct control *c, uint64_t last, unsigned generation)
{
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        if (!awaits(&c->clients[i], 0, last))
            continue;
        strbuf_addf(&c->clients[i].answer, "{\"ok\": true, \"generation\": %u}\n", generation);
        control_client_flush(&c->clients[i]);
    }
}

void control_reload_failed(struct control *c, uint64_t first, uint64_t last, const char *why)
{
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        if (awaits(&c->clients[i], first, last))
            control_client_refuse(&c->clients[i], why);
    }
}

/* ---- dumps ------------------------------------------------------------------------------- */

void control_dump_done(struct control *c, uint64_t dump, const char *members, size_t len)
{
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        struct control_client *client = &c->clients[i];

        if (!waits(client, WAIT_DUMP) || client->dump != dump)
            continue;
        strbuf_addstr(&client->answer, "{\"ok\": true, ");
        strbuf_add(&client->answer, members, len);
        strbuf_addstr(&client->answer, "}\n");
        control_client_flush(client);
    }
}

/* ---- upgrades ---------------------------------------------------------------------------- */

void control_upgrade_done(struct control *c, pid_t pid)
{
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        struct control_client *client = &c->clients[i];

        if (!waits(client, WAIT_UPGRADE))
            continue;
        strbuf_addf(&client->answer, "{\"ok\": true, \"pid\": %d}\n", (int)pid);
        control_client_flush(client);
    }
}

void control_upgrade_failed(struct control *c, const char *why)
{
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        if (waits(&c->clients[i], WAIT_UPGRADE))
            control_client_refuse(&c->clients[i], why);
    }
}

void control_lend(struct control *c)
{
    struct listener none = {.fd = -1};

    c->listener.lent = true;
    control_serve(c, &none);
}

/* ---- life -------------------------------------------------------------------------------- */

void control_init(struct control *c, struct ev_loop *loop, const struct control_ops *ops,
                  void *master)
{
    memset(c, 0, sizeof(*c));
    c->loop = loop;
    c->ops = ops;
    c->master = master;
    c->stall_ms = CONTROL_STALL_MS;
    c->listener.fd = -1;
    ev_init(&c->accepting, on_accept);
    ev_init(&c->accept_again, on_accept_again);
    c->accepting.data = c->accept_again.data = c;
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        struct control_client *client = &c->clients[i];

        client->control = c;
        client->fd = -1;
        ev_init(&client->io, on_client);
        ev_init(&client->timer, on_timer);
        client->io.data = client->timer.data = client;
    }
}

/* Always a file, never an abstract socket: its mode keeps other users out. */
static char *address_of(const char *path)
{
    return xasprintf("unix:%s%s", path[0] == '@' ? "./" : "", path);
}

int control_listen(struct listener *l, const char *path, const struct file_notice *notice,
                   struct error *err)
{
    const struct listener_options options = {.uid = geteuid(), .gid = getegid(), .notice = *notice};
    char *address = address_of(path);
    mode_t before = umask(0177);
    int result = listener_open_for(l, address, BACKLOG, &options, err);

    (void)umask(before);
    free(address);
    return result < 0 ? error_prefix(err, "control_socket") : 0;
}

enum listener_state control_probe(const char *path, pid_t *holder, struct error *err)
{
    char *address = address_of(path);
    enum listener_state state = listener_probe(address, holder, err);

    free(address);
    if (state != LISTENER_FREE)
        (void)error_prefix(err, "control_socket");
    return state;
}

void control_serve(struct control *c, struct listener *l)
{
    ev_io_stop(c->loop, &c->accepting);
    ev_timer_stop(c->loop, &c->accept_again);
    listener_close(&c->listener, true);
    c->listener = *l;
    *l = (struct listener){.fd = -1};
    if (c->listener.fd < 0)
        return;
    ev_io_set(&c->accepting, c->listener.fd, EV_READ);
    ev_io_start(c->loop, &c->accepting);
}

const char *control_path(const struct control *c)
{
    return c->listener.path;
}

void control_close(struct control *c)
{
    struct listener none = {.fd = -1};

    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        if (c->clients[i].state != CLIENT_FREE)
            control_client_set(&c->clients[i], CLIENT_FREE);
    }
    control_serve(c, &none);
}
