/* SPDX-License-Identifier: MIT
 *
 * fileout - bytes of a file into a socket: by the kernel alone where it can.
 */
#ifndef GCORN_WORKER_FILEOUT_H
#define GCORN_WORKER_FILEOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct response;

/* Sends up to len bytes of r->file, which it leaves as it is but for `reads`. How many; 0 when the
 * file has no more; -1 with errno: EAGAIN and EINTR, EIO for the file, any other for the socket. A
 * slow client holds no buffer: what the socket does not take is read again later. */
ssize_t fileout_send(int socket_fd, struct response *r, size_t len, bool by_kernel);

#endif
