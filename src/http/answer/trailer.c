/* SPDX-License-Identifier: MIT
 *
 * gcorn_trailer: fields that leave after the body of an answer (RFC 9110 6.5). A framing sends them
 * where the body's length is not told before: so an answer that has some has no length of its own,
 * unless the application gives one.
 */
#include <errno.h>
#include <string.h>

#include "base/ascii.h"
#include "base/log.h"
#include "http/environ.h"
#include "http/request/syntax.h"
#include "http/request/trailers.h"

enum { TRAILER_COUNT_MAX = 100, TRAILER_BYTES_MAX = 64 * 1024 };

/* "trailers", which has no weight; but one of 0 says no whatever the grammar says. */
static bool says_trailers(const char *element, size_t len)
{
    size_t name_len = syntax_token_len(element, len);

    if (name_len != 8 || !syntax_is(element, 8, "trailers"))
        return false;
    const char *weight = memchr(element, '=', len);
    while (weight && ++weight < element + len) {
        if (*weight != '0' && *weight != '.')
            return true;
    }
    return !weight;
}

/* RFC 9110 10.1.4. TE itself is enough: that Connection names it is for intermediaries, and one
 * that has forwarded it all the same can drop the trailers (RFC 9112 7.1.2). */
static bool client_takes_trailers(const struct request *r)
{
    if (r->minor_version == 0)
        return false;
    for (size_t i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];
        const char *list = f->value, *element;
        size_t len = f->value_len, element_len;

        if (f->name_len != 2 || !syntax_is(f->name, 2, "te"))
            continue;
        while (syntax_next_element(&list, &len, &element, &element_len)) {
            if (says_trailers(element, element_len))
                return true;
        }
    }
    return false;
}

/* Is the length of the body told in the head, or has the answer none? */
static bool is_counted(const struct gcorn_environ *env)
{
    const struct response *r = &env->response;

    return r->content_length >= 0 || env->request.is_head ||
           (r->phase == RESPONSE_BODY && !r->sends_body);
}

static size_t trailer_count(const struct response *r)
{
    size_t count = 0;

    for (const struct trailer *t = r->trailers; t; t = t->next)
        count++;
    return count;
}

/* May one of this length be added? 0, or -1 with errno. */
static int check_when(const struct gcorn_environ *env, size_t len)
{
    const struct response *r = &env->response;

    if (r->phase == RESPONSE_ENDED)
        errno = EALREADY;
    else if (is_counted(env) || !client_takes_trailers(&env->request))
        errno = ENOTSUP;
    else if (trailer_count(r) == TRAILER_COUNT_MAX || r->trailer_bytes + len > TRAILER_BYTES_MAX)
        errno = EMSGSIZE;
    else
        return 0;
    return -1;
}

static int refuse(struct gcorn_environ *env, const char *name, const char *why)
{
    log_request(LOG_LEVEL_ERROR, environ_request_id(env), "gcorn_trailer refused: %s: %s", name,
                why);
    errno = EINVAL;
    return -1;
}

static void append(struct gcorn_environ *env, const struct gcorn_header *header)
{
    struct trailer **end = &env->response.trailers;
    struct trailer *trailer = arena_alloc(&env->arena, sizeof(*trailer));

    *trailer = (struct trailer){.name = arena_strdup(&env->arena, header->name),
                                .value = arena_strdup(&env->arena, header->value)};
    while (*end) {
        trailer->is_repeated = trailer->is_repeated || ascii_same((*end)->name, trailer->name);
        end = &(*end)->next;
    }
    *end = trailer;
}

int gcorn_trailer(struct gcorn_environ *env, const char *name, const char *value)
{
    const struct gcorn_header header = {name, value};
    struct response *r = &env->response;
    struct start_field field;

    if (!name)
        return refuse(env, "NULL", "no name");
    const char *bad = start_check_field(&header, &field);
    if (!bad && trailer_is_forbidden(TRAILER_OF_ANSWER, name, field.name_len))
        bad = "it must stand before the body";
    if (bad)
        return refuse(env, name, bad);
    size_t len = field.name_len + field.value_len + 4;
    if (check_when(env, len) < 0)
        return -1;
    append(env, &header);
    r->trailer_bytes += (uint32_t)len;
    r->start_cache.serial++; /* the head names it: a framing that keeps heads makes a new one */
    return 0;
}
