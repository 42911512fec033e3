/* SPDX-License-Identifier: MIT
 *
 * answer - what the client of a request gets: the bytes that leave are read again, so that a test
 * sees what a client sees.
 */
#ifndef GCORN_TESTLIB_ANSWER_H
#define GCORN_TESTLIB_ANSWER_H

struct test;

/* Reads what has been added to t->bytes since the last call into the public fields of t. */
void answer_read(struct test *t);

/* Frees what answer_read has made. */
void answer_free(struct test *t);

#endif
