/* SPDX-License-Identifier: MIT
 *
 * See environment.h.
 */
#include "settings/environment.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "settings/config.h"
#include "settings/config_set.h"
#include "settings/setting.h"
#include "settings/text.h"

#define VARIABLE_PREFIX "GCORN_"

enum { NAME_SHOWN = 40 }; /* characters of an unknown variable that the warning shows */

const char *environment_value(char *const *env, const char *name)
{
    size_t len = strlen(name);

    for (; *env; env++) {
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    }
    return NULL;
}

const char *environment_filled(char *const *env, const char *name)
{
    const char *value = environment_value(env, name);

    return value && value[0] ? value : NULL;
}

int environment_set_defaults(struct config *c, char *const *env, struct error *err)
{
    const char *concurrency = environment_filled(env, "WEB_CONCURRENCY");
    const char *port = environment_filled(env, "PORT");
    const char *proxies =
        environment_value(env, "FORWARDED_ALLOW_IPS"); /* empty: none, as for gunicorn */
    struct config_origin origin = {SOURCE_DEFAULT, "environment WEB_CONCURRENCY"};

    if (concurrency && config_set(c, setting_find("workers"), concurrency, &origin, err) < 0)
        return error_prefix(err, "WEB_CONCURRENCY");
    origin.text = "environment FORWARDED_ALLOW_IPS";
    if (proxies &&
        config_set_text(c, setting_find("forwarded_allow_ips"), proxies, &origin, err) < 0)
        return error_prefix(err, "FORWARDED_ALLOW_IPS");
    const char *runtime = environment_filled(env, "RUNTIME_DIRECTORY");
    origin.text = "environment RUNTIME_DIRECTORY";
    if (runtime) { /* systemd may list several, separated by colons */
        const char *path =
            arena_printf(&c->arena, "%.*s/gcorn.ctl", (int)strcspn(runtime, ":"), runtime);

        if (config_set(c, setting_find("control_socket"), path, &origin, err) < 0)
            return error_prefix(err, "RUNTIME_DIRECTORY");
    }
    if (!port)
        return 0;
    origin.text = "environment PORT";
    const char *address = arena_printf(&c->arena, "0.0.0.0:%s", port);
    if (config_set(c, setting_find("bind"), address, &origin, err) < 0)
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
    const char *value = environment_value(env, name);

    if (s->alias) {
        const char *alias = variable_name(&c->arena, s->alias);
        const char *alias_value = environment_value(env, alias);

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

int environment_set(struct config *c, char *const *env, struct error *err)
{
    size_t count;
    const struct setting *table = setting_table(&count);

    for (size_t i = 0; i < count; i++) {
        if (set_variable(c, env, &table[i], err) < 0)
            return -1;
    }
    return 0;
}

/* Variables that are read but are no settings, without the prefix. (A hook's facts are others.) */
static const char *const other_variables[] = {"CMD_ARGS", "CONFIG"};
#define HOOK_PREFIX "HOOK_"

/* True: the variable GCORN_ with this name is read. Keys are lower case, variables upper case. */
static bool is_known_variable(const char *name)
{
    size_t count;
    const struct setting *table = setting_table(&count);

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

/* Kubernetes (and docker's links) pass the address of each service to every container, in variables
 * that begin with the service's name: for a service "gcorn" GCORN_SERVICE_HOST, GCORN_PORT,
 * GCORN_PORT_80_TCP_ADDR. */
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
    const struct setting *s = setting_nearest(name, &best);
    const char *nearest = s ? variable_name(a, s->key) : NULL;

    for (size_t i = 0; i < ARRAY_LEN(other_variables); i++) {
        if (setting_is_near(name, other_variables[i], &best))
            nearest = variable_name(a, other_variables[i]);
    }
    strbuf_addstr(out, "environment " VARIABLE_PREFIX);
    text_add_plain(out, name, NAME_SHOWN);
    strbuf_addstr(out, ": no such setting");
    if (nearest)
        strbuf_addf(out, ", did you mean %s?", nearest);
    strbuf_addch(out, '\n');
}

void environment_add_unknown(char *const *env, struct strbuf *out)
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
