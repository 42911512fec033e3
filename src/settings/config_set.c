/* SPDX-License-Identifier: MIT
 *
 * See config_set.h.
 */
#include "settings/config_set.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "base/utf8.h"
#include "base/util.h"
#include "settings/config.h"
#include "settings/config_print.h"
#include "settings/setting.h"
#include "settings/text.h"

/* ---- numbers ----------------------------------------------------------------------------- */

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
    config_print_number(&what, s, s->min);
    strbuf_addstr(&what, " to ");
    config_print_number(&what, s, s->max);
    if (s->or_zero)
        strbuf_addstr(&what, ", or 0");
    if (s->word)
        strbuf_addf(&what, ", or %s", s->word);
    (void)setting_refuse(err, what.data, text);
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
    return setting_refuse(err, "true or false", text);
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
    (void)setting_refuse(err, what.data, text);
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
    *(const char **)setting_field(c, s) = text[0] ? arena_strdup(&c->arena, text) : NULL;
    return 0;
}

/* Adds text to a list. replaces: the list is emptied first, because its items come from an earlier
 * source. */
static int add_item(struct config *c, const struct setting *s, const char *text, bool replaces,
                    struct error *err)
{
    struct config_list *list = setting_field(c, s);
    size_t count = replaces ? 0 : list->count;

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

/* ---- the setter -------------------------------------------------------------------------- */

int config_set(struct config *c, const struct setting *s, const char *text,
               const struct config_origin *origin, struct error *err)
{
    const struct config_origin *before = config_origin(c, s);
    /* one default replaces another: the address from $PORT replaces the built-in one */
    bool replaces = origin->source != before->source ||
                    (origin->source == SOURCE_DEFAULT && origin->text != before->text);
    void *field = setting_field(c, s);
    int result = -1;

    if (!text && !s->nullable)
        return error_set(err, EXIT_USAGE, "needs a value");
    assert(text || s->type == SETTING_STRING); /* no other type is nullable */
    switch (s->type) {
    case SETTING_INTEGER:
    case SETTING_DURATION:
    case SETTING_SIZE:
    case SETTING_OCTAL: result = set_number(s, text, field, err); break;
    case SETTING_BOOL: result = set_bool(text, field, err); break;
    case SETTING_ENUM: result = set_enum(s, text, field, err); break;
    case SETTING_STRING: result = set_string(c, s, text ? text : "", err); break;
    case SETTING_LIST: result = add_item(c, s, text, replaces, err); break;
    }
    if (result == 0)
        c->origins[setting_index(s)] = *origin;
    return result;
}

int config_set_text(struct config *c, const struct setting *s, const char *text,
                    const struct config_origin *origin, struct error *err)
{
    if (s->split_commas && text && text[0] == '\0' && s->min == 0) {
        config_set_empty(c, s, origin);
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

void config_set_empty(struct config *c, const struct setting *s, const struct config_origin *origin)
{
    assert(s->type == SETTING_LIST);
    *(struct config_list *)setting_field(c, s) = (struct config_list){0};
    c->origins[setting_index(s)] = *origin;
}
