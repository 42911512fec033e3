/* SPDX-License-Identifier: MIT
 *
 * See config_load.h.
 */
#include "settings/config_load.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "settings/cli.h"
#include "settings/config.h"
#include "settings/config_yaml.h"
#include "settings/environment.h"

/* The default file may be absent. */
static int read_file(struct config_file *file, const char *path, bool is_named, struct error *err)
{
    if (file->is_read)
        return 0;
    file->is_there = is_named || access(path, F_OK) == 0 || errno != ENOENT;
    if (file->is_there && config_yaml_read(path, &file->bytes, err) < 0)
        return -1;
    file->is_read = true;
    return 0;
}

/* path: of -c, or NULL. */
static int load_file(struct config *c, struct config_file *file, const char *path, char *const *env,
                     struct error *err)
{
    if (!path)
        path = environment_filled(env, "GCORN_CONFIG");
    if (read_file(file, path ? path : CLI_DEFAULT_FILE, path != NULL, err) < 0)
        return -1;
    if (!file->is_there)
        return 0;
    c->config_file = arena_strdup(&c->arena, path ? path : CLI_DEFAULT_FILE);
    return config_yaml_parse(c, c->config_file, file->bytes.data ? file->bytes.data : "",
                             file->bytes.len, err);
}

/* Without a word on the command line: a person who begins, and reads more than one line. */
static int check_alone(const struct config *c, struct error *err)
{
    if (config_check(c, err) == 0)
        return 0;
    return error_set(
        err, EXIT_USAGE,
        "no application given. What to type:\n"
        "  gcorn --init notes      writes a small application into the directory notes\n"
        "  gcorn app.so:handler    serves the function handler of app.so on port 8000\n"
        "  gcorn --check-config app.so:handler    checks settings and application\n"
        "  gcorn -h                prints the usual options; --help has all of them\n"
        "  man gcorn.h             explains how an application is written");
}

static int load_sources(struct config *c, struct config_file *file, char *const *words,
                        char *const *env, struct error *err)
{
    const char *cmd_args = environment_value(env, "GCORN_CMD_ARGS");
    struct cli line = {.c = c, .words = words, .origin = {SOURCE_COMMAND_LINE, "command line"}};
    struct cli args = {.c = c, .origin = {SOURCE_CMD_ARGS, "GCORN_CMD_ARGS"}};

    if (cli_read(&line, false, err) < 0)
        return -1;
    if (c->action >= CONFIG_SAMPLE) /* --help works with any environment */
        return 0;
    args.words = cli_split(cmd_args ? cmd_args : "", &c->arena, err);
    if (!args.words || cli_read(&args, false, err) < 0)
        return -1;
    if (c->action >= CONFIG_SAMPLE)
        return 0;
    if (environment_set_defaults(c, env, err) < 0 ||
        load_file(c, file, line.file ? line.file : args.file, env, err) < 0 ||
        environment_set(c, env, err) < 0 || cli_read(&args, true, err) < 0 ||
        cli_read(&line, true, err) < 0)
        return -1;
    return words[0] ? config_check(c, err) : check_alone(c, err);
}

int config_load_file(struct config *c, struct config_file *file, int argc, char *const *argv,
                     char *const *env, struct error *err)
{
    assert(!argv[argc]);
    config_init(c);
    int result = load_sources(c, file, argc > 0 ? argv + 1 : argv, env, err);
    if (result < 0)
        config_release(c);
    return result;
}

int config_load(struct config *c, int argc, char *const *argv, char *const *env, struct error *err)
{
    struct config_file file = {0};
    int result = config_load_file(c, &file, argc, argv, env, err);

    strbuf_release(&file.bytes);
    return result;
}
