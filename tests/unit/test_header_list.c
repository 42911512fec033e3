/* SPDX-License-Identifier: MIT
 *
 * Header lists, as middleware reads and edits them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "gcorn.h"
#include "http_case.h"

/* The list as "Name=value Name=value". */
static void fields_are(const struct gcorn_header_list *list, const char *wanted)
{
    const struct gcorn_header *h = gcorn_header_array(list);
    char text[256] = "";

    for (; h->name; h++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof(text) - len, "%s%s=%s", len > 0 ? " " : "", h->name, h->value);
    }
    assert_null(h->value);
    assert_string_equal(text, wanted);
}

static void test_edits_are_made_in_place(void **state)
{
    struct http_case c;
    char value[] = "one";
    const struct gcorn_header list[] = {{"A", "1"}, {"b", value}, {"B", "two"}, {NULL, NULL}};

    (void)state;
    http_case_open(&c);
    assert_string_equal(gcorn_headers_get(list, "a"), "1");
    assert_string_equal(gcorn_headers_get(list, "B"), "one"); /* the first */
    assert_null(gcorn_headers_get(list, "c"));
    assert_null(gcorn_headers_get(list, ""));
    assert_null(gcorn_headers_get(NULL, "a"));

    struct gcorn_header_list *edited = gcorn_header_list_new(&c.env, list);
    memset(value, '#', 3); /* the strings are copied */
    assert_string_equal(gcorn_headers_get(gcorn_header_array(edited), "B"), "one");
    gcorn_header_set(edited, "b", "only");
    fields_are(edited, "A=1 b=only");
    gcorn_header_append(edited, "B", "three");
    fields_are(edited, "A=1 b=only B=three");
    gcorn_header_append(edited, "C", "");
    gcorn_header_set(edited, "A", "2"); /* in its place */
    fields_are(edited, "A=2 b=only B=three C=");
    gcorn_header_set(edited, "D", "new");
    gcorn_header_remove(edited, "B");
    gcorn_header_remove(edited, "absent");
    fields_are(edited, "A=2 C= D=new");
    http_case_close(&c);
}

static void test_header_list_starts_empty_and_grows(void **state)
{
    struct http_case c;

    (void)state;
    http_case_open(&c);
    struct gcorn_header_list *list = gcorn_header_list_new(&c.env, NULL);
    fields_are(list, "");
    gcorn_header_remove(list, "X");
    for (int i = 0; i < 100; i++)
        gcorn_header_append(list, gcorn_printf(&c.env, "X-%d", i), "v");
    for (int i = 0; i < 100; i++) {
        assert_string_equal(gcorn_header_array(list)[i].name, gcorn_printf(&c.env, "X-%d", i));
        assert_string_equal(gcorn_header_array(list)[i].value, "v");
    }
    assert_null(gcorn_header_array(list)[100].name);
    http_case_close(&c);
}

static void test_header_list_refuses_null(void **state)
{
    struct http_case c;

    (void)state;
    http_case_open(&c);
    struct gcorn_header_list *list = gcorn_header_list_new(&c.env, NULL);
    gcorn_header_append(list, "A", "1");
    gcorn_header_append(list, NULL, "1");
    gcorn_header_append(list, "B", NULL);
    gcorn_header_set(list, "A", NULL);
    gcorn_header_set(list, NULL, "1");
    gcorn_header_remove(list, NULL);
    fields_are(list, "A=1");
    http_case_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edits_are_made_in_place),
        cmocka_unit_test(test_header_list_starts_empty_and_grows),
        cmocka_unit_test(test_header_list_refuses_null),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
