/* SPDX-License-Identifier: MIT
 *
 * ask - one question to the master over its control socket (master/operator/control.h): a
 * connection, a line, an answer that ends with the connection.
 */
#ifndef GCORN_CTL_ASK_H
#define GCORN_CTL_ASK_H

#include <stdbool.h>
#include <stdint.h>

struct error;
struct strbuf;

struct question {
    const char *path;    /* of the socket */
    const char *line;    /* without its newline */
    uint64_t timeout_ms; /* for all of it; 0: as long as a master that is well may take */
    bool takes_long;     /* then that is for ever, as long as the master is alive */
};

/* Asks and waits for the whole answer. 0, or -1 with err. */
int ask(const struct question *q, struct strbuf *answer, struct error *err);

/* Connects and sends the line, and waits for nothing unless a connection may be waited for
 * patience_ms (0: not at all). The non-blocking socket, or -1 with err. */
int ask_begin(const char *path, const char *line, uint64_t patience_ms, struct error *err);

/* Takes what is there of the answer. 1: more may come, 0: that is all of it, -1 with errno, which
 * is ECONNRESET when the end came before an answer. */
int ask_more(int fd, struct strbuf *answer);

#endif
