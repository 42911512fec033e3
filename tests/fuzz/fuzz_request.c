/* SPDX-License-Identifier: MIT
 *
 * fuzz_request - any bytes as what a client sends on one connection.
 */
#include "feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    feed_all_ways("", data, len);
    return 0;
}
