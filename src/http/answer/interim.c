/* SPDX-License-Identifier: MIT
 *
 * See interim.h.
 */
#include "http/answer/interim.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "http/environ.h"
#include "http/host.h"

/* "1NN Reason"; 100 and 101 are for the server to send: the one says that a body is awaited, the
 * other ends HTTP on this connection. */
static bool status_is_interim(const char *status, size_t len)
{
    return start_status_is_valid(status, len) && status[0] == '1' &&
           (status[1] != '0' || status[2] >= '2');
}

static int refuse(struct gcorn_environ *env, const char *name, const char *why)
{
    log_request(LOG_LEVEL_ERROR, environ_request_id(env), "gcorn_interim refused: %s: %s", name,
                why);
    errno = EINVAL;
    return -1;
}

/* How many bytes the fields have as they are sent; -1 when one is refused. No Content-Length
 * belongs into a 1xx answer (RFC 9110 8.6). */
static int64_t measure_fields(struct gcorn_environ *env, const struct gcorn_header *headers)
{
    int64_t len = 0;

    for (const struct gcorn_header *h = headers; h && h->name; h++) {
        struct start_field field;
        const char *bad = start_check_field(h, &field);

        if (!bad && field.kind == START_LENGTH)
            bad = "an interim answer has no body";
        if (bad)
            return refuse(env, h->name, bad);
        len += (int64_t)(field.name_len + field.value_len + 4);
    }
    return len;
}

static struct interim *new_interim(struct gcorn_environ *env, const char *status,
                                   const struct gcorn_header *headers, size_t fields_len)
{
    struct interim *interim = arena_alloc(&env->arena, sizeof(*interim));
    char *fields = arena_alloc(&env->arena, fields_len + 1), *p = fields;

    for (const struct gcorn_header *h = headers; h && h->name; h++)
        p = start_put_field(p, h->name, strlen(h->name), h->value, strlen(h->value));
    *interim = (struct interim){.status = arena_strdup(&env->arena, status),
                                .status_len = strlen(status),
                                .fields = fields,
                                .fields_len = fields_len};
    return interim;
}

/* Would the client understand it (RFC 9110 15.2), is it in time, and is it not too much? 0 or -1. */
static int check_when(const struct gcorn_environ *env, size_t len)
{
    const struct response *r = &env->response;

    if (env->request.minor_version == 0)
        errno = ENOTSUP;
    else if (r->phase != RESPONSE_OPEN)
        errno = EALREADY;
    else if (r->interim_bytes + len > INTERIM_BYTES_MAX)
        errno = EMSGSIZE;
    else
        return 0;
    return -1;
}

int gcorn_interim(struct gcorn_environ *env, const char *status, const struct gcorn_header *headers)
{
    struct response *r = &env->response;
    size_t status_len = status ? strlen(status) : 0;
    struct interim **end = &r->interims;

    if (!status || !status_is_interim(status, status_len))
        return refuse(env, status ? status : "NULL", "not an interim status for an application");
    int64_t fields_len = measure_fields(env, headers);
    if (fields_len < 0 || check_when(env, status_len + (size_t)fields_len) < 0)
        return -1;
    r->interim_bytes += (uint32_t)status_len + (uint32_t)fields_len;
    while (*end)
        end = &(*end)->next;
    *end = new_interim(env, status, headers, (size_t)fields_len);
    r->start_cache.serial++; /* a framing that keeps heads does not find this one among them */
    if (host.interim)
        host.interim(env);
    return 0;
}
