/* SPDX-License-Identifier: MIT
 *
 * See control.h. A client is a small state machine: READING its line, perhaps WAITING for a reload
 * or a dump, WRITING what the socket did not take at once, FREE. set_state() alone owns watchers
 * and timers.
 *
 * An answer may be given from inside an operation (a reload that fails at once), so nothing touches
 * a client after it has called one.
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

enum {
    BACKLOG = 16,
    WORD_SHOWN = 40,      /* bytes of an unknown command that the answer shows */
    GONE_CHECK_MS = 1000, /* whether a waiting client is still there */
    ACCEPT_AGAIN_MS = 1000,
};

static void on_client(struct ev_loop *loop, struct ev_io *io, int revents);

/* ---- a client ---------------------------------------------------------------------------- */

static void set_timer(struct control_client *client, uint64_t after_ms, uint64_t repeat_ms)
{
    struct ev_loop *loop = client->control->loop;

    ev_timer_stop(loop, &client->timer);
    ev_timer_set(&client->timer, (double)after_ms / 1000, (double)repeat_ms / 1000);
    ev_timer_start(loop, &client->timer);
}

static void set_state(struct control_client *client, enum client_state state)
{
    struct control *c = client->control;

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

static void wait_for(struct control_client *client, enum client_wait what)
{
    client->waits_for = what;
    set_state(client, CLIENT_WAITING);
}

/* Sends what the socket takes; when that was all, the end follows. */
static void flush(struct control_client *client)
{
    const struct strbuf *answer = &client->answer;

    while (client->sent < answer->len) {
        ssize_t n = send(client->fd, answer->data + client->sent, answer->len - client->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            set_state(client, CLIENT_WRITING);
            return;
        }
        if (n < 0)
            break; /* it has left */
        client->sent += (size_t)n;
    }
    set_state(client, CLIENT_FREE);
}

static void add_error(struct strbuf *answer, const char *why)
{
    strbuf_addstr(answer, "{\"ok\": false, \"error\": ");
    json_add_string(answer, why);
    strbuf_addstr(answer, "}\n");
}

static void answer_error(struct control_client *client, const char *why)
{
    add_error(&client->answer, why);
    flush(client);
}

/* ---- commands ---------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void answer_ok(struct control_client *client)
{
    strbuf_addstr(&client->answer, "{\"ok\": true}\n");
    flush(client);
}

static void answer_status(struct control_client *client, const char *argument)
{
    struct control *c = client->control;

    (void)argument;
    c->ops->status(c->master, &client->answer);
    strbuf_addch(&client->answer, '\n');
    flush(client);
}

static void answer_config(struct control_client *client, const char *argument)
{
    struct control *c = client->control;

    (void)argument;
    c->ops->config(c->master, &client->answer);
    strbuf_addch(&client->answer, '\n');
    flush(client);
}

static void answer_reload(struct control_client *client, const char *argument)
{
    struct control *c = client->control;

    (void)argument;
    client->reload = c->ops->next_reload(c->master);
    if (client->reload == 0) {
        answer_error(client, "the server is stopping");
        return;
    }
    wait_for(client, WAIT_RELOAD);
    c->ops->reload(c->master);
}

/* How many workers "+N", "-N" and "set N" ask for when there are `wanted`. False: it is none of
 * them. */
static bool parse_workers(const char *argument, unsigned wanted, int64_t *number)
{
    static const char set[] = "set";
    bool is_set = strncmp(argument, set, strlen(set)) == 0 && is_blank(argument[strlen(set)]);
    const char *digits = argument + 1;
    int64_t n;

    if (is_set) {
        digits = argument + strlen(set);
        while (is_blank(*digits))
            digits++;
    } else if (*argument != '+' && *argument != '-') {
        return false;
    }
    if (parse_int(digits, 0, INT_MAX, &n) < 0)
        return false;
    *number = is_set ? n : *argument == '+' ? (int64_t)wanted + n : (int64_t)wanted - n;
    return true;
}

static void answer_workers(struct control_client *client, const char *argument)
{
    struct control *c = client->control;
    struct error err;
    int64_t number;

    if (!parse_workers(argument, c->ops->workers_wanted(c->master), &number)) {
        answer_error(client, "workers: needs +N, -N or set N");
    } else if (c->ops->set_workers(c->master, number, &client->answer, &err) < 0) {
        answer_error(client, err.text);
    } else {
        strbuf_addch(&client->answer, '\n');
        flush(client);
    }
}

static void answer_reopen(struct control_client *client, const char *argument)
{
    struct control *c = client->control;
    struct error err;

    (void)argument;
    if (c->ops->reopen(c->master, &err) < 0)
        answer_error(client, err.text);
    else
        answer_ok(client);
}

static void answer_stop(struct control_client *client, const char *argument)
{
    struct control *c = client->control;

    (void)argument;
    answer_ok(client); /* before the end begins */
    c->ops->stop(c->master);
}

static void answer_dump(struct control_client *client, const char *argument)
{
    struct control *c = client->control;
    const char *why;
    int64_t pid = 0;

    if (*argument != '\0' && parse_int(argument, 1, INT32_MAX, &pid) < 0) {
        answer_error(client, "dump takes the pid of a worker");
        return;
    }
    client->dump = c->ops->dump(c->master, (pid_t)pid, &why);
    if (client->dump == 0)
        answer_error(client, why);
    else
        wait_for(client, WAIT_DUMP);
}

static void answer_upgrade(struct control_client *client, const char *argument)
{
    struct control *c = client->control;
    struct error err;

    (void)argument;
    wait_for(client, WAIT_UPGRADE);
    if (c->ops->upgrade(c->master, &err) < 0)
        answer_error(client, err.text);
}

static const struct command {
    const char *word;
    void (*answer)(struct control_client *client, const char *argument);
    bool has_argument; /* takes what stands behind the word, "" when there is nothing */
} commands[] = {
    {"status", answer_status, false}, {"config", answer_config, false},
    {"reload", answer_reload, false}, {"workers", answer_workers, true},
    {"reopen", answer_reopen, false}, {"stop", answer_stop, false},
    {"dump", answer_dump, true},      {"upgrade", answer_upgrade, false},
};

static void answer_unknown(struct control_client *client, const char *word, size_t word_len)
{
    struct strbuf why = {0};

    strbuf_addstr(&why, "no such command: ");
    strbuf_add(&why, word, word_len < WORD_SHOWN ? word_len : WORD_SHOWN);
    strbuf_addstr(&client->answer, "{\"ok\": false, \"error\": ");
    json_add_bytes(&client->answer, why.data, why.len); /* it may hold anything */
    strbuf_addstr(&client->answer, "}\n");
    strbuf_release(&why);
    flush(client);
}

/* The line is len bytes of anything; then comes a byte that may be overwritten. */
static void obey(struct control_client *client, size_t len)
{
    char *word = client->line, *end = client->line + len;
    size_t word_len = 0;

    while (end > word && is_blank(end[-1]))
        end--;
    *end = '\0';
    while (word < end && is_blank(*word))
        word++;
    while (word + word_len < end && !is_blank(word[word_len]))
        word_len++;
    const char *argument = word + word_len;
    while (argument < end && is_blank(*argument))
        argument++;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strlen(commands[i].word) != word_len || memcmp(commands[i].word, word, word_len) != 0)
            continue;
        if (argument < end && !commands[i].has_argument)
            answer_error(client, "this command takes no further word");
        else if (strlen(argument) != (size_t)(end - argument))
            answer_error(client, "a word has a NUL byte in it");
        else
            commands[i].answer(client, argument);
        return;
    }
    answer_unknown(client, word, word_len);
}

/* ---- events ------------------------------------------------------------------------------ */

static void read_line(struct control_client *client)
{
    ssize_t n = recv(client->fd, client->line + client->line_len,
                     sizeof(client->line) - client->line_len, MSG_DONTWAIT);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n < 0 || (n == 0 && client->line_len == 0)) {
        set_state(client, CLIENT_FREE);
        return;
    }
    client->line_len += (size_t)n;
    const char *newline = memchr(client->line, '\n', client->line_len);
    if (newline || n == 0) /* the end is an end of line too */
        obey(client, newline ? (size_t)(newline - client->line) : client->line_len);
    else if (client->line_len == sizeof(client->line))
        answer_error(client, "the command is too long");
}

static void on_client(struct ev_loop *loop, struct ev_io *io, int revents)
{
    struct control_client *client = io->data;

    (void)loop;
    (void)revents;
    if (client->state == CLIENT_READING)
        read_line(client);
    else
        flush(client);
}

/* Has the client hung up? Who has only said that it will write no more is still there. */
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
        set_state(client, CLIENT_FREE);
}

/* Says no with what the socket takes, and closes. */
static void refuse(int fd, const char *why)
{
    struct strbuf answer = {0};

    add_error(&answer, why);
    (void)send(fd, answer.data, answer.len, MSG_NOSIGNAL | MSG_DONTWAIT); /* a courtesy */
    strbuf_release(&answer);
    (void)close(fd);
}

static struct control_client *find_free(struct control *c)
{
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        struct control_client *client = &c->clients[i];

        if (client->state == CLIENT_WAITING && is_gone(client))
            set_state(client, CLIENT_FREE);
        if (client->state == CLIENT_FREE)
            return client;
    }
    return NULL;
}

/* NULL: there are too many, and it has been told. */
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
        set_state(client, CLIENT_READING);
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
        log_warn("Control socket: accept"); /* out of descriptors: it would be tried for ever */
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
        flush(&c->clients[i]);
    }
}

void control_reload_failed(struct control *c, uint64_t first, uint64_t last, const char *why)
{
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        if (awaits(&c->clients[i], first, last))
            answer_error(&c->clients[i], why);
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
        flush(client);
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
        flush(client);
    }
}

void control_upgrade_failed(struct control *c, const char *why)
{
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        if (waits(&c->clients[i], WAIT_UPGRADE))
            answer_error(&c->clients[i], why);
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

/* Always a file, whose mode keeps others out. */
static char *address_of(const char *path)
{
    return xasprintf("unix:%s%s", path[0] == '@' ? "./" : "", path);
}

int control_listen(struct listener *l, const char *path, struct error *err)
{
    char *address = address_of(path);
    mode_t before = umask(0177);
    int result = listener_open(l, address, BACKLOG, err);

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
            set_state(&c->clients[i], CLIENT_FREE);
    }
    control_serve(c, &none);
}
