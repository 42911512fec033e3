/* SPDX-License-Identifier: MIT
 *
 * access_log - one line about one answer, in gunicorn's format language (%(h)s, %({referer}i)s,
 * ...) or in one of three ready-made forms: combined, json, logfmt. The format is taken apart once;
 * a line is then a walk over its pieces.
 */
#ifndef GCORN_HTTP_ACCESS_LOG_H
#define GCORN_HTTP_ACCESS_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct gcorn_environ;
struct access_log;

enum { ACCESS_LOG_LINE_MAX = 4096 }; /* PIPE_BUF: what a pipe takes whole */

/* What the environ does not know. */
struct access_facts {
    uint64_t wall_ms;     /* when the answer ended, since 1970 */
    uint64_t duration_us; /* from the head's arrival to the answer's last byte */
    int pid;
    unsigned worker; /* its number */
};

/* NULL with err filled in (EXIT_USAGE) when the format is not one. */
struct access_log *access_log_new(const char *format, struct error *err);
void access_log_free(struct access_log *log);

/* Writes one line with its newline to out, which has ACCESS_LOG_LINE_MAX bytes of room; its length.
 * Nothing that comes from the client or the application gets into it unescaped: a line is printable
 * ASCII, a quote or backslash in it is the format's. A line that would be longer is cut, a JSON or
 * logfmt one inside its values. */
size_t access_log_line(struct access_log *log, struct gcorn_environ *env,
                       const struct access_facts *facts, char *out);

/* A request whose worker has died: these are all the facts that are known. Each is a text, "" when
 * unknown. */
struct access_request {
    const char *method;
    const char *target;
    const char *peer;
    const char *request_id;
    int status;
    const char *ended;
};

/* The same as access_log_line of such a request. */
size_t access_log_line_of(struct access_log *log, const struct access_request *q,
                          const struct access_facts *facts, char *out);

#endif
