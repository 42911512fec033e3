/* SPDX-License-Identifier: MIT
 *
 * outcome - what every fuzz target tells of an input: the same text for the same bytes, on every
 * machine. The recorded answers in tests/fuzz/answers are digests of these texts.
 */
#ifndef GCORN_FUZZ_OUTCOME_H
#define GCORN_FUZZ_OUTCOME_H

#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"

/* Runs the target over the input, with all its checks, and appends the outcome to text. */
void fuzz_outcome(const uint8_t *data, size_t len, struct strbuf *text);

/* The same without the text, as libFuzzer wants it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#endif
