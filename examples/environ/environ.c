/* SPDX-License-Identifier: MIT
 *
 * environ - shows the request as an application sees it, in lines that a script can check:
 *
 *   curl -d 'a=1' 'http://127.0.0.1:8000/some%20path?q=1'
 *
 * As in WSGI, a request is a table of CGI variables (gcorn_get for one, gcorn_variable_at for all) and a
 * body (gcorn_input_all for all of it, gcorn_input_read for pieces). The fields of the request's head are the
 * HTTP_ keys, save Content-Type and Content-Length, which CGI has always spelled without it.
 *
 * What a client sends after a chunked body (trailers) is in no variable, and is walked by itself:
 *
 *   printf 'PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n\r\n' |
 *       nc -N 127.0.0.1 8000
 *
 * The answer is written piece by piece into a buffer body. What gcorn_alloc gives is freed with the
 * request, so no path through the handler has anything to clean up.
 */
#include <stdlib.h>
#include <string.h>

#include <gcorn.h>

struct variable {
    const char *key;
    const char *value;
};

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const struct variable *)a)->key, ((const struct variable *)b)->key);
}

static bool is_field(const char *key)
{
    return strncmp(key, "HTTP_", 5) == 0 || strcmp(key, "CONTENT_TYPE") == 0 ||
           strcmp(key, "CONTENT_LENGTH") == 0;
}

/* gcorn_variable_at gives the variables in no order that one could rely on. */
static void write_fields(struct gcorn_environ *env, struct gcorn_body *body)
{
    const char *key, *value;
    size_t total = 0, count = 0;

    while (gcorn_variable_at(env, total, &value))
        total++;
    struct variable *list = (struct variable *)gcorn_alloc(env, (total + 1) * sizeof(*list));
    for (size_t i = 0; i < total && (key = gcorn_variable_at(env, i, &value)) != NULL; i++) {
        if (is_field(key)) {
            list[count].key = key;
            list[count].value = value;
            count++;
        }
    }
    qsort(list, count, sizeof(*list), compare_keys);
    for (size_t i = 0; i < count; i++)
        gcorn_buffer_printf(body, "HEADER %s=%s\n", list[i].key, list[i].value);
}

static void write_trailers(struct gcorn_environ *env, struct gcorn_body *body)
{
    const char *name, *value;
    size_t name_len, value_len;

    for (size_t i = 0; (name = gcorn_trailer_at(env, i, &name_len, &value, &value_len)); i++)
        gcorn_buffer_printf(body, "TRAILER %.*s=%.*s\n", (int)name_len, name, (int)value_len,
                            value);
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};
    static const struct variable lines[] = {
        {"METHOD", "REQUEST_METHOD"},    {"PATH", "PATH_INFO"},         {"QUERY", "QUERY_STRING"},
        {"PROTOCOL", "SERVER_PROTOCOL"}, {"SCHEME", "wsgi.url_scheme"}, {"REMOTE", "REMOTE_ADDR"},
    };
    size_t len;
    const char *input = gcorn_input_all(env, &len);
    struct gcorn_body *body = gcorn_body_buffer(env);

    if (!input)
        return NULL; /* the server answers 500 and logs why */
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        const char *value = gcorn_get(env, lines[i].value);

        gcorn_buffer_printf(body, "%s %s\n", lines[i].key, value ? value : "");
    }
    write_fields(env, body);
    write_trailers(env, body);
    gcorn_buffer_printf(body, "BODY %zu\n", len);
    gcorn_buffer_write(body, input,
                       len); /* any bytes, a NUL among them: not with gcorn_buffer_printf */
    gcorn_start(start_response, "200 OK", headers);
    return body;
}
