/* SPDX-License-Identifier: MIT
 *
 * tcp - the listening sockets of TCP: host names resolved, addresses bound. Part of listener.h,
 * whose callers do not need it.
 */
#ifndef GCORN_SYSTEM_NET_TCP_H
#define GCORN_SYSTEM_NET_TCP_H

#include <stdbool.h>
#include <sys/socket.h>

#include "system/net/listener.h"

struct bind_address;
struct error;

struct tcp_binding {
    int backlog;
    bool v6_only; /* an IPv6 address leaves IPv4 alone; else the system's default decides */
};

/* Opens *l at an address and listens: its fd, family, name, host, port, v6_only. 0, or -1 with err
 * (EXIT_BIND) and errno. Blocks to resolve a host name. */
int tcp_open(struct listener *l, const struct bind_address *a, const struct tcp_binding *how,
             struct error *err);

/* What tcp_open would meet: the address is bound for a moment and not listened on. */
enum listener_state tcp_probe(const struct bind_address *a, struct error *err);

/* Fills in family, host, port and v6_only from the bound socket: what port 0 and a host name came
 * to. 0, or -1 with errno. */
int tcp_describe(struct listener *l);

/* Linux hands the option on to accepted sockets, which saves a system call a connection. Answers
 * leave in one write each, so Nagle's wait for more would only add the client's 40 ms of delayed
 * ACK. */
void tcp_set_nodelay(int fd);

/* Has the name of `a` an address that a socket at `own`, which is l's, takes connections for? Blocks
 * to resolve it; false where that fails. */
bool tcp_name_overlaps(const struct listener *l, const struct sockaddr_storage *own,
                       const struct bind_address *a);

#endif
