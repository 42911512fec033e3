/* SPDX-License-Identifier: MIT
 *
 * socketfile - the file of a listening unix socket. A socket's name appears with bind(2), and until
 * listen(2) a client that connects is refused; and until chown(2) the clients that it is meant for
 * are. So the socket is bound to a name that no client knows, beside the wanted one, and takes that
 * one by rename(2) when it listens.
 */
#ifndef GCORN_SYSTEM_NET_SOCKET_FILE_H
#define GCORN_SYSTEM_NET_SOCKET_FILE_H

#include <sys/stat.h>
#include <sys/types.h>

#include "system/net/listener.h"

/* Does what lies at path leave the name to us? Only a connection tells whether a server listens at
 * a socket file. Unless FREE, *why says why (static); *holder is the process that listens there, 0
 * when the kernel does not tell. *found is the file, st_ino 0: none. Does not block. */
enum listener_state socketfile_look(const char *path, struct stat *found, pid_t *holder,
                                    const char **why);

/* Listens with fd, a unix stream socket that is not bound, at path, a name of at most 107 bytes,
 * with this backlog. The file belongs to uid and gid, with a mode from the process's umask; *made
 * is what it is. The file of a dead server is replaced, everything else stays. 0, or -1 with *why
 * (static) and errno, EADDRINUSE for a name that another server has; no file is left then. */
int socketfile_listen(int fd, const char *path, int backlog, uid_t uid, gid_t gid,
                      struct stat *made, const char **why);

#endif
