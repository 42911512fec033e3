/* SPDX-License-Identifier: MIT
 *
 * See cli_help.h. The help is made from the rows of settings.def and of cli.c.
 */
#include "settings/cli_help.h"

#include <string.h>

#include "base/strbuf.h"
#include "settings/cli.h"
#include "settings/config_print.h"
#include "settings/setting.h"

enum { HELP_COLUMN = 26 };

/* Prints "  -b, --bind ADDRESS" and the help, on the same line or, after a long option, on the
 * next. */
static void print_option(FILE *out, const char *option, const char *help)
{
    char prefix[HELP_COLUMN + 1];

    (void)snprintf(prefix, sizeof(prefix), "%*s", HELP_COLUMN, "");
    if (strlen(option) + 2 > HELP_COLUMN)
        (void)fprintf(out, "%s\n%s", option, prefix);
    else
        (void)fprintf(out, "%-*s", HELP_COLUMN, option);
    config_print_wrapped(out, HELP_COLUMN, prefix, help);
}

/* "  -b, --bind ADDRESS" */
static void add_setting_option(struct strbuf *option, const struct setting *s)
{
    bool is_on = s->type == SETTING_BOOL && strcmp(s->text, "true") == 0;

    if (s->short_flag)
        strbuf_addf(option, "  -%c, ", s->short_flag);
    else
        strbuf_addstr(option, s->flag ? "      " : "  ");
    if (s->flag)
        strbuf_addf(option, "--%s%s", is_on ? "no-" : "", s->flag);
}

static void add_metavar(struct strbuf *option, const struct setting *s)
{
    if (s->metavar)
        strbuf_addf(option, "%s%s", s->flag ? " " : "", s->metavar);
}

static void print_setting(FILE *out, const struct setting *s)
{
    struct strbuf option = {0}, help = {0};

    add_setting_option(&option, s);
    if (s->flag_alias)
        strbuf_addf(&option, ", --%s", s->flag_alias);
    add_metavar(&option, s);
    strbuf_addstr(&help, s->help);
    if (s->text && s->type != SETTING_BOOL)
        strbuf_addf(&help, " [%s]", s->text);
    print_option(out, option.data, help.data);
    strbuf_release(&option);
    strbuf_release(&help);
}

static void add_command_option(struct strbuf *option, const struct cli_command *command)
{
    if (!command->flag)
        strbuf_addf(option, "  -%c", command->short_flag);
    else if (command->short_flag)
        strbuf_addf(option, "  -%c, --%s", command->short_flag, command->flag);
    else
        strbuf_addf(option, "      --%s", command->flag);
    if (command->metavar)
        strbuf_addf(option, " %s", command->metavar);
}

static void print_command(FILE *out, const struct cli_command *command, const char *help)
{
    struct strbuf option = {0};

    add_command_option(&option, command);
    print_option(out, option.data, help);
    strbuf_release(&option);
}

static void print_brief(FILE *out, const struct setting *s)
{
    struct strbuf option = {0};

    add_setting_option(&option, s);
    add_metavar(&option, s);
    (void)fprintf(out, "%-*s%s\n", HELP_COLUMN + 4, option.data, s->brief);
    strbuf_release(&option);
}

void cli_help_print_usual(FILE *out)
{
    size_t count, command_count;
    const struct setting *table = setting_table(&count);
    const struct cli_command *commands = cli_commands(&command_count);
    struct strbuf option = {0};

    (void)fputs("usage: gcorn [OPTION]... APP\n\n", out);
    for (size_t i = 0; i < count; i++) {
        if (table[i].brief)
            print_brief(out, &table[i]);
    }
    (void)fputc('\n', out);
    for (size_t i = 0; i < command_count; i++) {
        strbuf_reset(&option);
        add_command_option(&option, &commands[i]);
        if (commands[i].brief)
            (void)fprintf(out, "%-*s%s\n", HELP_COLUMN + 4, option.data, commands[i].brief);
    }
    strbuf_release(&option);
}

void cli_help_print(FILE *out)
{
    const char *section = "";
    size_t count, command_count;
    const struct setting *table = setting_table(&count);
    const struct cli_command *commands = cli_commands(&command_count);

    (void)fputs("usage: gcorn [OPTION]... APP\n\nOptions:\n", out);
    for (size_t i = 0; i < command_count; i++)
        print_command(out, &commands[i], commands[i].help);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(section, table[i].section) != 0)
            (void)fprintf(out, "\n%s:\n", table[i].section);
        section = table[i].section;
        print_setting(out, &table[i]);
    }
    (void)fputc('\n', out);
    config_print_wrapped(
        out, 0, "",
        "TIME is 500ms, 30s, 2m or 1h; a plain number is seconds. SIZE is 64KiB, 16MiB or 1GiB; a "
        "plain number is bytes. An option without a value has an opposite: --no-daemon. A "
        "setting's name in the file is an option too: --loglevel, --no-preload-app. The last of "
        "these sources wins: defaults, the file (" CLI_DEFAULT_FILE
        " in this directory, GCORN_CONFIG or -c), GCORN_ variables (GCORN_WORKERS=4), options in "
        "GCORN_CMD_ARGS, the command line.");
}
