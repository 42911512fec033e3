/* SPDX-License-Identifier: MIT
 *
 * request - requests of a test: made, run as a worker runs them, continued and closed.
 */
#ifndef GCORN_TESTLIB_REQUEST_H
#define GCORN_TESTLIB_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "gcorn.h"
#include "http/exchange.h"

struct test;

/* gcorn_test_request, by http or https to that port of the server. */
struct gcorn_test *request_run(gcorn_app *app, bool is_https, const char *port, const char *head,
                               const void *body, size_t len);

/* Asks for the answer until it has ended or waits; shows in the public fields what has come of it, or
 * that it has come to this end; shows bytes that were added to t->bytes. */
void request_go_on_answer(struct test *t);
void request_show(struct test *t, enum exchange_end end);
void request_read_answer(struct test *t);

/* gcorn_test_open, likewise. */
struct gcorn_test *request_open(gcorn_app *app, bool is_https, const char *port, const char *head);

/* *keeper is the request until it is closed, or kept elsewhere, and then NULL; keeper NULL: it is not
 * kept. */
void request_set_keeper(struct gcorn_test *test, struct gcorn_test **keeper);

/* Ends a request whose answer has not ended, as a worker does that cannot wait any longer. */
void request_cut(struct test *t);

#endif
