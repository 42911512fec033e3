/* SPDX-License-Identifier: MIT
 *
 * control - the control socket, on which an operator asks the master things (gcornctl).
 *
 * A client connects to the unix socket, sends one line and reads to the end:
 *
 *   status    what the server is and does (status.h)
 *   config    its settings, and which are others than at the start (status.h)
 *   reload    as HUP does; answered when it is over
 *   workers +N, workers -N, workers set N
 *             so many more, fewer, or in all are wanted, until a reload; answered at once
 *   reopen    opens the log files anew, as USR1 does
 *   upgrade   starts the program that is there now in place of this one (upgrade.h); answered when
 *             it serves, or when it failed
 *   stop      as TERM does; answered at once
 *   dump      the stacks of all workers (dump.h), dump PID those of one; answered when they are
 *             there
 *
 * The line is a word, for some with others behind it, separated by blanks; what comes after the
 * line is not read. The answer is one line that holds one JSON object, whose first member is
 * "ok". When that is false, "error" says why:
 *
 *   {"ok": true, "generation": 2}
 *   {"ok": false, "error": "no such command: stauts"}
 *
 * A reload is over when every worker is READY and of the new generation, and the old ones have been
 * told to retire; or when it failed. Requests that come while one is under way are answered with
 * the outcome of the next one, which begins after them: what they waited for is certainly in it.
 *
 * Only root and the master's own user are listened to. Nothing here blocks; there are at most
 * CONTROL_CLIENTS, a line has at most CONTROL_LINE_MAX bytes, and who neither writes nor reads is
 * dropped after a while.
 */
#ifndef GCORN_MASTER_OPERATOR_CONTROL_H
#define GCORN_MASTER_OPERATOR_CONTROL_H

#include <ev.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/strbuf.h"
#include "system/net/listener.h"

struct error;

enum {
    CONTROL_CLIENTS = 16,
    CONTROL_LINE_MAX = 4096,
    CONTROL_STALL_MS = 5000,
};

/* What the socket's commands come to: the master, or a test. */
struct control_ops {
    /* Appends the answer to `status`. */
    void (*status)(void *master, struct strbuf *answer);
    /* Which reload would cover a request made now, counted from 1; 0: none, the server stops. */
    uint64_t (*next_reload)(void *master);
    /* Asks for it. control_reload_done or _failed tells when it is over, perhaps at once. */
    void (*reload)(void *master);
    void (*stop)(void *master);
    /* Appends the answer to `config`. */
    void (*config)(void *master, struct strbuf *answer);
    unsigned (*workers_wanted)(void *master);
    /* Wants so many. 0, and the answer is appended; or -1 with err: all is as before. */
    int (*set_workers)(void *master, int64_t number, struct strbuf *answer, struct error *err);
    /* 0, or -1 with err: some logs are as before. */
    int (*reopen)(void *master, struct error *err);
    /* Begins a dump of one worker, or with pid 0 of all. Its number, by which control_dump_done
     * tells, later, that it is there; 0: none, and *why says why, for as long as the server runs.
     */
    uint64_t (*dump)(void *master, pid_t pid, const char **why);
    /* Begins an upgrade. 0: control_upgrade_done or _failed tells, later, that it is over; or -1
     * with err. */
    int (*upgrade)(void *master, struct error *err);
};

enum client_wait { WAIT_RELOAD, WAIT_DUMP, WAIT_UPGRADE };

enum client_state {
    CLIENT_FREE,
    CLIENT_READING, /* its line */
    CLIENT_WAITING, /* for the end of something */
    CLIENT_WRITING,
};

struct control_client {
    enum client_state state;
    int fd;
    struct ev_io io;
    struct ev_timer timer;
    struct control *control;
    char line[CONTROL_LINE_MAX];
    size_t line_len;
    struct strbuf answer;
    size_t sent;
    enum client_wait waits_for;
    uint64_t reload; /* for this one */
    uint64_t dump;   /* or for this one */
};

struct control {
    struct ev_loop *loop;
    const struct control_ops *ops;
    void *master;
    uint64_t stall_ms; /* who stalls longer is dropped */
    struct listener listener;
    struct ev_io accepting;
    struct ev_timer accept_again; /* there was no descriptor for a client */
    struct control_client clients[CONTROL_CLIENTS];
};

/* Without a socket yet. ops and master are borrowed; the struct may not move from now on. */
void control_init(struct control *c, struct ev_loop *loop, const struct control_ops *ops,
                  void *master);

/* Makes the socket, a file of mode 0600 from its first moment; what a dead server left is replaced.
 * It is not served yet. 0, or -1 with err. */
int control_listen(struct listener *l, const char *path, struct error *err);

/* What control_listen would meet, without making anything: listener_probe of that path. */
enum listener_state control_probe(const char *path, pid_t *holder, struct error *err);

/* Serves l from now on in place of the former socket, which is closed and unlinked. Takes *l, which
 * is closed afterwards; a closed one means none. Who is connected stays so. */
void control_serve(struct control *c, struct listener *l);

/* The socket's path; NULL: there is none. */
const char *control_path(const struct control *c);

/* Takes a connected non-blocking socket as a client; refuses it when there are too many. */
void control_add(struct control *c, int fd);

/* The reloads up to that number are over, and this generation serves. */
void control_reload_done(struct control *c, uint64_t last, unsigned generation);

/* The reloads first to last have failed. */
void control_reload_failed(struct control *c, uint64_t first, uint64_t last, const char *why);

/* A dump is there: its members of the answer, behind "ok". */
void control_dump_done(struct control *c, uint64_t dump, const char *members, size_t len);

/* The upgrade is over: this process is the master of the new program; or why it failed. */
void control_upgrade_done(struct control *c, pid_t pid);
void control_upgrade_failed(struct control *c, const char *why);

/* Serves its socket no more: another master does. Its file stays. */
void control_lend(struct control *c);

/* Drops all clients and closes the socket; its file goes if it is still ours. */
void control_close(struct control *c);

#endif
