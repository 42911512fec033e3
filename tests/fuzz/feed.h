/* SPDX-License-Identifier: MIT
 *
 * feed - what the request fuzzers share: a stream of bytes is fed to the request parser whole, byte
 * by byte, and cut at random places; each request found is given to a small application and its
 * answer rendered; all three ways must yield the same text. A difference aborts.
 */
#ifndef GCORN_FUZZ_FEED_H
#define GCORN_FUZZ_FEED_H

#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"

/* How the i-th piece is cut: at most how many bytes. */
typedef size_t feed_cut(uint64_t *state);

/* prefix (may be "") is fed before the data, and is part of the stream. Appends what came of it to
 * text: of each request how it was parsed, the bytes of its answer, its environ and the lines of
 * three access logs. */
void feed_all_ways(const char *prefix, const uint8_t *data, size_t len, struct strbuf *text);

#endif
