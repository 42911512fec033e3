/* SPDX-License-Identifier: MIT
 *
 * Faults before the body and within it. gcorn_on_head: /head/segv crashes, /head/sleep does not end,
 * /deny is answered 401, and every other body is read as it comes. Then /segv crashes at the first
 * bytes of the body, /sleep stops there; any other path answers how many bytes came.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <gcorn.h>

static void fault(const char *what)
{
    if (strcmp(what, "segv") == 0)
        raise(SIGSEGV);
    while (strcmp(what, "sleep") == 0)
        (void)pause();
}

GCORN_EXPORT
struct gcorn_body *gcorn_on_head(struct gcorn_environ *env,
                                 struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO");

    if (strncmp(path, "/head/", 6) == 0)
        fault(path + 6);
    if (strcmp(path, "/deny") == 0) {
        gcorn_start(start_response, "401 Unauthorized", NULL);
        return gcorn_body_text(env, "no\n");
    }
    gcorn_limit_body(env, -1);
    gcorn_stream_body(env);
    return NULL;
}

static ssize_t next(struct gcorn_environ *env, void *state, const void **chunk)
{
    uint64_t *count = state;
    char bytes[4096];
    ssize_t n;

    if (*count == UINT64_MAX)
        return 0;
    while ((n = gcorn_input_read(env, bytes, sizeof(bytes))) > 0) {
        *count += (uint64_t)n;
        fault(gcorn_get(env, "PATH_INFO") + 1);
    }
    if (n != 0)
        return n;
    const char *text = gcorn_printf(env, "%llu\n", (unsigned long long)*count);
    *count = UINT64_MAX;
    *chunk = text;
    return (ssize_t)strlen(text);
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_iter(env, next, NULL, gcorn_alloc(env, sizeof(uint64_t)));
}
