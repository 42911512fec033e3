/* SPDX-License-Identifier: MIT
 *
 * See address.h. Lists are short and are searched once for each connection: by a loop.
 */
#include "base/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"

enum { V4_BITS = 96 }; /* of the prefix that maps IPv4 */

static const unsigned char v4_prefix[12] = {[10] = 0xff, [11] = 0xff};

void address_from_v4(struct address *a, const void *four_bytes)
{
    memcpy(a->bytes, v4_prefix, sizeof(v4_prefix));
    memcpy(a->bytes + sizeof(v4_prefix), four_bytes, 4);
}

static bool is_v4(const struct address *a)
{
    return memcmp(a->bytes, v4_prefix, sizeof(v4_prefix)) == 0;
}

int address_parse(struct address *a, const char *text, size_t len)
{
    char copy[ADDRESS_TEXT_SIZE];
    unsigned char v4[4];

    if (len >= sizeof(copy) || memchr(text, '\0', len))
        return -1;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (inet_pton(AF_INET, copy, v4) == 1) {
        address_from_v4(a, v4);
        return 0;
    }
    return inet_pton(AF_INET6, copy, a->bytes) == 1 ? 0 : -1;
}

void address_format(const struct address *a, char text[ADDRESS_TEXT_SIZE])
{
    bool v4 = is_v4(a);

    /* cannot fail: the text fits */
    (void)inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a->bytes + sizeof(v4_prefix) : a->bytes, text,
                    ADDRESS_TEXT_SIZE);
}

static bool has_bits_after_prefix(const struct network *n)
{
    for (unsigned i = n->bits; i < 128; i++) {
        if (n->address.bytes[i / 8] >> (7 - i % 8) & 1)
            return true;
    }
    return false;
}

int network_parse(struct network *n, const char *text, const char **wanted)
{
    size_t len = strcspn(text, "/");
    bool is_v4 = !memchr(text, ':', len);
    int64_t bits = is_v4 ? 32 : 128;

    *wanted = "an address, a network such as 10.0.0.0/8, or *";
    if (address_parse(&n->address, text, len) < 0)
        return -1;
    if (text[len] == '/' && parse_int(text + len + 1, 0, bits, &bits) < 0)
        return -1;
    n->bits = (unsigned)bits + (is_v4 ? V4_BITS : 0);
    if (!has_bits_after_prefix(n))
        return 0;
    *wanted = "a network with no bit set after its prefix, such as 10.0.0.0/8";
    return -1;
}

void networks_init(struct networks *n, const char *const *texts, size_t count)
{
    const char *wanted;

    *n = (struct networks){.items = xcalloc(count + 1, sizeof(*n->items))};
    for (size_t i = 0; i < count; i++) {
        if (strcmp(texts[i], "*") == 0)
            n->all = true;
        else if (network_parse(&n->items[n->count], texts[i], &wanted) == 0)
            n->count++;
        else
            assert(!"the setting's check accepts networks only");
    }
}

void networks_release(struct networks *n)
{
    free(n->items);
    *n = (struct networks){0};
}

/* An IPv6 network that is wider than the mapped addresses, such as ::/0, contains no IPv4 address.
 */
static bool network_has(const struct network *n, const struct address *a)
{
    unsigned whole = n->bits / 8, rest = n->bits % 8;

    if (n->bits < V4_BITS && is_v4(a))
        return false;
    if (memcmp(n->address.bytes, a->bytes, whole) != 0)
        return false;
    return rest == 0 || (n->address.bytes[whole] ^ a->bytes[whole]) >> (8 - rest) == 0;
}

bool networks_have(const struct networks *n, const struct address *a)
{
    if (n->all)
        return true;
    for (size_t i = 0; i < n->count; i++) {
        if (network_has(&n->items[i], a))
            return true;
    }
    return false;
}
