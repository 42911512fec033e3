/* SPDX-License-Identifier: MIT
 *
 * What --check-config advises, by settings and numbers alone.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "master/check/advice.h"
#include "master/proc/plan.h"
#include "settings/config.h"
#include "settings/config_load.h"
#include "settings/config_set.h"
#include "settings/environment.h"
#include "settings/setting.h"

#define MIB ((uint64_t)1 << 20)

/* A machine without limits. */
static const struct host_limits roomy = {.open_files = UINT64_MAX, .somaxconn = 65535};

/* The settings of a command line of up to 8 words, the later ones NULL. */
static void load(struct config *c, const char *const words[8])
{
    static char *const no_env[] = {NULL};
    char *argv[10] = {(char *)"gcorn"};
    struct error err;
    int argc = 1;

    for (; argc < 9 && words[argc - 1]; argc++)
        argv[argc] = (char *)words[argc - 1];
    if (config_load(c, argc, argv, no_env, &err) < 0)
        fail_msg("%s", err.text);
    config_resolve_workers(c, 2, NULL);
}

/* The advice, in all: exactly one line with each of the parts, or none at all for none. */
static void expect_on(const struct host_limits *s, const char *const words[8], const char *place,
                      const char *part, int line)
{
    struct config c;
    struct strbuf out = {0};

    load(&c, words);
    advice_on_settings(&c, &out);
    advice_on_host_limits(&c, s, &out);
    const char *text = out.data ? out.data : "";
    bool fits = part ? strncmp(text, place, strlen(place)) == 0 && strstr(text, part) &&
                           strchr(text, '\n') == text + strlen(text) - 1
                     : *text == '\0';
    if (!fits)
        fail_msg("line %d: advised \"%s\"", line, text);
    strbuf_release(&out);
    config_release(&c);
}

#define WORDS(...)                   ((const char *const[8]){"a.so", __VA_ARGS__})
#define SILENT(s, ...)               expect_on(s, WORDS(__VA_ARGS__), NULL, NULL, __LINE__)
#define ADVISED(s, place, part, ...) expect_on(s, WORDS(__VA_ARGS__), place, part, __LINE__)

static void test_defaults_need_no_advice(void **state)
{
    (void)state;
    SILENT(&roomy, NULL);
    SILENT(&(const struct host_limits){.open_files = 4096}, NULL); /* somaxconn not known */
}

static void test_keepalive(void **state)
{
    const char *place = "command line: keepalive: ";

    (void)state;
    SILENT(&roomy, "--keep-alive=0");
    SILENT(&roomy, "--keep-alive=61");
    ADVISED(&roomy, place, "60s is not longer than the 60s", "--keep-alive=60");
    ADVISED(&roomy, place, "2s is not longer", "--keep-alive=2");
}

static void test_graceful_timeout(void **state)
{
    (void)state;
    SILENT(&roomy, "-t", "60", "--graceful-timeout", "60");
    SILENT(&roomy, "-t", "0");
    SILENT(&roomy, "--graceful-timeout", "0");
    ADVISED(&roomy, "command line: timeout: ", "set graceful_timeout to 45s", "-t", "45");
    ADVISED(&roomy, "command line: graceful_timeout: ", "a graceful_timeout of 5s",
            "--graceful-timeout", "5");
}

static void test_upload_max(void **state)
{
    (void)state;
    SILENT(&roomy, "--limit-request-body", "1GiB");
    SILENT(&roomy, "--limit-request-body", "0", "--tmp-upload-max", "0");
    ADVISED(&roomy, "command line: limit_request_body: ", "longer than 1GiB",
            "--limit-request-body", "2GiB");
    ADVISED(&roomy, "command line: limit_request_body: ", "answered 507", "--limit-request-body",
            "0");
    ADVISED(&roomy, "command line: tmp_upload_max: ", "longer than 8MiB", "--tmp-upload-max",
            "8MiB");
}

static void test_jitter_alone(void **state)
{
    (void)state;
    SILENT(&roomy, "--max-requests", "5", "--max-requests-jitter", "5");
    ADVISED(&roomy, "command line: max_requests_jitter: ", "without max_requests",
            "--max-requests-jitter", "5");
}

static void test_descriptors(void **state)
{
    struct host_limits s = roomy;

    (void)state;
    s.open_files = 1064;
    SILENT(&s, "-w", "4");
    s.open_files = 1063;
    ADVISED(&s, "worker_connections: ", "limited to 1063, too few for worker_connections = 1000",
            "-w", "4");
    /* 500 workers have 2002 places of 3 descriptors */
    s.open_files = 6071;
    SILENT(&s, "-w", "500");
    s.open_files = 6070;
    ADVISED(&s, "command line: workers: ", "limited to 6070, perhaps too few for workers = 500",
            "-w", "500");
}

static void test_places(void **state)
{
    (void)state;
    assert_int_equal(plan_places(1), 64 + 2);
    assert_int_equal(plan_places(16), 64 + 2);
    assert_int_equal(plan_places(17), 68 + 2);
}

static void test_backlog(void **state)
{
    struct host_limits s = roomy;

    (void)state;
    s.somaxconn = 2048;
    SILENT(&s, NULL);
    s.somaxconn = 128;
    ADVISED(&s, "backlog: ", "2048 is cut by the kernel to net.core.somaxconn = 128", NULL);
    ADVISED(&s, "command line: backlog: ", "129", "--backlog", "129");
    SILENT(&s, "--backlog", "128");
}

static void test_memory(void **state)
{
    struct host_limits s = roomy;

    (void)state;
    s.cgroup.memory_size = 64 * MIB;
    SILENT(&s, "-w", "8");
    ADVISED(&s, "command line: workers: ", "of 64MiB leaves each of 9 less than 8MiB", "-w", "9");
    s.cgroup.memory_size = 400 * MIB;
    SILENT(&s, "-w", "4", "--max-memory", "100MiB");
    ADVISED(&s, "command line: max_memory: ", "101MiB for each of 4 workers", "-w", "4",
            "--max-memory", "101MiB");
}

static void test_processes(void **state)
{
    struct host_limits s = roomy;

    (void)state;
    s.cgroup.processes = 12;
    SILENT(&s, "-w", "8");
    ADVISED(&s, "command line: workers: ", "the 12 processes", "-w", "9");
}

static void test_cpus(void **state)
{
    struct host_limits s = roomy;

    (void)state;
    s.cgroup.cpus = 1.5;
    SILENT(&s, "-w", "8");
    ADVISED(&s, "command line: workers: ", "9 are many for the cgroup's quota of 1.5 CPUs", "-w",
            "9");
    s.cgroup.cpus = 0.2;
    SILENT(&s, "-w", "4");
    ADVISED(&s, "command line: workers: ", "auto would start 3", "-w", "5");
    s.cgroup.cpus = 1e300; /* nonsense overflows nothing */
    SILENT(&s, "-w", "1024");
}

static void test_the_place_in_a_file(void **state)
{
    struct config c;
    struct config_origin origin = {SOURCE_FILE, "site\n.yaml:3"};
    struct strbuf out = {0};
    struct error err;

    (void)state;
    config_init(&c);
    assert_int_equal(config_set(&c, setting_find("backlog"), "5", &origin, &err), 0);
    advice_add(&out, &c, "backlog", "is %d", 5);
    advice_add(&out, &c, "timeout", "is %s", "fine");
    assert_string_equal(out.data, "site?.yaml:3: backlog: is 5\ntimeout: is fine\n");
    strbuf_release(&out);
    config_release(&c);
}

/* Which process holds an address or a file, and is it another server's? */
static void test_holders(void **state)
{
    static const struct {
        struct holders holders;
        bool pidfile, control;
    } cases[] = {
        {{0}, false, false},
        {{.address = true}, false, false},
        /* the running server of these settings: by its address */
        {{.address = true, .pidfile = true, .pidfile_pid = 7}, false, false},
        {{.address = true, .pidfile = true}, false, false},
        {{.address = true, .control = true, .control_pid = 7}, false, false},
        {{true, true, true, 7, 7}, false, false},
        /* its addresses are to change: by its two files */
        {{true, true, false, 7, 7}, false, false},
        /* another's */
        {{.pidfile = true, .pidfile_pid = 7}, true, false},
        {{.control = true, .control_pid = 7}, false, true},
        {{true, true, true, 7, 8}, false, true},
        {{true, true, false, 7, 8}, true, true},
        /* processes of another pid namespace have no number */
        {{true, true, false, 0, 0}, true, true},
        {{true, true, true, 0, 8}, false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (advice_pidfile_is_others(&cases[i].holders) != cases[i].pidfile ||
            advice_control_is_others(&cases[i].holders) != cases[i].control)
            fail_msg("case %zu", i);
    }
}

static void test_unknown_variables(void **state)
{
    static char *const env[] = {
        (char *)"PATH=/bin",
        (char *)"GCORN_WORKERS=1",
        (char *)"GCORN_APP=a",
        (char *)"GCORN_WSGI_APP=a",
        (char *)"GCORN_CMD_ARGS=",
        (char *)"GCORN_CONFIG=x",
        (char *)"GCORN_HOOK_EVENT=when_ready",
        /* Kubernetes, for services called gcorn and gcorn-blue */
        (char *)"GCORN_SERVICE_HOST=10.0.0.1",
        (char *)"GCORN_SERVICE_PORT=80",
        (char *)"GCORN_SERVICE_PORT_HTTP=80",
        (char *)"GCORN_PORT=tcp://10.0.0.1:80",
        (char *)"GCORN_PORT_80_TCP_ADDR=10.0.0.1",
        (char *)"GCORN_BLUE_PORT_80_TCP=x",
        (char *)"GCORN_BLUE_SERVICE_HOST=10.0.0.2",
        (char *)"XGCORN_WORKER=1",
        (char *)"GCORN",
        /* unknown */
        (char *)"GCORN_WROKERS=secret",
        (char *)"GCORN_workers=1",
        (char *)"GCORN_KEEP_ALIVE=5",
        (char *)"GCORN_CONFIGS=x",
        (char *)"GCORN_SOMETHING_ELSE=1",
        (char *)"GCORN_SUPPORTED=1",
        (char *)"GCORN_\x1b[1m=1",
        NULL,
    };
    struct strbuf out = {0};

    (void)state;
    environment_add_unknown(env, &out);
    assert_string_equal(
        out.data, "environment GCORN_WROKERS: no such setting, did you mean GCORN_WORKERS?\n"
                  "environment GCORN_workers: no such setting, did you mean GCORN_WORKERS?\n"
                  "environment GCORN_KEEP_ALIVE: no such setting, did you mean GCORN_KEEPALIVE?\n"
                  "environment GCORN_CONFIGS: no such setting, did you mean GCORN_CONFIG?\n"
                  "environment GCORN_SOMETHING_ELSE: no such setting\n"
                  "environment GCORN_SUPPORTED: no such setting\n"
                  "environment GCORN_?[1m: no such setting\n");
    strbuf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_need_no_advice),
        cmocka_unit_test(test_keepalive),
        cmocka_unit_test(test_graceful_timeout),
        cmocka_unit_test(test_upload_max),
        cmocka_unit_test(test_jitter_alone),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_backlog),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_processes),
        cmocka_unit_test(test_cpus),
        cmocka_unit_test(test_the_place_in_a_file),
        cmocka_unit_test(test_holders),
        cmocka_unit_test(test_unknown_variables),
    };

    return cmocka_run_group_tests_name("advice", tests, NULL, NULL);
}
