/* SPDX-License-Identifier: MIT
 *
 * accesslog - one line about one answer, in gunicorn's format language: %(h)s, %({referer}i)s, ...
 * The format is taken apart once; a line is then a walk over its pieces.
 */
#ifndef GCORN_HTTP_ACCESSLOG_H
#define GCORN_HTTP_ACCESSLOG_H

#include <stdint.h>
#include <time.h>

#include "base/error.h"
#include "base/strbuf.h"

struct gcorn_environ;
struct accesslog;

enum { ACCESSLOG_LINE_MAX = 4096 }; /* PIPE_BUF: what a pipe takes whole */

/* What the environ does not know. */
struct access_facts {
    time_t wall;          /* when the answer ended */
    uint64_t duration_us; /* from the head's arrival to the answer's last byte */
    int pid;
};

/* NULL with err filled in (EXIT_USAGE) when the format is not one. */
struct accesslog *accesslog_new(const char *format, struct error *err);
void accesslog_free(struct accesslog *log);

/* Appends one line, at most ACCESSLOG_LINE_MAX bytes with its newline. What comes from the client
 * is escaped: no quote, backslash, control or non-ASCII byte gets through as it is. */
void accesslog_add(const struct accesslog *log, struct gcorn_environ *env,
                   const struct access_facts *facts, struct strbuf *out);

#endif
