/* SPDX-License-Identifier: MIT
 *
 * receive - what a test's client sends, as a connection of a worker reads it: the application is asked
 * at the end of the head (gcorn_on_head), and called when the body has come, or as it comes.
 */
#ifndef GCORN_TESTLIB_RECEIVE_H
#define GCORN_TESTLIB_RECEIVE_H

#include <stdbool.h>
#include <stddef.h>

struct test;

/* The client has sent these bytes: of the head, then of the body. */
void receive_bytes(struct test *t, const char *data, size_t len);

/* It sends nothing more, and the request is not complete: 400. */
void receive_end(struct test *t);

/* It waits until it is told to go on: 100, where the application wants the body by now. */
void receive_pause(struct test *t);

/* The application has been called again, and may have read: works what there was no room for. */
void receive_kept(struct test *t);

#endif
