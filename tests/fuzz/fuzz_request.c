/* SPDX-License-Identifier: MIT
 *
 * fuzz_request - any bytes as what a client sends on one connection.
 */
#include "feed.h"
#include "outcome.h"

void fuzz_outcome(const uint8_t *data, size_t len, struct strbuf *text)
{
    feed_all_ways("", data, len, text);
}
