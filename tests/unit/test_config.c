/* SPDX-License-Identifier: MIT
 *
 * The settings: the table holds what settings.def promises, the setter takes and refuses, every
 * source has its place in the order, and what is printed can be read again.
 *
 * The tests run in a temporary directory, so that gunicorn-c.yaml is the one they write.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "settings/cli_help.h"
#include "settings/config.h"
#include "settings/config_load.h"
#include "settings/config_print.h"
#include "settings/config_set.h"
#include "settings/setting.h"
#include "settings/text.h"
#include "config_case.h"

/* As main() gets them: the strings are not written to, although the type would allow it. */
#define ARGS(...) ((char **)(const char *[]){"gcorn", __VA_ARGS__, NULL})
#define ENV(...)  ((char **)(const char *[]){__VA_ARGS__, NULL})
#define NO_ENV    ((char **)(const char *[]){NULL})

static char start_dir[4096];

/* ---- helpers -------------------------------------------------------------------------------- */

static int load(struct config *c, char **argv, char **env, struct error *err)
{
    int argc = 0;

    while (argv[argc])
        argc++;
    return config_load(c, argc, argv, env, err);
}

static void load_ok(struct config *c, char **argv, char **env)
{
    struct error err = {0};

    if (load(c, argv, env, &err) < 0)
        fail_msg("refused: %s", err.text);
}

static void expect_error(char **argv, char **env, const char *text)
{
    struct config c;
    struct error err = {0};

    assert_int_equal(load(&c, argv, env, &err), -1);
    assert_string_equal(err.text, text);
    assert_int_equal(err.status, EXIT_USAGE);
    assert_null(c.arena.block);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* The value by way of the one setter; the reason of a refusal is in *err. */
static int set(struct config *c, const char *key, const char *text, struct error *err)
{
    static const struct config_origin origin = {SOURCE_COMMAND_LINE, "test"};

    return config_set_text(c, setting_find(key), text, &origin, err);
}

static void expect_refused(const char *key, const char *text, const char *reason)
{
    struct config c;
    struct error err = {0};

    config_init(&c);
    assert_int_equal(set(&c, key, text, &err), -1);
    assert_string_equal(err.text, reason);
    assert_string_equal(origin_of(&c, key), "default");
    config_release(&c);
}

static char *printed(void (*print)(FILE *out))
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);

    print(f);
    assert_int_equal(fclose(f), 0);
    return text;
}

/* ---- the table ------------------------------------------------------------------------------ */

/* Keys and flags alike may stand behind "--", so none is another setting's, nor a command. */
static void test_table_names_unique(void **state)
{
    (void)state;
    static const char *const commands[] = {"config",       "init",         "replay",
                                           "check-config", "print-config", "print-sample",
                                           "version",      "help"};
    size_t count;
    const struct setting *table = setting_table(&count);

    for (size_t i = 0; i < 4 * count; i++) {
        const struct setting *s = &table[i / 4];
        const char *const names[] = {s->key, s->alias, s->flag, s->flag_alias};
        const char *name = names[i % 4];

        if (!name)
            continue;
        if (i % 4 >= 2)
            assert_null(strchr(name, '_'));
        assert_false(strncmp(name, "no-", 3) == 0 || strncmp(name, "no_", 3) == 0);
        for (size_t j = 0; j < ARRAY_LEN(commands); j++)
            assert_int_not_equal(text_distance(name, commands[j]), 0);
        for (size_t j = 0; j < i / 4; j++) {
            const struct setting *t = &table[j];
            const char *const others[] = {t->key, t->alias, t->flag, t->flag_alias};

            for (size_t k = 0; k < ARRAY_LEN(others); k++)
                assert_false(others[k] && text_distance(name, others[k]) == 0);
        }
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; table[i].short_flag && j < i; j++)
            assert_int_not_equal(table[i].short_flag, table[j].short_flag);
        assert_null(strchr("cvh", table[i].short_flag ? table[i].short_flag : '-'));
    }
}

static void test_table_rows_complete(void **state)
{
    (void)state;
    size_t count;
    const struct setting *table = setting_table(&count);

    for (size_t i = 0; i < count; i++) {
        const struct setting *s = &table[i];
        bool is_number = s->type == SETTING_INTEGER || s->type == SETTING_OCTAL ||
                         s->type == SETTING_DURATION || s->type == SETTING_SIZE;

        assert_true(s->help && strlen(s->help) > 10 && s->help[strlen(s->help) - 1] == '.');
        assert_non_null(s->section);
        assert_true(s->flag || strcmp(s->key, "wsgi_app") == 0);
        assert_true(s->metavar || s->type == SETTING_BOOL);
        assert_true(s->text || s->nullable || s->type == SETTING_LIST);
        assert_true((s->type == SETTING_ENUM) == (s->choices != NULL));
        if (is_number || s->type == SETTING_LIST)
            assert_true(s->min < s->max);
        if (s->type == SETTING_INTEGER || s->type == SETTING_OCTAL)
            assert_true(s->max <= INT32_MAX);
    }
}

/* What --help shows as the default is what --print-config shows. */
static void test_table_defaults_print_as_written(void **state)
{
    (void)state;
    size_t count;
    const struct setting *table = setting_table(&count);
    char *sample = printed(config_print_sample);

    for (size_t i = 0; i < count; i++) {
        const struct setting *s = &table[i];
        bool quotes = s->type == SETTING_STRING || s->type == SETTING_LIST;

        if (!s->text || quotes)
            continue;
        char *line = xasprintf("\n# %s: %s\n", s->key, s->text);
        if (!strstr(sample, line))
            fail_msg("not in the sample: %s", line);
        free(line);
    }
    free(sample);
}

static void test_defaults(void **state)
{
    (void)state;
    struct config c;

    config_init(&c);
    assert_null(c.wsgi_app);
    assert_int_equal(c.bind.count, 1);
    assert_string_equal(c.bind.items[0], "127.0.0.1:8000");
    assert_int_equal(c.workers, 0);
    assert_int_equal(c.worker_class, WORKER_CLASS_SYNC);
    assert_int_equal(c.timeout_ms, 30000);
    assert_int_equal(c.keepalive_ms, 75000);
    assert_int_equal(c.keepalive_drain_ms, 1000);
    assert_int_equal(c.boot_timeout_ms, 60000);
    assert_true(c.fair_close);
    assert_int_equal(c.limit_request_line, 4094);
    assert_int_equal(c.limit_request_head, 65536);
    assert_int_equal(c.limit_request_body, 16 * 1024 * 1024);
    assert_int_equal(c.loglevel, LOG_LEVEL_INFO);
    assert_string_equal(c.errorlog, "-");
    assert_null(c.pidfile);
    assert_false(c.daemon);
    assert_int_equal(c.umask, -1);
    assert_int_equal(c.raw_env.count, 0);
    assert_string_equal(origin_of(&c, "timeout"), "default");
    config_release(&c);
}

/* ---- the setter ----------------------------------------------------------------------------- */

static void test_setter_numbers(void **state)
{
    (void)state;
    struct config c;
    struct error err;

    config_init(&c);
    assert_int_equal(set(&c, "workers", "1024", &err), 0);
    assert_int_equal(c.workers, 1024);
    assert_int_equal(set(&c, "workers", "AUTO", &err), 0);
    assert_int_equal(c.workers, 0);
    assert_int_equal(set(&c, "heartbeat", "0", &err), 0);
    assert_int_equal(c.heartbeat_ms, 0);
    assert_int_equal(set(&c, "heartbeat", "2", &err), 0);
    assert_int_equal(c.heartbeat_ms, 2000);
    assert_int_equal(set(&c, "umask", "022", &err), 0);
    assert_int_equal(c.umask, 022);
    config_resolve_umask(&c, 027);
    assert_int_equal(c.umask, 022);
    assert_int_equal(set(&c, "umask", "inherit", &err), 0);
    config_resolve_umask(&c, 027);
    assert_int_equal(c.umask, 027);
    assert_int_equal(set(&c, "umask", "0", &err), 0);
    config_resolve_umask(&c, 027);
    assert_int_equal(c.umask, 0);
    assert_int_equal(set(&c, "umask", "0o77", &err), 0);
    assert_int_equal(c.umask, 077);
    config_release(&c);

    expect_refused("workers", "0", "must be a whole number from 1 to 1024, or auto, not \"0\"");
    expect_refused("workers", "four",
                   "must be a whole number from 1 to 1024, or auto, not \"four\"");
    expect_refused("backlog", "65536", "must be a whole number from 1 to 65535, not \"65536\"");
    expect_refused("backlog", "1.5", "must be a whole number from 1 to 65535, not \"1.5\"");
    expect_refused("backlog", "99999999999999999999",
                   "must be a whole number from 1 to 65535, not \"99999999999999999999\"");
    expect_refused("heartbeat", "1s",
                   "must be a duration such as 30s, 500ms or 2m, from 2s to 24h, or 0, not \"1s\"");
    expect_refused("limit_request_head", "1",
                   "must be a size such as 64KiB or 16MiB, from 1KiB to 1MiB, not \"1\"");
    expect_refused("umask", "8", "must be an octal number from 0 to 0777, or inherit, not \"8\"");
    expect_refused("umask", "1000",
                   "must be an octal number from 0 to 0777, or inherit, not \"1000\"");
    expect_refused("umask", "", "must be an octal number from 0 to 0777, or inherit, not \"\"");
}

static void test_setter_words(void **state)
{
    (void)state;
    struct config c;
    struct error err;

    config_init(&c);
    assert_int_equal(set(&c, "daemon", "Yes", &err), 0);
    assert_true(c.daemon);
    assert_int_equal(set(&c, "daemon", "off", &err), 0);
    assert_false(c.daemon);
    assert_int_equal(set(&c, "loglevel", "WARNING", &err), 0);
    assert_int_equal(c.loglevel, LOG_LEVEL_WARNING);
    assert_int_equal(set(&c, "pidfile", "/run/x", &err), 0);
    assert_string_equal(c.pidfile, "/run/x");
    assert_int_equal(set(&c, "pidfile", "", &err), 0);
    assert_null(c.pidfile);
    config_release(&c);

    expect_refused("daemon", "2", "must be true or false, not \"2\"");
    expect_refused("daemon", NULL, "needs a value");
    expect_refused("loglevel", "loud",
                   "must be debug, info, warning, error or critical, not \"loud\"");
    expect_refused("worker_class", "gevent", "must be sync or gthread, not \"gevent\"");
    expect_refused("errorlog", "", "must not be empty");
    expect_refused("errorlog", NULL, "needs a value");
    expect_refused("pidfile", "\xff", "is not valid UTF-8");
    expect_refused("worker_class", "a\nb\xff", "must be sync or gthread, not \"a?b?\"");
    expect_refused("worker_class", "123456789012345678901234567890123456789012345678901234567890+",
                   "must be sync or gthread, not "
                   "\"123456789012345678901234567890123456789012345678901234567890...\"");
}

static void test_setter_lists(void **state)
{
    (void)state;
    struct config c;
    struct error err;

    config_init(&c);
    assert_int_equal(set(&c, "bind", " a:1 , b:2", &err), 0);
    assert_int_equal(set(&c, "bind", "c:3", &err), 0);
    assert_int_equal(c.bind.count, 3);
    assert_string_equal(c.bind.items[0], "a:1");
    assert_string_equal(c.bind.items[1], "b:2");
    assert_string_equal(c.bind.items[2], "c:3");
    assert_int_equal(set(&c, "raw_env", "A=1,B=2", &err), 0);
    assert_int_equal(c.raw_env.count, 1);
    for (int i = 1; i < 1000; i++)
        assert_int_equal(set(&c, "raw_env", "A=", &err), 0);
    assert_int_equal(set(&c, "raw_env", "A=", &err), -1);
    assert_string_equal(err.text, "takes at most 1000 values");
    assert_int_equal(c.raw_env.count, 1000);
    assert_string_equal(c.raw_env.items[0], "A=1,B=2");
    config_release(&c);

    expect_refused("raw_env", "A", "must be NAME=VALUE, not \"A\"");
    expect_refused("raw_env", "=A", "must be NAME=VALUE, not \"=A\"");
    expect_refused("bind", "", "must not be empty");
    expect_refused("bind", NULL, "needs a value");
}

/* ---- the command line ----------------------------------------------------------------------- */

static void test_cli_forms(void **state)
{
    (void)state;
    struct config c;

    load_ok(&c,
            ARGS("--workers", "3", "--timeout=5", "-kSYNC", "-Dp", "pid", "--log-file", "-",
                 "--no-fair-close", "-e", "A=1", "--env=B=2", "-m=077",
                 "--limit_request_field-size=1k", "app.so:f"),
            NO_ENV);
    assert_int_equal(c.action, CONFIG_RUN);
    assert_int_equal(c.workers, 3);
    assert_int_equal(c.timeout_ms, 5000);
    assert_true(c.daemon);
    assert_string_equal(c.pidfile, "pid");
    assert_string_equal(c.errorlog, "-");
    assert_false(c.fair_close);
    assert_int_equal(c.raw_env.count, 2);
    assert_string_equal(c.raw_env.items[1], "B=2");
    assert_int_equal(c.umask, 077);
    assert_int_equal(c.limit_request_field_size, 1024);
    assert_string_equal(c.wsgi_app, "app.so:f");
    assert_string_equal(origin_of(&c, "workers"), "command line");
    config_release(&c);

    load_ok(&c, ARGS("-w2", "-w", "5", "--", "-app"), NO_ENV);
    assert_int_equal(c.workers, 5);
    assert_string_equal(c.wsgi_app, "-app");
    config_release(&c);
}

static void test_cli_actions(void **state)
{
    (void)state;
    static const struct {
        const char *flag;
        enum config_action action;
    } cases[] = {
        {"--check-config", CONFIG_CHECK},
        {"--print_config", CONFIG_PRINT},
        {"--print-sample", CONFIG_SAMPLE},
        {"--version", CONFIG_VERSION},
        {"-v", CONFIG_VERSION},
        {"--help", CONFIG_HELP},
        {"-h", CONFIG_USAGE},
    };
    struct config c;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        load_ok(&c, ARGS(cases[i].flag, "app"), NO_ENV);
        assert_int_equal(c.action, cases[i].action);
        config_release(&c);
    }
    /* Help is there whatever else is wrong. */
    write_file("bad.yaml", "[");
    load_ok(&c, ARGS("-w0", "-h", "--print-config", "-cbad.yaml"),
            ENV("GCORN_CMD_ARGS='", "GCORN_WORKERS=x"));
    assert_int_equal(c.action, CONFIG_USAGE);
    config_release(&c);
    load_ok(&c, ARGS("--print-config"), NO_ENV); /* needs no application */
    config_release(&c);
    load_ok(&c, ARGS("--init=d"), ENV("GCORN_CMD_ARGS=app")); /* takes none */
    assert_int_equal(c.action, CONFIG_INIT);
    config_release(&c);
}

/* A value that is not the setting's default. */
static const char *other_value(const struct setting *s)
{
    switch (s->type) {
    case SETTING_ENUM: return s->choices[s->text && strcmp(s->choices[0], s->text) == 0];
    case SETTING_LIST:
    case SETTING_STRING:
        return !s->check                       ? "other"
               : strstr(s->metavar, "=")       ? "A=b"
               : strstr(s->metavar, "ADDRESS") ? "10.1.2.3"
                                               : "X-Other";
    case SETTING_OCTAL: return "077";
    default: return s->max >= 3000 ? "3000" : "3";
    }
}

/* --loglevel as --log-level, --proxy_allow_ips as --proxy-allow-from, --no-preload-app. */
static void test_cli_own_names_are_flags(void **state)
{
    (void)state;
    size_t count;
    const struct setting *table = setting_table(&count);

    for (size_t i = 0; i < count; i++) {
        const struct setting *s = &table[i];
        bool is_bool = s->type == SETTING_BOOL, is_on = is_bool && strcmp(s->text, "true") == 0;
        const char *flag = s->flag ? s->flag : s->alias, *no = is_on ? "no-" : "";
        const char *value = is_bool ? "app" : other_value(s), *app = is_bool ? NULL : "app";
        char *by_flag = xasprintf("--%s%s", no, flag), *by_key = xasprintf("--%s%s", no, s->key);
        char *by_dashes = xstrdup(by_key);
        struct config as_flag, as_key, as_dashes, plain;

        for (char *p = by_dashes; *p; p++)
            *p = *p == '_' ? '-' : *p;
        if (!s->flag) /* the application itself */
            app = NULL;
        load_ok(&plain, ARGS("app"), NO_ENV);
        load_ok(&as_flag, ARGS(by_flag, value, app), NO_ENV);
        load_ok(&as_key, ARGS(by_key, value, app), NO_ENV);
        load_ok(&as_dashes, ARGS(by_dashes, value, app), NO_ENV);
        assert_equal_configs(&as_flag, &as_key);
        assert_equal_configs(&as_flag, &as_dashes);
        assert_string_equal(origin_of(&as_key, s->key), "command line");
        struct strbuf diff = {0};
        assert_int_equal(config_print_diff(&plain, &as_key, &diff), 1);
        strbuf_release(&diff);
        config_release(&plain);
        config_release(&as_flag);
        config_release(&as_key);
        config_release(&as_dashes);
        free(by_flag);
        free(by_key);
        free(by_dashes);
    }
    expect_error(ARGS("--no-loglevel", "a"), NO_ENV,
                 "--no-loglevel: no such option, did you mean "
                 "\"--log-level\"?");
    expect_error(ARGS("--loglevel", "loud", "a"), NO_ENV,
                 "--loglevel: must be debug, info, warning, error or critical, not \"loud\"");
}

static void test_cli_errors(void **state)
{
    (void)state;

    expect_error(ARGS("-w0"), NO_ENV,
                 "-w: must be a whole number from 1 to 1024, or auto, not \"0\"");
    expect_error(ARGS("--workers=0"), NO_ENV,
                 "--workers: must be a whole number from 1 to 1024, or auto, not \"0\"");
    expect_error(ARGS("--workers"), NO_ENV, "--workers: needs a value, COUNT");
    expect_error(ARGS("--pid", "--daemon"), NO_ENV, "--pid: needs a value, FILE");
    expect_error(ARGS("-c"), NO_ENV, "-c: needs a value, FILE");
    expect_error(ARGS("-c", ""), NO_ENV, "-c: needs a value, FILE");
    expect_error(ARGS("--daemon=1"), NO_ENV, "--daemon: takes no value");
    expect_error(ARGS("--no-workers"), NO_ENV,
                 "--no-workers: no such option, did you mean \"--workers\"?");
    expect_error(ARGS("--wrokers=3"), NO_ENV,
                 "--wrokers: no such option, did you mean \"--workers\"?");
    expect_error(ARGS("--pidfiel", "x"), NO_ENV,
                 "--pidfiel: no such option, did you mean \"--pid\"?");
    expect_error(ARGS("--wsgi-ap", "x"), NO_ENV,
                 "--wsgi-ap: no such option, did you mean \"--wsgi_app\"?");
    expect_error(ARGS("--chek-config"), NO_ENV,
                 "--chek-config: no such option, did you mean \"--check-config\"?");
    expect_error(ARGS("--work"), NO_ENV, "--work: no such option");
    expect_error(ARGS("-Dx"), NO_ENV, "-x: no such option");
    expect_error(ARGS("a", "b"), NO_ENV, "\"b\": only one application can be given");
    expect_error(ARGS("a\xff"), NO_ENV, "APP: is not valid UTF-8");
    expect_error(ARGS("-w1"), NO_ENV, "no application given: gcorn app.so:handler");
    expect_error(ARGS("--check-config"), NO_ENV, "no application given: gcorn app.so:handler");
    expect_error(ARGS("-c", "nope.yaml"), NO_ENV,
                 "nope.yaml: cannot be read: No such file or directory");
    expect_error(ARGS("-c", "."), NO_ENV, ".: cannot be read: Is a directory");
}

/* ---- the environment ------------------------------------------------------------------------ */

static void test_env_variables(void **state)
{
    (void)state;
    struct config c;

    load_ok(&c, ARGS("--print-config"),
            ENV("GCORN_APP=a.so:f", "GCORN_WORKERS=7", "GCORN_BIND=a:1,b:2", "GCORN_WORKER_ID=3",
                "GCORN_DAEMON=true", "GCORN_PIDFILE=", "GCORN_RAW_ENV=A=1,2"));
    assert_string_equal(c.wsgi_app, "a.so:f");
    assert_string_equal(origin_of(&c, "wsgi_app"), "environment GCORN_APP");
    assert_int_equal(c.workers, 7);
    assert_string_equal(origin_of(&c, "workers"), "environment GCORN_WORKERS");
    assert_int_equal(c.bind.count, 2);
    assert_true(c.daemon);
    assert_null(c.pidfile);
    assert_string_equal(c.raw_env.items[0], "A=1,2");
    config_release(&c);

    expect_error(ARGS("a"), ENV("GCORN_WORKERS=x"),
                 "GCORN_WORKERS: must be a whole number from 1 to 1024, or auto, not \"x\"");
    expect_error(ARGS("a"), ENV("GCORN_APP=x", "GCORN_WSGI_APP=y"),
                 "GCORN_APP: GCORN_WSGI_APP sets the same");
}

static void test_env_platform(void **state)
{
    (void)state;
    struct config c;

    load_ok(&c, ARGS("a"), ENV("PORT=5000", "WEB_CONCURRENCY=3"));
    assert_int_equal(c.bind.count, 1);
    assert_string_equal(c.bind.items[0], "0.0.0.0:5000");
    assert_string_equal(origin_of(&c, "bind"), "environment PORT");
    assert_int_equal(c.workers, 3);
    assert_string_equal(origin_of(&c, "workers"), "environment WEB_CONCURRENCY");
    config_release(&c);
    load_ok(&c, ARGS("a"), ENV("PORT=", "WEB_CONCURRENCY="));
    assert_string_equal(c.bind.items[0], "127.0.0.1:8000");
    assert_int_equal(c.workers, 0);
    config_release(&c);
    write_file("weak.yaml", "workers: 4\nbind: x:1\n");
    load_ok(&c, ARGS("a", "-c", "weak.yaml"), ENV("PORT=5000", "WEB_CONCURRENCY=3"));
    assert_int_equal(c.workers, 4);
    assert_string_equal(c.bind.items[0], "x:1");
    config_release(&c);
    load_ok(&c, ARGS("a"), ENV("RUNTIME_DIRECTORY=/run/a:/run/b"));
    assert_string_equal(c.control_socket, "/run/a/gcorn.ctl");
    assert_string_equal(origin_of(&c, "control_socket"), "environment RUNTIME_DIRECTORY");
    config_release(&c);
    load_ok(&c, ARGS("a"), ENV("RUNTIME_DIRECTORY=/run/a", "GCORN_CONTROL_SOCKET="));
    assert_null(c.control_socket);
    config_release(&c);
    expect_error(ARGS("a"), ENV("WEB_CONCURRENCY=no"),
                 "WEB_CONCURRENCY: must be a whole number from 1 to 1024, or auto, not \"no\"");
}

static void test_env_forwarded_allow_ips(void **state)
{
    (void)state;
    struct config c;

    load_ok(&c, ARGS("a"), ENV("FORWARDED_ALLOW_IPS=10.0.0.0/8, ::1"));
    assert_int_equal(c.forwarded_allow_ips.count, 2);
    assert_string_equal(c.forwarded_allow_ips.items[1], "::1");
    assert_string_equal(origin_of(&c, "forwarded_allow_ips"), "environment FORWARDED_ALLOW_IPS");
    config_release(&c);
    load_ok(&c, ARGS("a"), ENV("FORWARDED_ALLOW_IPS="));
    assert_int_equal(c.forwarded_allow_ips.count, 0);
    config_release(&c);
    load_ok(&c, ARGS("a", "--forwarded-allow-ips", "*"), ENV("FORWARDED_ALLOW_IPS=10.0.0.0/8"));
    assert_int_equal(c.forwarded_allow_ips.count, 1);
    assert_string_equal(c.forwarded_allow_ips.items[0], "*");
    config_release(&c);
    expect_error(ARGS("a"), ENV("FORWARDED_ALLOW_IPS=10.0.0.0/8,all"),
                 "FORWARDED_ALLOW_IPS: must be an address, a network such as 10.0.0.0/8, or *, "
                 "not \"all\"");
}

static void test_proxy_settings(void **state)
{
    (void)state;
    struct config c;

    load_ok(&c, ARGS("a"), ENV("X=1"));
    assert_int_equal(c.forwarded_allow_ips.count, 2);
    assert_int_equal(c.secure_scheme_headers.count, 3);
    assert_string_equal(c.secure_scheme_headers.items[1], "X-FORWARDED-PROTO=https");
    assert_int_equal(c.forwarder_headers.count, 2);
    assert_int_equal(c.proxy_allow_ips.count, 2);
    assert_int_equal(c.header_map, HEADER_MAP_DROP);
    assert_int_equal(c.proxy_protocol, PROXY_PROTOCOL_OFF);
    assert_false(c.forwarded_remote_addr);
    config_release(&c);
    load_ok(&c, ARGS("a", "--forwarder-headers=", "--forwarded-remote-addr"), ENV("X=1"));
    assert_int_equal(c.forwarder_headers.count, 0);
    assert_true(c.forwarded_remote_addr);
    config_release(&c);
    expect_error(ARGS("a", "--proxy-allow-from", "10.0.0.1/8"), ENV("X=1"),
                 "--proxy-allow-from: must be a network with no bit set after its prefix, such as "
                 "10.0.0.0/8, not \"10.0.0.1/8\"");
    expect_error(ARGS("a", "--secure-scheme-headers", "X-Proto"), ENV("X=1"),
                 "--secure-scheme-headers: must be a header field and its value, NAME=VALUE, not "
                 "\"X-Proto\"");
    expect_error(ARGS("a", "--forwarder-headers", "A B"), ENV("X=1"),
                 "--forwarder-headers: must be a header field's name or *, not \"A B\"");
    expect_error(ARGS("a", "--header-map", "keep"), ENV("X=1"),
                 "--header-map: must be drop, refuse or dangerous, not \"keep\"");
}

/* --proxy-protocol alone is auto, also before another word; a version is a value. */
static void test_cli_flag_with_optional_value(void **state)
{
    (void)state;
    static const struct {
        const char *words[4];
        enum proxy_protocol value;
    } rows[] = {
        {{"a", "--proxy-protocol"}, PROXY_PROTOCOL_AUTO},
        {{"--proxy-protocol", "a"}, PROXY_PROTOCOL_AUTO},
        {{"a", "--proxy-protocol", "-w2"}, PROXY_PROTOCOL_AUTO},
        {{"--proxy-protocol", "v1", "a"}, PROXY_PROTOCOL_V1},
        {{"--proxy-protocol", "V2", "a"}, PROXY_PROTOCOL_V2},
        {{"--proxy-protocol=off", "a"}, PROXY_PROTOCOL_OFF},
    };
    struct config c;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *const *w = rows[i].words;

        if (w[2])
            load_ok(&c, ARGS(w[0], w[1], w[2]), ENV("X=1"));
        else
            load_ok(&c, ARGS(w[0], w[1]), ENV("X=1"));
        assert_string_equal(c.wsgi_app, "a");
        assert_int_equal(c.proxy_protocol, rows[i].value);
        config_release(&c);
    }
    expect_error(ARGS("a", "--proxy-protocol=yes"), ENV("X=1"),
                 "--proxy-protocol: must be off, v1, v2 or auto, not \"yes\"");
}

static void test_cmd_args_quoting(void **state)
{
    (void)state;
    struct config c;

    load_ok(&c, ARGS("--print-config"),
            ENV("GCORN_CMD_ARGS=  -w 3\t--name 'a \"b\\' --chdir \"c\\\" \\\\ \\d 'e'\" "
                "--user f\\ g'h'\"i\"\n--group \"\" "));
    assert_int_equal(c.workers, 3);
    assert_string_equal(c.proc_name, "a \"b\\");
    assert_string_equal(c.chdir, "c\" \\ \\d 'e'");
    assert_string_equal(c.user, "f ghi");
    assert_null(c.group);
    assert_string_equal(origin_of(&c, "user"), "GCORN_CMD_ARGS");
    config_release(&c);

    expect_error(ARGS("a"), ENV("GCORN_CMD_ARGS=--name 'x"),
                 "GCORN_CMD_ARGS: a ' quote is not closed");
    expect_error(ARGS("a"), ENV("GCORN_CMD_ARGS=--name \"x\\\""),
                 "GCORN_CMD_ARGS: a \" quote is not closed");
    expect_error(ARGS("a"), ENV("GCORN_CMD_ARGS=x\\"), "GCORN_CMD_ARGS: ends in a backslash");
    expect_error(ARGS("a"), ENV("GCORN_CMD_ARGS=-w x"),
                 "GCORN_CMD_ARGS: -w: must be a whole number from 1 to 1024, or auto, not \"x\"");
    expect_error(ARGS("a"), ENV("GCORN_CMD_ARGS=--wrkers 1"),
                 "GCORN_CMD_ARGS: --wrkers: no such option, did you mean \"--workers\"?");
}

/* ---- which source wins ---------------------------------------------------------------------- */

static void test_sources_order(void **state)
{
    (void)state;
    struct config c;
    const char *app = "a", *line = "-w5", *args = "GCORN_CMD_ARGS=-w4";
    const char *variable = "GCORN_WORKERS=3", *web = "WEB_CONCURRENCY=1";

    write_file("gunicorn-c.yaml", "# two\nworkers: 2\nbind: [f:1, f:2]\n");
    load_ok(&c, ARGS(app, line, "-bl:1"), ENV(args, variable, web));
    assert_int_equal(c.workers, 5);
    assert_string_equal(c.config_file, "gunicorn-c.yaml");
    assert_int_equal(c.bind.count, 1); /* replaced, not appended to */
    config_release(&c);
    load_ok(&c, ARGS(app), ENV(variable, args, web));
    assert_int_equal(c.workers, 4);
    config_release(&c);
    load_ok(&c, ARGS(app), ENV(variable, web));
    assert_int_equal(c.workers, 3);
    config_release(&c);
    load_ok(&c, ARGS(app), ENV(web));
    assert_int_equal(c.workers, 2);
    assert_string_equal(origin_of(&c, "workers"), "gunicorn-c.yaml:2");
    assert_int_equal(c.bind.count, 2);
    assert_string_equal(origin_of(&c, "bind"), "gunicorn-c.yaml:3");
    config_release(&c);
    assert_int_equal(unlink("gunicorn-c.yaml"), 0);
    load_ok(&c, ARGS(app), ENV(web));
    assert_int_equal(c.workers, 1);
    assert_null(c.config_file);
    config_release(&c);
}

static void test_sources_file_choice(void **state)
{
    (void)state;
    struct config c;
    const char *variable = "GCORN_CONFIG=1.yaml";
    const char *args = "GCORN_CMD_ARGS=--config=2.yaml";

    write_file("gunicorn-c.yaml", "backlog: 100\n");
    write_file("1.yaml", "workers: 1\n");
    write_file("2.yaml", "workers: 2\n");
    write_file("3.yaml", "workers: 3\n");
    load_ok(&c, ARGS("a"), ENV(variable));
    assert_int_equal(c.workers, 1);
    assert_int_equal(c.backlog, 2048); /* instead of gunicorn-c.yaml, not after it */
    config_release(&c);
    load_ok(&c, ARGS("a"), ENV(variable, args));
    assert_int_equal(c.workers, 2);
    config_release(&c);
    load_ok(&c, ARGS("a", "-c", "3.yaml"), ENV(variable, args));
    assert_int_equal(c.workers, 3);
    config_release(&c);
    assert_int_equal(unlink("gunicorn-c.yaml"), 0);
}

/* ---- printing ------------------------------------------------------------------------------- */

static char *print_config(const struct config *c)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);

    config_print(c, f);
    assert_int_equal(fclose(f), 0);
    return text;
}

static void test_print_config_round_trip(void **state)
{
    (void)state;
    struct config c, again;

    load_ok(&c,
            ARGS("a.so:f \"q\" \\ # : {", "-w", "3", "-t1.5", "-b", "unix:/a b,[::1]:80", "-D",
                 "-m022", "--no-fair-close", "--heartbeat=0", "--pid=null", "-e",
                 "A=\n\r\t\x01\x7f\xc2\x85\xe2\x80\xa8\xef\xbb\xbf", "-eB=\xc3\xa9\xf0\x9f\x98\x80",
                 "-e", "C=", "--name=~", "--limit-request-body=1099511627775", "--user= x "),
            NO_ENV);
    char *text = print_config(&c);
    write_file("round.yaml", text);
    load_ok(&again, ARGS("-c", "round.yaml"), NO_ENV);
    assert_equal_configs(&c, &again);
    assert_string_equal(again.raw_env.items[0], c.raw_env.items[0]);
    assert_string_equal(again.pidfile, "null");
    free(text);
    config_release(&c);
    config_release(&again);
}

static void test_print_config_origins(void **state)
{
    (void)state;
    struct config c;

    write_file("o\n.yaml", "workers: 2\n");
    load_ok(&c, ARGS("a", "-c", "o\n.yaml"), ENV("GCORN_BIND=x:1"));
    char *text = print_config(&c);
    assert_non_null(strstr(text, "workers: 2                              # o?.yaml:1\n"));
    assert_non_null(
        strstr(text, "bind: [\"x:1\"]                           # environment GCORN_BIND\n"));
    assert_non_null(strstr(text, "pidfile: null                           # default\n"));
    free(text);
    config_release(&c);
}

static void test_resolve_workers(void **state)
{
    (void)state;
    struct config c;
    struct error err;

    config_init(&c);
    config_resolve_workers(&c, 2, NULL);
    assert_int_equal(c.workers, 5);
    assert_string_equal(origin_of(&c, "workers"), "default: 2 x 2 cores + 1");
    config_resolve_workers(&c, 8, NULL);
    assert_int_equal(c.workers, 5);
    assert_int_equal(set(&c, "workers", "auto", &err), 0);
    config_resolve_workers(&c, 2, "2 cores (affinity 8, cgroup quota 1.5 CPUs)");
    assert_string_equal(origin_of(&c, "workers"),
                        "test: 2 x 2 cores (affinity 8, cgroup quota 1.5 CPUs) + 1");
    assert_int_equal(set(&c, "workers", "auto", &err), 0);
    config_resolve_workers(&c, 4096, NULL);
    assert_int_equal(c.workers, 1024);
    config_release(&c);
}

static void test_diff(void **state)
{
    (void)state;
    struct config before, after;
    struct strbuf out = {0};

    load_ok(&before, ARGS("a", "-w4", "-eA=secret"), NO_ENV);
    load_ok(&after, ARGS("a", "-w8", "-p/run/x"), NO_ENV);
    assert_int_equal(config_print_diff(&before, &before, &out), 0);
    assert_int_equal(out.len, 0);
    assert_int_equal(config_print_diff(&before, &after, &out), 3);
    assert_string_equal(out.data, "workers 4 -> 8, pidfile null -> \"/run/x\", raw_env changed");
    strbuf_release(&out);
    config_release(&before);
    config_release(&after);
}

static char *read_file(const char *path)
{
    struct strbuf text = {0};
    FILE *f = fopen(path, "r");
    size_t n;

    if (!f)
        fail_msg("%s cannot be read: run the tests in the root of the repository", path);
    while ((n = fread(strbuf_grow(&text, 4096), 1, 4096, f)) > 0)
        text.len += n;
    assert_int_equal(fclose(f), 0);
    strbuf_add(&text, "", 0);
    return strbuf_detach(&text);
}

static void test_sample_is_committed(void **state)
{
    (void)state;
    char *path = xasprintf("%s/gunicorn-c.yaml", start_dir);
    char *committed = read_file(path);
    char *sample = printed(config_print_sample);

    assert_string_equal(committed, sample);
    free(path);
    free(committed);
    free(sample);
}

/* With "# " taken away from every setting, and from nothing else, it loads and changes nothing. */
static void test_sample_uncommented(void **state)
{
    (void)state;
    struct config c, plain;
    struct strbuf yaml = {0};
    size_t uncommented = 0, count;
    char *sample = printed(config_print_sample), *rest = sample, *line;

    (void)setting_table(&count);
    while ((line = strsep(&rest, "\n"))) {
        size_t key_len = strncmp(line, "# ", 2) == 0 ? strcspn(line + 2, ": ") : 0;
        char *key = xasprintf("%.*s", (int)key_len, key_len ? line + 2 : "");
        bool is_setting = key_len && line[2 + key_len] == ':' && setting_find(key);

        free(key);
        uncommented += is_setting;
        assert_true(strlen(line) <= 79 || is_setting);
        strbuf_addf(&yaml, "%s\n", is_setting ? line + 2 : line);
    }
    assert_int_equal(uncommented, count);
    parse_ok(&c, yaml.data);
    config_init(&plain);
    assert_equal_configs(&plain, &c);
    config_release(&c);
    config_release(&plain);
    strbuf_release(&yaml);
    free(sample);
}

static void test_help_has_every_flag(void **state)
{
    (void)state;
    size_t count;
    const struct setting *table = setting_table(&count);
    char *help = printed(cli_help_print);

    for (size_t i = 0; i < count; i++) {
        char *flag = xasprintf("-%s", table[i].flag ? table[i].flag : "");

        assert_non_null(strstr(help, flag));
        free(flag);
    }
    assert_non_null(strstr(help, "\n  -w, --workers COUNT     How many worker"));
    assert_non_null(strstr(help, "\n      --no-fair-close     Close keep-alive"));
    assert_non_null(strstr(help, "\n      --error-logfile, --log-file FILE\n"));
    assert_null(strstr(help, " \n"));
    for (char *rest = help, *line; (line = strsep(&rest, "\n"));)
        assert_true(strlen(line) <= 79);
    free(help);
}

/* ---- main ----------------------------------------------------------------------------------- */

static int enter_temporary_directory(void **state)
{
    static char dir[] = "/tmp/gcorn-config-XXXXXX";

    *state = dir;
    return getcwd(start_dir, sizeof(start_dir)) && mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int remove_temporary_directory(void **state)
{
    char *command = xasprintf("rm -r '%s'", (const char *)*state);
    int result = chdir("/") == 0 && system(command) == 0 ? 0 : -1;

    free(command);
    return result;
}

static void test_workers_follow_the_cores(void **state)
{
    struct config c;

    (void)state;
    config_init(&c);
    c.workers = 0;
    config_resolve_workers(&c, 2, NULL);
    assert_int_equal(c.workers, 5);
    assert_non_null(strstr(origin_of(&c, "workers"), ": 2 x 2 cores + 1"));
    config_resolve_workers(&c, 3, NULL); /* a number stays */
    assert_int_equal(c.workers, 5);
    c.workers = 0;
    config_resolve_workers(&c, 100000, "many cores");
    assert_int_equal(c.workers, (int)setting_find("workers")->max);
    assert_non_null(strstr(origin_of(&c, "workers"), ": 2 x many cores + 1"));
    config_release(&c);
}

static void test_umask_is_that_of_the_start(void **state)
{
    struct config c;

    (void)state;
    config_init(&c);
    config_resolve_umask(&c, 027);
    assert_int_equal(c.umask, 027);
    assert_non_null(strstr(origin_of(&c, "umask"), ": as gcorn was started"));
    config_resolve_umask(&c, 077); /* a number stays */
    assert_int_equal(c.umask, 027);
    config_release(&c);
}

static void test_nearest_name_is_chosen(void **state)
{
    size_t best = SIZE_MAX;

    (void)state;
    assert_true(setting_is_near("worker", "workerss", &best));
    assert_int_equal(best, 2);
    assert_true(setting_is_near("worker", "workers", &best));
    assert_int_equal(best, 1);
    assert_false(setting_is_near("worker", "workerss", &best));
    assert_false(setting_is_near("worker", "workerx", &best)); /* no nearer */
    assert_int_equal(best, 1);
    best = SIZE_MAX;
    assert_false(setting_is_near("worker", "bind", &best));
    assert_int_equal(best, SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_names_unique),
        cmocka_unit_test(test_table_rows_complete),
        cmocka_unit_test(test_table_defaults_print_as_written),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_setter_numbers),
        cmocka_unit_test(test_setter_words),
        cmocka_unit_test(test_setter_lists),
        cmocka_unit_test(test_cli_forms),
        cmocka_unit_test(test_cli_actions),
        cmocka_unit_test(test_cli_errors),
        cmocka_unit_test(test_env_variables),
        cmocka_unit_test(test_env_platform),
        cmocka_unit_test(test_env_forwarded_allow_ips),
        cmocka_unit_test(test_proxy_settings),
        cmocka_unit_test(test_cli_flag_with_optional_value),
        cmocka_unit_test(test_cli_own_names_are_flags),
        cmocka_unit_test(test_cmd_args_quoting),
        cmocka_unit_test(test_sources_order),
        cmocka_unit_test(test_sources_file_choice),
        cmocka_unit_test(test_print_config_round_trip),
        cmocka_unit_test(test_print_config_origins),
        cmocka_unit_test(test_resolve_workers),
        cmocka_unit_test(test_diff),
        cmocka_unit_test(test_sample_is_committed),
        cmocka_unit_test(test_sample_uncommented),
        cmocka_unit_test(test_help_has_every_flag),
        cmocka_unit_test(test_workers_follow_the_cores),
        cmocka_unit_test(test_umask_is_that_of_the_start),
        cmocka_unit_test(test_nearest_name_is_chosen),
    };

    return cmocka_run_group_tests(tests, enter_temporary_directory, remove_temporary_directory);
}
