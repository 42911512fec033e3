/* SPDX-License-Identifier: MIT
 *
 * channel - how the master and one worker talk.
 *
 * Up, from the worker: a pipe in packet mode, one message a packet. Down, from the master: a
 * SOCK_SEQPACKET socketpair, because orders carry descriptors. The end of either tells that the
 * other side is gone, so each process must close the ends that are not its own: channel_keep_... on
 * its own channel, channel_close on those of its siblings that a fork gave it.
 *
 * Everything is non-blocking and close-on-exec. SIGPIPE is ignored in both processes.
 */
#ifndef GCORN_SYSTEM_IPC_CHANNEL_H
#define GCORN_SYSTEM_IPC_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

enum { UP_TEXT_MAX = 1000, DOWN_FDS_MAX = 2 };

enum up_type {
    UP_READY = 1, /* booted, accepts connections */
    UP_HEARTBEAT, /* the loop turns */
    UP_BOOTFAIL,  /* cannot serve; the text says why */
    UP_DYING,     /* by a fatal signal or exit(); its slot says more */
    UP_CRASHED,   /* has answered its clients, and waits for its stacks to be taken: DOWN_GO */
    UP_RECYCLE,   /* asks to be replaced; the text says why (max_requests, no socket) */
};

struct up_message {
    enum up_type type;
    char text[UP_TEXT_MAX + 1]; /* ends with a NUL always; "" when there is none */
};

enum down_type {
    DOWN_RETIRE = 1, /* a replacement serves: finish. Idle keep-alive connections may stay ms */
    DOWN_STOP,       /* the server stops: finish what runs. ms likewise */
    DOWN_QUIT,       /* leave now */
    DOWN_REOPEN,     /* use these logs from now on: fds[0] error log, fds[1] access log */
    DOWN_GO,         /* nothing more is wanted of a crashed worker */
    DOWN_CLOSE,      /* go on, but let every answer say Connection: close: the server stops soon */
};

struct down_message {
    enum down_type type;
    uint32_t ms;
    int fds[DOWN_FDS_MAX]; /* -1 where there is none */
    bool fds_lost; /* received only: descriptors were sent and could not be taken (EMFILE) */
};

struct channel {
    int up_read, up_write;
    int down_master, down_worker;
};

/* 0, or -1 with errno, and then nothing is open. */
int channel_open(struct channel *c);
void channel_keep_master_end(struct channel *c);
void channel_keep_worker_end(struct channel *c);
void channel_close(struct channel *c);

/* Sends one message; text may be NULL, and is cut after UP_TEXT_MAX bytes. 0, or -1 with errno:
 * EAGAIN when the master has not read for a while (a heartbeat may then be dropped, anything else
 * is sent again later), EPIPE when it is gone. Async-signal-safe. */
int channel_send_up(int fd, enum up_type type, const char *text);

/* 1: *m is a message. 0: none now. -1: no more will come: the other end is closed (errno EPIPE), or
 * what came is no message (EPROTO): the worker is not to be trusted any further. */
int channel_recv_up(int fd, struct up_message *m);

/* Sends one order. m's descriptors are copied, and remain the caller's. 0, or -1 with errno: EAGAIN
 * when the worker has not read for a while, EPIPE when it is gone. */
int channel_send_down(int fd, const struct down_message *m);

/* As channel_recv_up. The caller owns the descriptors that *m brings. */
int channel_recv_down(int fd, struct down_message *m);

#endif
