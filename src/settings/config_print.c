/* SPDX-License-Identifier: MIT
 *
 * See config_print.h.
 */
#include "settings/config_print.h"

#include <string.h>

#include "base/strbuf.h"
#include "base/util.h"
#include "settings/config.h"
#include "settings/setting.h"
#include "settings/text.h"

enum {
    LINE_WIDTH = 79,
    COMMENT_COLUMN = 40, /* of the origins in --print-config */
};

/* ---- values ------------------------------------------------------------------------------ */

void config_print_number(struct strbuf *out, const struct setting *s, uint64_t value)
{
    switch (s->type) {
    case SETTING_DURATION: text_add_duration(out, value); return;
    case SETTING_SIZE: text_add_size(out, value); return;
    case SETTING_OCTAL: text_add_octal(out, value); return;
    default: strbuf_addu(out, value);
    }
}

void config_print_value(struct strbuf *out, const struct config *c, const struct setting *s)
{
    const void *field = setting_const_field(c, s);
    const struct config_list *list = field;
    const int *number = field;
    const char *string;

    switch (s->type) {
    case SETTING_INTEGER:
    case SETTING_OCTAL:
        if (s->word && *number == s->word_value)
            strbuf_addstr(out, s->word);
        else
            config_print_number(out, s, (uint64_t)*number);
        break;
    case SETTING_DURATION:
    case SETTING_SIZE: config_print_number(out, s, *(const uint64_t *)field); break;
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

/* ---- all of them ------------------------------------------------------------------------- */

void config_print(const struct config *c, FILE *out)
{
    size_t count;
    const struct setting *table = setting_table(&count);
    struct strbuf line = {0};

    for (size_t i = 0; i < count; i++) {
        strbuf_reset(&line);
        strbuf_addf(&line, "%s: ", table[i].key);
        config_print_value(&line, c, &table[i]);
        strbuf_addch(&line, ' ');
        while (line.len < COMMENT_COLUMN)
            strbuf_addch(&line, ' ');
        strbuf_addstr(&line, "# ");
        text_add_plain(&line, c->origins[i].text, SIZE_MAX);
        (void)fprintf(out, "%s\n", line.data); /* the caller tests ferror(out) */
    }
    strbuf_release(&line);
}

void config_print_wrapped(FILE *out, size_t column, const char *prefix, const char *text)
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
        "gunicorn.conf.py). Written by gcorn --print-sample: every setting with its default.",
        "gcorn reads the file of this name in the directory that it is started in, or instead the "
        "file that -c FILE or the environment variable GCORN_CONFIG names.",
        "The last of these sources wins: defaults, this file, environment variables (GCORN_WORKERS "
        "for workers), options in GCORN_CMD_ARGS, the command line. gcorn --print-config shows the "
        "values and their sources.",
        "Times are 500ms, 30s, 2m or 1h; a plain number is seconds. Sizes are 64KiB, 16MiB or "
        "1GiB; a plain number is bytes.",
    };
    size_t count;
    const struct setting *table = setting_table(&count);
    const char *section = "";
    struct strbuf value = {0};
    struct config c;

    config_init(&c);
    for (size_t i = 0; i < ARRAY_LEN(intro); i++) {
        (void)fputs(i == 0 ? "# " : "#\n# ", out);
        config_print_wrapped(out, 2, "# ", intro[i]);
    }
    for (size_t i = 0; i < count; i++) {
        const struct setting *s = &table[i];

        if (strcmp(section, s->section) != 0)
            (void)fprintf(out, "\n# ---- %s ----\n", s->section);
        section = s->section;
        strbuf_reset(&value);
        config_print_value(&value, &c, s);
        (void)fputs("\n# ", out);
        config_print_wrapped(out, 2, "# ", s->help);
        (void)fprintf(out, "# %s: %s\n", s->key, value.data);
    }
    strbuf_release(&value);
    config_release(&c);
}

size_t config_print_diff(const struct config *before, const struct config *after,
                         struct strbuf *out)
{
    size_t count;
    const struct setting *table = setting_table(&count);
    struct strbuf was = {0}, is = {0};
    size_t changed = 0;

    for (size_t i = 0; i < count; i++) {
        const struct setting *s = &table[i];

        strbuf_reset(&was);
        strbuf_reset(&is);
        config_print_value(&was, before, s);
        config_print_value(&is, after, s);
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
