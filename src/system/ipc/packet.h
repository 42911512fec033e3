/* SPDX-License-Identifier: MIT
 *
 * packet - one message with descriptors over a unix SOCK_SEQPACKET socket.
 */
#ifndef GCORN_SYSTEM_IPC_PACKET_H
#define GCORN_SYSTEM_IPC_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { PACKET_FDS_MAX = 8 };

/* A received message, without its bytes. */
struct packet {
    size_t len;
    bool is_cut;   /* it was longer than the buffer */
    bool fds_lost; /* descriptors were sent and could not all be taken (EMFILE) */
    int fds[PACKET_FDS_MAX];
    size_t fd_count; /* the receiver owns them; close-on-exec */
    pid_t sender;    /* told by the kernel if SO_PASSCRED is set; else 0 */
};

/* Sends a message; the caller keeps its descriptors. Returns 0, or -1 with errno. */
int packet_send(int fd, const void *data, size_t len, const int *fds, size_t fd_count);

/* Receives a message. Returns 1 with p->len bytes in data; 0: none yet, on a non-blocking socket;
 * -1 with errno: EPIPE, the other end is closed. */
int packet_recv(int fd, void *data, size_t size, struct packet *p);

/* Closes the received descriptors. */
void packet_close_fds(struct packet *p);

#endif
