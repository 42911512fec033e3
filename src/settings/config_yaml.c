/* SPDX-License-Identifier: MIT
 *
 * See config_yaml.h. libyaml's events are taken one at a time; each read_ function is entered with
 * the first event of its piece as the current one and leaves with the first one after it. So depth
 * is bounded: what could nest is refused at its first event.
 */
#include "settings/config_yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <yaml.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "settings/config.h"
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

/* The current event is wrong. */
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

/* The value that is the current event was refused by the setter, which knows no place. */
static int place_error(struct reader *r, const struct setting *s)
{
    yaml_mark_t mark = r->event.start_mark;

    return error_prefix(r->err, "%s:%zu:%zu: %s", r->name, mark.line + 1, mark.column + 1, s->key);
}

/* libyaml could not make an event of the text. */
static int refuse_syntax(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    size_t line = p->problem_mark.line, column = p->problem_mark.column;

    if (p->error == YAML_READER_ERROR) { /* an offset is all it gives; columns are bytes then */
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
    const struct setting *nearest = config_nearest(key, &best);
    const char *why_absent = config_why_absent(key);
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

/* A scalar or the start of a sequence, without what settings have no use for. */
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

static int read_sequence(struct reader *r, const struct setting *s,
                         const struct config_origin *origin)
{
    if (s->type != SETTING_LIST)
        return refuse(r, "%s: must be a single value, not a list", s->key);
    config_clear(r->c, s, origin);
    if (advance(r) < 0)
        return -1;
    while (r->event.type != YAML_SEQUENCE_END_EVENT) {
        if (r->event.type != YAML_SCALAR_EVENT && r->event.type != YAML_ALIAS_EVENT)
            return refuse(r, "%s: must be a list of single values", s->key);
        if (check_plain(r) < 0)
            return -1;
        if (config_set(r->c, s, scalar_text(r), origin, r->err) < 0)
            return place_error(r, s);
        if (advance(r) < 0)
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
    if (check_plain(r) < 0)
        return -1;
    if (r->event.type == YAML_SEQUENCE_START_EVENT)
        return read_sequence(r, s, origin);
    if (config_set(r->c, s, scalar_text(r), origin, r->err) < 0)
        return place_error(r, s);
    return advance(r);
}

static int read_entry(struct reader *r)
{
    if (r->event.type != YAML_SCALAR_EVENT && r->event.type != YAML_ALIAS_EVENT)
        return refuse(r, "a key must be the name of a setting");
    if (check_plain(r) < 0)
        return -1;

    const char *key = (const char *)r->event.data.scalar.value;
    const struct setting *s = config_find(key);
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

static int read_file(const char *path, struct strbuf *data)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return -1;
    do {
        n = read(fd, strbuf_grow(data, FILE_MAX_LEN / 16), FILE_MAX_LEN / 16);
        if (n > 0)
            data->len += (size_t)n;
    } while (data->len <= FILE_MAX_LEN && (n > 0 || (n < 0 && errno == EINTR)));
    fd_close(&fd);
    if (data->len > FILE_MAX_LEN) {
        errno = EFBIG;
        return -1;
    }
    return n < 0 ? -1 : 0;
}

int config_yaml_load(struct config *c, const char *path, struct error *err)
{
    struct strbuf data = {0};
    int result;

    c->config_file = arena_strdup(&c->arena, path);
    if (read_file(path, &data) < 0)
        result = error_set(err, EXIT_USAGE, "%s: cannot be read: %s", path, strerror(errno));
    else
        result = config_yaml_parse(c, path, data.data, data.len, err);
    strbuf_release(&data);
    return result;
}
