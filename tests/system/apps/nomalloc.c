/* SPDX-License-Identifier: MIT
 *
 * nomalloc - an application that crashes at /segv, and hangs at /hang, and from that moment on says
 * who calls malloc and the like, or localtime_r. -DPRELOADED: the library for LD_PRELOAD that does.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef PRELOADED
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

static volatile int is_forbidden;

void nomalloc_forbid(void)
{
    is_forbidden = 1;
}

static void look(const char *text)
{
    if (is_forbidden)
        (void)!write(STDERR_FILENO, text, strlen(text));
}

void *malloc(size_t size)
{
    look("forbidden: malloc\n");
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    look("forbidden: calloc\n");
    return __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
    look("forbidden: realloc\n");
    return __libc_realloc(p, size);
}

void free(void *p)
{
    if (p)
        look("forbidden: free\n");
    __libc_free(p);
}

struct tm *localtime_r(const time_t *wall, struct tm *tm)
{
    look("forbidden: localtime_r\n");
    return gmtime_r(wall, tm);
}

#else
#include <gcorn.h>

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    void (*forbid)(void);
    void *symbol = dlsym(RTLD_DEFAULT, "nomalloc_forbid");
    const char *path = gcorn_get(env, "PATH_INFO");

    memcpy(&forbid, &symbol, sizeof(forbid));
    gcorn_start(start_response, "200 OK", NULL);
    if (strcmp(path, "/segv") == 0) {
        forbid();
        *(volatile int *)64 = 1;
    }
    if (strcmp(path, "/hang") == 0) {
        forbid();
        for (;;)
            pause();
    }
    return gcorn_body_text(env, "");
}
#endif
