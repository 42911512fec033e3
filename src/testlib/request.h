/* SPDX-License-Identifier: MIT
 *
 * request - requests of a test: made, run as a worker runs them, continued and closed.
 */
#ifndef GCORN_TESTLIB_REQUEST_H
#define GCORN_TESTLIB_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "gcorn.h"

struct test;

/* What a request is sent to: an address of the server. Texts are borrowed until it is closed. */
struct http_local;

/* gcorn_test_request, to that address. */
struct gcorn_test *request_run(gcorn_app *app, const struct http_local *local, const char *head,
                               const void *body, size_t len);

/* Ends a request whose answer has not ended, as a worker does that cannot wait any longer. */
void request_cut(struct test *t);

#endif
