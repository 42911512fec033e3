/* SPDX-License-Identifier: MIT
 *
 * See config_load.h.
 */
#include "settings/config_load.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "settings/cli.h"
#include "settings/config.h"
#include "settings/config_yaml.h"
#include "settings/environment.h"

/* file: of -c, or NULL. */
static int load_file(struct config *c, const char *file, char *const *env, struct error *err)
{
    if (!file)
        file = environment_filled(env, "GCORN_CONFIG");
    if (!file) {
        if (access(CLI_DEFAULT_FILE, F_OK) < 0 && errno == ENOENT)
            return 0;
        file = CLI_DEFAULT_FILE;
    }
    return config_yaml_load(c, file, err);
}

static int load_sources(struct config *c, char *const *words, char *const *env, struct error *err)
{
    const char *cmd_args = environment_value(env, "GCORN_CMD_ARGS");
    struct cli line = {.c = c, .words = words, .origin = {SOURCE_COMMAND_LINE, "command line"}};
    struct cli args = {.c = c, .origin = {SOURCE_CMD_ARGS, "GCORN_CMD_ARGS"}};

    if (cli_read(&line, false, err) < 0)
        return -1;
    if (c->action >= CONFIG_SAMPLE) /* --help helps whatever the environment holds */
        return 0;
    args.words = cli_split(cmd_args ? cmd_args : "", &c->arena, err);
    if (!args.words || cli_read(&args, false, err) < 0)
        return -1;
    if (c->action >= CONFIG_SAMPLE)
        return 0;
    if (environment_set_defaults(c, env, err) < 0 ||
        load_file(c, line.file ? line.file : args.file, env, err) < 0 ||
        environment_set(c, env, err) < 0 || cli_read(&args, true, err) < 0 ||
        cli_read(&line, true, err) < 0)
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
