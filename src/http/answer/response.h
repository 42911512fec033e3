/* SPDX-License-Identifier: MIT
 *
 * answer/ - what an application says (start) and returns (body), both as one answer (response), and
 * the bytes of HTTP/1 that carry it (framing_h1).
 *
 * response - an application's answer: the status and fields that it started with, and its body in
 * pieces, as long as was promised. No descriptor, no loop, no framing: a framing (framing_h1.h)
 * asks for the next piece when the last one is gone.
 *
 *   response_run     calls the application
 *   response_next    yields the next piece; with the first, status, fields and length are final
 */
#ifndef GCORN_HTTP_ANSWER_RESPONSE_H
#define GCORN_HTTP_ANSWER_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gcorn.h"
#include "http/answer/body.h"
#include "http/answer/interim.h"
#include "http/answer/start.h"

enum response_phase {
    RESPONSE_OPEN,  /* may still be started, or started again */
    RESPONSE_BODY,  /* the first piece has been handed over */
    RESPONSE_ENDED, /* the last one has */
};

/* How far gcorn_on_head is, where the application has it. */
enum head_step {
    HEAD_NOT_ASKED,
    HEAD_ASKED, /* it runs */
    HEAD_PASSED,
};

/* A field after the body; all is in the request's arena. */
struct trailer {
    struct trailer *next;
    const char *name, *value;
    bool is_repeated; /* an earlier one has the name */
};

struct response {
    struct gcorn_start_response start;
    enum response_phase phase;
    uint8_t head_step; /* enum head_step */
    bool started;      /* by a gcorn_start that was in order */
    bool refused;      /* the last gcorn_start was not */
    int status;
    const char *fields; /* "Name: value\r\n"..., in the start cache */
    size_t fields_len;
    int64_t content_length; /* the application's, then the answer's; -1: not known */
    bool sends_body;        /* past RESPONSE_OPEN: false for HEAD, 204, 205 and 304 */

    const char *ended; /* why it ended early, for the access log; NULL: it did not */
    bool broken;       /* the answer is incomplete, and the client must be able to tell */
    bool takes_files; /* the sender fetches the bytes of files itself; set before the first piece */
    bool cut;         /* a push was longer than the announced length had left */
    bool spoiled;     /* a push was not in order: see response_spoil */
    bool waits;       /* the application has nothing yet; ask for the next piece when it is woken */
    const void *piece; /* NULL: bytes of `file`, or nothing */
    size_t piece_len;
    struct { /* for a sender that takes files: the next bytes, if left > 0 */
        int fd;
        int64_t offset;
        uint64_t left; /* the sender counts it down, as they leave */
        bool reads;    /* the sender's: sendfile does not do for it */
    } file;
    struct interim *interims; /* that have not been framed yet, in order */
    struct trailer *trailers; /* in order; where content_length is known they are not sent */
    uint32_t interim_bytes;   /* of all that were made */
    uint32_t trailer_bytes;
    struct gcorn_body *body;   /* what the application returned */
    struct gcorn_body *bodies; /* all that were made */
    uint64_t body_len;         /* bytes of the body handed over, framing not counted */
    uint64_t body_max;         /* the number there must be, where content_length is known */

    struct start_cache start_cache;
};

/* For a fresh request; *r is zeroed or has been used before. */
void response_init(struct response *r);
void response_release(struct response *r);

/* Runs the application: its answer, or 500 when it fails, is then ready to be asked for. */
void response_run(struct gcorn_environ *env, gcorn_app *app);

/* Asks the application's gcorn_on_head about a request whose head is read, and tells the parser to go
 * on with the body if that is wanted. True: the handler is to be run now. False: `body` is the
 * answer, or the request goes on with its body, or is refused. */
bool response_ask(struct gcorn_environ *env, gcorn_app *on_head);

/* Begins the server's own answer to a refused request: a short text. */
void response_refuse(struct gcorn_environ *env, int status, const char *reason);

/* True: the handler has not returned, so that it may push (gcorn_send). */
static inline bool response_takes_pushes(const struct response *r)
{
    return !r->body && r->phase != RESPONSE_ENDED && r->head_step != HEAD_ASKED;
}

/* The handler pushes len bytes, in an answer that was started in order: counts them. Returns how
 * many of them are sent: 0 for HEAD and the like, and fewer than len where they are more than was
 * announced. With the first push status, fields and content_length are final. */
size_t response_push(struct gcorn_environ *env, size_t len);

/* The handler has returned after pushes: what it returned follows them, unless it is spoiled. */
void response_end_pushes(struct gcorn_environ *env);

/* Of the bytes pushed, so many do not leave. */
void response_unpush(struct gcorn_environ *env, uint64_t unsent);

/* A push was not in order, and its bytes are lost: logs why, once; the answer becomes 500, or is
 * broken off where its head has left. Returns -1 with EINVAL. */
int response_spoil(struct gcorn_environ *env, const char *why);

/* The next piece, into `piece` and `piece_len`; `piece` stays valid until the next call. True while
 * there is more to come; false after the last piece, which may be empty. While `waits` is set there
 * was none: ask again when the application is woken. Before the first piece status, fields and
 * content_length may change; after it they are final. With takes_files, `file` may name bytes in
 * place of a piece; the next call comes when they are gone. Once `broken` is set, no more comes. */
bool response_next(struct gcorn_environ *env);

/* The client has gone before the answer's end: what did not leave is not counted, and an answer
 * that had not begun is a 499. */
void response_abandon(struct gcorn_environ *env);

/* Closes every body, each once. */
void response_close(struct gcorn_environ *env);

/* "Not Found" for 404; "Unknown" for a status without a name. */
const char *response_reason(int status);

#endif
