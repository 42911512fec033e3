/* SPDX-License-Identifier: MIT
 *
 * cookie_date - the dates in Expires of Set-Cookie, which take many forms.
 */
#ifndef GCORN_TESTLIB_CLIENT_COOKIE_DATE_H
#define GCORN_TESTLIB_CLIENT_COOKIE_DATE_H

#include <stddef.h>
#include <stdint.h>

/* Reads a date as RFC 6265 5.1.1 says, into seconds since 1970. Returns 0, or -1: it is none. */
int cookie_date_parse(const char *text, size_t len, int64_t *unix_s);

#endif
