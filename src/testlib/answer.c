/* SPDX-License-Identifier: MIT
 *
 * See answer.h.
 */
#include "testlib/answer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "testlib/state.h"

/* A line and fields after it, which are there whole: len bytes from text on. */
static struct test_head read_fields(const char *text, size_t len)
{
    struct test_head head = {.text = xmalloc(len + 1)};
    size_t count = 0;
    char *line;

    memcpy(head.text, text, len);
    head.text[len] = '\0';
    for (const char *p = head.text; (p = strstr(p, "\r\n")); p += 2)
        count++;
    head.fields = xcalloc(count + 1, sizeof(*head.fields));
    count = 0;
    line = strstr(head.text, "\r\n") + 2;
    for (char *end; (end = strstr(line, "\r\n")) && end > line; line = end + 2) {
        char *colon = strstr(line, ": ");

        assert(colon); /* as the server has written it */
        *colon = *end = '\0';
        head.fields[count].name = line;
        head.fields[count++].value = colon + 2;
    }
    return head;
}

/* The interim answers that have come, and the head of the answer when it is there. */
static void read_heads(struct test *t)
{
    const char *from, *end;

    while (t->head.status == 0 && t->bytes.data && (from = t->bytes.data + t->decoded) &&
           (end = strstr(from, "\r\n\r\n"))) {
        struct test_head head = read_fields(from, (size_t)(end + 4 - from));

        head.status = atoi(head.text + strlen("HTTP/1.1 "));
        t->decoded = (size_t)(end + 4 - t->bytes.data);
        if (head.status >= 200) {
            t->head = head;
        } else {
            t->interims = xrealloc(t->interims, (t->interim_count + 1) * sizeof(*t->interims));
            t->interims[t->interim_count++] = head;
        }
    }
    t->public.status = t->head.status;
    t->public.headers = t->head.fields;
}

static void free_head(struct test_head *head)
{
    free(head->fields);
    free(head->text);
}

void answer_free(struct test *t)
{
    for (size_t i = 0; i < t->interim_count; i++)
        free_head(&t->interims[i]);
    free_head(&t->head);
    free_head(&t->trailers);
    free(t->interims);
}

int gcorn_test_interim(const struct gcorn_test *test, size_t i, const struct gcorn_header **headers)
{
    const struct test *t = (const struct test *)(const void *)test;

    if (i >= t->interim_count)
        return 0;
    if (headers)
        *headers = t->interims[i].fields;
    return t->interims[i].status;
}

/* The last chunk is there: so are the trailers, for all leave at once. */
static void read_trailers(struct test *t, const char *from, size_t len)
{
    t->trailers = read_fields(from, len);
    t->decoded = t->bytes.len;
}

/* One chunk that is there whole, but for the last one. */
static bool read_chunk(struct test *t)
{
    if (t->bytes.len - t->decoded >= 2 && t->bytes.data[t->decoded] == '\r')
        t->decoded += 2; /* the end of the one before */
    const char *from = t->bytes.data + t->decoded;
    size_t left = t->bytes.len - t->decoded;
    const char *line_end = left > 0 ? memchr(from, '\n', left) : NULL;
    if (!line_end)
        return false;
    size_t size = strtoul(from, NULL, 16), head = (size_t)(line_end + 1 - from);
    if (size == 0)
        read_trailers(t, from, left);
    if (left < head + size || size == 0)
        return false;
    strbuf_add(&t->body, from + head, size);
    t->decoded += head + size;
    return true;
}

void answer_read(struct test *t)
{
    static const struct gcorn_header none[] = {{NULL, NULL}};
    bool has_head;

    read_heads(t);
    has_head = t->head.status != 0;
    if (has_head && t->env.h1.framing == FRAMING_CHUNKED) {
        while (read_chunk(t))
            continue;
    } else if (has_head) {
        strbuf_add(&t->body, t->bytes.data + t->decoded, t->bytes.len - t->decoded);
        t->decoded = t->bytes.len;
    }
    t->public.body = t->body.data ? t->body.data : "";
    t->public.len = t->body.len;
    t->public.trailers = t->trailers.fields ? t->trailers.fields : none;
}
