/* SPDX-License-Identifier: MIT
 *
 * examples/files: what a page says before itself (Early Hints). The system tests have the rest.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <gcorn_test.h>

#define STYLE "</style.css>; rel=preload; as=style"

gcorn_app handler;

static char directory[] = "/tmp/gcorn-files-XXXXXX";

static int make_page(void **state)
{
    (void)state;
    if (!mkdtemp(directory) || chdir(directory) < 0)
        return -1;
    FILE *page = fopen("page.html", "w");
    if (!page || fputs("a page", page) < 0 || fclose(page) != 0)
        return -1;
    (void)setenv("FILES_ROOT", directory, 1);
    (void)setenv("FILES_PRELOAD", STYLE, 1);
    return gcorn_test_worker_start();
}

static int remove_page(void **state)
{
    (void)state;
    gcorn_test_worker_stop();
    return unlink("page.html") == 0 && chdir("/") == 0 ? rmdir(directory) : -1;
}

static void test_page_is_preceded_by_hint(void **state)
{
    struct gcorn_test *t = gcorn_test_request(handler, "GET /page.html HTTP/1.1", NULL, 0);
    const struct gcorn_header *fields = NULL;

    (void)state;
    assert_int_equal(gcorn_test_interim(t, 0, &fields), 103);
    assert_string_equal(gcorn_headers_get(fields, "Link"), STYLE);
    assert_int_equal(gcorn_test_interim(t, 0, NULL), 103);
    assert_int_equal(gcorn_test_interim(t, 1, &fields), 0);
    assert_int_equal(t->status, 200);
    assert_string_equal(gcorn_headers_get(t->headers, "Link"), STYLE);
    assert_string_equal(t->body, "a page");
    gcorn_test_close(t);
}

static void test_old_client_gets_no_hint(void **state)
{
    struct gcorn_test *t = gcorn_test_request(handler, "GET /page.html HTTP/1.0", NULL, 0);

    (void)state;
    assert_int_equal(gcorn_test_interim(t, 0, NULL), 0);
    assert_string_equal(gcorn_headers_get(t->headers, "Link"), STYLE);
    gcorn_test_close(t);
}

static void test_what_is_no_page_has_no_hint(void **state)
{
    struct gcorn_test *t = gcorn_test_request(handler, "GET /style.css HTTP/1.1", NULL, 0);

    (void)state;
    assert_int_equal(gcorn_test_interim(t, 0, NULL), 0);
    assert_int_equal(t->status, 404);
    gcorn_test_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_is_preceded_by_hint),
        cmocka_unit_test(test_old_client_gets_no_hint),
        cmocka_unit_test(test_what_is_no_page_has_no_hint),
    };

    return cmocka_run_group_tests(tests, make_page, remove_page);
}
