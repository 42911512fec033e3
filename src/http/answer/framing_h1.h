/* SPDX-License-Identifier: MIT
 *
 * framing_h1 - the bytes in which an answer leaves on an HTTP/1 connection: the head with what the
 * server adds to it (Date, Server, Connection, the body's length), how the body's end is marked
 * (RFC 9112 6 and 7), and the interim answers before it. What the answer is, response.h says;
 * another protocol frames the same answer in another way.
 */
#ifndef GCORN_HTTP_ANSWER_FRAMING_H1_H
#define GCORN_HTTP_ANSWER_FRAMING_H1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/strbuf.h"

struct gcorn_environ;

enum h1_framing {
    FRAMING_NONE,    /* no body is sent */
    FRAMING_COUNTED, /* by Content-Length */
    FRAMING_CHUNKED,
    FRAMING_CLOSE, /* to an HTTP/1.0 client: until the connection ends */
};

/* A head that was sent, and what it depends on. It outlives the request. */
struct h1_head {
    uint64_t serial; /* of the start cache; 0: none is kept */
    time_t date;
    int64_t content_length;
    enum h1_framing framing;
    size_t len;
    char text[256];
};

struct framing_h1 {
    bool close;              /* the connection ends with this answer: set by the sender before the
                              * head, or here, where the end of the connection ends the body */
    bool owes_crlf;          /* the end of a chunk that was handed out where it lies */
    enum h1_framing framing; /* valid once the head has been handed over */
    struct h1_head kept;
};

/* For a fresh request; *h1 is zeroed or has been used before. */
static inline void framing_h1_init(struct framing_h1 *h1)
{
    h1->close = h1->owes_crlf = false;
    h1->framing = FRAMING_NONE;
}

/* The next bytes of the answer: appends the head, framing and small pieces to out, and stores in
 * *data and *len a large piece to be sent after out (len 0: no piece), which stays valid until
 * the next call. So a slow client holds one piece and no worker. False after the last bytes. True
 * while there are more: `waits` of the response says that there were none yet, and its `file` may
 * name bytes of a file to be sent after all of that, before the next call. When the response is
 * `broken`, the answer is incomplete, and only the end of the connection can tell the client. */
bool framing_h1_next(struct gcorn_environ *env, struct strbuf *out, const char **data, size_t *len);

/* Appends the interim answers that have been made and not framed yet. What framing_h1_next finds of
 * them precedes the head. */
void framing_h1_interims(struct gcorn_environ *env, struct strbuf *out);

/* Appends to out what the handler pushes (gcorn_send): with the first push the head, then data in
 * its frame, copied; len 0: nothing but the head. False: data is longer than was announced, and the
 * rest is left out. Runs on the thread of the call. */
bool framing_h1_push(struct gcorn_environ *env, struct strbuf *out, const void *data, size_t len);

#endif
