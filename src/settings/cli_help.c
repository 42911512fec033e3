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

void cli_help_print(FILE *out)
{
    const char *section = "";
    size_t count, command_count;
    const struct setting *table = setting_table(&count);
    const struct cli_command *commands = cli_commands(&command_count);

    (void)fputs("usage: gcorn [OPTION]... APP\n\nOptions:\n", out);
    for (size_t i = 0; i < command_count; i++) {
        const struct cli_command *command = &commands[i];
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
    config_print_wrapped(
        out, 0, "",
        "TIME is 500ms, 30s, 2m or 1h; a plain number is seconds. SIZE is 64KiB, 16MiB or 1GiB; a "
        "plain number is bytes. An option without a value has an opposite: --no-daemon. A "
        "setting's name in the file is an option too: --loglevel, --no-preload-app. The last of "
        "these sources wins: defaults, the file (" CLI_DEFAULT_FILE
        " in this directory, GCORN_CONFIG or -c), GCORN_ variables (GCORN_WORKERS=4), options in "
        "GCORN_CMD_ARGS, the command line.");
}
