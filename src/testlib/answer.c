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

static void read_head(struct test *t, size_t len)
{
    size_t count = 0;
    char *line;

    t->head = xmalloc(len + 1);
    memcpy(t->head, t->bytes.data, len);
    t->head[len] = '\0';
    for (const char *p = t->head; (p = strstr(p, "\r\n")); p += 2)
        count++;
    t->headers = xcalloc(count + 1, sizeof(*t->headers));
    t->public.status = atoi(t->head + strlen("HTTP/1.1 "));
    t->public.headers = t->headers;
    count = 0;
    line = strstr(t->head, "\r\n") + 2;
    for (char *end; (end = strstr(line, "\r\n")) && end > line; line = end + 2) {
        char *colon = strstr(line, ": ");

        assert(colon); /* as the server has written it */
        *colon = *end = '\0';
        t->headers[count].name = line;
        t->headers[count++].value = colon + 2;
    }
}

/* One chunk that is there whole. */
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
    if (left < head + size || size == 0)
        return false;
    strbuf_add(&t->body, from + head, size);
    t->decoded += head + size;
    return true;
}

void answer_read(struct test *t)
{
    const char *end = t->headers || !t->bytes.data ? NULL : strstr(t->bytes.data, "\r\n\r\n");

    if (end) {
        t->decoded = (size_t)(end + 4 - t->bytes.data);
        read_head(t, t->decoded);
    }
    if (t->headers && t->env.h1.framing == FRAMING_CHUNKED) {
        while (read_chunk(t))
            continue;
    } else if (t->headers) {
        strbuf_add(&t->body, t->bytes.data + t->decoded, t->bytes.len - t->decoded);
        t->decoded = t->bytes.len;
    }
    t->public.body = t->body.data ? t->body.data : "";
    t->public.len = t->body.len;
}
