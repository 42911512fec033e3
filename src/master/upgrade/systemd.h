/* SPDX-License-Identifier: MIT
 *
 * systemd - the messages by which the master tells the service manager its state, when
 * NOTIFY_SOCKET is set (system/ipc/sd_notify.h):
 *
 *   READY=1      the first worker serves; or a reload is over, done or failed
 *   RELOADING=1  with MONOTONIC_USEC in the same datagram: a reload has begun
 *   STOPPING=1   the server stops, or drain_delay runs
 *   STATUS=      a text for operators: workers, generation, why a reload failed
 *   WATCHDOG=1   the master's event loop runs
 *   EXTEND_TIMEOUT_USEC=  a start, reload or stop is still under way; the master's own deadlines
 *                end it
 *
 *   MAINPID=     another master is the service's main process from now on (upgrade.h), and sends
 *                the messages
 */
#ifndef GCORN_MASTER_UPGRADE_SYSTEMD_H
#define GCORN_MASTER_UPGRADE_SYSTEMD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "system/ipc/sd_notify.h"

/* What the master tells the service manager about. */
struct systemd_facts {
    unsigned state; /* enum server_state */
    unsigned serving, workers, generation;
    uint64_t reloads_begun;
    const char *reload_failure; /* of the last reload; NULL: it did not fail */
    bool is_promoted;           /* no older master sends the messages */
};

enum { SYSTEMD_STATUS_MAX = 1200 };

/* The state that the service manager was last sent. */
struct systemd {
    struct sd_notify notify;
    unsigned state; /* enum server_state */
    uint64_t reloads_begun;
    char status[SYSTEMD_STATUS_MAX];
    uint64_t alive_at_ms; /* the last WATCHDOG=1 */
    pid_t successor;      /* the process that sends messages from now on; 0: this one */
    bool successor_is_told;
    uint64_t successor_since_ms;
};

void systemd_init(struct systemd *s);

/* Sends what has changed. What cannot be sent now is sent by a later call. */
void systemd_tell(struct systemd *s, const struct systemd_facts *facts);

/* This master, which is promoted, hands over: another process is the service's main process now.
 * Sends MAINPID, and nothing more after it. */
void systemd_hand_over(struct systemd *s, pid_t successor);

/* True while MAINPID is still to be sent by systemd_tell, because the manager's queue was full:
 * this master must not end before, or the manager takes the service as failed. False after some
 * seconds. */
bool systemd_owes_successor(const struct systemd *s, uint64_t now);

/* Called by the tick, at least twice in systemd_watchdog_ms: sends WATCHDOG and EXTEND_TIMEOUT. */
void systemd_tick(struct systemd *s, const struct systemd_facts *facts, uint64_t now);

/* The manager's watchdog timeout; 0: none. */
static inline uint64_t systemd_watchdog_ms(const struct systemd *s)
{
    return s->notify.watchdog_ms;
}

#endif
