/* SPDX-License-Identifier: MIT
 *
 * Titles, over the command line of this very process.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "system/process/title.h"

static char **arguments; /* what title_init returned; set by main */

static void assert_cmdline(const char *expected)
{
    char text[4096] = "";
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);

    ssize_t n = read(fd, text, sizeof(text) - 1);
    fd_close(&fd);
    assert_true(n > 0);
    assert_string_equal(text, expected);
    for (ssize_t i = (ssize_t)strlen(text); i < n; i++)
        assert_int_equal(text[i], 0); /* nothing is left of a longer title */
}

static void test_title(void **state)
{
    char long_title[101];

    (void)state;
    assert_int_equal(setenv("GCORN_TEST_NEW", "1", 1), 0);
    title_set("gcorn: %s [%s]", "worker", "hello.so:handler");
    assert_cmdline("gcorn: worker [hello.so:handler]");
    title_set("gcorn");
    assert_cmdline("gcorn");
    memset(long_title, 't', 100);
    long_title[100] = '\0';
    title_set("%s", long_title); /* longer than the command line: into the environment */
    assert_cmdline(long_title);
    assert_string_equal(getenv("GCORN_TEST_KEPT"), "kept");
    assert_string_equal(getenv("GCORN_TEST_NEW"), "1");
    assert_non_null(strstr(arguments[0], "test_title"));
    assert_non_null(strstr(program_invocation_short_name, "test_title"));
}

static void test_title_names_the_process(void **state)
{
    char name[16] = "";
    int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);

    (void)state;
    assert_true(read(fd, name, sizeof(name) - 1) > 0);
    fd_close(&fd);
    assert_string_equal(name, "gcorn\n");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_title),
        cmocka_unit_test(test_title_names_the_process),
    };

    /* So that there is an environment of known size behind the arguments, run again with one. */
    if (!getenv("GCORN_TEST_KEPT")) {
        (void)setenv("GCORN_TEST_KEPT", "kept", 1);
        (void)setenv("GCORN_TEST_FILLER",
                     "a text that leaves room for a title of hundred bytes, "
                     "whatever the command line was, and for some more",
                     1);
        (void)execv("/proc/self/exe", argv);
    }
    arguments = title_init(argc, argv);
    return cmocka_run_group_tests_name("title", tests, NULL, NULL);
}
