/* SPDX-License-Identifier: MIT
 *
 * fuzz_chunked - any bytes as a chunked body and what follows it.
 */
#include "feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    feed_all_ways("POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", data, len);
    return 0;
}
