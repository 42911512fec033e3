/* SPDX-License-Identifier: MIT
 *
 * handed_fd - listening sockets that another process has opened: fd://, passed by a service manager,
 * and those that an old master or the process that prepares a reload hands over.
 */
#ifndef GCORN_SYSTEM_NET_HANDED_FD_H
#define GCORN_SYSTEM_NET_HANDED_FD_H

struct bind_address;
struct error;
struct listener;

/* Takes the descriptor of fd://N, which must have been passed to this program. 0, or -1 with err
 * (EXIT_BIND). */
int handed_fd_open(struct listener *l, const struct bind_address *a, struct error *err);

/* Takes over a socket with what the other process' listener says of it: fd, text, name, inherited,
 * path, dev and ino. Takes fd, copies the rest. 0, or -1 with err (EXIT_BIND): the descriptor is no
 * listening stream socket; *l is closed then. */
int listener_adopt(struct listener *l, const struct listener *described, struct error *err);

#endif
