/* SPDX-License-Identifier: MIT
 *
 * See start.h. What the application says is copied when it says it, in the form in which HTTP/1.1
 * sends it: most applications say the same again and again, which one comparison tells.
 */
#include "http/answer/start.h"

#include <errno.h>
#include <string.h>

#include "base/ascii.h"
#include "base/log.h"
#include "base/util.h"
#include "http/environ.h"
#include "http/request/scan.h"
#include "http/request/syntax.h"

/* ---- fields ------------------------------------------------------------------------------ */

static enum start_kind kind_of(const char *name, size_t len)
{
    static const struct {
        const char *lower[2];
        enum start_kind kind[2];
    } known[] = {
        [2] = {{"te"}, {START_HOP}},
        [4] = {{"date"}, {START_DATE}},
        [6] = {{"server"}, {START_SERVER}},
        [7] = {{"trailer", "upgrade"}, {START_HOP, START_HOP}},
        [10] = {{"connection", "keep-alive"}, {START_HOP, START_HOP}},
        [14] = {{"content-length"}, {START_LENGTH}},
        [16] = {{"proxy-connection"}, {START_HOP}},
        [17] = {{"transfer-encoding"}, {START_HOP}},
        [18] = {{"proxy-authenticate"}, {START_HOP}},
        [19] = {{"proxy-authorization"}, {START_HOP}},
    };

    if (len >= ARRAY_LEN(known))
        return START_OTHER;
    for (size_t i = 0; i < 2 && known[len].lower[i]; i++) {
        if (syntax_is(name, len, known[len].lower[i]))
            return known[len].kind[i];
    }
    return START_OTHER;
}

/* Not inlined, as its locals would cost every answer a stack check. */
static const char *__attribute__((noinline)) take_length(struct response *r, const char *value)
{
    int64_t length;

    if (r->content_length >= 0)
        return "given twice";
    if (value[0] == '-' || parse_int(value, 0, INT64_MAX, &length) < 0)
        return "not a length";
    r->content_length = length;
    return NULL;
}

const char *start_check_field(const struct gcorn_header *h, struct start_field *field)
{
    if (!h->value)
        return "no value";
    field->name_len = syntax_token_end(h->name);
    field->value_len = strlen(h->value);
    if (field->name_len == 0 || h->name[field->name_len] != '\0')
        return "not a valid field name";
    if (scan_has_control(h->value, field->value_len))
        return "a control character in the value";
    field->kind = kind_of(h->name, field->name_len);
    return field->kind == START_HOP ? "only the server may send it" : NULL;
}

char *start_put_field(char *p, const char *name, size_t name_len, const char *value,
                      size_t value_len)
{
    p = strbuf_put(p, name, name_len);
    p = STRBUF_PUT_LITERAL(p, ": ");
    p = strbuf_put(p, value, value_len);
    return STRBUF_PUT_LITERAL(p, "\r\n");
}

/* One field, as it will be sent, into r->start_cache; Content-Length not, since the framing decides it.
 * NULL, or why it cannot be sent. */
static const char *take_field(struct response *r, const struct gcorn_header *h)
{
    struct start_cache *cache = &r->start_cache;
    struct start_field field;
    const char *bad = start_check_field(h, &field);

    if (bad)
        return bad;
    if (field.kind == START_LENGTH)
        return take_length(r, h->value);
    cache->has_date = cache->has_date || field.kind == START_DATE;
    cache->has_server = cache->has_server || field.kind == START_SERVER;
    size_t len = field.name_len + field.value_len + 4;
    (void)start_put_field(strbuf_grow(&cache->text, len), h->name, field.name_len, h->value,
                          field.value_len);
    cache->text.len += len;
    if (cache->field_count < START_FIELDS_MAX) {
        cache->fields[cache->field_count].name_len = (uint32_t)field.name_len;
        cache->fields[cache->field_count].value_len = (uint32_t)field.value_len;
    }
    cache->field_count++;
    return NULL;
}

/* ---- gcorn_start ------------------------------------------------------------------------- */

bool start_status_is_valid(const char *status, size_t len)
{
    for (size_t i = 0; i < 3; i++) {
        if (status[i] < '0' || status[i] > '9')
            return false;
    }
    return (status[3] == ' ' || status[3] == '\0') && !scan_has_control(status, len);
}

/* 1xx answers are no end of a request, 6xx and up do not exist (RFC 9110 15). */
static bool status_is_final(const char *status, size_t len)
{
    return start_status_is_valid(status, len) && status[0] >= '2' && status[0] <= '5';
}

static int refuse_start(struct gcorn_environ *env, const char *what, const char *name)
{
    env->response.refused = true;
    log_request(LOG_LEVEL_ERROR, environ_request_id(env), "gcorn_start refused: %s: %s", name,
                what);
    errno = EINVAL;
    return -1;
}

static bool is_text(const char *s, const char *text, size_t len)
{
    return s && strncmp(s, text, len) == 0 && s[len] == '\0';
}

/* Is this what was said last? Then all of it has been looked at. */
static bool says_the_same(const struct start_cache *cache, const char *status,
                          const struct gcorn_header *h)
{
    const char *p = cache->text.data;

    if (!cache->is_whole || !is_text(status, p, cache->status_len))
        return false;
    p += cache->status_len;
    for (unsigned i = 0; i < cache->field_count; i++, h++) {
        size_t name_len = cache->fields[i].name_len, value_len = cache->fields[i].value_len;

        if (!h || !is_text(h->name, p, name_len) || !is_text(h->value, p + name_len + 2, value_len))
            return false;
        p += name_len + 2 + value_len + 2;
    }
    return !h || !h->name;
}

/* Checks and copies what gcorn_start is told. 0, or -1 when it is refused. */
static int take_start(struct gcorn_environ *env, const char *status,
                      const struct gcorn_header *headers)
{
    struct response *r = &env->response;
    struct start_cache *cache = &r->start_cache;
    size_t status_len = status ? strlen(status) : 0;

    cache->is_whole = cache->has_date = cache->has_server = false;
    cache->field_count = 0;
    cache->serial++;
    strbuf_reset(&cache->text);
    if (!status || !status_is_final(status, status_len))
        return refuse_start(env, "not a status", status ? status : "NULL");
    strbuf_add(&cache->text, status, status_len);
    for (const struct gcorn_header *h = headers; h && h->name; h++) {
        const char *bad = take_field(r, h);

        if (bad)
            return refuse_start(env, bad, h->name);
    }
    cache->status = (status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0');
    cache->status_len = status_len;
    cache->is_whole = r->content_length < 0 && cache->field_count <= START_FIELDS_MAX;
    return 0;
}

int start_own(void *state, const char *status, const struct gcorn_header *headers)
{
    struct gcorn_environ *env = state;
    struct response *r = &env->response;
    struct start_cache *cache = &r->start_cache;

    if (r->phase != RESPONSE_OPEN) {
        errno = EALREADY;
        return -1;
    }
    r->started = r->refused = false;
    r->content_length = -1;
    if (!says_the_same(cache, status, headers) && take_start(env, status, headers) < 0)
        return -1;
    r->status = cache->status;
    r->fields = cache->text.data + cache->status_len;
    r->fields_len = cache->text.len - cache->status_len;
    r->started = true;
    return 0;
}

int gcorn_start(struct gcorn_start_response *start_response, const char *status,
                const struct gcorn_header *headers)
{
    return start_response->fn(start_response->state, status, headers);
}

/* What stands in the place of a missing function: the inner application starts nothing. */
static int refuse_wrapped(void *state, const char *status, const struct gcorn_header *headers)
{
    (void)headers;
    return refuse_start(state, "gcorn_start_wrap: fn is NULL", status ? status : "NULL");
}

struct gcorn_start_response *gcorn_start_wrap(struct gcorn_environ *env, gcorn_start_fn *fn,
                                              void *state)
{
    struct gcorn_start_response *wrap = arena_alloc(&env->arena, sizeof(*wrap));

    if (!fn) {
        fn = refuse_wrapped;
        state = env;
    }
    *wrap = (struct gcorn_start_response){.fn = fn, .state = state};
    return wrap;
}
