/* SPDX-License-Identifier: MIT
 *
 * See cli.h.
 */
#include "settings/cli.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "settings/config_set.h"
#include "settings/setting.h"
#include "settings/text.h"

enum { OPTION_SHOWN = 40 }; /* characters of an unknown option that the error shows */

static const struct cli_command commands[] = {
    {"config", 'c', "FILE", CONFIG_RUN,
     "Read the settings from this file instead of ./" CLI_DEFAULT_FILE ".",
     "Read settings from FILE [./" CLI_DEFAULT_FILE "]"},
    {"init", 0, "DIR", CONFIG_INIT,
     "Write a small application into the new or empty directory DIR, with a Makefile, a test and "
     "settings, and exit.",
     "Write a small application into DIR to begin with"},
    {"replay", 0, "FILE", CONFIG_REPLAY,
     "Run the request in FILE, from crash_dir or written by hand as plain HTTP, print the answer "
     "and exit. All in one process, for debuggers.",
     NULL},
    {"check-config", 0, NULL, CONFIG_CHECK,
     "Check the settings, the files and addresses that they name, and whether the application "
     "loads, and exit. Files and addresses that a running server with these settings holds are not "
     "errors.",
     "Check settings and application, and exit"},
    {"print-config", 0, NULL, CONFIG_PRINT,
     "Print every setting as YAML, with the source of its value, and exit.", NULL},
    {"print-sample", 0, NULL, CONFIG_SAMPLE,
     "Print a commented " CLI_DEFAULT_FILE " with all defaults, and exit.",
     "Print a commented settings file"},
    {"version", 'v', NULL, CONFIG_VERSION,
     "Print the version of gcorn and of its libraries, and how it was built, and exit.",
     "Print the version and how gcorn was built"},
    {NULL, 'h', NULL, CONFIG_USAGE, "Print the usual options and exit.", "Print this"},
    {"help", 0, NULL, CONFIG_HELP, "Print this help and exit.", "Print all options, explained"},
};

const struct cli_command *cli_commands(size_t *count)
{
    *count = ARRAY_LEN(commands);
    return commands;
}

/* An option that was found: a setting or a command. */
struct option {
    const struct setting *setting;
    const struct cli_command *command;
    bool is_negated;  /* --no-... */
    const char *name; /* as it was written, for errors */
    int name_len;
};

/* ---- finding options --------------------------------------------------------------------- */

static char dashed(char c)
{
    return c == '_' ? '-' : c;
}

/* Compares `len` bytes of a with b as long flags, where '_' equals '-'. */
static bool flags_equal(const char *a, size_t len, const char *b)
{
    if (!b || strlen(b) != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (dashed(a[i]) != dashed(b[i]))
            return false;
    }
    return true;
}

/* True: this is a flag of the setting, gunicorn's or its name in the file. */
static bool is_flag_of(const struct setting *s, const char *name, size_t len)
{
    const char *const names[] = {s->flag, s->flag_alias, s->key, s->alias};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (flags_equal(name, len, names[i]))
            return true;
    }
    return false;
}

static bool find_long(const char *name, size_t len, struct option *option)
{
    bool negates = len > 3 && flags_equal(name, 3, "no-");
    size_t count;
    const struct setting *table = setting_table(&count);

    *option = (struct option){0};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (flags_equal(name, len, commands[i].flag))
            option->command = &commands[i];
    }
    for (size_t i = 0; i < count; i++) {
        const struct setting *s = &table[i];

        if (is_flag_of(s, name, len))
            option->setting = s;
        if (negates && s->type == SETTING_BOOL && is_flag_of(s, name + 3, len - 3)) {
            option->setting = s;
            option->is_negated = true;
        }
    }
    return option->setting || option->command;
}

static bool find_short(char letter, struct option *option)
{
    size_t count;
    const struct setting *table = setting_table(&count);

    *option = (struct option){0};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (commands[i].short_flag == letter)
            option->command = &commands[i];
    }
    for (size_t i = 0; i < count; i++) {
        if (table[i].short_flag == letter)
            option->setting = &table[i];
    }
    return option->setting || option->command;
}

static bool takes_value(const struct option *option)
{
    return option->setting ? option->setting->type != SETTING_BOOL
                           : option->command->metavar != NULL;
}

/* The flag that --name is probably a misspelling of, or NULL. */
static const char *nearest_flag(const char *name)
{
    size_t best = SIZE_MAX;
    const struct setting *s = setting_nearest(name, &best);
    const char *nearest = s ? (s->flag ? s->flag : s->key) : NULL;

    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (commands[i].flag && setting_is_near(name, commands[i].flag, &best))
            nearest = commands[i].flag;
    }
    return nearest;
}

/* word is "--name", "--name=value" or "-n" followed by anything. */
static int refuse_unknown(const char *word, struct error *err)
{
    struct strbuf name = {0}, shown = {0};
    bool is_long = word[1] == '-';

    strbuf_add(&name, word, is_long ? strcspn(word, "=") : 2);
    text_add_plain(&shown, name.data, OPTION_SHOWN);
    const char *why_absent = is_long ? setting_why_absent(name.data + 2) : NULL;
    const char *nearest = is_long ? nearest_flag(name.data + 2) : NULL;
    if (why_absent)
        (void)error_set(err, EXIT_USAGE, "%s is not needed: %s", shown.data, why_absent);
    else
        (void)error_set(err, EXIT_USAGE, "%s: no such option%s%s%s", shown.data,
                        nearest ? ", did you mean \"--" : "", nearest ? nearest : "",
                        nearest ? "\"?" : "");
    strbuf_release(&name);
    strbuf_release(&shown);
    return -1;
}

/* ---- reading words ----------------------------------------------------------------------- */

static int refuse_no_value(const struct option *option, struct error *err)
{
    return error_set(err, EXIT_USAGE, "%.*s: needs a value, %s", option->name_len, option->name,
                     option->setting ? option->setting->metavar : option->command->metavar);
}

static void take_command(struct cli *w, const struct cli_command *command, const char *value)
{
    bool is_outdone = command->action < w->c->action; /* its path must not become the other's */

    if (!is_outdone)
        w->c->action = command->action;
    if (command->action == CONFIG_RUN) {
        w->file = value;
    } else if (value && !is_outdone) { /* chdir happens before it is read */
        char *path = path_absolute(value);

        w->c->action_path = arena_strdup(&w->c->arena, path);
        free(path);
    }
}

/* value is NULL for an option that takes none. */
static int take_option(struct cli *w, const struct option *option, const char *value,
                       struct error *err)
{
    const struct cli_command *command = option->command;

    if (command) {
        if (value && value[0] == '\0')
            return refuse_no_value(option, err);
        take_command(w, command, value);
        return 0;
    }
    if (!w->applies)
        return 0;
    if (!value)
        value = option->is_negated ? "false" : "true";
    if (config_set_text(w->c, option->setting, value, &w->origin, err) < 0)
        return error_prefix(err, "%.*s", option->name_len, option->name);
    return 0;
}

/* The value of an option, in the next word; *i moves to it. A word that looks like an option is not
 * taken as a value: in "--pid --daemon" the value of --pid is missing. */
static const char *next_value(const struct cli *w, size_t *i)
{
    const char *word = w->words[*i + 1];

    if (!word || (word[0] == '-' && word[1] != '\0'))
        return NULL;
    (*i)++;
    return word;
}

/* True: the flag needs no value, and the next word does not belong to it. */
static bool stands_alone(const struct cli *w, const struct option *option, size_t i)
{
    const struct setting *s = option->setting;
    const char *word = w->words[i + 1];

    if (!s || !s->bare)
        return false;
    for (size_t j = 0; word && s->choices[j]; j++) {
        if (strcasecmp(word, s->choices[j]) == 0)
            return false;
    }
    return true;
}

static int read_long(struct cli *w, size_t *i, struct error *err)
{
    const char *word = w->words[*i];
    size_t len = strcspn(word, "=");
    const char *value = word[len] == '=' ? word + len + 1 : NULL;
    struct option option;

    if (!find_long(word + 2, len - 2, &option))
        return refuse_unknown(word, err);
    option.name = word;
    option.name_len = (int)len;
    if (!takes_value(&option)) {
        if (value)
            return error_set(err, EXIT_USAGE, "%.*s: takes no value", (int)len, word);
    } else if (!value && stands_alone(w, &option, *i)) {
        value = option.setting->bare;
    } else if (!value && !(value = next_value(w, i))) {
        return refuse_no_value(&option, err);
    }
    return take_option(w, &option, value, err);
}

/* -w4, -w 4, and options without a value together: -Dw4. */
static int read_short(struct cli *w, size_t *i, struct error *err)
{
    const char *letters = w->words[*i] + 1;

    for (; *letters; letters++) {
        char name[] = {'-', *letters, '\0'};
        const char *value = NULL;
        struct option option;

        if (!find_short(*letters, &option))
            return refuse_unknown(name, err);
        option.name = name;
        option.name_len = 2;
        if (takes_value(&option)) {
            value = letters[1] == '=' ? letters + 2 : letters[1] ? letters + 1 : next_value(w, i);
            if (!value)
                return refuse_no_value(&option, err);
        }
        if (take_option(w, &option, value, err) < 0)
            return -1;
        if (value)
            break;
    }
    return 0;
}

static int take_app(struct cli *w, const char *word, struct error *err)
{
    struct strbuf shown = {0};

    if (w->has_app) {
        text_add_plain(&shown, word, OPTION_SHOWN);
        (void)error_set(err, EXIT_USAGE, "\"%s\": only one application can be given",
                        shown.data ? shown.data : "");
        strbuf_release(&shown);
        return -1;
    }
    w->has_app = true;
    if (!w->applies)
        return 0;
    if (config_set(w->c, setting_find("wsgi_app"), word, &w->origin, err) < 0)
        return error_prefix(err, "APP");
    return 0;
}

int cli_read(struct cli *w, bool applies, struct error *err)
{
    bool flags_ended = false;

    w->applies = applies;
    w->has_app = false;
    for (size_t i = 0; w->words[i]; i++) {
        const char *word = w->words[i];
        int result;

        if (flags_ended || word[0] != '-' || word[1] == '\0') {
            result = take_app(w, word, err);
        } else if (strcmp(word, "--") == 0) {
            flags_ended = true;
            continue;
        } else {
            result = word[1] == '-' ? read_long(w, &i, err) : read_short(w, &i, err);
        }
        if (result < 0)
            return w->origin.source == SOURCE_CMD_ARGS ? error_prefix(err, "%s", w->origin.text)
                                                       : -1;
    }
    if (w->c->action == CONFIG_INIT && w->has_app && w->origin.source != SOURCE_CMD_ARGS)
        return error_set(err, EXIT_USAGE, "--init: takes one argument, DIR");
    return 0;
}

/* ---- words out of a text ------------------------------------------------------------------ */

/* Reads the word at *text as a shell does: 'as it is', "with \" and \\ in it", a\ b. *text moves
 * past it. Returns 0, or -1 with err. */
static int split_word(const char **text, struct strbuf *word, struct error *err)
{
    const char *p = *text;
    char quote = '\0';

    for (; *p && (quote || !isspace((unsigned char)*p)); p++) {
        bool escapes = *p == '\\' && (!quote || (quote == '"' && (p[1] == '"' || p[1] == '\\')));

        if (escapes && p[1] == '\0')
            return error_set(err, EXIT_USAGE, "GCORN_CMD_ARGS: ends in a backslash");
        if (escapes)
            strbuf_addch(word, *++p);
        else if (quote ? *p == quote : *p == '"' || *p == '\'')
            quote = quote ? '\0' : *p;
        else
            strbuf_addch(word, *p);
    }
    if (quote)
        return error_set(err, EXIT_USAGE, "GCORN_CMD_ARGS: a %c quote is not closed", quote);
    *text = p;
    return 0;
}

char *const *cli_split(const char *text, struct arena *a, struct error *err)
{
    struct strbuf word = {0};
    size_t count = 0;
    /* a word and the blank after it are at least two bytes */
    char **words = arena_alloc(a, (strlen(text) / 2 + 2) * sizeof(*words));

    for (;;) {
        while (isspace((unsigned char)*text))
            text++;
        if (*text == '\0')
            break;
        strbuf_reset(&word);
        if (split_word(&text, &word, err) < 0) {
            strbuf_release(&word);
            return NULL;
        }
        words[count++] = arena_strndup(a, word.data ? word.data : "", word.len);
    }
    words[count] = NULL;
    strbuf_release(&word);
    return words;
}
