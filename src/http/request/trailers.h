/* SPDX-License-Identifier: MIT
 *
 * trailers - the fields after a chunked body (RFC 9110 6.5). They never become variables of the
 * request: an application walks them by themselves (gcorn_trailer_at). What decides how a message
 * is read must stand before its body, so such names are refused.
 */
#ifndef GCORN_HTTP_REQUEST_TRAILERS_H
#define GCORN_HTTP_REQUEST_TRAILERS_H

#include <stdbool.h>
#include <stddef.h>

struct request;

/* Whose trailers: a name may be harmless in those of the one, and not in those of the other. */
enum trailer_of { TRAILER_OF_REQUEST = 1, TRAILER_OF_ANSWER = 2 };

/* May no trailer have this name (RFC 9110 6.5.1)? The case of letters makes no difference. */
bool trailer_is_forbidden(enum trailer_of whose, const char *name, size_t len);

/* Splits the trailer section, len bytes with its last CRLF, into r->trailer_fields, which point
 * into text. 0, or -1: a line is malformed, or has a forbidden name, and the request is refused. */
int trailers_read(struct request *r, char *text, size_t len);

#endif
