/* SPDX-License-Identifier: MIT
 *
 * Middleware with data of its own.
 */
#include "http_case.h"

#include "gcorn.h"

static struct gcorn_body *application(struct gcorn_environ *env,
                                      struct gcorn_start_response *start_response)
{
    gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, gcorn_get(env, "marks"));
}

/* Adds its mark, and calls the inner layer as many times as its data says. */
struct marks {
    const char *mark;
    bool answers;
};

static struct gcorn_body *mark(struct gcorn_environ *env,
                               struct gcorn_start_response *start_response,
                               const struct gcorn_layer *inner, void *data)
{
    const struct marks *m = data;
    const char *before = gcorn_get(env, "marks");

    gcorn_set(env, "marks", gcorn_printf(env, "%s%s", before ? before : "", m->mark));
    return m->answers ? application(env, start_response)
                      : gcorn_layer_call(inner, env, start_response);
}

static void body_is(const struct gcorn_layer *layer, const char *wanted)
{
    struct http_case c;
    struct gcorn_start_response *start;
    const void *chunk;

    http_case_open(&c);
    http_case_feed(&c, "GET / HTTP/1.0\r\n\r\n");
    start = &c.env.response.start;
    struct gcorn_body *body = gcorn_layer_call(layer, &c.env, start);
    assert_int_equal(gcorn_body_next(body, &chunk), strlen(wanted));
    assert_memory_equal(chunk, wanted, strlen(wanted));
    http_case_close(&c);
}

/* Layers are never freed: leak checkers see that these are in use. */
static const struct gcorn_layer *kept[16];

static const struct gcorn_layer *keep(const struct gcorn_layer *layer)
{
    static size_t count;

    assert_true(count < sizeof(kept) / sizeof(kept[0]));
    return kept[count++] = layer;
}

static const struct gcorn_layer *around(struct marks *marks, const struct gcorn_layer *inner)
{
    return keep(gcorn_layer_new(mark, marks, inner));
}

static void test_layers_are_called_from_outside_in(void **state)
{
    static struct marks a = {.mark = "a"}, b = {.mark = "b"},
                        stops = {.mark = "s", .answers = true};
    const struct gcorn_layer *inner = around(&b, keep(gcorn_layer_app(application)));

    (void)state;
    body_is(around(&a, inner), "ab");
    body_is(around(&a, around(&a, inner)), "aab");
    body_is(around(&a, around(&stops, inner)), "as");
    body_is(inner, "b"); /* shared by all of these */
}

static void test_layer_of_nothing_is_null(void **state)
{
    struct http_case c;

    (void)state;
    assert_null(gcorn_layer_app(NULL));
    assert_null(gcorn_layer_new(mark, NULL, NULL));
    assert_null(gcorn_layer_new(NULL, NULL, keep(gcorn_layer_app(application))));
    http_case_open(&c);
    assert_null(gcorn_layer_call(NULL, &c.env, &c.env.response.start));
    http_case_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers_are_called_from_outside_in),
        cmocka_unit_test(test_layer_of_nothing_is_null),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
