/* SPDX-License-Identifier: MIT
 *
 * http/ - bytes in, bytes out: a request is parsed (request/), the application sees it as an environ
 * and answers (answer/), an access log line tells of both. No descriptor, no loop, no clock.
 *
 * environ - what an application sees of one request: CGI variables as PEP 3333 has them, the input,
 * memory and deferred functions. Variables are made when they are asked for: a request that reads
 * two pays for two.
 *
 * struct gcorn_environ holds the request and its answer and owns the arena that both live in; it is
 * reset whole and used again. The functions of include/gcorn.h are here (input, memory, log), in
 * variables.c, host.c (the process), answer/start.c (headers) and answer/body.c (bodies).
 */
#ifndef GCORN_HTTP_ENVIRON_H
#define GCORN_HTTP_ENVIRON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/arena.h"
#include "gcorn.h"
#include "http/answer/framing_h1.h"
#include "http/answer/response.h"
#include "http/request/request.h"
#include "http/variables.h"

/* What all requests of a worker share. */
struct http_context {
    struct request_limits limits;
    struct forwarded_rules forwarded;
    bool multithread;
    bool multiprocess;
    const char *handler;    /* the application's, as its spec names it; NULL: it has no name */
    const char *id_field;   /* answers carry the request's id in it; NULL: they do not */
    uint64_t id_seed;       /* of request ids, different in every worker */
    time_t date;            /* the second that common_fields are of */
    char common_fields[80]; /* "\r\nServer: gcorn\r\nDate: ...\r\n" */
    size_t common_fields_len;
};

/* What all requests to one address share. All texts are borrowed. */
struct http_local {
    const char *server_name;
    const char *server_port;
    const char *scheme;
};

enum { PORT_TEXT_SIZE = 6 };

/* What all requests of a connection share. */
struct http_peer {
    const struct http_local *local;      /* borrowed */
    char remote_addr[ADDRESS_TEXT_SIZE]; /* "" for a unix socket */
    char remote_port[PORT_TEXT_SIZE];
    enum forwarded_trust trust;
};

struct environ_deferred {
    void (*fn)(void *arg);
    void *arg;
    struct environ_deferred *next;
};

struct gcorn_environ {
    struct request request;
    struct response response;
    struct framing_h1 h1;
    struct arena arena;
    const struct http_context *context;
    const struct http_peer *peer;
    struct stream *stream; /* the worker's, which http/ does not look into; NULL: no client's */
    const struct exchange_sink *sink; /* takes what the handler pushes; NULL: the host does */
    uint64_t id; /* gcorn.request_id, in hex for the application and the logs */
    char id_text[17];
    bool was_run; /* handed to the application */
    uint64_t input_offset;

    struct environ_var *vars; /* set by the application, or made once and kept */
    struct environ_object *objects;
    struct environ_deferred *deferred; /* the latest first */
    struct environ_var *listed;        /* for gcorn_variable_at: an array, NULL until asked for */
    size_t listed_count;
};

/* Sets the date of answers; cheap when the second is still the same. */
void http_context_set_date(struct http_context *c, time_t wall);

/* For a fresh request; context and peer are borrowed. *env is zeroed or has been reset. */
void environ_init(struct gcorn_environ *env, const struct http_context *context,
                  const struct http_peer *peer, uint64_t id);

/* Will ending the request run code of the application: a body's close, deferred functions? */
bool environ_has_code(const struct gcorn_environ *env);

/* The request is over: closes its body, runs what was deferred, and leaves the environ ready for
 * environ_init, its arena empty. May be called in any state. */
void environ_reset(struct gcorn_environ *env);

/* Frees a reset environ's memory. */
void environ_release(struct gcorn_environ *env);

/* REMOTE_ADDR: the peer's address, or what a trusted proxy says is the client's. */
const char *environ_remote_addr(const struct gcorn_environ *env);

/* gcorn.request_id: what a trusted proxy calls the request, or else the id that was made for it. */
const char *environ_request_id(struct gcorn_environ *env);

/* The id that a trusted proxy has given the request; NULL: it has given none. */
const char *environ_given_id(const struct gcorn_environ *env);

#endif
