/* SPDX-License-Identifier: MIT
 *
 * fuzz_proxy - any bytes as a PROXY preface, whole and byte by byte.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/request/proxy_protocol.h"
#include "outcome.h"

/* How many bytes the preface took. */
static size_t feed(struct proxy_preface *p, const uint8_t *data, size_t len, size_t step)
{
    size_t at = 0;

    while (at < len && p->state == PROXY_MORE) {
        size_t n = step < len - at ? step : len - at;
        size_t used = proxy_preface_feed(p, (const char *)data + at, n);

        if (used > n || (used < n && p->state == PROXY_MORE))
            abort();
        at += used;
    }
    return at;
}

static void compare(const uint8_t *data, size_t len, bool v1, bool v2, struct strbuf *text)
{
    struct proxy_preface whole, bytes;

    proxy_preface_init(&whole, v1, v2);
    proxy_preface_init(&bytes, v1, v2);
    size_t used = feed(&whole, data, len, len), same = feed(&bytes, data, len, 1);
    if (whole.state != bytes.state)
        abort();
    strbuf_addf(text, "%d%d: %d %zu %s\n", v1, v2, whole.state, used,
                whole.state == PROXY_REFUSED && whole.reason ? whole.reason : "");
    if (whole.state != PROXY_DONE)
        return;
    strbuf_addf(text, "%d %d [%s]:%s [%s]:%s\n", whole.client, whole.tls, whole.source_text,
                whole.source_port, whole.target_text, whole.target_port);
    if (used != same || whole.client != bytes.client || whole.tls != bytes.tls ||
        strcmp(whole.source_text, bytes.source_text) != 0 ||
        strcmp(whole.source_port, bytes.source_port) != 0 ||
        strcmp(whole.target_text, bytes.target_text) != 0 ||
        strcmp(whole.target_port, bytes.target_port) != 0)
        abort();
}

void fuzz_outcome(const uint8_t *data, size_t len, struct strbuf *text)
{
    compare(data, len, true, true, text);
    compare(data, len, true, false, text);
    compare(data, len, false, true, text);
}
