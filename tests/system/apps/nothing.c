/* SPDX-License-Identifier: MIT
 *
 * nothing - hands gcorn.h every form of no bytes at all: NULL with the length 0, and empty texts.
 * The path says which body the answer has.
 */
#include <string.h>
#include <unistd.h>

#include <gcorn.h>

static ssize_t next(struct gcorn_environ *env, void *state, const void **chunk)
{
    int *turn = state;

    (void)env;
    *chunk = *turn == 1 ? "some" : NULL;
    return (*turn)++ == 1 ? 4 : 0;
}

static struct gcorn_body *body_of(struct gcorn_environ *env, const char *path)
{
    struct gcorn_body *buffer = gcorn_body_buffer(env);
    int *turn = gcorn_alloc(env, sizeof(*turn));

    *turn = strcmp(path, "/iter-some") == 0;
    if (strcmp(path, "/bytes") == 0)
        return gcorn_body_bytes(env, NULL, 0);
    if (strcmp(path, "/text") == 0)
        return gcorn_body_text(env, "");
    if (strncmp(path, "/iter", 5) == 0)
        return gcorn_body_iter(env, next, NULL, turn);
    if (strcmp(path, "/buffer-some") == 0)
        (void)gcorn_buffer_write(buffer, "some", 4);
    (void)gcorn_buffer_write(buffer, NULL, 0);
    (void)gcorn_buffer_printf(buffer, "%s", "");
    return buffer;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct gcorn_header none[] = {{NULL, NULL}}, empty[] = {{"X", ""}, {NULL, NULL}};
    const char *path = gcorn_get(env, "PATH_INFO"), *value;
    size_t len;
    char byte;

    (void)gcorn_input_read(env, NULL, 0);
    (void)gcorn_input_all(env, &len);
    while (gcorn_input_read(env, &byte, 1) > 0)
        continue;
    (void)gcorn_input_read(env, NULL, 0);
    for (size_t i = 0; gcorn_variable_at(env, i, &value); i++)
        continue;
    (void)gcorn_query(env, "");
    gcorn_set(env, "x", "");
    (void)gcorn_alloc(env, 0);
    gcorn_log(env, GCORN_INFO, "%s", "");
    (void)gcorn_headers_get(none, "X");
    struct gcorn_header_list *list = gcorn_header_list_new(env, empty);
    gcorn_header_set(list, "Y", "");
    gcorn_start(start_response, "200 OK",
                strcmp(path, "/bytes") == 0 ? NULL : gcorn_header_array(list));
    return body_of(env, path);
}
