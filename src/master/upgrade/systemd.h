/* SPDX-License-Identifier: MIT
 *
 * systemd - what the service manager is told of the master's state, when NOTIFY_SOCKET asks for it
 * (system/ipc/sd_notify.h):
 *
 *   READY=1      the first worker serves; a reload is over, whichever way it ended
 *   RELOADING=1  with MONOTONIC_USEC in the same datagram: a reload has begun
 *   STOPPING=1   and no more requests come soon (drain_delay included)
 *   STATUS=      what it does, for people: workers, generation, why a reload failed
 *   WATCHDOG=1   the master's loop turns
 *   EXTEND_TIMEOUT_USEC=  starting, reloading or stopping goes on: within the master's own
 *                deadlines, which end it
 *
 *   MAINPID=     another master is the service from now on (upgrade.h), and speaks for it
 */
#ifndef GCORN_MASTER_UPGRADE_SYSTEMD_H
#define GCORN_MASTER_UPGRADE_SYSTEMD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "system/ipc/sd_notify.h"

struct master;

enum { SYSTEMD_STATUS_MAX = 1200 };

/* What it was told last. */
struct systemd {
    struct sd_notify notify;
    unsigned state; /* enum server_state */
    uint64_t reloads_begun;
    char status[SYSTEMD_STATUS_MAX];
    uint64_t alive_at_ms; /* the last WATCHDOG=1 */
    pid_t successor;      /* the process that speaks from now on; 0: this one */
    bool successor_is_told;
    uint64_t successor_since_ms;
};

void systemd_init(struct systemd *s);

/* Tells what is new. What cannot be sent now is told by a later call. */
void systemd_tell(struct master *m);

/* The service is another process now: says so, and nothing more. */
void systemd_hand_over(struct master *m, pid_t successor);

/* Is that yet to be said, by systemd_tell, to a manager that is only busy? A service whose process
 * ends before its manager knows of another has failed. False after some seconds. */
bool systemd_owes_successor(const struct master *m, uint64_t now);

/* From the tick, which must come twice in systemd_watchdog_ms: that the loop turns, and goes on. */
void systemd_tick(struct master *m, uint64_t now);

/* How long may the master be silent? 0: for ever. */
static inline uint64_t systemd_watchdog_ms(const struct systemd *s)
{
    return s->notify.watchdog_ms;
}

#endif
