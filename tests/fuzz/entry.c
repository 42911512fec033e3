/* SPDX-License-Identifier: MIT
 *
 * See outcome.h. libFuzzer's entry, the same for every target.
 */
#include "outcome.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct strbuf text; /* kept from run to run, as allocating it would be half the time */

    strbuf_reset(&text);
    fuzz_outcome(data, len, &text);
    return 0;
}
