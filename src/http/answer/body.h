/* SPDX-License-Identifier: MIT
 *
 * body - bytes, a buffer that the application writes into, a part of a file, an iterator. Whatever
 * its kind, a body yields chunk after chunk to the answer that sends it, or to a middleware.
 *
 * A kind is a struct that begins with a struct gcorn_body, its operations, and the function of
 * gcorn.h that makes one. Only body.c compares operations in order to learn the kind.
 */
#ifndef GCORN_HTTP_ANSWER_BODY_H
#define GCORN_HTTP_ANSWER_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gcorn.h"

/* A part of a file. */
struct body_file {
    int fd; /* the body's */
    int64_t offset;
    int64_t len;
};

/* What a body does once the chunk that it began with is gone; each may be NULL. */
struct body_ops {
    /* The next chunk, as gcorn_next_fn. NULL: the first chunk was the only one. */
    ssize_t (*next)(struct gcorn_body *body, const void **chunk);
    /* Called once. It may run code of the application, if runs_app. */
    void (*close)(struct gcorn_body *body);
    /* The number of bytes that next will yield; NULL: it is not known. */
    int64_t (*len)(const struct gcorn_body *body);
    /* Hands over all that is still to come, for a caller that reads the file. */
    struct body_file (*fd)(struct gcorn_body *body);
    bool runs_app; /* next and close are functions of the application */
};

struct gcorn_body {
    struct gcorn_environ *env;
    const struct body_ops *ops; /* NULL: its chunk is all of it */
    struct gcorn_body *older;   /* all bodies of a request, so that each is closed */
    const char *chunk;          /* what it begins with; NULL: nothing, or it was handed out */
    size_t chunk_len;
    bool failed; /* the last chunk could not be made */
    bool ended;  /* the last chunk has been asked for, or the body has failed */
    bool closed;
};

/* A body in the request's arena, which hangs in its list; size is that of the kind's struct, whose
 * other members are for the caller to set. */
struct gcorn_body *body_new(struct gcorn_environ *env, const struct body_ops *ops, size_t size);

/* Notes where the stack of this thread begins, as far as the application is concerned: top is an
 * address in a frame of the server's from which the application will be called. gcorn_body_borrow
 * refuses bytes below it. A thread that has not said so is not checked. */
void body_note_stack(const void *top);

/* gcorn_body_next and gcorn_body_len of a body that is there: what the server itself calls. */
ssize_t body_next(struct gcorn_body *body, const void **chunk);
int64_t body_len(const struct gcorn_body *body);

/* Will its next chunk, or its close, run code of the application? */
static inline bool body_runs_app(const struct gcorn_body *body)
{
    return body->ops && body->ops->runs_app && !body->closed;
}

/* Takes over what is still to come of a body whose bytes lie in a file. False: they do not, or they
 * are sent in chunks, because trailers follow. */
bool body_take_file(struct gcorn_body *body, struct body_file *file);

#endif
