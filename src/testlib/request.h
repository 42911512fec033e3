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

/* gcorn_test_request, by http or https to that port of the server. */
struct gcorn_test *request_run(gcorn_app *app, bool is_https, const char *port, const char *head,
                               const void *body, size_t len);

/* *keeper is the request until it is closed, or kept elsewhere, and then NULL; keeper NULL: it is not
 * kept. */
void request_set_keeper(struct gcorn_test *test, struct gcorn_test **keeper);

/* Ends a request whose answer has not ended, as a worker does that cannot wait any longer. */
void request_cut(struct test *t);

#endif
