/* SPDX-License-Identifier: MIT
 *
 * request_list - the head of a request in bytes as a list of fields, for the tests that hold the two
 * ways of making a request against each other.
 */
#ifndef TESTS_REQUEST_LIST_H
#define TESTS_REQUEST_LIST_H

#include <stdbool.h>
#include <string.h>

#include "base/strbuf.h"
#include "http/environ.h"

enum { LIST_FIELDS_MAX = 256 };

struct listed {
    struct request_list list;
    struct request_pair fields[LIST_FIELDS_MAX];
    size_t head_len; /* of the bytes: where the body begins */
};

static inline bool list_request_line(struct listed *l, const char *line, size_t len)
{
    static const size_t version_len = 9; /* " HTTP/1.1" */
    const char *method_end = memchr(line, ' ', len);

    if (*line == '\r' || len < version_len || memcmp(line + len - version_len, " HTTP/1.", 8) != 0)
        return false;
    const char *version = line + len - version_len;
    if ((line[len - 1] != '0' && line[len - 1] != '1') || method_end >= version)
        return false;
    l->list.is_1_0 = line[len - 1] == '0';
    l->list.method = (struct bytes){line, (size_t)(method_end - line)};
    l->list.target = (struct bytes){method_end + 1, (size_t)(version - method_end - 1)};
    return true;
}

/* False: the bytes hold something that no list can say (an incomplete head, a line that is no
 * field, another version, empty lines before the request line). */
static inline bool list_of(struct listed *l, const char *raw, size_t len)
{
    const char *line = raw, *end;

    *l = (struct listed){0};
    l->list.fields = l->fields;
    for (size_t n = 0; (end = memmem(line, (size_t)(raw + len - line), "\r\n", 2)); n++) {
        const char *colon = memchr(line, ':', (size_t)(end - line));

        if (n == 0 ? !list_request_line(l, line, (size_t)(end - line)) : end > line && !colon)
            return false;
        if (end == line) {
            l->head_len = (size_t)(end + 2 - raw);
            return true;
        }
        if (n > 0 && l->list.count == LIST_FIELDS_MAX)
            return false;
        if (n > 0)
            l->fields[l->list.count++] = (struct request_pair){
                {line, (size_t)(colon - line)}, {colon + 1, (size_t)(end - colon - 1)}};
        line = end + 2;
    }
    return false;
}

/* All that the application sees. */
static inline void add_environ(struct strbuf *out, struct gcorn_environ *env)
{
    const char *key, *value;

    for (size_t i = 0; (key = gcorn_variable_at(env, i, &value)); i++)
        strbuf_addf(out, "%s=%s\n", key, value);
}

#endif
