/* SPDX-License-Identifier: MIT
 *
 * The table made from settings.def, and plain loops over it. Everything that differs between
 * settings is in a row or, by type, in the switches of config_set and config_add_value: text in,
 * text out. What is printed is read back as the same value; the unit tests hold every row to that.
 *
 * A value is parsed and checked before anything is stored, so a refused one changes nothing.
 */
#include "settings/config.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/address.h"
#include "base/error.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/syslog.h"
#include "base/utf8.h"
#include "base/util.h"
#include "settings/text.h"

enum {
    LINE_WIDTH = 79,
    COMMENT_COLUMN = 40, /* of the origins in --print-config */
    QUOTE_MAX = 60,      /* characters of a refused value that an error shows */
};

/* ---- the table --------------------------------------------------------------------------- */

static int check_assignment(const char *text, struct error *err);
static int check_network(const char *text, struct error *err);
static int check_scheme_header(const char *text, struct error *err);
static int check_field_name(const char *text, struct error *err);

static const char *const worker_class_names[] = {
    [WORKER_CLASS_SYNC] = "sync",
    [WORKER_CLASS_GTHREAD] = "gthread",
    NULL,
};

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

const struct setting *config_settings(size_t *count)
{
    *count = ARRAY_LEN(table);
    return table;
}

const struct setting *config_find(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const struct setting *s = &table[i];

        if (strcmp(key, s->key) == 0 || (s->alias && strcmp(key, s->alias) == 0))
            return s;
    }
    return NULL;
}

static void *field_of(struct config *c, const struct setting *s)
{
    return (char *)c + s->offset;
}

static const void *const_field_of(const struct config *c, const struct setting *s)
{
    return (const char *)c + s->offset;
}

const struct config_origin *config_origin(const struct config *c, const struct setting *s)
{
    return &c->origins[s - table];
}

const struct config_list *config_list(const struct config *c, const struct setting *s)
{
    assert(s->type == SETTING_LIST);
    return const_field_of(c, s);
}

/* ---- did you mean ------------------------------------------------------------------------ */

bool config_is_near(const char *name, const char *candidate, size_t *best)
{
    size_t distance = text_distance(name, candidate);

    if (distance > 1 + strlen(name) / 4 || distance >= strlen(name) || distance >= *best)
        return false;
    *best = distance;
    return true;
}

const char *config_why_absent(const char *name)
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

const struct setting *config_nearest(const char *name, size_t *best)
{
    const struct setting *nearest = NULL;

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const struct setting *s = &table[i];
        const char *const names[] = {s->key, s->alias, s->flag, s->flag_alias};

        for (size_t j = 0; j < ARRAY_LEN(names); j++) {
            if (names[j] && config_is_near(name, names[j], best))
                nearest = s;
        }
    }
    return nearest;
}

/* ---- numbers ----------------------------------------------------------------------------- */

/* err: "must be <what>, not "<text>"". */
static int refuse(struct error *err, const char *what, const char *text)
{
    struct strbuf shown = {0};

    text_add_plain(&shown, text, QUOTE_MAX);
    (void)error_set(err, EXIT_USAGE, "must be %s, not \"%s\"", what, shown.data ? shown.data : "");
    strbuf_release(&shown);
    return -1;
}

static int parse_number(const struct setting *s, const char *text, uint64_t *value)
{
    int64_t number;

    switch (s->type) {
    case SETTING_DURATION: return text_parse_duration(text, value);
    case SETTING_SIZE: return text_parse_size(text, value);
    case SETTING_OCTAL: return text_parse_octal(text, value);
    default: break;
    }
    if (parse_int(text, 0, INT_MAX, &number) < 0)
        return -1;
    *value = (uint64_t)number;
    return 0;
}

static void format_number(struct strbuf *out, const struct setting *s, uint64_t value)
{
    switch (s->type) {
    case SETTING_DURATION: text_add_duration(out, value); return;
    case SETTING_SIZE: text_add_size(out, value); return;
    case SETTING_OCTAL: text_add_octal(out, value); return;
    default: strbuf_addu(out, value);
    }
}

static int refuse_number(const struct setting *s, const char *text, struct error *err)
{
    struct strbuf what = {0};

    switch (s->type) {
    case SETTING_DURATION: strbuf_addstr(&what, "a duration such as 30s, 500ms or 2m,"); break;
    case SETTING_SIZE: strbuf_addstr(&what, "a size such as 64KiB or 16MiB,"); break;
    case SETTING_OCTAL: strbuf_addstr(&what, "an octal number"); break;
    default: strbuf_addstr(&what, "a whole number");
    }
    strbuf_addstr(&what, " from ");
    format_number(&what, s, s->min);
    strbuf_addstr(&what, " to ");
    format_number(&what, s, s->max);
    if (s->or_zero)
        strbuf_addstr(&what, ", or 0");
    if (s->word)
        strbuf_addf(&what, ", or %s", s->word);
    (void)refuse(err, what.data, text);
    strbuf_release(&what);
    return -1;
}

static int set_number(const struct setting *s, const char *text, void *field, struct error *err)
{
    uint64_t value = 0;

    if (s->word && strcasecmp(text, s->word) == 0) {
        *(int *)field = s->word_value;
        return 0;
    }
    if (parse_number(s, text, &value) < 0)
        return refuse_number(s, text, err);
    if ((value < s->min || value > s->max) && !(value == 0 && s->or_zero))
        return refuse_number(s, text, err);
    if (s->type == SETTING_DURATION || s->type == SETTING_SIZE)
        *(uint64_t *)field = value;
    else
        *(int *)field = (int)value;
    return 0;
}

/* ---- the other types --------------------------------------------------------------------- */

static int set_bool(const char *text, bool *field, struct error *err)
{
    static const char *const words[] = {"true", "yes", "on", "1", "false", "no", "off", "0"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *field = i < ARRAY_LEN(words) / 2;
            return 0;
        }
    }
    return refuse(err, "true or false", text);
}

static int set_enum(const struct setting *s, const char *text, int *field, struct error *err)
{
    struct strbuf what = {0};

    for (int i = 0; s->choices[i]; i++) {
        if (strcasecmp(text, s->choices[i]) == 0) {
            *field = i;
            return 0;
        }
    }
    for (int i = 0; s->choices[i]; i++) {
        const char *comma = i == 0 ? "" : s->choices[i + 1] ? ", " : " or ";

        strbuf_addf(&what, "%s%s", comma, s->choices[i]);
    }
    (void)refuse(err, what.data, text);
    strbuf_release(&what);
    return -1;
}

static int set_string(struct config *c, const struct setting *s, const char *text,
                      struct error *err)
{
    if (!s->nullable && text[0] == '\0')
        return error_set(err, EXIT_USAGE, "must not be empty");
    if (!utf8_is_valid(text))
        return error_set(err, EXIT_USAGE, "is not valid UTF-8");
    if (text[0] != '\0' && s->check && s->check(text, err) < 0)
        return -1;
    *(const char **)field_of(c, s) = text[0] ? arena_strdup(&c->arena, text) : NULL;
    return 0;
}

static int check_assignment(const char *text, struct error *err)
{
    const char *equals = strchr(text, '=');

    return equals && equals > text ? 0 : refuse(err, "NAME=VALUE", text);
}

static int check_network(const char *text, struct error *err)
{
    struct network network;
    const char *wanted;

    if (strcmp(text, "*") == 0 || network_parse(&network, text, &wanted) == 0)
        return 0;
    return refuse(err, wanted, text);
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
               : refuse(err, "a header field and its value, NAME=VALUE", text);
}

static int check_field_name(const char *text, struct error *err)
{
    return text[field_name_len(text)] == '\0' ? 0 : refuse(err, "a header field's name or *", text);
}

/* anew: the list had an earlier source's items, or none. */
static int add_item(struct config *c, const struct setting *s, const char *text, bool anew,
                    struct error *err)
{
    struct config_list *list = field_of(c, s);
    size_t count = anew ? 0 : list->count;

    if (text[0] == '\0')
        return error_set(err, EXIT_USAGE, "must not be empty");
    if (!utf8_is_valid(text))
        return error_set(err, EXIT_USAGE, "is not valid UTF-8");
    if (s->check && s->check(text, err) < 0)
        return -1;
    if (count >= s->max)
        return error_set(err, EXIT_USAGE, "takes at most %d values", (int)s->max);

    const char **items = (const char **)list->items;
    if ((count & (count - 1)) == 0) { /* a power of two, or 0: the array is full */
        items = arena_alloc(&c->arena, (count ? 2 * count : 1) * sizeof(*items));
        if (count > 0)
            memcpy(items, list->items, count * sizeof(*items));
    }
    items[count] = arena_strdup(&c->arena, text);
    *list = (struct config_list){.items = items, .count = count + 1};
    return 0;
}

/* ---- setting and asking ------------------------------------------------------------------ */

int config_set(struct config *c, const struct setting *s, const char *text,
               const struct config_origin *origin, struct error *err)
{
    const struct config_origin *before = config_origin(c, s);
    /* one default replaces another, such as $PORT's address the default one */
    bool anew = origin->source != before->source ||
                (origin->source == SOURCE_DEFAULT && origin->text != before->text);
    void *field = field_of(c, s);
    int result = -1;

    if (!text && !s->nullable)
        return error_set(err, EXIT_USAGE, "needs a value");
    switch (s->type) {
    case SETTING_INTEGER:
    case SETTING_DURATION:
    case SETTING_SIZE:
    case SETTING_OCTAL: result = set_number(s, text, field, err); break;
    case SETTING_BOOL: result = set_bool(text, field, err); break;
    case SETTING_ENUM: result = set_enum(s, text, field, err); break;
    case SETTING_STRING: result = set_string(c, s, text ? text : "", err); break;
    case SETTING_LIST: result = add_item(c, s, text, anew, err); break;
    }
    if (result == 0)
        c->origins[s - table] = *origin;
    return result;
}

int config_set_text(struct config *c, const struct setting *s, const char *text,
                    const struct config_origin *origin, struct error *err)
{
    if (s->split_commas && text && text[0] == '\0' && s->min == 0) {
        config_clear(c, s, origin);
        return 0;
    }
    if (!s->split_commas || !text || !strchr(text, ','))
        return config_set(c, s, text, origin, err);

    char *copy = xstrdup(text), *rest = copy;
    int result = 0;
    while (result == 0 && rest) {
        char *item = strsep(&rest, ",");

        item += strspn(item, " ");
        for (size_t len = strlen(item); len > 0 && item[len - 1] == ' '; len--)
            item[len - 1] = '\0';
        result = config_set(c, s, item, origin, err);
    }
    free(copy);
    return result;
}

void config_clear(struct config *c, const struct setting *s, const struct config_origin *origin)
{
    assert(s->type == SETTING_LIST);
    *(struct config_list *)field_of(c, s) = (struct config_list){0};
    c->origins[s - table] = *origin;
}

void config_init(struct config *c)
{
    static const struct config_origin by_default = {SOURCE_DEFAULT, "default"};
    struct error err;

    *c = (struct config){.action = CONFIG_RUN};
    arena_init(&c->arena);
    c->origins = arena_alloc(&c->arena, ARRAY_LEN(table) * sizeof(c->origins[0]));
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        c->origins[i] = by_default;
        if (table[i].text && config_set_text(c, &table[i], table[i].text, &by_default, &err) < 0)
            assert(!"a row of settings.def has a bad default");
    }
}

void config_release(struct config *c)
{
    arena_release(&c->arena);
    *c = (struct config){0};
}

int config_check(const struct config *c, struct error *err)
{
    if (!c->wsgi_app && c->action <= CONFIG_CHECK)
        return error_set(err, EXIT_USAGE, "no application given: gcorn app.so:handler");
    return 0;
}

unsigned config_threads(const struct config *c)
{
    return c->worker_class == WORKER_CLASS_GTHREAD || c->threads > 1 ? (unsigned)c->threads : 0;
}

void config_resolve_workers(struct config *c, int cores, const char *how)
{
    const struct setting *s = config_find("workers");
    struct config_origin *origin = &c->origins[s - table];

    if (c->workers != 0)
        return;
    assert(cores >= 1);
    c->workers = cores < (int)s->max / 2 ? 2 * cores + 1 : (int)s->max;
    if (how)
        origin->text = arena_printf(&c->arena, "%s: 2 x %s + 1", origin->text, how);
    else
        origin->text = arena_printf(&c->arena, "%s: 2 x %d cores + 1", origin->text, cores);
}

void config_resolve_umask(struct config *c, mode_t inherited)
{
    const struct setting *s = config_find("umask");
    struct config_origin *origin = &c->origins[s - table];

    if (c->umask != s->word_value)
        return;
    c->umask = (int)inherited;
    if (origin->source == SOURCE_DEFAULT)
        origin->text = arena_printf(&c->arena, "%s: as gcorn was started", origin->text);
}

/* ---- printing ---------------------------------------------------------------------------- */

/* The value as YAML that gives the same value when it is read. */
void config_add_value(struct strbuf *out, const struct config *c, const struct setting *s)
{
    const void *field = const_field_of(c, s);
    const struct config_list *list = field;
    const int *number = field;
    const char *string;

    switch (s->type) {
    case SETTING_INTEGER:
    case SETTING_OCTAL:
        if (s->word && *number == s->word_value)
            strbuf_addstr(out, s->word);
        else
            format_number(out, s, (uint64_t)*number);
        break;
    case SETTING_DURATION:
    case SETTING_SIZE: format_number(out, s, *(const uint64_t *)field); break;
    case SETTING_BOOL: strbuf_addstr(out, *(const bool *)field ? "true" : "false"); break;
    case SETTING_ENUM: strbuf_addstr(out, s->choices[*(const int *)field]); break;
    case SETTING_STRING:
        string = *(const char *const *)field;
        if (string)
            text_add_quoted(out, string);
        else
            strbuf_addstr(out, "null");
        break;
    case SETTING_LIST:
        strbuf_addch(out, '[');
        for (size_t i = 0; i < list->count; i++) {
            strbuf_addstr(out, i > 0 ? ", " : "");
            text_add_quoted(out, list->items[i]);
        }
        strbuf_addch(out, ']');
        break;
    }
}

void config_print(const struct config *c, FILE *out)
{
    struct strbuf line = {0};

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        strbuf_reset(&line);
        strbuf_addf(&line, "%s: ", table[i].key);
        config_add_value(&line, c, &table[i]);
        strbuf_addch(&line, ' ');
        while (line.len < COMMENT_COLUMN)
            strbuf_addch(&line, ' ');
        strbuf_addstr(&line, "# ");
        text_add_plain(&line, c->origins[i].text, SIZE_MAX);
        (void)fprintf(out, "%s\n", line.data); /* the caller asks ferror(out) */
    }
    strbuf_release(&line);
}

void config_wrap(FILE *out, size_t column, const char *prefix, const char *text)
{
    bool at_start = true;

    while (*text) {
        size_t len = strcspn(text, " ");

        if (!at_start && column + 1 + len > LINE_WIDTH) {
            (void)fprintf(out, "\n%s", prefix);
            column = strlen(prefix);
            at_start = true;
        }
        (void)fprintf(out, "%s%.*s", at_start ? "" : " ", (int)len, text);
        column += len + (at_start ? 0 : 1);
        at_start = false;
        text += len + strspn(text + len, " ");
    }
    (void)fputc('\n', out);
}

void config_print_sample(FILE *out)
{
    static const char *const intro[] = {
        "gunicorn-c.yaml - the settings of gcorn (not of gunicorn, whose file is "
        "gunicorn.conf.py). "
        "Made by gcorn --print-sample; every setting is here with its default.",
        "gcorn reads the file of this name in the directory it is started in, or instead of it the "
        "one named by -c FILE or by the environment variable GCORN_CONFIG.",
        "The later wins: defaults, this file, environment variables (GCORN_WORKERS for workers), "
        "options in GCORN_CMD_ARGS, the command line. gcorn --print-config shows what came out, "
        "and "
        "from where.",
        "Times are 500ms, 30s, 2m or 1h, a plain number is seconds; sizes are 64KiB, 16MiB or "
        "1GiB, "
        "a plain number is bytes.",
    };
    const char *section = "";
    struct strbuf value = {0};
    struct config c;

    config_init(&c);
    for (size_t i = 0; i < ARRAY_LEN(intro); i++) {
        (void)fputs(i == 0 ? "# " : "#\n# ", out);
        config_wrap(out, 2, "# ", intro[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const struct setting *s = &table[i];

        if (strcmp(section, s->section) != 0)
            (void)fprintf(out, "\n# ---- %s ----\n", s->section);
        section = s->section;
        strbuf_reset(&value);
        config_add_value(&value, &c, s);
        (void)fputs("\n# ", out);
        config_wrap(out, 2, "# ", s->help);
        (void)fprintf(out, "# %s: %s\n", s->key, value.data);
    }
    strbuf_release(&value);
    config_release(&c);
}

size_t config_diff(const struct config *before, const struct config *after, struct strbuf *out)
{
    struct strbuf was = {0}, is = {0};
    size_t changed = 0;

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const struct setting *s = &table[i];

        strbuf_reset(&was);
        strbuf_reset(&is);
        config_add_value(&was, before, s);
        config_add_value(&is, after, s);
        if (strcmp(was.data, is.data) == 0)
            continue;
        strbuf_addf(out, "%s%s", changed > 0 ? ", " : "", s->key);
        if (s->is_secret)
            strbuf_addstr(out, " changed");
        else
            strbuf_addf(out, " %s -> %s", was.data, is.data);
        changed++;
    }
    strbuf_release(&was);
    strbuf_release(&is);
    return changed;
}
