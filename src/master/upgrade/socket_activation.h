/* SPDX-License-Identifier: MIT
 *
 * passed - listening sockets that a service manager opened and passes at the start, by
 * sd_listen_fds(3)'s protocol: LISTEN_FDS of them from descriptor 3 on, if LISTEN_PID is us, with
 * the names of LISTEN_FDNAMES (FileDescriptorName= of a socket unit). As in gunicorn they take the
 * place of `bind`, unless that asks for some of them itself: by number, fd://3, or by name,
 * fd://web.
 */
#ifndef GCORN_MASTER_UPGRADE_SOCKET_ACTIVATION_H
#define GCORN_MASTER_UPGRADE_SOCKET_ACTIVATION_H

struct config;
struct error;

enum { PASSED_FIRST_FD = 3 };

struct socket_activation {
    unsigned count; /* 0: none */
    char **names;   /* one each; "unknown" for those that have none */
};

/* Reads the variables; before this process's pid changes. */
void socket_activation_init(struct socket_activation *p);

/* Puts the numbers of passed sockets into config's bind, as above. 0, or -1 with err (EXIT_USAGE):
 * bind has a name that was not passed. */
int socket_activation_bind(const struct socket_activation *p, struct config *config,
                           struct error *err);

/* In a child: closes those that nobody took (listener_open makes close-on-exec what it takes). */
void socket_activation_forget(const struct socket_activation *p);

#endif
