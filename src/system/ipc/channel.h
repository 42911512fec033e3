/* SPDX-License-Identifier: MIT
 *
 * channel - the messages between the master and one worker.
 *
 * Up, from the worker: a pipe in packet mode, one message in each packet. Down, from the master: a
 * SOCK_SEQPACKET socketpair, because commands carry descriptors. The end of file on either means
 * that the other process is gone, so each process must close the ends of the other:
 * channel_keep_... on its own channel, channel_close on those of siblings that it has inherited.
 *
 * All descriptors are non-blocking and close-on-exec. Both processes ignore SIGPIPE.
 */
#ifndef GCORN_SYSTEM_IPC_CHANNEL_H
#define GCORN_SYSTEM_IPC_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

/* The text of UP_READY: the worker handles SLOT_LATE_SIGNAL, so the master may send it. */
#define UP_TAKES_LATE_SIGNAL "late"

enum { UP_TEXT_MAX = 1000, DOWN_FDS_MAX = 2 };

enum up_type {
    UP_READY = 1, /* booted, accepts connections; the text may be UP_TAKES_LATE_SIGNAL */
    UP_HEARTBEAT, /* the event loop runs */
    UP_BOOTFAIL,  /* cannot serve; the text says why */
    UP_DYING,     /* of a fatal signal or exit(); its slot has the facts */
    UP_CRASHED,   /* has answered its clients, and waits for DOWN_GO while its stacks are read */
    UP_RECYCLE,   /* asks to be replaced; the text says why (max_requests, no socket) */
};

struct up_message {
    enum up_type type;
    char text[UP_TEXT_MAX + 1]; /* always ends with a NUL; "": none */
};

enum down_type {
    DOWN_RETIRE = 1, /* a replacement serves: drain. Idle keep-alive connections may stay ms */
    DOWN_STOP,       /* the server stops: drain, ms as above */
    DOWN_QUIT,       /* exit now */
    DOWN_REOPEN,     /* use these logs from now on: fds[0] error log, fds[1] access log */
    DOWN_GO,         /* a crashed worker may end */
    DOWN_CLOSE,      /* go on, with Connection: close in every answer: the server stops soon */
};

struct down_message {
    enum down_type type;
    uint32_t ms;
    int fds[DOWN_FDS_MAX]; /* -1: none */
    bool fds_lost; /* received only: descriptors were sent and could not be taken (EMFILE) */
};

struct channel {
    int up_read, up_write;
    int down_master, down_worker;
};

/* Opens all four ends. Returns 0, or -1 with errno and nothing open. */
int channel_open(struct channel *c);
void channel_keep_master_end(struct channel *c);
void channel_keep_worker_end(struct channel *c);
void channel_close(struct channel *c);

/* Sends one message; text may be NULL and is cut to UP_TEXT_MAX bytes. Returns 0, or -1 with errno:
 * EAGAIN, the pipe is full because the master is slow (a heartbeat may be dropped, other messages
 * are sent again later); EPIPE, the master is gone. Async-signal-safe. */
int channel_send_up(int fd, enum up_type type, const char *text);

/* Returns 1 with a message in *m; 0: no message yet; -1 with errno: EPIPE, the other end is
 * closed; EPROTO, the packet is malformed, so the worker is broken. */
int channel_recv_up(int fd, struct up_message *m);

/* Sends one command. The descriptors in m are duplicated; the caller keeps them. Returns 0, or -1
 * with errno: EAGAIN, the socket is full because the worker is slow; EPIPE, the worker is gone. */
int channel_send_down(int fd, const struct down_message *m);

/* Like channel_recv_up. The caller owns the descriptors in *m. */
int channel_recv_down(int fd, struct down_message *m);

#endif
