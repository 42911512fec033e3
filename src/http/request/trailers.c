/* SPDX-License-Identifier: MIT
 *
 * See trailers.h.
 */
#include "http/request/trailers.h"

#include <string.h>

#include "base/arena.h"
#include "base/util.h"
#include "http/request/request.h"
#include "http/request/syntax.h"

#define BOTH   (TRAILER_OF_REQUEST | TRAILER_OF_ANSWER)
#define ANSWER TRAILER_OF_ANSWER

/* By what they decide (RFC 9110 6.5.1); cookies are credentials (RFC 6265), and fields of proxies
 * say who the client is. */
static const struct {
    const char *lower;
    unsigned whose;
} forbidden[] = {
    /* framing, and the connection */
    {"transfer-encoding", BOTH},
    {"content-length", BOTH},
    {"trailer", BOTH},
    {"connection", BOTH},
    {"keep-alive", BOTH},
    {"proxy-connection", BOTH},
    {"te", BOTH},
    {"upgrade", BOTH},
    {"http2-settings", BOTH},
    /* routing */
    {"host", BOTH},
    {"max-forwards", BOTH},
    {"forwarded", BOTH},
    {"x-real-ip", BOTH},
    /* authentication */
    {"authorization", BOTH},
    {"proxy-authorization", BOTH},
    {"www-authenticate", BOTH},
    {"proxy-authenticate", BOTH},
    {"cookie", BOTH},
    {"set-cookie", BOTH},
    /* what is asked for, and under which conditions */
    {"cache-control", BOTH},
    {"pragma", BOTH},
    {"expect", BOTH},
    {"range", BOTH},
    {"if-match", BOTH},
    {"if-none-match", BOTH},
    {"if-modified-since", BOTH},
    {"if-unmodified-since", BOTH},
    {"if-range", BOTH},
    /* how the content is read */
    {"content-encoding", BOTH},
    {"content-type", BOTH},
    {"content-range", BOTH},
    /* what becomes of an answer */
    {"age", ANSWER},
    {"date", ANSWER},
    {"expires", ANSWER},
    {"location", ANSWER},
    {"retry-after", ANSWER},
    {"vary", ANSWER},
    {"warning", ANSWER},
};

bool trailer_is_forbidden(enum trailer_of whose, const char *name, size_t len)
{
    static const char forwarded[] = "x-forwarded-"; /* and anything */

    if (len >= sizeof(forwarded) - 1 && syntax_is(name, sizeof(forwarded) - 1, forwarded))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(forbidden); i++) {
        if ((forbidden[i].whose & whose) && strlen(forbidden[i].lower) == len &&
            syntax_is(name, len, forbidden[i].lower))
            return true;
    }
    return false;
}

/* One line, up to its CR; false: it does not begin with a name and a colon. */
static bool split_line(struct field *f, char *line, size_t len)
{
    size_t name_len = syntax_token_len(line, len);

    if (name_len == 0 || name_len == len || line[name_len] != ':')
        return false;
    const char *value = line + name_len + 1;
    size_t value_len = len - name_len - 1;
    syntax_trim(&value, &value_len);
    *f = (struct field){.name = line,
                        .name_len = (uint32_t)name_len,
                        .value = line + (value - line),
                        .value_len = (uint32_t)value_len};
    return true;
}

int trailers_read(struct request *r, char *text, size_t len)
{
    char *end = text + len - 2; /* where the empty line begins */
    struct field *f;

    r->trailer_fields = f = arena_alloc(r->arena, r->scan.lines * sizeof(*f));
    for (char *line = text, *cr; line < end; line = cr + 2) {
        cr = memchr(line, '\r', (size_t)(end - line));
        if (!split_line(f, line, (size_t)(cr - line)))
            request_refuse(r, 400, "a trailer does not begin with a name and a colon");
        else if (trailer_is_forbidden(TRAILER_OF_REQUEST, f->name, f->name_len))
            request_refuse(r, 400, "a trailer whose field must stand before the body");
        if (request_is_refused(r))
            return -1;
        f++;
    }
    r->trailer_count = (size_t)(f - r->trailer_fields);
    return 0;
}
