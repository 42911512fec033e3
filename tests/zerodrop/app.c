/* SPDX-License-Identifier: MIT
 *
 * app - the application of `make zerodrop`. Every build is compiled with a VERSION of its own. The
 * answer is
 *
 *   TOKEN VERSION NUMBER PID\n  filler  TOKEN\n
 *
 * so that a client knows whose answer it is, which code gave it, and that it is whole. The query
 * says token, ms (how long the call lasts) and size (of the filler); a body sent is the filler
 * instead. /chunks answers by an iterator, /health is what a canary is asked for.
 *
 * The broken builds: -DUNRESOLVED needs a symbol that nobody has, -DNAMELESS has no handler,
 * -DCRASHES in its constructor, -DLEAVES calls exit(0) there, -DHANGS in gcorn_on_worker_init,
 * -DREFUSES there, -DSICK answers /health with 500. -DBOOT_MS=N only takes its time to boot.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <gcorn.h>

#include "../system/apps/broken.h"

#ifdef UNRESOLVED
int not_defined_anywhere(void);
#define BROKEN not_defined_anywhere()
#else
#define BROKEN 0
#endif
#ifdef NAMELESS
#define handler not_the_handler
#endif
#ifdef SICK
#define HEALTH "500 Internal Server Error"
#else
#define HEALTH "200 OK"
#endif

static void sleep_ms(size_t ms)
{
    const struct timespec t = {.tv_sec = (time_t)(ms / 1000),
                               .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&t, NULL);
}

GCORN_EXPORT int gcorn_on_worker_init(void)
{
#ifdef HANGS
    for (;;)
        pause();
#endif
#ifdef BOOT_MS
    sleep_ms(BOOT_MS);
#endif
#ifdef REFUSES
    return -1;
#endif
    return BROKEN;
}

static size_t number(struct gcorn_environ *env, const char *name)
{
    const char *text = gcorn_query(env, name);

    return text ? (size_t)atol(text) : 0;
}

/* The whole body; its length in *len. */
static char *compose(struct gcorn_environ *env, size_t *len)
{
    const char *token = gcorn_query(env, "token");
    size_t size, token_len;
    const char *sent = gcorn_input_all(env, &size);
    const char *line = gcorn_printf(env, "%s %d %u %d\n", token ? token : "-", VERSION,
                                    gcorn_worker_number(), (int)getpid());
    size_t line_len = strlen(line);

    if (size == 0)
        size = number(env, "size");
    else if (!sent)
        return NULL;
    token_len = strcspn(line, " ");
    *len = line_len + size + token_len + 1;
    char *body = gcorn_alloc(env, *len);
    memcpy(body, line, line_len);
    for (size_t i = 0; i < size; i++)
        body[line_len + i] = sent && *sent != '\0' ? sent[i] : (char)('a' + i % 26);
    memcpy(body + line_len + size, line, token_len);
    body[*len - 1] = '\n';
    return body;
}

struct rest {
    const char *data;
    size_t len;
};

static ssize_t next_chunk(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct rest *rest = state;
    size_t n = rest->len < 1000 ? rest->len : 1000;

    (void)env;
    *chunk = rest->data;
    rest->data += n;
    rest->len -= n;
    return (ssize_t)n;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO");
    size_t ms = number(env, "ms"), len;

    if (strcmp(path, "/health") == 0) {
        gcorn_start(start_response, HEALTH, NULL);
        return gcorn_body_text(env, "");
    }
    if (ms > 0)
        sleep_ms(ms);
    const char *body = compose(env, &len);
    if (!body)
        return NULL;
    gcorn_start(start_response, "200 OK", NULL);
    if (strcmp(path, "/chunks") != 0)
        return gcorn_body_borrow(env, body, len);
    struct rest *rest = gcorn_alloc(env, sizeof(*rest));
    *rest = (struct rest){body, len};
    return gcorn_body_iter(env, next_chunk, NULL, rest);
}
