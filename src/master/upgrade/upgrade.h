/* SPDX-License-Identifier: MIT
 *
 * upgrade - the master's part in being replaced by the program that now lies where its own was
 * started from (USR2, gcornctl upgrade). successor.h is the new program's part.
 *
 * A new master is started beside this one, with its sockets. When all its workers serve it
 * says so; until then, and if it fails, nothing has happened. Then both serve. This one hands over
 * when it is told to stop, or at once if the upgrade was asked for so: it lets go of the pid file
 * and the control socket, and leaves when its requests are answered. If the new one ends first,
 * this one goes on.
 *
 * Process 1 of a container cannot leave its place to a successor: there an upgrade is refused, and
 * the container is replaced instead.
 */
#ifndef GCORN_MASTER_UPGRADE_UPGRADE_H
#define GCORN_MASTER_UPGRADE_UPGRADE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct error;
struct master;

enum upgrade_phase {
    UPGRADE_NONE,
    UPGRADE_BOOTING, /* the new program has not said how it went */
    UPGRADE_FAILED,  /* it is to end, and has not yet */
    UPGRADE_BESIDE,  /* the new master serves, as this one does */
};

struct upgrade {
    enum upgrade_phase phase;
    pid_t pid;             /* of the new program; 0: none */
    int fd;                /* to it; -1: none */
    bool hands_over;       /* as soon as the new master serves */
    char why[1000];        /* it failed; "" while it has not said */
    bool serves;           /* noted: it has said so */
    bool is_overdue;       /* noted: the timer has ended */
    struct ev_io io;       /* it has something to say */
    struct ev_timer timer; /* it has had long enough */
};

/* What passes between the two masters, one message a packet. */
enum upgrade_word {
    UPGRADE_SERVES = '+',    /* up: all workers are READY */
    UPGRADE_FAILS = '-',     /* up: why stands behind it */
    UPGRADE_TAKE_OVER = '!', /* down: the files are yours */
    UPGRADE_TEXT_MAX = 1000,
};

void upgrade_init(struct master *m);

/* Begins one. 0, or -1 with err: nothing has begun. How it ends, the log says, and who waits for it
 * at the control socket is told. */
int upgrade_begin(struct master *m, bool hands_over, struct error *err);

/* A step of the master's pass: acts on what the new program has said, and on its deadline. */
void upgrade_act(struct master *m);

/* Does another master serve the same sockets, and will when this one has gone? */
bool upgrade_has_successor(const struct master *m);

/* This master is to stop, perhaps after drain_delay: nothing comes of an upgrade that has not come
 * to a successor by now, and who waits for it is told. */
void upgrade_cancel(struct master *m);

/* Before this master stops: gives the successor what is to be the successor's, or cancels. */
void upgrade_leave(struct master *m);

/* Does a new master boot beside this one? Its sockets are those of the settings that it has read,
 * so they are not to change until it serves or has failed. */
bool upgrade_holds_up_reload(const struct master *m);

/* Tells the clients that wait for it that the upgrade is done, once this master leaves and no
 * worker of it takes a new connection any more. */
void upgrade_tell(struct master *m);

/* Is there a new program that must be reaped before this one may end? */
bool upgrade_is_pending(const struct master *m);

/* Of a child that was reaped: was it the new program? Then it is dealt with. */
bool upgrade_reaped(struct master *m, pid_t pid, int status);

/* WINCH: workers finish, the master stays; only where a successor serves or nobody has a terminal.
 * Then HUP brings them back as they were: upgrade_resume, false where there is nothing to bring
 * back. */
void upgrade_retire_workers(struct master *m);
bool upgrade_resume(struct master *m);

/* At the end. */
void upgrade_close(struct master *m);

#endif
