/* SPDX-License-Identifier: MIT
 *
 * packet - one message over a unix SOCK_SEQPACKET socket, with descriptors.
 */
#ifndef GCORN_SYSTEM_IPC_PACKET_H
#define GCORN_SYSTEM_IPC_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { PACKET_FDS_MAX = 8 };

/* What came beside the bytes. */
struct packet {
    size_t len;
    bool is_cut;   /* it was longer than there was room */
    bool fds_lost; /* descriptors were sent and could not all be taken (EMFILE) */
    int fds[PACKET_FDS_MAX];
    size_t fd_count; /* theirs is whoever asked, close-on-exec */
    pid_t sender;    /* as the kernel knows it, where SO_PASSCRED is set; else 0 */
};

/* 0, or -1 with errno. The descriptors remain the caller's. */
int packet_send(int fd, const void *data, size_t len, const int *fds, size_t fd_count);

/* 1: data holds p->len bytes. 0: none now (of a non-blocking socket). -1 with errno: EPIPE when no
 * more will come. */
int packet_recv(int fd, void *data, size_t size, struct packet *p);

/* Closes the descriptors that came. */
void packet_close_fds(struct packet *p);

#endif
