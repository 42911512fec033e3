/* SPDX-License-Identifier: MIT
 *
 * See forwarded.h. The meanings are gunicorn's: a secure scheme header with its value (here also in
 * capitals, or several times in a list) is https, with any other http, and two that disagree are a
 * 400; SCRIPT_NAME is taken off the front of the path.
 */
#include "http/request/forwarded.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "http/request/request.h"
#include "http/request/syntax.h"

static const char for_name[] = "x-forwarded-for";
static const char script_name[] = "script_name";

/* ---- rules ------------------------------------------------------------------------------- */

static bool name_is(const char *name, size_t len, const char *lower, size_t lower_len)
{
    return len == lower_len && syntax_is(name, len, lower);
}

static bool names_equal(const char *a, size_t len, const char *b)
{
    if (strlen(b) != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool is_letter = (a[i] | 0x20) >= 'a' && (a[i] | 0x20) <= 'z';

        if (a[i] != b[i] && !(is_letter && (a[i] ^ b[i]) == 0x20))
            return false;
    }
    return true;
}

static bool is_forwarder_header(const struct forwarded_rules *r, const char *name, size_t len)
{
    const struct forwarded_texts *names = &r->settings.forwarder_headers;

    if (r->all_names)
        return true;
    for (size_t i = 0; i < names->count; i++) {
        if (names_equal(name, len, names->items[i]))
            return true;
    }
    return false;
}

static void watch(struct forwarded_rules *r, const char *name, size_t len)
{
    r->initials |= forwarded_initial(name);
    r->watched |= forwarded_mark(name, len);
}

static void add_scheme(struct forwarded_rules *r, size_t i, const char *text)
{
    struct forwarded_scheme *s = &r->schemes[i];

    s->text = text;
    s->name_len = strcspn(text, "=");
    s->value = text + s->name_len + (text[s->name_len] == '=');
    s->name = xmalloc(s->name_len + 1);
    for (size_t j = 0; j < s->name_len; j++)
        s->name[j] = (char)(text[j] >= 'A' && text[j] <= 'Z' ? text[j] | 0x20 : text[j]);
    s->name[s->name_len] = '\0';
    watch(r, s->name, s->name_len);
}

void forwarded_rules_init(struct forwarded_rules *r, const struct forwarded_settings *settings)
{
    const struct forwarded_texts *trusted = &settings->forwarded_allow_ips;
    const struct forwarded_texts *schemes = &settings->secure_scheme_headers;

    *r = (struct forwarded_rules){.settings = *settings};
    networks_init(&r->trusted, trusted->items, trusted->count);
    r->schemes = xcalloc(schemes->count + 1, sizeof(*r->schemes));
    for (size_t i = 0; i < schemes->count; i++)
        add_scheme(r, i, schemes->items[i]);
    for (size_t i = 0; i < settings->forwarder_headers.count; i++)
        r->all_names |= strcmp(settings->forwarder_headers.items[i], "*") == 0;
    r->script_name = is_forwarder_header(r, script_name, sizeof(script_name) - 1);
    if (r->script_name)
        watch(r, script_name, sizeof(script_name) - 1);
    r->request_id_len = settings->request_id_header ? strlen(settings->request_id_header) : 0;
    if (r->request_id_len > 0)
        watch(r, settings->request_id_header, r->request_id_len);
    if (settings->remote_addr)
        watch(r, for_name, sizeof(for_name) - 1);
    if (settings->refuse_underscores) { /* every name is looked at */
        r->initials = UINT32_MAX;
        r->watched = UINT64_MAX;
    }
}

void forwarded_rules_release(struct forwarded_rules *r)
{
    for (size_t i = 0; i < r->settings.secure_scheme_headers.count; i++)
        free(r->schemes[i].name);
    free(r->schemes);
    networks_release(&r->trusted);
    *r = (struct forwarded_rules){0};
}

bool forwarded_trusts(const struct forwarded_rules *r, const struct address *peer)
{
    return !peer || networks_have(&r->trusted, peer);
}

bool forwarded_passes(const struct forwarded_rules *r, enum forwarded_trust trust, const char *name,
                      size_t len)
{
    if (r->settings.pass_underscores)
        return true;
    return (trust & FORWARDED_FIELDS) && is_forwarder_header(r, name, len);
}

/* ---- X-Forwarded-For --------------------------------------------------------------------- */

/* An element of the list without its port: 192.0.2.1:80, [2001:db8::1]:80, [2001:db8::1]. */
static int parse_element(struct address *a, const char *p, size_t len)
{
    const char *colon = memchr(p, ':', len);

    if (len > 2 && p[0] == '[') {
        const char *close = memchr(p, ']', len);
        size_t after = close ? (size_t)(p + len - close) - 1 : 0;

        if (!close || (after > 0 && close[1] != ':'))
            return -1;
        return address_parse(a, p + 1, (size_t)(close - p) - 1);
    }
    if (colon && !memchr(colon + 1, ':', (size_t)(p + len - colon) - 1))
        len = (size_t)(colon - p);
    return address_parse(a, p, len);
}

/* Takes the last element off the list: trims it and sets *len to the part before it. False: the
 * list is empty. */
static bool last_element(const char *list, size_t *len, const char **element, size_t *element_len)
{
    while (*len > 0) {
        const char *comma = memrchr(list, ',', *len);
        const char *start = comma ? comma + 1 : list;

        *element = start;
        *element_len = (size_t)(list + *len - start);
        *len = comma ? (size_t)(comma - list) : 0;
        syntax_trim(element, element_len);
        if (*element_len > 0)
            return true;
    }
    return false;
}

/* The client's address by the X-Forwarded-For fields of a request, or NULL: the last that is not
 * itself trusted, and when all are, the first. An element that is no address ends the
 * search: an unknown sender wrote what stands before it. */
static const char *client_of(const struct forwarded_rules *r, const struct request *request)
{
    struct address client;
    bool found = false, ended = false;

    for (size_t i = request->field_count; i-- > 0 && !ended;) {
        const struct field *f = &request->fields[i];
        size_t len = f->value_len, element_len;
        const char *element;

        if (!name_is(f->name, f->name_len, for_name, sizeof(for_name) - 1))
            continue;
        while (!ended && last_element(f->value, &len, &element, &element_len)) {
            struct address a;

            ended = parse_element(&a, element, element_len) < 0;
            if (ended)
                break;
            client = a;
            found = true;
            ended = !networks_have(&r->trusted, &a);
        }
    }
    if (!found)
        return NULL;
    char *text = arena_alloc(request->arena, ADDRESS_TEXT_SIZE);
    address_format(&client, text);
    return text;
}

/* ---- the fields of a request ------------------------------------------------------------- */

static struct forwarded *found_in(struct request *request)
{
    if (!request->forwarded) {
        request->forwarded = arena_alloc(request->arena, sizeof(*request->forwarded));
        *request->forwarded = (struct forwarded){0};
    }
    return request->forwarded;
}

/* The setting's value, in any case (RFC 9110 4.2.3); or a list of nothing else, to which each proxy
 * on the way has added what it saw. One that saw http makes it http. */
static bool is_secure(const struct forwarded_scheme *s, const struct field *f)
{
    const char *list = f->value, *element;
    size_t len = f->value_len, element_len;
    bool found = false;

    while (syntax_next_element(&list, &len, &element, &element_len)) {
        if (!names_equal(element, element_len, s->value))
            return false;
        found = true;
    }
    return found;
}

static int read_scheme(struct request *request, const struct forwarded_scheme *s,
                       const struct field *f, const char **reason)
{
    struct forwarded *found = found_in(request);

    if (!(request->trust & FORWARDED_FIELDS))
        found->distrusted = s->text;
    if (!(request->trust & FORWARDED_SCHEME))
        return 0;
    const char *scheme = is_secure(s, f) ? "https" : "http";
    if (found->scheme && strcmp(found->scheme, scheme) != 0) {
        *reason = "header fields that disagree about the scheme";
        return 400;
    }
    found->scheme = scheme;
    return 0;
}

/* The path that the application is mounted at: what is left of the request's path is PATH_INFO. A
 * '/' at its end belongs to that. */
static int read_script_name(struct request *request, const struct field *f, const char **reason)
{
    size_t len = f->value_len, path_len;

    if (!(request->trust & FORWARDED_FIELDS)) {
        found_in(request)->distrusted = "SCRIPT_NAME";
        return 0;
    }
    assert(request->path.len > 0);
    if (request->path.p[0] != '/') /* OPTIONS * is about the server */
        return 0;
    if (request->forwarded && request->forwarded->script_name) {
        *reason = "more than one SCRIPT_NAME";
        return 400;
    }
    char *path = arena_alloc(request->arena, request->path.len + 1);
    path_len = syntax_unescape(path, request->path.p, request->path.len, false);
    while (len > 0 && f->value[len - 1] == '/')
        len--;
    bool is_prefix = len <= path_len && memcmp(path, f->value, len) == 0 &&
                     (len == path_len || path[len] == '/' || len == 0);
    if (!is_prefix) {
        *reason = "a path that does not begin with SCRIPT_NAME";
        return 400;
    }
    struct forwarded *found = found_in(request);
    found->script_name = arena_strndup(request->arena, f->value, len);
    found->path_info = path + len;
    return 0;
}

/* What may stand in logs and answers as it is, quotes and blanks left out: UUIDs, hex, base64,
 * traceparent, AWS' Root=1-67891233-abcdef. */
static bool is_id(const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool is_letter = (p[i] | 0x20) >= 'a' && (p[i] | 0x20) <= 'z';

        if (!is_letter && !(p[i] >= '0' && p[i] <= '9') && !(p[i] && strchr("-._~:;=+/@", p[i])))
            return false;
    }
    return len > 0 && len <= FORWARDED_ID_MAX;
}

/* The first of several that is valid counts. From a sender that is not trusted it is an ordinary
 * field, without a warning: clients send such ids, too. */
static void read_request_id(struct request *request, const struct field *f)
{
    if (!(request->trust & FORWARDED_FIELDS) || !is_id(f->value, f->value_len))
        return;
    struct forwarded *found = found_in(request);

    if (!found->request_id)
        found->request_id = arena_strndup(request->arena, f->value, f->value_len);
}

static int read_field(struct request *request, const struct field *f, const char **reason)
{
    const struct forwarded_rules *r = request->rules;

    for (size_t i = 0; i < r->settings.secure_scheme_headers.count; i++) {
        const struct forwarded_scheme *s = &r->schemes[i];

        if (name_is(f->name, f->name_len, s->name, s->name_len))
            return read_scheme(request, s, f, reason);
    }
    if (r->script_name && name_is(f->name, f->name_len, script_name, sizeof(script_name) - 1)) {
        int status = read_script_name(request, f, reason);

        if (status != 0)
            return status;
    }
    if (f->name_len == r->request_id_len &&
        names_equal(f->name, f->name_len, r->settings.request_id_header))
        read_request_id(request, f);
    if (r->settings.refuse_underscores && memchr(f->name, '_', f->name_len) &&
        !forwarded_passes(r, request->trust, f->name, f->name_len)) {
        *reason = "a field name with '_' in it";
        return 400;
    }
    if (r->settings.remote_addr && !(request->trust & FORWARDED_FIELDS) &&
        name_is(f->name, f->name_len, for_name, sizeof(for_name) - 1))
        found_in(request)->distrusted = "X-Forwarded-For";
    return 0;
}

int forwarded_read(struct request *request, const char **reason)
{
    const struct forwarded_rules *r = request->rules;

    assert(r);
    for (size_t i = 0; i < request->field_count; i++) {
        const struct field *f = &request->fields[i];

        if (!(r->watched & forwarded_mark(f->name, f->name_len)))
            continue;
        int status = read_field(request, f, reason);
        if (status != 0)
            return status;
    }
    if (r->settings.remote_addr && (request->trust & FORWARDED_CLIENT)) {
        const char *client = client_of(r, request);

        if (client)
            found_in(request)->remote_addr = client;
    }
    return 0;
}
