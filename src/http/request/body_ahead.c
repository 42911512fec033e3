/* SPDX-License-Identifier: MIT
 *
 * See body_ahead.h. An application mostly reads all that there is, and the buffer begins again at its
 * start; what is left is moved there only when the end has no room.
 */
#include "http/request/body_ahead.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

void body_ahead_add(struct body_ahead *b, const char *data, size_t len)
{
    assert(len <= body_ahead_room(b));
    if (len == 0)
        return;
    if (!b->data)
        b->data = xmalloc(BODY_AHEAD_MAX);
    if (len > BODY_AHEAD_MAX - b->end) {
        memmove(b->data, b->data + b->at, body_ahead_len(b));
        b->end -= b->at;
        b->at = 0;
    }
    memcpy(b->data + b->end, data, len);
    b->end += len;
    b->came += len;
}

size_t body_ahead_read(struct body_ahead *b, void *buf, size_t size)
{
    size_t n = body_ahead_len(b) < size ? body_ahead_len(b) : size;

    if (n == 0)
        return 0;
    memcpy(buf, b->data + b->at, n);
    b->at += n;
    if (b->at == b->end)
        b->at = b->end = 0;
    return n;
}

void body_ahead_release(struct body_ahead *b)
{
    free(b->data);
    b->data = NULL;
    b->at = b->end = 0;
}
