/* SPDX-License-Identifier: MIT
 *
 * ask - one question to the master over its control socket (master/operator/control.h): a
 * connection, a line, and an answer that ends with the connection. ctl/ is gcornctl, which knows no
 * more of the server than its settings.
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
    uint64_t timeout_ms; /* for the whole answer; 0: as long as a healthy master may take */
    bool takes_long;     /* that has no limit, as long as the master answers other questions */
};

/* Asks and waits for the whole answer, which it appends. Returns 0, or -1 with err. */
int ask(const struct question *q, struct strbuf *answer, struct error *err);

/* Connects, waiting at most timeout_ms for that (0: not at all), and sends the line. Returns the
 * socket, non-blocking, or -1 with err. */
int ask_begin(const char *path, const char *line, uint64_t timeout_ms, struct error *err);

/* Appends what has arrived of the answer. Returns 1: more may come; 0: the answer is whole; -1 with
 * errno: ECONNRESET, the connection has ended without an answer. */
int ask_more(int fd, struct strbuf *answer);

#endif
