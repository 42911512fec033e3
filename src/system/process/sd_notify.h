/* SPDX-License-Identifier: MIT
 *
 * notify - telling the service manager (systemd) how the service is, by sd_notify(3)'s protocol:
 * datagrams of NAME=VALUE lines to the socket that NOTIFY_SOCKET names. What is said when is
 * master/upgrade/systemd.c's.
 */
#ifndef GCORN_SYSTEM_PROCESS_SD_NOTIFY_H
#define GCORN_SYSTEM_PROCESS_SD_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct error;

struct notify {
    struct sockaddr_un address;
    socklen_t address_len; /* 0: nobody wants to know */
    uint64_t watchdog_ms;  /* silence for so long and we are killed; 0: no watchdog */
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and leaves them where they are. 0, also when
 * nobody wants to know; -1 with err when the address is none of the forms that can be sent to (a
 * path, or @NAME for the abstract namespace). */
int notify_init(struct notify *n, struct error *err);

static inline bool notify_is_wanted(const struct notify *n)
{
    return n->address_len > 0;
}

/* Sends one datagram: "READY=1\nSTATUS=...". Never blocks. 0, or -1 with errno: EAGAIN when the
 * manager does not keep up. */
int notify_send(const struct notify *n, const char *message);

/* In a child that runs application code: takes what the manager said to this service alone out of
 * the environment (NOTIFY_SOCKET and the like, LISTEN_FDS and the like). A program that the
 * application starts must not take itself for the service. */
void notify_clear_environment(void);

/* Is this one of those variables, as "NAME=value"? */
bool notify_owns_variable(const char *assignment);

#endif
