/* SPDX-License-Identifier: MIT
 *
 * misuse - an application that gives gcorn's functions what they cannot take, and returns what is
 * not a body. /last is a good request: its answer counts those before it.
 *
 * -DDATA: the handler is data, not a function. -DDATA_HOOK: gcorn_on_pre_request is.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <gcorn.h>

#ifdef DATA_HOOK
GCORN_EXPORT const int seven __asm__("gcorn_on_pre_request");
const int seven = 7;
#endif

#ifdef DATA
GCORN_EXPORT const char handler[64];
const char handler[64] = "a string";
#else

static struct gcorn_body *earlier;
static struct gcorn_metric *counter, *sizes;
static unsigned count, closed;

static void close_it(struct gcorn_environ *env, void *state)
{
    (void)env;
    (void)state;
    closed++;
}

static struct gcorn_body *write_null(struct gcorn_environ *env)
{
    struct gcorn_body *body = gcorn_body_buffer(env);

    (void)gcorn_buffer_write(body, NULL, 3);
    return body;
}

static struct gcorn_body *wrap_null(struct gcorn_environ *env)
{
    struct gcorn_start_response *inner = gcorn_start_wrap(env, NULL, NULL);

    gcorn_start(inner, "200 OK", NULL);
    return gcorn_body_text(env, "");
}

static void measure(void)
{
    counter = gcorn_counter("things_total", "Things.");
    sizes = gcorn_histogram("thing_bytes", "Sizes.", (const double[]){1}, 1);
    gcorn_metric_add(counter, INFINITY);
    gcorn_metric_add(counter, NAN);
    gcorn_metric_add(counter, 2);
    gcorn_metric_observe(sizes, INFINITY);
    gcorn_metric_observe(sizes, 3);
    gcorn_metric_set(gcorn_gauge("level", "A level.", GCORN_GAUGE_SUM), INFINITY);
}

/* Exported, so that the line can name it. */
GCORN_EXPORT struct gcorn_body *stack_body(struct gcorn_environ *env);
struct gcorn_body *stack_body(struct gcorn_environ *env)
{
    char text[64];

    snprintf(text, sizeof(text), "of %s", gcorn_get(env, "PATH_INFO"));
    return gcorn_body_borrow(env, text, strlen(text));
}

static struct gcorn_body *copied_body(struct gcorn_environ *env)
{
    char text[64];

    snprintf(text, sizeof(text), "of %s", gcorn_get(env, "PATH_INFO"));
    return gcorn_body_text(env, text);
}

static struct gcorn_body *answer(struct gcorn_environ *env)
{
    const char *path = gcorn_get(env, "PATH_INFO");

    if (strcmp(path, "/integer") == 0)
        return (struct gcorn_body *)(uintptr_t)42;
    if (strcmp(path, "/string") == 0)
        return (struct gcorn_body *)(uintptr_t) "a string";
    if (strcmp(path, "/earlier") == 0)
        return earlier;
    if (strcmp(path, "/next-null") == 0)
        return gcorn_body_iter(env, NULL, close_it, NULL);
    if (strcmp(path, "/bytes-null") == 0)
        return gcorn_body_bytes(env, NULL, 5);
    if (strcmp(path, "/stack") == 0)
        return stack_body(env);
    if (strcmp(path, "/copied") == 0)
        return copied_body(env);
    if (strcmp(path, "/write-null") == 0)
        return write_null(env);
    if (strcmp(path, "/wrap-null") == 0)
        return wrap_null(env);
    if (strcmp(path, "/defer-null") == 0)
        gcorn_defer(env, NULL, env);
    if (strcmp(path, "/newline") == 0)
        gcorn_log(env, GCORN_WARNING, "one line\n");
    if (strcmp(path, "/measure") == 0)
        measure();
    if (strcmp(path, "/last") == 0)
        return gcorn_body_text(env, gcorn_printf(env, "%u requests, %u closed", count, closed));
    earlier = gcorn_body_text(env, "");
    return earlier;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    count++;
    if (strcmp(gcorn_get(env, "PATH_INFO"), "/wrap-null") != 0)
        gcorn_start(start_response, "200 OK", NULL);
    return answer(env);
}
#endif
