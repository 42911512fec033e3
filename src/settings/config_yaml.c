/* SPDX-License-Identifier: MIT
 *
 * See config_yaml.h. libyaml's events are taken one at a time; each read_ function is entered with
 * the first event of its part as the current one and returns with the first event after that part.
 * The depth is bounded: nested values are refused at their first event.
 */
#include "settings/config_yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <yaml.h>

#include "base/error.h"
#include "base/small_file.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "settings/config.h"
#include "settings/config_set.h"
#include "settings/setting.h"
#include "settings/text.h"

enum {
    FILE_MAX_LEN = 1024 * 1024,
    KEY_SHOWN = 40, /* characters of an unknown key that the error shows */
};

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
    struct config *c;
    const char *name;
    const char *data; /* the whole file, to find a line number in */
    struct error *err;
};

/* ---- errors, with their place ------------------------------------------------------------ */

static int refuse(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Sets an error at the place of the current event. */
static int refuse(struct reader *r, const char *fmt, ...)
{
    yaml_mark_t mark = r->event.start_mark;
    char reason[sizeof(r->err->text)];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(reason, sizeof(reason), fmt, ap);
    va_end(ap);
    return error_set(r->err, EXIT_USAGE, "%s:%zu:%zu: %s", r->name, mark.line + 1, mark.column + 1,
                     reason);
}

/* Adds the place of the current event to an error of the setter, which does not know it. */
static int place_error(struct reader *r, const struct setting *s)
{
    yaml_mark_t mark = r->event.start_mark;

    return error_prefix(r->err, "%s:%zu:%zu: %s", r->name, mark.line + 1, mark.column + 1, s->key);
}

/* Sets the error of libyaml, which could not parse the text. */
static int refuse_syntax(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    size_t line = p->problem_mark.line, column = p->problem_mark.column;

    if (p->error == YAML_READER_ERROR) { /* it gives only an offset: columns count bytes */
        line = column = 0;
        for (size_t i = 0; i < p->problem_offset; i++) {
            column = r->data[i] == '\n' ? 0 : column + 1;
            line += r->data[i] == '\n';
        }
    }
    return error_set(r->err, EXIT_USAGE, "%s:%zu:%zu: %s%s%s%s", r->name, line + 1, column + 1,
                     p->problem ? p->problem : "cannot be read", p->context ? " (" : "",
                     p->context ? p->context : "", p->context ? ")" : "");
}

/* ---- events ------------------------------------------------------------------------------ */

static int advance(struct reader *r)
{
    yaml_event_delete(&r->event);
    return yaml_parser_parse(&r->parser, &r->event) ? 0 : refuse_syntax(r);
}

static int refuse_unknown(struct reader *r, const char *key)
{
    size_t best = SIZE_MAX;
    const struct setting *nearest = setting_nearest(key, &best);
    const char *why_absent = setting_why_absent(key);
    struct strbuf shown = {0};

    if (why_absent)
        return refuse(r, "%s is not needed: %s", key, why_absent);

    text_add_plain(&shown, key, KEY_SHOWN);
    (void)refuse(r, "unknown setting \"%s\"%s%s%s", shown.data ? shown.data : "",
                 nearest ? ", did you mean \"" : "", nearest ? nearest->key : "",
                 nearest ? "\"?" : "");
    strbuf_release(&shown);
    return -1;
}

/* Checks a scalar or the start of a sequence: no anchors, aliases, tags or NUL. */
static int check_plain(struct reader *r)
{
    const yaml_event_t *e = &r->event;
    bool is_scalar = e->type == YAML_SCALAR_EVENT;

    if (e->type == YAML_ALIAS_EVENT || (is_scalar && e->data.scalar.anchor) ||
        (!is_scalar && e->data.sequence_start.anchor))
        return refuse(r, "anchors and aliases are not used in settings");
    if (is_scalar ? e->data.scalar.tag != NULL : e->data.sequence_start.tag != NULL)
        return refuse(r, "tags are not used in settings");
    if (is_scalar && strlen((const char *)e->data.scalar.value) != e->data.scalar.length)
        return refuse(r, "a NUL character is in this text");
    return 0;
}

/* The current scalar's text; NULL for YAML's null, which is a plain word. */
static const char *scalar_text(const struct reader *r)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    const char *text = (const char *)r->event.data.scalar.value;

    if (r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return text;
    for (size_t i = 0; i < ARRAY_LEN(nulls); i++) {
        if (strcmp(text, nulls[i]) == 0)
            return NULL;
    }
    return text;
}

/* ---- plain words that YAML takes for another type than text ------------------------------ */

/* True: a boolean of YAML 1.1, which most programs read, or of 1.2. */
static bool is_boolean(const char *text)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "y", "n"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcasecmp(text, words[i]) == 0)
            return true;
    }
    return false;
}

/* 0x1f, 0o17, 0b11. */
static bool is_number_of_base(const char *text)
{
    if (text[0] != '0' || text[1] == '\0' || text[2] == '\0')
        return false;
    const char *digits = text[1] == 'x'   ? "0123456789abcdefABCDEF_"
                         : text[1] == 'o' ? "01234567_"
                         : text[1] == 'b' ? "01_"
                                          : "";
    return text[2 + strspn(text + 2, digits)] == '\0';
}

/* True: a number of YAML 1.1 or 1.2. Without the base 60 of 1.1: every reader takes 12:30 as
 * text. */
static bool is_number(const char *text)
{
    static const char digits[] = "0123456789_";
    const char *p = text + (*text == '+' || *text == '-');

    if (strcasecmp(p, ".inf") == 0 || strcasecmp(p, ".nan") == 0 || is_number_of_base(p))
        return true;
    if (!strchr("0123456789", p[*p == '.']) || p[*p == '.'] == '\0')
        return false;
    p += strspn(p, digits);
    if (*p == '.')
        p += 1 + strspn(p + 1, digits);
    if (*p == 'e' || *p == 'E') {
        p += 1 + (p[1] == '+' || p[1] == '-');
        if (*p == '\0') /* 1e */
            return false;
        p += strspn(p, "0123456789");
    }
    return *p == '\0';
}

/* Checks that the current scalar, for a setting that takes text, is text in YAML. */
static int check_text(struct reader *r, const struct setting *s)
{
    const char *text = (const char *)r->event.data.scalar.value;
    bool takes_text = s->type == SETTING_STRING || s->type == SETTING_LIST;

    if (!takes_text || r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return 0;
    bool is_decimal = text[strspn(text, "0123456789")] == '\0' && (text[0] != '0' || !text[1]);
    if (s->or_number && is_decimal)
        return 0;
    bool boolean = is_boolean(text);
    if (!boolean && !is_number(text))
        return 0;
    return refuse(r, "%s: must be text, and YAML takes %.40s for a %s: quote it, \"%.40s\"%s",
                  s->key, text, boolean ? "boolean" : "number", text,
                  s->nullable ? ", or write null" : "");
}

/* Sets the current scalar, which is the whole value or an item of its list. */
static int read_scalar(struct reader *r, const struct setting *s,
                       const struct config_origin *origin, bool is_item)
{
    if (check_plain(r) < 0 || check_text(r, s) < 0)
        return -1;
    const char *text = scalar_text(r);
    /* an empty text is an empty list, but not an empty item */
    int result = is_item && text && *text == '\0' ? config_set(r->c, s, text, origin, r->err)
                                                  : config_set_text(r->c, s, text, origin, r->err);
    return result < 0 ? place_error(r, s) : advance(r);
}

static int read_sequence(struct reader *r, const struct setting *s,
                         const struct config_origin *origin)
{
    if (s->type != SETTING_LIST)
        return refuse(r, "%s: must be a single value, not a list", s->key);
    config_set_empty(r->c, s, origin);
    if (advance(r) < 0)
        return -1;
    while (r->event.type != YAML_SEQUENCE_END_EVENT) {
        if (r->event.type != YAML_SCALAR_EVENT && r->event.type != YAML_ALIAS_EVENT)
            return refuse(r, "%s: must be a list of single values", s->key);
        if (read_scalar(r, s, origin, true) < 0)
            return -1;
    }
    if (config_list(r->c, s)->count < s->min)
        return refuse(r, "%s: must not be empty", s->key);
    return advance(r);
}

static int read_value(struct reader *r, const struct setting *s, const struct config_origin *origin)
{
    if (r->event.type == YAML_MAPPING_START_EVENT)
        return refuse(r, "%s: must not be a mapping", s->key);
    if (r->event.type != YAML_SEQUENCE_START_EVENT)
        return read_scalar(r, s, origin, false);
    return check_plain(r) < 0 ? -1 : read_sequence(r, s, origin);
}

static int read_entry(struct reader *r)
{
    if (r->event.type != YAML_SCALAR_EVENT && r->event.type != YAML_ALIAS_EVENT)
        return refuse(r, "a key must be the name of a setting");
    if (check_plain(r) < 0)
        return -1;

    const char *key = (const char *)r->event.data.scalar.value;
    const struct setting *s = setting_find(key);
    if (!s)
        return refuse_unknown(r, key);
    const struct config_origin *before = config_origin(r->c, s);
    if (before->source == SOURCE_FILE)
        return refuse(r, "%s is set twice, first at %s", s->key, before->text);

    struct config_origin origin = {
        .source = SOURCE_FILE,
        .text = arena_printf(&r->c->arena, "%s:%zu", r->name, r->event.start_mark.line + (size_t)1),
    };
    if (advance(r) < 0)
        return -1;
    return read_value(r, s, &origin);
}

static int read_root(struct reader *r)
{
    if (r->event.type == YAML_SCALAR_EVENT && !scalar_text(r)) /* "---" and comments: no settings */
        return advance(r);
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return refuse(r, "a settings file is lines of \"key: value\"");
    if (r->event.data.mapping_start.anchor || r->event.data.mapping_start.tag)
        return refuse(r, "anchors and tags are not used in settings");
    if (advance(r) < 0)
        return -1;
    while (r->event.type != YAML_MAPPING_END_EVENT) {
        if (read_entry(r) < 0)
            return -1;
    }
    return advance(r);
}

static int read_stream(struct reader *r)
{
    if (advance(r) < 0 || advance(r) < 0) /* now past the stream's start */
        return -1;
    if (r->event.type == YAML_STREAM_END_EVENT) /* nothing but comments */
        return 0;
    if (advance(r) < 0 || read_root(r) < 0 || advance(r) < 0) /* the document's start and end */
        return -1;
    if (r->event.type != YAML_STREAM_END_EVENT)
        return refuse(r, "a settings file has only one document");
    return 0;
}

int config_yaml_parse(struct config *c, const char *name, const char *data, size_t len,
                      struct error *err)
{
    struct reader r = {.c = c, .name = name, .data = data, .err = err};

    if (!yaml_parser_initialize(&r.parser))
        return error_set(err, EXIT_USAGE, "%s: out of memory", name);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)data, len);
    int result = read_stream(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return result;
}

/* ---- the file ---------------------------------------------------------------------------- */

int config_yaml_read(const char *path, struct strbuf *data, struct error *err)
{
    if (small_file_read(path, FILE_MAX_LEN, data) == 0)
        return 0;
    return error_set(err, EXIT_USAGE, "%s: cannot be read: %s", path, strerror(errno));
}
