/* SPDX-License-Identifier: MIT
 *
 * sd_notify - the protocol of sd_notify(3), by which a service tells its manager (systemd) its state:
 * datagrams of NAME=VALUE lines to the socket in NOTIFY_SOCKET. master/upgrade/systemd.c decides what
 * is sent when.
 */
#ifndef GCORN_SYSTEM_IPC_SD_NOTIFY_H
#define GCORN_SYSTEM_IPC_SD_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct error;

struct sd_notify {
    struct sockaddr_un address;
    socklen_t address_len; /* 0: the manager wants no messages */
    uint64_t
        watchdog_ms; /* the manager kills the service after this long without a message; 0: never */
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and keeps them in the environment. Returns 0,
 * also without NOTIFY_SOCKET, or -1 with err when it is neither a path nor @NAME (an abstract
 * socket). */
int sd_notify_init(struct sd_notify *n, struct error *err);

static inline bool sd_notify_is_wanted(const struct sd_notify *n)
{
    return n->address_len > 0;
}

/* Sends one datagram: "READY=1\nSTATUS=...". Does not block. Returns 0, or -1 with errno: EAGAIN
 * when the manager does not keep up. */
int sd_notify_send(const struct sd_notify *n, const char *message);

/* For a child that runs application code: removes the variables by which the manager speaks to this
 * service (NOTIFY_SOCKET, LISTEN_FDS and others) from the environment. Else a program that the
 * application starts takes itself for the service. */
void sd_notify_clear_environment(void);

/* Is "NAME=value" one of those variables? */
bool sd_notify_owns_variable(const char *assignment);

#endif
