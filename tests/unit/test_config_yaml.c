/* SPDX-License-Identifier: MIT
 *
 * Settings out of YAML: what each form gives, and for everything refused the line, the column and
 * the reason.
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
#include "base/strbuf.h"
#include "base/util.h"
#include "settings/config.h"
#include "settings/config_yaml.h"
#include "config_case.h"

/* The YAML text, as a.yaml, is refused with this error. */
static void expect_yaml_error(const char *yaml, const char *text)
{
    struct config c;
    struct error err = {0};

    config_init(&c);
    assert_int_equal(config_yaml_parse(&c, "a.yaml", yaml, strlen(yaml), &err), -1);
    assert_string_equal(err.text, text);
    assert_int_equal(err.status, EXIT_USAGE);
    config_release(&c);
}

static void test_yaml_values(void **state)
{
    (void)state;
    struct config c;

    parse_ok(&c, "app: 'a.so:f'\nworkers: \"4\"\ndaemon: on\numask: 022\nproc_name: '123'\n"
                 "pidfile: \"null\"\nuser: ~\ngroup:\nchdir: NULL\nbind: a:1\n"
                 "raw_env:\n  - A=1\n  - \"B=\\tx\"\ntimeout: 1.5\nlimit_request_body: 1GiB\n");
    assert_string_equal(c.wsgi_app, "a.so:f");
    assert_int_equal(c.workers, 4);
    assert_true(c.daemon);
    assert_int_equal(c.umask, 022);
    assert_string_equal(c.proc_name, "123");
    assert_string_equal(c.pidfile, "null");
    assert_null(c.user);
    assert_null(c.group);
    assert_null(c.chdir);
    assert_int_equal(c.bind.count, 1);
    assert_int_equal(c.raw_env.count, 2);
    assert_string_equal(c.raw_env.items[1], "B=\tx");
    assert_int_equal(c.timeout_ms, 1500);
    assert_int_equal(c.limit_request_body, 1 << 30);
    assert_string_equal(origin_of(&c, "raw_env"), "a.yaml:11");
    config_release(&c);
}

static void test_yaml_empty(void **state)
{
    (void)state;
    static const char *const empty[] = {"", "# only a comment\n", "---\n", "---\n# x\n...\n", "{}"};
    struct config c, plain;

    config_init(&plain);
    for (size_t i = 0; i < ARRAY_LEN(empty); i++) {
        parse_ok(&c, empty[i]);
        assert_equal_configs(&plain, &c);
        config_release(&c);
    }
    config_release(&plain);
}

static void test_yaml_values_refused(void **state)
{
    (void)state;

    expect_yaml_error("\nworkers: 0\n", "a.yaml:2:10: workers: must be a whole number from 1 to "
                                        "1024, or auto, not \"0\"");
    expect_yaml_error("bind: [a:1, '']\n", "a.yaml:1:13: bind: must not be empty");
    expect_yaml_error("bind: []\n", "a.yaml:1:8: bind: must not be empty");
    expect_yaml_error("bind: [~]\n", "a.yaml:1:8: bind: needs a value");
    expect_yaml_error("raw_env:\n  - A=1\n  - B\n",
                      "a.yaml:3:5: raw_env: must be NAME=VALUE, not \"B\"");
    expect_yaml_error("workers:\n", "a.yaml:1:9: workers: needs a value");
    expect_yaml_error("raw_env: null\n", "a.yaml:1:10: raw_env: needs a value");
    expect_yaml_error("workers: [4]\n", "a.yaml:1:10: workers: must be a single value, not a list");
    expect_yaml_error("bind: [[a]]\n", "a.yaml:1:8: bind: must be a list of single values");
    expect_yaml_error("bind: [{a: b}]\n", "a.yaml:1:8: bind: must be a list of single values");
    expect_yaml_error("server:\n  workers: 4\n", "a.yaml:1:1: unknown setting \"server\"");
    expect_yaml_error("workers:\n  count: 4\n", "a.yaml:2:3: workers: must not be a mapping");
    expect_yaml_error("pidfile: \"a\\0b\"\n", "a.yaml:1:10: a NUL character is in this text");
}

static void test_yaml_keys_refused(void **state)
{
    (void)state;

    expect_yaml_error("backlog: 1\nwrokers: 4\n",
                      "a.yaml:2:1: unknown setting \"wrokers\", did you mean \"workers\"?");
    expect_yaml_error("pid: x\n", "a.yaml:1:1: unknown setting \"pid\", did you mean \"pidfile\"?");
    expect_yaml_error("log-level: x\n",
                      "a.yaml:1:1: unknown setting \"log-level\", did you mean \"loglevel\"?");
    expect_yaml_error("reload_engine: x\n", "a.yaml:1:1: unknown setting \"reload_engine\"");
    expect_yaml_error("x: 1\n", "a.yaml:1:1: unknown setting \"x\"");
    expect_yaml_error("\"a\\nb\": 1\n", "a.yaml:1:1: unknown setting \"a?b\"");
    expect_yaml_error("workers: 1\n\nworkers: 2\n",
                      "a.yaml:3:1: workers is set twice, first at a.yaml:1");
    expect_yaml_error("app: a\nwsgi_app: b\n",
                      "a.yaml:2:1: wsgi_app is set twice, first at a.yaml:1");
    expect_yaml_error("<<: {workers: 1}\n", "a.yaml:1:1: unknown setting \"<<\"");
    expect_yaml_error("? [a]\n: b\n", "a.yaml:1:3: a key must be the name of a setting");
}

static void test_yaml_form_refused(void **state)
{
    (void)state;

    expect_yaml_error("workers\n", "a.yaml:1:1: a settings file is lines of \"key: value\"");
    expect_yaml_error("- workers: 4\n", "a.yaml:1:1: a settings file is lines of \"key: value\"");
    expect_yaml_error("workers: &n 4\n",
                      "a.yaml:1:10: anchors and aliases are not used in settings");
    expect_yaml_error("pidfile: *n\n", "a.yaml:1:10: anchors and aliases are not used in settings");
    expect_yaml_error("*n : 1\n", "a.yaml:1:1: anchors and aliases are not used in settings");
    expect_yaml_error("bind: [*n]\n", "a.yaml:1:8: anchors and aliases are not used in settings");
    expect_yaml_error("bind: &b [x]\n", "a.yaml:1:7: anchors and aliases are not used in settings");
    expect_yaml_error("&r\nworkers: 4\n", "a.yaml:1:1: anchors and tags are not used in settings");
    expect_yaml_error("workers: !!int 4\n", "a.yaml:1:10: tags are not used in settings");
    expect_yaml_error("workers: 4\n---\nworkers: 5\n",
                      "a.yaml:2:1: a settings file has only one document");
    expect_yaml_error("workers: 4\n\tbacklog: 1\n",
                      "a.yaml:2:1: found a tab character that violates indentation (while scanning "
                      "a plain scalar)");
    expect_yaml_error("bind: [a\nworkers: 4\n",
                      "a.yaml:2:8: did not find expected ',' or ']' (while parsing a flow "
                      "sequence)");
    expect_yaml_error("workers: 4\npidfile: a\xff\n", "a.yaml:2:11: invalid leading UTF-8 octet");
    expect_yaml_error("workers: 4\npidfile: a\x01\n",
                      "a.yaml:2:11: control characters are not allowed");
}

static void test_yaml_file_too_long(void **state)
{
    (void)state;
    struct strbuf data = {0};
    struct error err;
    char path[] = "/tmp/gcorn-config-XXXXXX";
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");

    assert_non_null(f);
    for (int i = 0; i < 20000; i++)
        assert_true(fputs("# 0123456789012345678901234567890123456789012345678901234567\n", f) >=
                    0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(config_yaml_read(path, &data, &err), -1);
    assert_non_null(strstr(err.text, ": cannot be read: File too large"));
    assert_int_equal(unlink(path), 0);
    strbuf_release(&data);
}

/* Each plain word for a text setting, and for an item of a list; what YAML takes it for. */
static void test_yaml_plain_words_for_text_refused(void **state)
{
    static const char *const booleans[] = {"true", "False", "YES", "no", "on",
                                           "Off",  "off",   "y",   "No", "N"};
    static const char *const numbers[] = {
        "0",   "123", "-5",   "+7",   "1.5",   ".5",   "1.",    "1e3",  "1E-3",  "1.5e3",
        "010", "08",  "0x1f", "0o17", "0b101", ".inf", "-.INF", ".NaN", "1_000", "12e0456"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(booleans) + ARRAY_LEN(numbers); i++) {
        bool is_boolean = i < ARRAY_LEN(booleans);
        const char *word = is_boolean ? booleans[i] : numbers[i - ARRAY_LEN(booleans)];
        const char *kind = is_boolean ? "boolean" : "number";
        char *yaml = xasprintf("pidfile: %s\n", word), *list = xasprintf("bind: [a, %s]\n", word);
        char *error = xasprintf("a.yaml:1:10: pidfile: must be text, and YAML takes %s for a %s: "
                                "quote it, \"%s\", or write null",
                                word, kind, word);
        char *list_error = xasprintf("a.yaml:1:11: bind: must be text, and YAML takes %s for a %s: "
                                     "quote it, \"%s\"",
                                     word, kind, word);

        expect_yaml_error(yaml, error);
        expect_yaml_error(list, list_error);
        free(yaml);
        free(list);
        free(error);
        free(list_error);
    }
    expect_yaml_error("bind: 8000\n", "a.yaml:1:7: bind: must be text, and YAML takes 8000 for a "
                                      "number: quote it, \"8000\"");
    expect_yaml_error("user: 0100\n", "a.yaml:1:7: user: must be text, and YAML takes 0100 for a "
                                      "number: quote it, \"0100\", or write null");
}

/* What looks nearly so is text, what is quoted is, and what other types of settings take is theirs.
 */
static void test_yaml_other_words_are_taken(void **state)
{
    static const char *const texts[] = {
        "nope",  "yes.pid", "127.0.0.1", "1.2.3", "12:30",   "0x",   "0xfg", "0o8",
        "0b2",   "1e",      "1e+",       "-a",    "+",       "._1",  "..",   ".",
        "e3",    "1k",      "::1",       "_1",    "1-2",     "inf",  "nan",  "00g",
        "1.5.5", "--",      "nully",     "1e3x",  "'false'", "\"1\""};
    struct config c;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        bool is_quoted = strchr("'\"", texts[i][0]) != NULL;
        char *yaml = xasprintf("pidfile: %s\nproc_name: >-\n  no\n", texts[i]);
        char *text = xasprintf("%.*s", (int)strlen(texts[i]) - 2 * is_quoted, texts[i] + is_quoted);

        parse_ok(&c, yaml);
        assert_string_equal(c.pidfile, text);
        assert_string_equal(c.proc_name, "no");
        config_release(&c);
        free(yaml);
        free(text);
    }
    parse_ok(&c, "user: 1000\ngroup: 0\nproxy_protocol: off\ndaemon: no\ntimeout: 5\n");
    assert_string_equal(c.user, "1000");
    assert_string_equal(c.group, "0");
    assert_int_equal(c.proxy_protocol, PROXY_PROTOCOL_OFF);
    assert_false(c.daemon);
    assert_int_equal(c.timeout_ms, 5000);
    config_release(&c);
}

/* "a, b" is two items as it is for the flag, alone and as an item; raw_env takes commas as text. */
static void test_yaml_lists_with_commas(void **state)
{
    struct config c;

    (void)state;
    parse_ok(&c, "bind: a:1, unix:b , c:3\nforwarded_allow_ips: ''\nraw_env: A=1,2\n"
                 "proxy_allow_ips:\n- 10.0.0.1, 10.0.0.0/8\n- '*'\n");
    assert_int_equal(c.bind.count, 3);
    assert_string_equal(c.bind.items[0], "a:1");
    assert_string_equal(c.bind.items[1], "unix:b");
    assert_string_equal(c.bind.items[2], "c:3");
    assert_int_equal(c.forwarded_allow_ips.count, 0);
    assert_int_equal(c.raw_env.count, 1);
    assert_string_equal(c.raw_env.items[0], "A=1,2");
    assert_int_equal(c.proxy_allow_ips.count, 3);
    assert_string_equal(c.proxy_allow_ips.items[1], "10.0.0.0/8");
    config_release(&c);
    expect_yaml_error("bind: a:1,\n", "a.yaml:1:7: bind: must not be empty");
    expect_yaml_error("bind: ''\n", "a.yaml:1:7: bind: must not be empty");
    expect_yaml_error("forwarded_allow_ips: [127.0.0.1, '']\n",
                      "a.yaml:1:34: forwarded_allow_ips: must not be empty");
    expect_yaml_error("forwarded_allow_ips: 10.0.0.1, x\n",
                      "a.yaml:1:22: forwarded_allow_ips: must be an address, a network such as "
                      "10.0.0.0/8, or *, not \"x\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yaml_values),
        cmocka_unit_test(test_yaml_empty),
        cmocka_unit_test(test_yaml_values_refused),
        cmocka_unit_test(test_yaml_keys_refused),
        cmocka_unit_test(test_yaml_form_refused),
        cmocka_unit_test(test_yaml_file_too_long),
        cmocka_unit_test(test_yaml_plain_words_for_text_refused),
        cmocka_unit_test(test_yaml_other_words_are_taken),
        cmocka_unit_test(test_yaml_lists_with_commas),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
