/* SPDX-License-Identifier: MIT
 *
 * config_case - what tests of settings share.
 */
#ifndef GCORN_TESTS_UNIT_CONFIG_CASE_H
#define GCORN_TESTS_UNIT_CONFIG_CASE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "settings/config.h"
#include "settings/config_print.h"
#include "settings/config_yaml.h"
#include "settings/setting.h"

static inline void assert_equal_configs(const struct config *a, const struct config *b)
{
    struct strbuf diff = {0};

    if (config_print_diff(a, b, &diff) != 0)
        fail_msg("they differ: %s", diff.data);
    strbuf_release(&diff);
}

/* The YAML text, as a.yaml, into a fresh config. */
static inline void parse_ok(struct config *c, const char *yaml)
{
    struct error err = {0};

    config_init(c);
    if (config_yaml_parse(c, "a.yaml", yaml, strlen(yaml), &err) < 0)
        fail_msg("refused: %s", err.text);
}

static inline const char *origin_of(const struct config *c, const char *key)
{
    return config_origin(c, setting_find(key))->text;
}

#endif
