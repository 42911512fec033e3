/* SPDX-License-Identifier: MIT
 *
 * url - the URLs of a test's client: where requests go, and where a redirection leads.
 */
#ifndef GCORN_TESTLIB_CLIENT_URL_H
#define GCORN_TESTLIB_CLIENT_URL_H

#include <stdbool.h>

/* What a server is reached at. A zeroed struct is a valid empty one. */
struct origin {
    bool is_https;
    char *host;      /* in lower case; an IPv6 address with its brackets */
    char *port;      /* "443", also where the URL has none */
    char *authority; /* as in Host: without the scheme's own port */
};

/* Takes the origin out of an absolute URL, whose rest is not looked at; *o must be empty. Returns 0,
 * or -1 with EINVAL, and *o is as before: not http or https, user information, no host, a bad
 * port. */
int origin_parse(struct origin *o, const char *url);
void origin_release(struct origin *o);

/* The path and the query of an absolute URL, as a request's target: from '/' on. Borrowed; "/" when
 * the URL has none. */
const char *url_target(const char *url);

/* The URL that a reference (a Location) means, which was found at the absolute URL base (RFC 3986
 * 5.2), without a fragment. The caller frees it. */
char *url_resolve(const char *base, const char *reference);

#endif
