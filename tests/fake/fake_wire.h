/* SPDX-License-Identifier: MIT
 *
 * fake_wire - the second implementation of worker/wire: clients that a script plays. What a client
 * sends, how it is cut, what it takes, when it is reset: all is set in struct fake_client, and what
 * the server did is read there.
 */
#ifndef GCORN_TESTS_FAKE_FAKE_WIRE_H
#define GCORN_TESTS_FAKE_FAKE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "worker/wire/wire.h"

enum { FAKE_CLIENTS = 16 };

struct fake_client {
    /* the script's */
    struct strbuf sent;  /* all that the client has sent */
    bool has_ended;      /* and it sends nothing more: FIN */
    int error;           /* an errno, from now on: ECONNRESET; 0: none */
    size_t window;       /* bytes that the socket takes before it is full */
    size_t read_max;     /* bytes that one read gives at most; 0: any */
    unsigned interrupts; /* so many of the next reads and sends end with EINTR */
    bool buffers;        /* a read takes all from the socket, as TLS does: has_pending */
    bool needs_write;    /* the next read needs the socket to be writable: wants_write */
    size_t wait_window;  /* so much further the window opens when a call waits for it */
    int64_t queued_ms;   /* what queue_delay_ms says */

    /* the server's */
    struct strbuf taken; /* all that it has sent */
    bool is_open;        /* it holds the wire */
    bool is_shut;        /* it has closed its side */
    bool is_reset;       /* its close is a reset */
    size_t read_len;     /* bytes of `sent` that it has read */
    size_t buffered_len; /* bytes of `sent` that are no longer in the socket */
};

extern struct fake_client fake_clients[FAKE_CLIENTS];

/* Makes fake_clients[i] a client that has connected, sent nothing and takes everything; the wire of
 * it is for conn_open. */
struct wire fake_wire_open(unsigned i);

/* The client of a wire's descriptor; NULL: the descriptor is not one of a fake wire. */
struct fake_client *fake_client_of(int fd);

/* As fake_ready_fn (fake_loop.h). */
int fake_wire_ready(int fd, int wanted);

void fake_client_sends(unsigned i, const char *text);
void fake_client_sends_bytes(unsigned i, const void *bytes, size_t len);

/* Frees what the clients hold. */
void fake_wire_release(void);

#endif
