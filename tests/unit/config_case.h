/* SPDX-License-Identifier: MIT
 *
 * config_case - what tests of settings share.
 */
#ifndef GCORN_TESTS_UNIT_CONFIG_CASE_H
#define GCORN_TESTS_UNIT_CONFIG_CASE_H

#include "base/strbuf.h"
#include "settings/config.h"

static void assert_equal_configs(const struct config *a, const struct config *b)
{
    struct strbuf diff = {0};

    if (config_diff(a, b, &diff) != 0)
        fail_msg("they differ: %s", diff.data);
    strbuf_release(&diff);
}

#endif
