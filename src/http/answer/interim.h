/* SPDX-License-Identifier: MIT
 *
 * interim - gcorn_interim: 1xx answers that an application sends before its answer (RFC 9110 15.2,
 * RFC 8297). Each is a status and fields, checked as those of gcorn_start are; a framing makes
 * bytes of it (framing_h1_interims). The host of the application is asked to send it at once; one
 * that no host has sent leaves with the head of the answer.
 */
#ifndef GCORN_HTTP_ANSWER_INTERIM_H
#define GCORN_HTTP_ANSWER_INTERIM_H

#include <stddef.h>

/* In the request's arena. */
struct interim {
    struct interim *next;
    const char *status; /* "103 Early Hints" */
    size_t status_len;
    const char *fields; /* "Name: value\r\n"... */
    size_t fields_len;
};

/* All interim answers of a request together have at most so many bytes of status lines and fields:
 * what a client does not read is kept in memory. */
enum { INTERIM_BYTES_MAX = 64 * 1024 };

#endif
