/* SPDX-License-Identifier: MIT
 *
 * body - what an application returns: bytes, a buffer that it wrote into, a part of a file, an
 * iterator. Whatever its kind, it is asked for chunk after chunk by gcorn_body_next: by the answer
 * that sends it, or by a middleware that iterates over it.
 */
#ifndef GCORN_HTTP_ANSWER_BODY_H
#define GCORN_HTTP_ANSWER_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/spool.h"
#include "gcorn.h"

enum body_kind { BODY_BYTES, BODY_BUFFER, BODY_FILE, BODY_ITER };

struct gcorn_body {
    struct gcorn_environ *env;
    struct gcorn_body *older; /* all bodies of a request, so that each is closed */
    enum body_kind kind;
    bool failed; /* BODY_BUFFER: a write did not fit anywhere; or the last chunk was none */
    bool ended;  /* the last chunk has been asked for, or the body has failed */
    bool given;  /* BODY_BYTES, BODY_BUFFER: handed over as the one chunk that they are */
    bool closed;
    union {
        struct { /* BODY_BYTES */
            const char *data;
            size_t len;
        };
        struct spool spool; /* BODY_BUFFER */
        struct {            /* BODY_FILE: what is still to come of it */
            int fd;
            int64_t offset;
            int64_t left;
            char *read; /* where chunks are read to; NULL until one is */
        } file;
        struct { /* BODY_ITER */
            gcorn_next_fn *next;
            gcorn_close_fn *close;
            void *state;
        };
    };
};

/* gcorn_body_next and gcorn_body_len of a body that is there: what the server itself calls. */
ssize_t body_next(struct gcorn_body *body, const void **chunk);
int64_t body_len(const struct gcorn_body *body);

#endif
