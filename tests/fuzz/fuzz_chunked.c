/* SPDX-License-Identifier: MIT
 *
 * fuzz_chunked - any bytes as a chunked body and what follows it.
 */
#include "feed.h"
#include "outcome.h"

void fuzz_outcome(const uint8_t *data, size_t len, struct strbuf *text)
{
    feed_all_ways("POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", data, len,
                  text);
}
