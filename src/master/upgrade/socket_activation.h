/* SPDX-License-Identifier: MIT
 *
 * socket_activation - listening sockets that a service manager opened and passes at the start, by
 * the protocol of sd_listen_fds(3): LISTEN_FDS sockets from descriptor 3 on, if LISTEN_PID is this
 * process, with the names of LISTEN_FDNAMES (FileDescriptorName= of a socket unit). As in gunicorn
 * they replace `bind`, unless `bind` itself names some of them: by number, fd://3, or by name,
 * fd://web.
 */
#ifndef GCORN_MASTER_UPGRADE_SOCKET_ACTIVATION_H
#define GCORN_MASTER_UPGRADE_SOCKET_ACTIVATION_H

struct config;
struct error;

enum { PASSED_FIRST_FD = 3 };

struct socket_activation {
    unsigned count; /* 0: none */
    char **names;   /* one for each socket; "unknown" for a socket without a name */
};

/* Reads the variables. Call before a fork changes the pid of this process. */
void socket_activation_init(struct socket_activation *p);

/* Puts the numbers of passed sockets into config's bind, as above. 0, or -1 with err (EXIT_USAGE):
 * bind has a name that was not passed. */
int socket_activation_bind(const struct socket_activation *p, struct config *config,
                           struct error *err);

/* In a child: closes the sockets that no listener took (listener_open makes those that it takes
 * close-on-exec). */
void socket_activation_forget(const struct socket_activation *p);

#endif
