/* SPDX-License-Identifier: MIT
 *
 * request_body - the body of a request in HTTP/1, counted or in chunks, into its spool, and the
 * trailers after it (RFC 9112 6 and 7).
 */
#ifndef GCORN_HTTP_REQUEST_REQUEST_BODY_H
#define GCORN_HTTP_REQUEST_REQUEST_BODY_H

#include <stddef.h>

struct request;
struct llhttp__internal_s;

/* The head is in order, and parser has read the fields that frame the body: the request is done,
 * refused, held, or in its body. */
void request_body_begin(struct request *r, const struct llhttp__internal_s *parser);

/* Memory for the next bytes of the body, *size of them at most: those that are read to it and then fed
 * are not copied again. NULL: they may come from anywhere. Valid until the next call for r. */
char *request_body_room(struct request *r, size_t *size);

/* Takes bytes of the body, while the request is in it (request_in_body); returns their number. */
size_t request_body_feed(struct request *r, const char *data, size_t len);

#endif
