/* SPDX-License-Identifier: MIT
 *
 * socket_file - the file of a listening unix socket. bind(2) makes the name; until listen(2) every
 * client is refused, and until chown(2) clients without permission are. So the socket is bound to a
 * temporary name in the same directory, and gets the wanted one by rename(2) when it listens.
 */
#ifndef GCORN_SYSTEM_NET_SOCKET_FILE_H
#define GCORN_SYSTEM_NET_SOCKET_FILE_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "system/net/listener.h"

/* Is path free: absent, or the socket file of a dead server? Connects to find out whether a server
 * listens. Unless FREE, *why is the reason (static), and *holder the process that listens, 0 if the
 * kernel does not tell. *found is the file, st_ino 0: none. Does not block. */
enum listener_state socket_file_look(const char *path, struct stat *found, pid_t *holder,
                                     const char **why);

/* Makes fd, an unbound unix stream socket, listen at path, a name of at most 107 bytes. The file
 * belongs to the user and group of the options and has a mode from the process's umask; *made
 * describes it. Replaces the file of a dead server, and nothing else. Returns 0, or -1 with *why
 * (static), errno (EADDRINUSE: another server has the name) and no file left. */
int socket_file_listen(int fd, const char *path, int backlog,
                       const struct listener_options *options, struct stat *made, const char **why);

/* Could path be a temporary name of socket_file_listen, of a socket that is there? */
bool socket_file_is_temporary(const char *path);

#endif
