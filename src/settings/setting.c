/* SPDX-License-Identifier: MIT
 *
 * See setting.h. The differences between settings are in the rows of settings.def; those between
 * types are in config_set.c (reads text) and config_print.c (writes it).
 */
#include "settings/setting.h"

#include <assert.h>
#include <string.h>

#include "base/address.h"
#include "base/error.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/syslog.h"
#include "base/util.h"
#include "settings/config.h"
#include "settings/text.h"

enum { QUOTE_MAX = 60 }; /* characters of a refused value that an error shows */

/* ---- checks of texts --------------------------------------------------------------------- */

int setting_refuse(struct error *err, const char *what, const char *text)
{
    struct strbuf shown = {0};

    text_add_plain(&shown, text, QUOTE_MAX);
    (void)error_set(err, EXIT_USAGE, "must be %s, not \"%s\"", what, shown.data ? shown.data : "");
    strbuf_release(&shown);
    return -1;
}

static int check_assignment(const char *text, struct error *err)
{
    const char *equals = strchr(text, '=');

    return equals && equals > text ? 0 : setting_refuse(err, "NAME=VALUE", text);
}

static int check_network(const char *text, struct error *err)
{
    struct network network;
    const char *wanted;

    if (strcmp(text, "*") == 0 || network_parse(&network, text, &wanted) == 0)
        return 0;
    return setting_refuse(err, wanted, text);
}

/* The length of the header field name (RFC 9110 5.1) at the start of text. */
static size_t field_name_len(const char *text)
{
    return strspn(text, "!#$%&'*+-.^_`|~0123456789"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
}

static int check_scheme_header(const char *text, struct error *err)
{
    size_t len = field_name_len(text);

    return len > 0 && text[len] == '=' && text[len + 1] != '\0'
               ? 0
               : setting_refuse(err, "a header field and its value, NAME=VALUE", text);
}

static int check_field_name(const char *text, struct error *err)
{
    return text[field_name_len(text)] == '\0'
               ? 0
               : setting_refuse(err, "a header field's name or *", text);
}

/* ---- the table --------------------------------------------------------------------------- */

static const char *const worker_class_names[] = {WORKER_CLASSES(WORKER_CLASS_NAME) NULL};

static const char *const log_level_names[] = {
    [LOG_LEVEL_DEBUG] = "debug", [LOG_LEVEL_INFO] = "info",         [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_CRITICAL] = "critical", [LOG_LEVEL_CRITICAL + 1] = NULL,
};

static const char *const log_format_names[] = {
    [LOG_FORMAT_TEXT] = "text",
    [LOG_FORMAT_JSON] = "json",
    NULL,
};

static const char *const syslog_format_names[] = {
    [SYSLOG_RFC5424] = "rfc5424",
    [SYSLOG_BSD] = "bsd",
    NULL,
};

/* By RFC 5424's number. */
static const char *const syslog_facility_names[] = {
    "kern",   "user",     "mail",   "daemon", "auth",   "syslog", "lpr",   "news",   "uucp",
    "cron",   "authpriv", "ftp",    "ntp",    "audit",  "alert",  "clock", "local0", "local1",
    "local2", "local3",   "local4", "local5", "local6", "local7", NULL,
};

static const char *const header_map_names[] = {
    [HEADER_MAP_DROP] = "drop",
    [HEADER_MAP_REFUSE] = "refuse",
    [HEADER_MAP_DANGEROUS] = "dangerous",
    NULL,
};

static const char *const proxy_protocol_names[] = {
    [PROXY_PROTOCOL_OFF] = "off",
    [PROXY_PROTOCOL_V1] = "v1",
    [PROXY_PROTOCOL_V2] = "v2",
    [PROXY_PROTOCOL_AUTO] = "auto",
    NULL,
};

#define KIB ((uint64_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define DAY ((uint64_t)24 * 3600 * 1000)

#define SETTING(kind, field, name, ...)                                                            \
    {.type = SETTING_##kind, .offset = offsetof(struct config, field), .key = name, __VA_ARGS__},
static const struct setting table[] = {
#include "settings/settings.def"
};
#undef SETTING

const struct setting *setting_table(size_t *count)
{
    *count = ARRAY_LEN(table);
    return table;
}

const struct setting *setting_find(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const struct setting *s = &table[i];

        if (strcmp(key, s->key) == 0 || (s->alias && strcmp(key, s->alias) == 0))
            return s;
    }
    return NULL;
}

size_t setting_index(const struct setting *s)
{
    assert(s >= table && s < table + ARRAY_LEN(table));
    return (size_t)(s - table);
}

/* ---- misspelt names ---------------------------------------------------------------------- */

bool setting_is_near(const char *name, const char *candidate, size_t *best)
{
    size_t distance = text_distance(name, candidate);

    if (distance > 1 + strlen(name) / 4 || distance >= strlen(name) || distance >= *best)
        return false;
    *best = distance;
    return true;
}

const char *setting_why_absent(const char *name)
{
    static const struct {
        const char *key;
        const char *why;
    } absent[] = {
        {"worker_tmp_dir", "heartbeats go through a pipe, so there is no file to find a place for"},
        {"reuse_port", "all workers take from one socket, which loses no connection at a reload"},
    };

    for (size_t i = 0; i < ARRAY_LEN(absent); i++) {
        if (text_distance(name, absent[i].key) == 0)
            return absent[i].why;
    }
    return NULL;
}

const struct setting *setting_nearest(const char *name, size_t *best)
{
    const struct setting *nearest = NULL;

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const struct setting *s = &table[i];
        const char *const names[] = {s->key, s->alias, s->flag, s->flag_alias};

        for (size_t j = 0; j < ARRAY_LEN(names); j++) {
            if (names[j] && setting_is_near(name, names[j], best))
                nearest = s;
        }
    }
    return nearest;
}
