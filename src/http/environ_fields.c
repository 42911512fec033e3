/* SPDX-License-Identifier: MIT
 *
 * See environ_fields.h. Values get their NUL in place: the head is the request's, and parsed.
 */
#include "http/environ_fields.h"

#include <assert.h>
#include <string.h>

#include "http/environ.h"
#include "http/request/syntax.h"

const char *environ_span_text(struct gcorn_environ *env, struct span s)
{
    return arena_strndup(&env->arena, s.p, s.len);
}

const char *environ_field_by_id(struct gcorn_environ *env, enum field_id id)
{
    const struct request *r = &env->request;

    for (size_t i = 0; i < r->field_count; i++) {
        struct field *f = &r->fields[i];

        if (f->id == id) {
            f->value[f->value_len] = '\0';
            return f->value;
        }
    }
    return NULL;
}

static char key_char(char c)
{
    if (c >= 'a' && c <= 'z')
        return (char)(c & ~0x20);
    return c == '-' ? '_' : c;
}

void environ_key(char *out, const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = key_char(name[i]);
    out[len] = '\0';
}

/* A name with '_' would be the same key as one with '-', and a proxy that strips X-Real-IP lets
 * X_Real_IP pass: such fields are dropped, unless a setting lets them pass. CONTENT_TYPE and
 * CONTENT_LENGTH have keys of their own (RFC 3875 4.1). */
bool environ_field_is_visible(const struct gcorn_environ *env, const struct field *f)
{
    if (f->id == FIELD_CONTENT_TYPE || f->id == FIELD_CONTENT_LENGTH)
        return false;
    return !memchr(f->name, '_', f->name_len) ||
           forwarded_passes(&env->context->forwarded, env->peer->trust, f->name, f->name_len);
}

/* What a field is asked for by: the key without its HTTP_, or its name. */
struct field_name {
    const char *text;
    size_t len;
    bool is_key;
};

static bool is_named(const struct field_name *name, const char *text, size_t len)
{
    if (len != name->len)
        return false;
    if (!name->is_key && syntax_is(text, len, name->text))
        return true;
    for (size_t i = 0; i < len; i++) {
        char wanted = name->is_key ? name->text[i] : key_char(name->text[i]);

        if (key_char(text[i]) != wanted)
            return false;
    }
    return true;
}

static bool field_is_called(const struct gcorn_environ *env, const struct field *f,
                            const struct field_name *name)
{
    return is_named(name, f->name, f->name_len) && environ_field_is_visible(env, f);
}

/* Repeated fields are one list (RFC 9110 5.3); cookies have a separator of their own (RFC 6265
 * 4.2.1). */
static const char *join_fields(struct gcorn_environ *env, const struct field_name *name)
{
    const struct request *r = &env->request;
    bool is_cookie = is_named(name, "cookie", 6);
    size_t room = 1;

    for (size_t i = 0; i < r->field_count; i++) {
        if (field_is_called(env, &r->fields[i], name))
            room += r->fields[i].value_len + 2;
    }
    char *joined = arena_alloc(&env->arena, room), *p = joined;
    for (size_t i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];

        if (!field_is_called(env, f, name))
            continue;
        if (p > joined) {
            *p++ = is_cookie ? ';' : ',';
            *p++ = ' ';
        }
        memcpy(p, f->value, f->value_len);
        p += f->value_len;
    }
    assert((size_t)(p - joined) < room);
    *p = '\0';
    return joined;
}

/* An absolute target's authority stands for Host. */
static const char *get_field(struct gcorn_environ *env, const struct field_name *name)
{
    const struct request *r = &env->request;
    struct field *found = NULL;
    bool repeated = false;

    if (r->authority.len > 0 && is_named(name, "host", 4))
        return environ_span_text(env, r->authority);
    for (size_t i = 0; i < r->field_count; i++) {
        if (!field_is_called(env, &r->fields[i], name))
            continue;
        repeated = found != NULL;
        found = &r->fields[i];
        if (repeated)
            return join_fields(env, name);
    }
    if (!found)
        return NULL;
    found->value[found->value_len] = '\0';
    return found->value;
}

const char *environ_field_by_key(struct gcorn_environ *env, const char *key)
{
    const struct field_name name = {.text = key, .len = strlen(key), .is_key = true};

    return get_field(env, &name);
}

const char *environ_field(struct gcorn_environ *env, const char *lower)
{
    const struct field_name name = {.text = lower, .len = strlen(lower)};

    if (is_named(&name, "content-type", 12))
        return environ_field_by_id(env, FIELD_CONTENT_TYPE);
    if (is_named(&name, "content-length", 14))
        return environ_field_by_id(env, FIELD_CONTENT_LENGTH);
    return get_field(env, &name);
}

const char *gcorn_field_at(struct gcorn_environ *env, size_t i, size_t *name_len,
                           const char **value, size_t *value_len)
{
    const struct request *r = &env->request;

    if (i >= r->field_count)
        return NULL;
    *name_len = r->fields[i].name_len;
    *value = r->fields[i].value;
    *value_len = r->fields[i].value_len;
    return r->fields[i].name;
}

const char *gcorn_trailer_at(struct gcorn_environ *env, size_t i, size_t *name_len,
                             const char **value, size_t *value_len)
{
    const struct request *r = &env->request;

    if (r->state != REQUEST_DONE || i >= r->trailer_count)
        return NULL;
    *name_len = r->trailer_fields[i].name_len;
    *value = r->trailer_fields[i].value;
    *value_len = r->trailer_fields[i].value_len;
    return r->trailer_fields[i].name;
}
