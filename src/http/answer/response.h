/* SPDX-License-Identifier: MIT
 *
 * response - an application's answer into bytes: what gcorn_start was told, which framing the body
 * gets (RFC 9112 6), and the pieces in which it leaves. No descriptor, no loop: whoever sends asks
 * for the next piece when the last one is gone, so a slow client holds one piece and no worker.
 *
 *   response_run     calls the application
 *   response_next    appends head, framing and small pieces to `out`; a large piece is handed out
 *                    where it lies, to be sent behind `out`
 */
#ifndef GCORN_HTTP_ANSWER_RESPONSE_H
#define GCORN_HTTP_ANSWER_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/strbuf.h"
#include "gcorn.h"
#include "http/answer/body.h"

/* The receiver of gcorn_start: the server's own in each response, or a middleware's. */
struct gcorn_start_response {
    gcorn_start_fn *fn;
    void *state;
};

enum response_phase {
    RESPONSE_OPEN,  /* may still be started, or started anew */
    RESPONSE_BODY,  /* the head has been handed over */
    RESPONSE_ENDED, /* everything has */
};

enum response_framing { FRAMING_NONE, FRAMING_COUNTED, FRAMING_CHUNKED, FRAMING_CLOSE };

enum { SAID_FIELDS_MAX = 8, SAID_HEAD_MAX = 256 };

/* What gcorn_start was told last, in the form in which it is sent, and the head that came of it.
 * It outlives the request: mostly the next answer says the same, and is then not looked at anew. */
struct said {
    struct strbuf text; /* "200 OK", and behind it the fields */
    size_t status_len;
    int status;
    bool has_server, has_date;
    bool is_whole; /* text was all of it, and in order */
    unsigned field_count;
    struct {
        uint32_t name_len, value_len;
    } fields[SAID_FIELDS_MAX];

    size_t head_len; /* 0: none is kept */
    time_t head_date;
    int64_t head_content_length;
    enum response_framing head_framing;
    char head[SAID_HEAD_MAX];
};

struct response {
    struct gcorn_start_response start;
    enum response_phase phase;
    bool started; /* by a gcorn_start that was in order */
    bool refused; /* the last gcorn_start was not */
    int status;
    const char *fields; /* "Name: value\r\n"..., in `said` */
    size_t fields_len;
    int64_t content_length; /* the application's; -1: it gave none */

    bool close; /* the connection ends with this answer: set by whoever sends, before the head */
    bool owes_crlf;    /* the end of a chunk that was handed out where it lies */
    const char *ended; /* why it ended early, for the access log; NULL: it did not */
    bool broken;       /* out: the answer is incomplete, and the connection must say so */
    bool takes_files;  /* whoever sends fetches the bytes of files himself; set before the head */
    bool waits;        /* out: the application has nothing yet; the next piece is asked for later */
    struct {           /* out, for whoever takes files: left > 0, and so many bytes come next */
        int fd;
        int64_t offset;
        uint64_t left; /* taken off by him, as they leave */
        bool reads;    /* his: sendfile does not do for it */
    } file;
    enum response_framing framing;
    struct gcorn_body *body;   /* what the application returned */
    struct gcorn_body *bodies; /* all that were made */
    const void *pulled;        /* the piece that is being framed; NULL: bytes of a file */
    uint64_t body_len;         /* bytes of the body handed over, framing not counted */
    uint64_t body_max;         /* FRAMING_COUNTED: how many there are to be */

    struct said said;
};

/* For a fresh request; *r is zeroed or has been used before. */
void response_init(struct response *r);
void response_release(struct response *r);

/* Runs the application: its answer, or 500 when it fails, is then ready to be asked for. */
void response_run(struct gcorn_environ *env, gcorn_app *app);

/* Begins the server's own answer to a refused request: a short text. */
void response_refuse(struct gcorn_environ *env, int status, const char *reason);

/* The next piece: appends to out, and stores in *data and *len what is to be sent behind it (len 0:
 * nothing). *data stays valid until the next call. True while there is more to come; false after
 * the last piece. `waits`: there was none, not even the head unless that has left, and it is to be
 * asked for again when the application is woken. With takes_files, `file` may name bytes to be sent
 * behind all that; the next call comes when they are gone. Once `broken` is set, the rest is not to
 * be expected. */
bool response_next(struct gcorn_environ *env, struct strbuf *out, const char **data, size_t *len);

/* The client has gone before the answer's end: what did not leave is not counted, and an answer
 * that had not begun is a 499. */
void response_abandon(struct gcorn_environ *env);

/* Closes every body, each once. */
void response_close(struct gcorn_environ *env);

/* "Not Found" for 404; "Unknown" for what nobody named. */
const char *response_reason(int status);

#endif
