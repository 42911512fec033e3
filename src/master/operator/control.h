/* SPDX-License-Identifier: MIT
 *
 * control - the control socket, on which an operator sends commands to the master (gcornctl).
 *
 * A client connects to the unix socket, sends one line and reads to the end:
 *
 *   status    the state of the server and its workers (status.h)
 *   config    the settings, and which of them have changed since the start (status.h)
 *   reload    as HUP does; answered when the reload is over
 *   workers +N, workers -N, workers set N
 *             starts N more, stops N, or changes to N in all, until a reload; answered at once
 *   reopen    opens the log files again, as USR1 does
 *   upgrade   replaces this master by the program that is now at its path (upgrade.h); answered
 * when
 *             the new master serves, or when the upgrade has failed
 *   stop      as TERM does; answered at once
 *   dump      the stacks of all workers (dump.h), dump PID those of one worker; answered when they
 *             are complete
 *
 * The line is a word, for some commands followed by others, separated by blanks; bytes after the
 * line are not read. The answer is one line with one JSON object, whose first member is "ok". When
 * that is false, "error" has the reason:
 *
 *   {"ok": true, "generation": 2}
 *   {"ok": false, "error": "no such command: stauts"}
 *
 * A reload is over when every worker is READY and of the new generation, and the old ones have been
 * told to retire; or when it has failed. A `reload` that comes while one is under way is answered
 * with the outcome of the next one, which begins afterwards and so includes every change of files
 * that was made before the client asked.
 *
 * Only root and the master's own user may connect. Nothing here blocks; there are at most
 * CONTROL_CLIENTS clients, a line has at most CONTROL_LINE_MAX bytes, and a client that neither
 * writes nor reads is dropped after CONTROL_STALL_MS.
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

/* The operations behind the commands, implemented by the master, or by a test. */
struct control_ops {
    /* Appends the answer to `status`. */
    void (*status)(void *master, struct strbuf *answer);
    /* The number of the reload that a request made now waits for, from 1; 0: the server stops. */
    uint64_t (*next_reload)(void *master);
    /* Requests that reload. control_reload_done or _failed is called later, perhaps at once. */
    void (*reload)(void *master);
    void (*stop)(void *master);
    /* Appends the answer to `config`. */
    void (*config)(void *master, struct strbuf *answer);
    unsigned (*workers_wanted)(void *master);
    /* Changes the number of workers. Returns 0 and appends the answer; or -1 with err: nothing has
     * changed. */
    int (*set_workers)(void *master, int64_t number, struct strbuf *answer, struct error *err);
    /* Returns 0, or -1 with err: some logs could not be opened and are as before. */
    int (*reopen)(void *master, struct error *err);
    /* Begins a dump of one worker, or with pid 0 of all. Returns its number, with which
     * control_dump_done is called later; or 0 with the reason in *why, a static text. */
    uint64_t (*dump)(void *master, pid_t pid, const char **why);
    /* Begins an upgrade. Returns 0: control_upgrade_done or _failed is called later; or -1 with
     * err. */
    int (*upgrade)(void *master, struct error *err);
};

enum client_wait { WAIT_RELOAD, WAIT_DUMP, WAIT_UPGRADE };

enum client_state {
    CLIENT_FREE,
    CLIENT_READING, /* the command line */
    CLIENT_WAITING, /* for the end of waits_for */
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
    uint64_t reload; /* number of the reload that it waits for */
    uint64_t dump;   /* or of the dump */
};

struct control {
    struct ev_loop *loop;
    const struct control_ops *ops;
    void *master;
    uint64_t stall_ms; /* a client that stalls longer is dropped */
    struct listener listener;
    struct ev_io accepting;
    struct ev_timer accept_again; /* after an accept that failed for want of descriptors */
    struct control_client clients[CONTROL_CLIENTS];
};

/* Initialises c, without a socket yet. ops and master are borrowed; the struct may not move from
 * now on. */
void control_init(struct control *c, struct ev_loop *loop, const struct control_ops *ops,
                  void *master);

/* Creates the socket, with mode 0600 from the beginning; replaces the file that a dead server has
 * left. It is not served yet. Returns 0, or -1 with err. */
int control_listen(struct listener *l, const char *path, const struct file_notice *notice,
                   struct error *err);

/* Tells whether control_listen would succeed, without creating anything: listener_probe of the
 * path. */
enum listener_state control_probe(const char *path, pid_t *holder, struct error *err);

/* Serves l from now on instead of the former socket, which is closed and unlinked. Takes *l and
 * leaves it closed; with a closed one no socket is served. Connected clients stay connected. */
void control_serve(struct control *c, struct listener *l);

/* The socket's path; NULL: no socket. */
const char *control_path(const struct control *c);

/* Takes a connected non-blocking socket as a client; refuses it when there are too many clients. */
void control_add(struct control *c, int fd);

/* The reloads up to number `last` are done, and this generation serves: answers their clients. */
void control_reload_done(struct control *c, uint64_t last, unsigned generation);

/* The reloads first to last have failed: answers their clients. */
void control_reload_failed(struct control *c, uint64_t first, uint64_t last, const char *why);

/* A dump is complete: answers its clients with "ok" and these members. */
void control_dump_done(struct control *c, uint64_t dump, const char *members, size_t len);

/* The upgrade is over: pid is the new master; or it failed for that reason. Answers the clients
 * that wait for it. */
void control_upgrade_done(struct control *c, pid_t pid);
void control_upgrade_failed(struct control *c, const char *why);

/* Stops serving the socket, which another master serves now. Its file stays. */
void control_lend(struct control *c);

/* Drops all clients and closes the socket; removes its file if this master made it. */
void control_close(struct control *c);

#endif
