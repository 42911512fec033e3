/* SPDX-License-Identifier: MIT
 *
 * examples/notes over a database in memory: how an author tests a service.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include <gcorn_test.h>

gcorn_app handler;

static void expect(const char *head, const char *body, int status, const char *answer)
{
    struct gcorn_test *t = gcorn_test_request(handler, head, body, strlen(body));

    assert_int_equal(t->status, status);
    assert_true(t->complete);
    if (answer)
        assert_string_equal(t->body, answer);
    gcorn_test_close(t);
}

static int open_database(void **state)
{
    (void)state;
    setenv("NOTES_DB", ":memory:", 1);
    return gcorn_test_worker_start();
}

static int close_database(void **state)
{
    (void)state;
    gcorn_test_worker_stop();
    return 0;
}

static void test_notes_life(void **state)
{
    (void)state;
    expect("GET /notes HTTP/1.1", "", 200, "[]");
    expect("POST /notes HTTP/1.1\nContent-Type: application/json", "{\"text\": \"milk\"}", 201,
           "{\"id\":1,\"text\":\"milk\"}");
    expect("GET /notes/1 HTTP/1.1", "", 200, "{\"id\":1,\"text\":\"milk\"}");
    expect("PUT /notes/1 HTTP/1.1", "{\"text\": \"bread\"}", 200, "{\"id\":1,\"text\":\"bread\"}");
    expect("DELETE /notes/1 HTTP/1.1", "", 200, NULL);
    expect("GET /notes/1 HTTP/1.1", "", 404, "{\"error\":\"no such note\"}");
}

/* All or none. */
static void test_notes_several(void **state)
{
    (void)state;
    expect("POST /notes HTTP/1.1", "[{\"text\": \"a\"}, {\"text\": 1}]", 422, NULL);
    expect("GET /notes HTTP/1.1", "", 200, "[]");
    expect("POST /notes HTTP/1.1", "[{\"text\": \"a\"}, {\"text\": \"b\"}]", 201, NULL);
    expect("POST /notes HTTP/1.1", "[]", 201, "[]");
}

static void test_notes_wrong(void **state)
{
    struct gcorn_test *t;

    (void)state;
    expect("POST /notes HTTP/1.1", "{", 422, "{\"error\":\"not JSON\"}");
    expect("POST /notes HTTP/1.1", "", 422, NULL);
    expect("PUT /notes/99 HTTP/1.1", "{\"text\": \"x\"}", 404, NULL);
    expect("GET /elsewhere HTTP/1.1", "", 404, NULL);
    t = gcorn_test_request(handler, "PATCH /notes/1 HTTP/1.1", NULL, 0);
    assert_int_equal(t->status, 405);
    assert_string_equal(gcorn_headers_get(t->headers, "allow"), "GET, HEAD, PUT, DELETE");
    gcorn_test_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_notes_life, open_database, close_database),
        cmocka_unit_test_setup_teardown(test_notes_several, open_database, close_database),
        cmocka_unit_test_setup_teardown(test_notes_wrong, open_database, close_database),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
