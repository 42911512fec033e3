/* SPDX-License-Identifier: MIT
 *
 * upgrade - the old master's part of an upgrade (USR2, gcornctl upgrade): it starts the program
 * that is now at the path it was started from, as its successor. successor.h has the new master's
 * part.
 *
 * The new master starts while this one serves, with the same sockets. It reports when all its
 * workers serve; until then, and if it fails, this master is unchanged. Then both serve. This
 * master hands over when it is told to stop, or at once if the request said so: it gives up the pid
 * file and the control socket, and ends when its requests are answered. If the new master ends
 * first, this one goes on serving.
 *
 * A container ends with its process 1, so there an upgrade is refused: the container is replaced
 * instead.
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
    UPGRADE_BOOTING, /* the new program has not reported yet */
    UPGRADE_FAILED,  /* the new program was told to end, and has not ended yet */
    UPGRADE_BESIDE,  /* both masters serve */
};

struct upgrade {
    enum upgrade_phase phase;
    pid_t pid;             /* of the new program; 0: none */
    int fd;                /* socket to it; -1: none */
    bool hands_over;       /* as soon as the new master serves */
    char why[1000];        /* why it failed; "" while it has not reported */
    bool serves;           /* noted: it has reported so */
    bool is_overdue;       /* noted: the timer has expired */
    struct ev_io io;       /* a message from it */
    struct ev_timer timer; /* its deadline */
};

/* The messages between the two masters, one for each packet. */
enum upgrade_word {
    UPGRADE_SERVES = '+',    /* up: all workers are READY */
    UPGRADE_FAILS = '-',     /* up: the reason follows */
    UPGRADE_TAKE_OVER = '!', /* down: take the pid file and the control socket */
    UPGRADE_TEXT_MAX = 1000,
};

void upgrade_init(struct master *m);

/* Begins an upgrade. Returns 0, or -1 with err: nothing has begun. The result is logged, and sent
 * to the clients of the control socket that wait for it. */
int upgrade_begin(struct master *m, bool hands_over, struct error *err);

/* A step of the master's pass: acts on the new program's messages, and on its deadline. */
void upgrade_act(struct master *m);

/* True: another master serves the same sockets, and will go on when this one has ended. */
bool upgrade_has_successor(const struct master *m);

/* This master is to stop, perhaps after drain_delay: cancels an upgrade whose new master does not
 * serve yet, and answers the clients that wait for it. */
void upgrade_cancel(struct master *m);

/* Before this master stops: hands the pid file and the control socket to the successor; without
 * one, cancels the upgrade. */
void upgrade_leave(struct master *m);

/* True while a new master boots. It has this master's sockets, so no reload may change them until
 * it serves or has failed. */
bool upgrade_holds_up_reload(const struct master *m);

/* Answers the clients that wait for the upgrade, once this master stops and none of its workers
 * accepts new connections any more. */
void upgrade_tell(struct master *m);

/* True: the new program must be reaped before this master may end. */
bool upgrade_is_pending(const struct master *m);

/* A child was reaped. If it was the new program, ends or rolls back the upgrade and returns true.
 * */
bool upgrade_reaped(struct master *m, pid_t pid, int status);

/* WINCH: workers finish, the master stays; ignored unless a successor serves or the master is a
 * daemon, which has no terminal. Afterwards HUP starts the workers again with the same generation:
 * upgrade_resume, which returns false when no workers were retired. */
void upgrade_retire_workers(struct master *m);
bool upgrade_resume(struct master *m);

/* At the end. */
void upgrade_close(struct master *m);

#endif
