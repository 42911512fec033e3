/* SPDX-License-Identifier: MIT
 *
 * upgrade - the old master's part of an upgrade (USR2, gcornctl upgrade): it starts the program
 * that is now at the path it was started from, as its successor. successor.h has the new master's
 * part; takeover.h does what each of them changes in its master.
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
struct message_bus;
struct named_memory;
struct generation;
struct listener;
struct start;

enum upgrade_phase {
    UPGRADE_NONE,
    UPGRADE_BOOTING, /* the new program has not reported yet */
    UPGRADE_FAILED,  /* the new program was told to end, and has not ended yet */
    UPGRADE_BESIDE,  /* both masters serve */
};

struct upgrade {
    enum upgrade_phase phase;
    pid_t pid;       /* of the new program; 0: none */
    int fd;          /* socket to it; -1: none */
    bool hands_over; /* as soon as the new master serves */
    char why[1000];  /* why it failed; "" while it has not reported */
    bool serves;     /* noted: it has reported so */
    bool is_overdue; /* noted: the timer has expired */
    bool has_news;   /* something was noted */
    struct ev_loop *loop;
    struct ev_io io;       /* a message from it */
    struct ev_timer timer; /* its deadline */
};

/* What the new program is started with. All is borrowed. */
struct upgrade_order {
    const struct start *start;
    const struct generation *current; /* it inherits these sockets, */
    const struct listener *control;   /* and this one, if it is open, */
    const struct message_bus *bus;    /* and what workers share, if there is any */
    const struct named_memory *shared_memory;
    unsigned last_generation;
    uint64_t boot_timeout_ms;
    bool has_watchdog; /* of the service manager */
    bool hands_over;
    /* Runs in the child before the program is executed, and may block. Returns 0, or -1 with err:
     * the program is not executed. */
    int (*before)(const void *arg, struct error *err);
    const void *arg;
};

/* The messages between the two masters, one for each packet. */
enum upgrade_word {
    UPGRADE_SERVES = '+',    /* up: all workers are READY */
    UPGRADE_FAILS = '-',     /* up: the reason follows */
    UPGRADE_TAKE_OVER = '!', /* down: take the pid file and the control socket */
    UPGRADE_TEXT_MAX = 1000,
};

void upgrade_init(struct upgrade *u, struct ev_loop *loop);

/* Starts the new program; no other one runs. Returns 0: the phase is UPGRADE_BOOTING. Or -1 with
 * err: nothing has begun. Does not block. */
int upgrade_start(struct upgrade *u, const struct upgrade_order *order, struct error *err);

/* Acts on the new program's messages, and on its deadline. True: it has just begun to serve, and
 * the phase is UPGRADE_BESIDE. */
bool upgrade_act(struct upgrade *u);

/* Ends the new program, which boots and is not wanted any more, for the reason `why`. */
void upgrade_give_up(struct upgrade *u, const char *why);

/* The program of u, which boots or stands beside, was reaped with this status. Returns the phase in
 * which it has ended: UPGRADE_BESIDE, or another one and u->why says why it failed. The phase is
 * UPGRADE_NONE from then on. */
enum upgrade_phase upgrade_reaped(struct upgrade *u, int status);

/* Tells the new program, which stands beside, to take the pid file and the control socket. If this
 * fails, it takes them when this process has ended. */
void upgrade_say_take_over(const struct upgrade *u);

/* True: another master serves the same sockets, and will go on when this one has ended. */
static inline bool upgrade_has_successor(const struct upgrade *u)
{
    return u->phase == UPGRADE_BESIDE;
}

/* True while a new master boots. It has this master's sockets, so no reload may change them until
 * it serves or has failed. */
static inline bool upgrade_holds_up_reload(const struct upgrade *u)
{
    return u->phase == UPGRADE_BOOTING;
}

/* True: the new program must be reaped before this master may end. */
static inline bool upgrade_is_pending(const struct upgrade *u)
{
    return u->phase == UPGRADE_BOOTING || u->phase == UPGRADE_FAILED;
}

/* At the end. */
void upgrade_close(struct upgrade *u);

#endif
