/* SPDX-License-Identifier: MIT
 *
 * See proxy_protocol.h. Version 1 is one line of text:
 *
 *   PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n      or TCP6, or UNKNOWN and anything
 *
 * Version 2 is binary: 12 bytes of signature, version and command, family and transport, the length
 * of the rest (2 bytes), then addresses and ports, then TLVs: type, length (2 bytes), value. Of
 * these PP2_TYPE_SSL says whether the client speaks TLS to the proxy, and the others are passed
 * over. The first byte tells which version it is. What is neither is refused at the first byte that
 * shows it, so that a plain HTTP client is not kept waiting.
 */
#include "http/request/proxy_protocol.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    V1_START_LEN = 6, /* of the text below, without the NUL of C */
    V2_SIGNATURE_LEN = 12,
    V2_HEAD = 16,
    V2_LOCAL = 0x20, /* version 2 with its command */
    V2_PROXY = 0x21,
    V2_UNSPEC = 0x00, /* family with its transport */
    V2_TCP4 = 0x11,
    V2_TCP6 = 0x21,
    V2_UNIX = 0x31,
    V2_TCP4_LEN = 12,
    V2_TCP6_LEN = 36,
    V2_UNIX_LEN = 216,
    TLV_HEAD = 3,
    TLV_NOOP = 0x04,
    TLV_SSL = 0x20,
    TLV_SSL_MIN = 5, /* a byte of flags, four of the certificate's verification */
    TLV_SSL_CLIENT = 0x01,
};

static const char v1_start[] = "PROXY ";
static const char v2_signature[] = "\r\n\r\n\0\r\nQUIT\n";

void proxy_preface_init(struct proxy_preface *p, bool takes_v1, bool takes_v2)
{
    *p = (struct proxy_preface){.takes_v1 = takes_v1, .takes_v2 = takes_v2};
}

static void refuse(struct proxy_preface *p, const char *reason)
{
    p->state = PROXY_REFUSED;
    p->reason = reason;
}

static void take_ports(struct proxy_preface *p, unsigned source, unsigned target)
{
    (void)snprintf(p->source_port, sizeof(p->source_port), "%u", source & 0xffff);
    (void)snprintf(p->target_port, sizeof(p->target_port), "%u", target & 0xffff);
}

static void take_addresses(struct proxy_preface *p, const struct address *source,
                           const struct address *target)
{
    p->client = PROXY_CLIENT_INET;
    p->source = *source;
    address_format(source, p->source_text);
    address_format(target, p->target_text);
}

/* ---- version 1 --------------------------------------------------------------------------- */

/* The word at *line, up to the next blank or the end; *line moves past that blank, or becomes
 * NULL at the end. */
static const char *next_word(const char **line, const char *end, size_t *len)
{
    const char *word = *line;
    const char *blank = word ? memchr(word, ' ', (size_t)(end - word)) : NULL;

    *len = word ? (size_t)((blank ? blank : end) - word) : 0;
    *line = blank ? blank + 1 : NULL;
    return word;
}

static int parse_address(const char **line, const char *end, bool v6, struct address *a)
{
    size_t len;
    const char *word = next_word(line, end, &len);

    if (!word || (memchr(word, ':', len) != NULL) != v6)
        return -1;
    return address_parse(a, word, len);
}

/* Decimal, without leading zeros. */
static int parse_port(const char **line, const char *end, unsigned *port)
{
    size_t len;
    const char *word = next_word(line, end, &len);

    if (len == 0 || len > 5 || (word[0] == '0' && len > 1))
        return -1;
    *port = 0;
    for (size_t i = 0; i < len; i++) {
        if (word[i] < '0' || word[i] > '9')
            return -1;
        *port = *port * 10 + (unsigned)(word[i] - '0');
    }
    return *port <= 65535 ? 0 : -1;
}

/* The line is complete: have counts its CRLF. */
static void parse_line(struct proxy_preface *p)
{
    const char *line = p->bytes + V1_START_LEN, *end = p->bytes + p->have - 2;
    struct address source, target;
    unsigned source_port, target_port;
    size_t len;

    if (*end != '\r' || line > end) {
        refuse(p, "a PROXY line that does not end in CRLF");
        return;
    }
    const char *family = next_word(&line, end, &len);
    p->state = PROXY_DONE;
    if (len == 7 && memcmp(family, "UNKNOWN", 7) == 0)
        return;
    if (len != 4 || memcmp(family, "TCP", 3) != 0 || (family[3] != '4' && family[3] != '6')) {
        refuse(p, "a PROXY line for neither TCP4, TCP6 nor UNKNOWN");
        return;
    }
    bool v6 = family[3] == '6';
    if (parse_address(&line, end, v6, &source) < 0 || parse_address(&line, end, v6, &target) < 0 ||
        parse_port(&line, end, &source_port) < 0 || parse_port(&line, end, &target_port) < 0 ||
        line) {
        refuse(p, "a PROXY line that is not two addresses and two ports");
        return;
    }
    take_addresses(p, &source, &target);
    take_ports(p, source_port, target_port);
}

static void feed_line(struct proxy_preface *p, char c)
{
    size_t at = p->have++;

    p->bytes[at] = c;
    if (at < V1_START_LEN && c != v1_start[at])
        refuse(p, "no PROXY protocol preface");
    else if (c == '\n')
        parse_line(p);
    else if (p->have == PROXY_V1_MAX)
        refuse(p, "a PROXY line that is too long");
}

/* ---- version 2 --------------------------------------------------------------------------- */

static unsigned byte_at(const struct proxy_preface *p, size_t i)
{
    return (unsigned char)p->bytes[i];
}

static unsigned number_at(const struct proxy_preface *p, size_t i)
{
    return byte_at(p, i) << 8 | byte_at(p, i + 1);
}

/* The number of bytes after the head that hold addresses; SIZE_MAX for an unknown family. */
static size_t addresses_len(const struct proxy_preface *p)
{
    if (byte_at(p, 12) == V2_LOCAL)
        return 0;
    switch (byte_at(p, 13)) {
    case V2_UNSPEC: return 0;
    case V2_TCP4: return V2_TCP4_LEN;
    case V2_TCP6: return V2_TCP6_LEN;
    case V2_UNIX: return V2_UNIX_LEN;
    default: return SIZE_MAX;
    }
}

static void check_head(struct proxy_preface *p)
{
    unsigned command = byte_at(p, 12), rest = number_at(p, 14);
    size_t len = addresses_len(p);

    if (command != V2_LOCAL && command != V2_PROXY)
        refuse(p, "a PROXY protocol version or command that is unknown");
    else if (len == SIZE_MAX)
        refuse(p, "a PROXY protocol family that is not TCP4, TCP6 or a unix stream");
    else if (rest < len)
        refuse(p, "a PROXY protocol preface too short for its addresses");
    else if (rest > PROXY_V2_MAX)
        refuse(p, "a PROXY protocol preface that is too long");
}

static void take_binary(struct proxy_preface *p)
{
    const char *at = p->bytes + V2_HEAD;
    struct address source, target;

    p->state = PROXY_DONE;
    switch (addresses_len(p)) {
    case V2_UNIX_LEN: p->client = PROXY_CLIENT_UNIX; break;
    case V2_TCP4_LEN:
        address_from_v4(&source, at);
        address_from_v4(&target, at + 4);
        take_addresses(p, &source, &target);
        take_ports(p, number_at(p, V2_HEAD + 8), number_at(p, V2_HEAD + 10));
        break;
    case V2_TCP6_LEN:
        memcpy(source.bytes, at, sizeof(source.bytes));
        memcpy(target.bytes, at + 16, sizeof(target.bytes));
        take_addresses(p, &source, &target);
        take_ports(p, number_at(p, V2_HEAD + 32), number_at(p, V2_HEAD + 34));
        break;
    default: break;
    }
}

/* The head of a TLV is there, left bytes of the preface come after it. One that is longer than that
 * says nothing. */
static void begin_tlv(struct proxy_preface *p, size_t left)
{
    size_t len = (size_t)p->tlv[1] << 8 | p->tlv[2];

    if (len > left || (p->tlv[0] == TLV_SSL && len < TLV_SSL_MIN)) {
        p->tlv[0] = TLV_NOOP;
        len = len > left ? left : len;
    }
    p->tlv_left = len;
    if (len == 0)
        p->tlv_have = 0;
}

/* Of the rest after the addresses, of which left bytes are to come: one byte, or as many as the
 * TLV's value has. */
static size_t feed_tlv(struct proxy_preface *p, const char *data, size_t len, size_t left)
{
    if (p->tlv_have < TLV_HEAD) {
        p->tlv[p->tlv_have++] = (unsigned char)*data;
        if (p->tlv_have == TLV_HEAD)
            begin_tlv(p, left - 1);
        return 1;
    }
    if (p->tlv_have == TLV_HEAD && p->tlv[0] == TLV_SSL)
        p->tls = *data & TLV_SSL_CLIENT ? PROXY_TLS_YES : PROXY_TLS_NO;
    size_t used = len < p->tlv_left ? len : p->tlv_left;
    p->tlv_left -= used;
    p->tlv_have = p->tlv_left > 0 ? TLV_HEAD + 1 : 0;
    return used;
}

/* Behind the head: addresses are kept, but for a unix socket's paths. The rest of a LOCAL preface
 * means nothing. */
static size_t feed_rest(struct proxy_preface *p, const char *data, size_t len)
{
    size_t addresses = addresses_len(p), at = p->have - V2_HEAD + p->skipped, used;
    size_t left = number_at(p, 14) - at;

    if (len > left)
        len = left;
    if (at < addresses && addresses != V2_UNIX_LEN) {
        p->bytes[p->have++] = *data;
        return 1;
    }
    if (at < addresses)
        used = len < addresses - at ? len : addresses - at;
    else if (byte_at(p, 12) == V2_LOCAL)
        used = len;
    else
        used = feed_tlv(p, data, len, left);
    p->skipped += used;
    return used;
}

/* One byte, or of what is passed over as many as there are. */
static size_t feed_binary(struct proxy_preface *p, const char *data, size_t len)
{
    size_t used = 1;

    if (p->have < V2_HEAD) {
        size_t at = p->have++;

        p->bytes[at] = *data;
        if (at < V2_SIGNATURE_LEN && *data != v2_signature[at])
            refuse(p, "no PROXY protocol preface");
        else if (p->have == V2_HEAD)
            check_head(p);
        if (p->have < V2_HEAD || p->state == PROXY_REFUSED)
            return used;
    } else {
        used = feed_rest(p, data, len);
    }
    if (p->have + p->skipped == V2_HEAD + number_at(p, 14))
        take_binary(p);
    return used;
}

/* ---- both -------------------------------------------------------------------------------- */

size_t proxy_preface_feed(struct proxy_preface *p, const char *data, size_t len)
{
    size_t used = 0;

    assert(p->state == PROXY_MORE);
    while (used < len && p->state == PROXY_MORE) {
        char first = p->have > 0 ? p->bytes[0] : data[used];

        if (first == v1_start[0] && p->takes_v1) {
            feed_line(p, data[used++]);
        } else if (first == v2_signature[0] && p->takes_v2) {
            used += feed_binary(p, data + used, len - used);
        } else {
            refuse(p, "no PROXY protocol preface of a version that is allowed");
        }
    }
    return used;
}
