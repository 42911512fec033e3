/* SPDX-License-Identifier: MIT
 *
 * See cli.h. The words of the command line and of GCORN_CMD_ARGS are walked twice by the
 * same code: first only for what must be known before anything is set (the action, the file), which
 * also finds misspelt options first; then, when their turn in the order of sources comes, to set.
 */
#include "settings/cli.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "settings/config.h"
#include "settings/yaml.h"
#include "settings/text.h"

#define DEFAULT_FILE    "gunicorn-c.yaml"
#define VARIABLE_PREFIX "GCORN_"

enum {
    HELP_COLUMN = 26,
    OPTION_SHOWN = 40, /* characters of an unknown option that the error shows */
};

/* The options that are no settings. */
struct command {
    const char *flag;
    char short_flag;
    const char *metavar; /* of a file; NULL: takes no value */
    enum config_action action;
    const char *help;
};

static const struct command commands[] = {
    {"config", 'c', "FILE", CONFIG_RUN,
     "Read the settings from this file instead of ./" DEFAULT_FILE "."},
    {"replay", 0, "FILE", CONFIG_REPLAY,
     "Run the one request in FILE, such as crash_dir keeps or plain HTTP by hand, print the answer "
     "and exit. One process, for debuggers."},
    {"check-config", 0, NULL, CONFIG_CHECK,
     "Check the settings, what they name on this machine and whether the application loads, and "
     "exit. Beside the server that runs with them, what it holds is no error."},
    {"print-config", 0, NULL, CONFIG_PRINT,
     "Print every setting and where its value comes from, as YAML, and exit."},
    {"print-sample", 0, NULL, CONFIG_SAMPLE,
     "Print a commented " DEFAULT_FILE " with all defaults, and exit."},
    {"version", 'v', NULL, CONFIG_VERSION, "Print the version and exit."},
    {"help", 'h', NULL, CONFIG_HELP, "Print this help and exit."},
};

/* One walk over the words of one source. */
struct walk {
    struct config *c;
    char *const *words; /* NULL-ended */
    struct config_origin origin;
    bool applies; /* the second walk: set; else find only the action and the file */
    bool has_app;
    const char *file; /* -c's */
};

/* An option that was found: a setting or a command. */
struct option {
    const struct setting *setting;
    const struct command *command;
    bool is_negated;  /* --no-... */
    const char *name; /* as it was written, for errors */
    int name_len;
};

/* ---- finding options --------------------------------------------------------------------- */

static char dashed(char c)
{
    return c == '_' ? '-' : c;
}

/* As long flags, where '_' is '-'. `len` bytes of a. */
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

/* Is this a flag of the setting: gunicorn's, or its own name in the file? */
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
    const struct setting *table = config_settings(&count);

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
    const struct setting *table = config_settings(&count);

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

/* The flag that was perhaps meant by --name, or NULL. */
static const char *nearest_flag(const char *name)
{
    size_t best = SIZE_MAX;
    const struct setting *s = config_nearest(name, &best);
    const char *nearest = s ? (s->flag ? s->flag : s->key) : NULL;

    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (config_is_near(name, commands[i].flag, &best))
            nearest = commands[i].flag;
    }
    return nearest;
}

/* word is "--name", "--name=value" or "-n" with anything behind it. */
static int refuse_unknown(const char *word, struct error *err)
{
    struct strbuf name = {0}, shown = {0};
    bool is_long = word[1] == '-';

    strbuf_add(&name, word, is_long ? strcspn(word, "=") : 2);
    text_add_plain(&shown, name.data, OPTION_SHOWN);
    const char *why_absent = is_long ? config_why_absent(name.data + 2) : NULL;
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

/* ---- walking over words ------------------------------------------------------------------ */

static int refuse_no_value(const struct option *option, struct error *err)
{
    return error_set(err, EXIT_USAGE, "%.*s: needs a value, %s", option->name_len, option->name,
                     option->setting ? option->setting->metavar : option->command->metavar);
}

static void take_command(struct walk *w, const struct command *command, const char *value)
{
    if (command->action > w->c->action)
        w->c->action = command->action;
    if (command->action == CONFIG_RUN) {
        w->file = value;
    } else if (value) { /* chdir comes before it is read */
        char *path = path_absolute(value);

        w->c->replay_file = arena_strdup(&w->c->arena, path);
        free(path);
    }
}

/* value is NULL for an option that takes none. */
static int take_option(struct walk *w, const struct option *option, const char *value,
                       struct error *err)
{
    const struct command *command = option->command;

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

/* The value of an option that stands in the next word; *i moves to it. A word that looks like an
 * option is none: "--pid --daemon" is an option forgotten, not a file. */
static const char *next_value(const struct walk *w, size_t *i)
{
    const char *word = w->words[*i + 1];

    if (!word || (word[0] == '-' && word[1] != '\0'))
        return NULL;
    (*i)++;
    return word;
}

/* The flag alone is enough, and the next word is no value of it. */
static bool stands_alone(const struct walk *w, const struct option *option, size_t i)
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

static int walk_long(struct walk *w, size_t *i, struct error *err)
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
static int walk_short(struct walk *w, size_t *i, struct error *err)
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

static int take_app(struct walk *w, const char *word, struct error *err)
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
    if (config_set(w->c, config_find("wsgi_app"), word, &w->origin, err) < 0)
        return error_prefix(err, "APP");
    return 0;
}

static int walk_words(struct walk *w, bool applies, struct error *err)
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
            result = word[1] == '-' ? walk_long(w, &i, err) : walk_short(w, &i, err);
        }
        if (result < 0)
            return w->origin.source == SOURCE_CMD_ARGS ? error_prefix(err, "%s", w->origin.text)
                                                       : -1;
    }
    return 0;
}

/* ---- GCORN_CMD_ARGS ---------------------------------------------------------------------- */

/* The word at *text as a shell reads it: 'as it is', "with \" and \\ in it", a\ b. *text moves past
 * it. 0, or -1 with err. */
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

/* The words of text, NULL-ended, in the arena. NULL with err. */
static char *const *split_words(const char *text, struct arena *a, struct error *err)
{
    struct strbuf word = {0};
    size_t count = 0;
    /* a word and the blank behind it are at least two bytes */
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

/* ---- environment ------------------------------------------------------------------------- */

/* The variable's value; NULL when it is not there. */
static const char *variable(char *const *env, const char *name)
{
    size_t len = strlen(name);

    for (; *env; env++) {
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    }
    return NULL;
}

/* The same, and an empty one is not there. */
static const char *filled_variable(char *const *env, const char *name)
{
    const char *value = variable(env, name);

    return value && value[0] ? value : NULL;
}

/* The platform's own variables: they only change what is default. */
static int set_platform_defaults(struct config *c, char *const *env, struct error *err)
{
    const char *concurrency = filled_variable(env, "WEB_CONCURRENCY");
    const char *port = filled_variable(env, "PORT");
    const char *proxies = variable(env, "FORWARDED_ALLOW_IPS"); /* empty: none, as for gunicorn */
    struct config_origin origin = {SOURCE_DEFAULT, "environment WEB_CONCURRENCY"};

    if (concurrency && config_set(c, config_find("workers"), concurrency, &origin, err) < 0)
        return error_prefix(err, "WEB_CONCURRENCY");
    origin.text = "environment FORWARDED_ALLOW_IPS";
    if (proxies &&
        config_set_text(c, config_find("forwarded_allow_ips"), proxies, &origin, err) < 0)
        return error_prefix(err, "FORWARDED_ALLOW_IPS");
    const char *runtime = filled_variable(env, "RUNTIME_DIRECTORY");
    origin.text = "environment RUNTIME_DIRECTORY";
    if (runtime) { /* systemd's may be several, with colons between */
        const char *path =
            arena_printf(&c->arena, "%.*s/gcorn.ctl", (int)strcspn(runtime, ":"), runtime);

        if (config_set(c, config_find("control_socket"), path, &origin, err) < 0)
            return error_prefix(err, "RUNTIME_DIRECTORY");
    }
    if (!port)
        return 0;
    origin.text = "environment PORT";
    const char *address = arena_printf(&c->arena, "0.0.0.0:%s", port);
    if (config_set(c, config_find("bind"), address, &origin, err) < 0)
        return error_prefix(err, "PORT");
    return 0;
}

static const char *variable_name(struct arena *a, const char *key)
{
    char *name = arena_printf(a, VARIABLE_PREFIX "%s", key);

    for (char *p = name; *p; p++)
        *p = (char)toupper((unsigned char)*p);
    return name;
}

/* GCORN_<KEY>. */
static int set_variable(struct config *c, char *const *env, const struct setting *s,
                        struct error *err)
{
    const char *name = variable_name(&c->arena, s->key);
    const char *value = variable(env, name);

    if (s->alias) {
        const char *alias = variable_name(&c->arena, s->alias);
        const char *alias_value = variable(env, alias);

        if (value && alias_value)
            return error_set(err, EXIT_USAGE, "%s: %s sets the same", alias, name);
        name = alias_value ? alias : name;
        value = alias_value ? alias_value : value;
    }
    if (!value)
        return 0;
    struct config_origin origin = {
        .source = SOURCE_ENVIRONMENT,
        .text = arena_printf(&c->arena, "environment %s", name),
    };
    if (config_set_text(c, s, value, &origin, err) < 0)
        return error_prefix(err, "%s", name);
    return 0;
}

static int set_variables(struct config *c, char *const *env, struct error *err)
{
    size_t count;
    const struct setting *table = config_settings(&count);

    for (size_t i = 0; i < count; i++) {
        if (set_variable(c, env, &table[i], err) < 0)
            return -1;
    }
    return 0;
}

/* The variables that are no settings, without the prefix: these, and the facts of hooks. */
static const char *const other_variables[] = {"CMD_ARGS", "CONFIG"};
#define HOOK_PREFIX "HOOK_"

/* GCORN_ and this make a variable that is read. Keys are lower case, variables are not. */
static bool is_known_variable(const char *name)
{
    size_t count;
    const struct setting *table = config_settings(&count);

    if (strpbrk(name, "abcdefghijklmnopqrstuvwxyz"))
        return false;
    if (strncmp(name, HOOK_PREFIX, strlen(HOOK_PREFIX)) == 0) /* a hook has started this gcorn */
        return true;
    for (size_t i = 0; i < ARRAY_LEN(other_variables); i++) {
        if (strcmp(name, other_variables[i]) == 0)
            return true;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(name, table[i].key) == 0 ||
            (table[i].alias && strcasecmp(name, table[i].alias) == 0))
            return true;
    }
    return false;
}

/* Kubernetes (and docker's links) tell every container where each service is, by variables that
 * begin with its name: gcorn's are GCORN_SERVICE_HOST, GCORN_PORT, GCORN_PORT_80_TCP_ADDR. */
static bool names_a_service(const char *name)
{
    const char *port = strstr(name, "PORT");

    return strstr(name, "SERVICE_HOST") || strstr(name, "SERVICE_PORT") ||
           (port && (port == name || port[-1] == '_') && (port[4] == '\0' || port[4] == '_'));
}

/* name without the prefix. */
static void add_unknown_variable(const char *name, struct arena *a, struct strbuf *out)
{
    size_t best = SIZE_MAX;
    const struct setting *s = config_nearest(name, &best);
    const char *nearest = s ? variable_name(a, s->key) : NULL;

    for (size_t i = 0; i < ARRAY_LEN(other_variables); i++) {
        if (config_is_near(name, other_variables[i], &best))
            nearest = variable_name(a, other_variables[i]);
    }
    strbuf_addstr(out, "environment " VARIABLE_PREFIX);
    text_add_plain(out, name, OPTION_SHOWN);
    strbuf_addstr(out, ": no such setting");
    if (nearest)
        strbuf_addf(out, ", did you mean %s?", nearest);
    strbuf_addch(out, '\n');
}

void config_add_unknown_variables(char *const *env, struct strbuf *out)
{
    const size_t prefix_len = strlen(VARIABLE_PREFIX);
    struct arena a;

    arena_init(&a);
    for (; *env; env++) {
        if (strncmp(*env, VARIABLE_PREFIX, prefix_len) != 0)
            continue;
        const char *rest = *env + prefix_len;
        const char *name = arena_strndup(&a, rest, strcspn(rest, "="));

        if (!is_known_variable(name) && !names_a_service(name))
            add_unknown_variable(name, &a, out);
    }
    arena_release(&a);
}

/* ---- all sources ------------------------------------------------------------------------- */

/* file is -c's or NULL. */
static int load_file(struct config *c, const char *file, char *const *env, struct error *err)
{
    if (!file)
        file = filled_variable(env, "GCORN_CONFIG");
    if (!file) {
        if (access(DEFAULT_FILE, F_OK) < 0 && errno == ENOENT)
            return 0;
        file = DEFAULT_FILE;
    }
    return config_yaml_load(c, file, err);
}

static int load_sources(struct config *c, char *const *words, char *const *env, struct error *err)
{
    const char *cmd_args = variable(env, "GCORN_CMD_ARGS");
    struct walk line = {.c = c, .words = words, .origin = {SOURCE_COMMAND_LINE, "command line"}};
    struct walk args = {.c = c, .origin = {SOURCE_CMD_ARGS, "GCORN_CMD_ARGS"}};

    if (walk_words(&line, false, err) < 0)
        return -1;
    if (c->action >= CONFIG_SAMPLE) /* --help helps whatever the environment holds */
        return 0;
    args.words = split_words(cmd_args ? cmd_args : "", &c->arena, err);
    if (!args.words || walk_words(&args, false, err) < 0)
        return -1;
    if (c->action >= CONFIG_SAMPLE)
        return 0;
    if (set_platform_defaults(c, env, err) < 0 ||
        load_file(c, line.file ? line.file : args.file, env, err) < 0 ||
        set_variables(c, env, err) < 0 || walk_words(&args, true, err) < 0 ||
        walk_words(&line, true, err) < 0)
        return -1;
    return config_check(c, err);
}

int config_load(struct config *c, int argc, char *const *argv, char *const *env, struct error *err)
{
    assert(!argv[argc]);
    config_init(c);
    int result = load_sources(c, argc > 0 ? argv + 1 : argv, env, err);
    if (result < 0)
        config_release(c);
    return result;
}

/* ---- --help ------------------------------------------------------------------------------ */

/* "  -b, --bind ADDRESS" and beside it, or under it when it is long, the help. */
static void print_option(FILE *out, const char *option, const char *help)
{
    char prefix[HELP_COLUMN + 1];

    (void)snprintf(prefix, sizeof(prefix), "%*s", HELP_COLUMN, "");
    if (strlen(option) + 2 > HELP_COLUMN)
        (void)fprintf(out, "%s\n%s", option, prefix);
    else
        (void)fprintf(out, "%-*s", HELP_COLUMN, option);
    config_wrap(out, HELP_COLUMN, prefix, help);
}

static void print_setting(FILE *out, const struct setting *s)
{
    struct strbuf option = {0}, help = {0};
    bool is_on = s->type == SETTING_BOOL && strcmp(s->text, "true") == 0;

    if (s->short_flag)
        strbuf_addf(&option, "  -%c, ", s->short_flag);
    else
        strbuf_addstr(&option, s->flag ? "      " : "  ");
    if (s->flag)
        strbuf_addf(&option, "--%s%s", is_on ? "no-" : "", s->flag);
    if (s->flag_alias)
        strbuf_addf(&option, ", --%s", s->flag_alias);
    if (s->metavar)
        strbuf_addf(&option, "%s%s", s->flag ? " " : "", s->metavar);
    strbuf_addstr(&help, s->help);
    if (s->text && s->type != SETTING_BOOL)
        strbuf_addf(&help, " [%s]", s->text);
    print_option(out, option.data, help.data);
    strbuf_release(&option);
    strbuf_release(&help);
}

void config_print_help(FILE *out)
{
    const char *section = "";
    size_t count;
    const struct setting *table = config_settings(&count);

    (void)fputs("usage: gcorn [OPTION]... APP\n\nOptions:\n", out);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const struct command *command = &commands[i];
        char option[40], letter[8] = "    ";

        if (command->short_flag)
            (void)snprintf(letter, sizeof(letter), "-%c, ", command->short_flag);
        (void)snprintf(option, sizeof(option), "  %s--%s%s%s", letter, command->flag,
                       command->metavar ? " " : "", command->metavar ? command->metavar : "");
        print_option(out, option, command->help);
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(section, table[i].section) != 0)
            (void)fprintf(out, "\n%s:\n", table[i].section);
        section = table[i].section;
        print_setting(out, &table[i]);
    }
    (void)fputc('\n', out);
    config_wrap(out, 0, "",
                "TIME is 500ms, 30s, 2m or 1h, a plain number is seconds; SIZE is 64KiB, 16MiB or "
                "1GiB, a plain number is bytes. An option without a value has an opposite: "
                "--no-daemon. A setting's name in the file is an option too: --loglevel, "
                "--no-preload-app. The later wins: defaults, the file (" DEFAULT_FILE
                " in this directory, GCORN_CONFIG or -c), GCORN_ variables (GCORN_WORKERS=4), "
                "options in GCORN_CMD_ARGS, the command line.");
}
