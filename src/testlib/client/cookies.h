/* SPDX-License-Identifier: MIT
 *
 * cookies - the jar of a test's client: RFC 6265, sections 5.1 to 5.4, and the prefixes __Secure- and
 * __Host- of its successor, which browsers have.
 */
#ifndef GCORN_TESTLIB_CLIENT_COOKIES_H
#define GCORN_TESTLIB_CLIENT_COOKIES_H

#include <stdbool.h>
#include <stdint.h>

struct strbuf;

/* A zeroed one is empty. */
struct cookies {
    struct cookie *first; /* in the order in which they were made */
};

/* The request that a cookie comes from, or goes with. */
struct cookies_request {
    const char *host;   /* in lower case, without the port */
    const char *target; /* the path, perhaps with a query */
    bool is_secure;     /* https */
    int64_t now_ms;     /* the wall clock, since 1970 */
};

/* Does what the value of a Set-Cookie field says: keeps, replaces or removes a cookie, or nothing
 * when the field is not valid, or not this host's to set. */
void cookies_set(struct cookies *jar, const struct cookies_request *from, const char *set_cookie);

/* Appends the value of a Cookie field; nothing when the request takes no cookie. */
void cookies_add_field(const struct cookies *jar, const struct cookies_request *to,
                       struct strbuf *out);

/* The value that the request sends for this name, the first one if there are several; NULL: none.
 * Borrowed. */
const char *cookies_value(const struct cookies *jar, const struct cookies_request *to,
                          const char *name);

void cookies_release(struct cookies *c);

#endif
