/* SPDX-License-Identifier: MIT
 *
 * See app.h. What can be told before dlopen has been told (image.c): dlopen's own messages name
 * symbols and files, but rarely what to do.
 */
#include "worker/app.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "system/image.h"

#define ABI_SYMBOL "gcorn_abi_" /* and the number */
#define ABI_SPOKEN "1"

/* dlopen refused. Its message is "path: reason". */
static int explain_dlopen(const char *path, const char *message, struct error *err)
{
    static const char undefined[] = "undefined symbol: ";
    const char *symbol = strstr(message, undefined);

    if (symbol)
        symbol += strlen(undefined);
    if (symbol && strncmp(symbol, ABI_SYMBOL, strlen(ABI_SYMBOL)) == 0)
        return error_set(
            err, EXIT_APP,
            "%s speaks ABI %s of gcorn.h, this gcorn speaks ABI %s: compile it against "
            "the gcorn.h of gcorn %s",
            path, symbol + strlen(ABI_SYMBOL), ABI_SPOKEN, GCORN_VERSION);
    if (symbol)
        return error_set(
            err, EXIT_APP,
            "%s needs %s, which neither gcorn nor a library it is linked with defines: "
            "link it with that library, or compile it for this gcorn (%s)",
            path, symbol, GCORN_VERSION);
    /* the loader names the copy, not the file */
    const char *reason = strstr(message, ": ");
    return error_set(err, EXIT_APP, "cannot load %s: %s", path, reason ? reason + 2 : message);
}

static int explain_no_handler(const char *path, const char *symbol, void *dl, struct error *err)
{
    char mangled[512];

    (void)snprintf(mangled, sizeof(mangled), "_Z%zu%sP13gcorn_environP20gcorn_start_response",
                   strlen(symbol), symbol);
    if (dlsym(dl, mangled))
        return error_set(err, EXIT_APP,
                         "%s defines %s with a C++ name: put GCORN_EXPORT in front of it", path,
                         symbol);
    return error_set(err, EXIT_APP,
                     "%s exports no function %s: is the name right (app.so:function), and is it "
                     "marked GCORN_EXPORT and not static?",
                     path, symbol);
}

/* ISO C has no conversion between object and function pointers; POSIX promises this one. */
static void find(void *dl, const char *symbol, void *function)
{
    void *address = dlsym(dl, symbol);

    memcpy(function, &address, sizeof(address));
}

/* One part of the image; NULL with err. */
static void *open_part(const struct image *image, const struct image_part *part, struct error *err)
{
    char name[64];

    image_part_name(part, name, sizeof(name));
    void *dl = dlopen(image->from_disk ? part->path : name, RTLD_NOW | RTLD_LOCAL);
    if (!dl)
        (void)explain_dlopen(part->path, dlerror(), err);
    return dl;
}

int app_load(struct app *app, const struct image *image, const char *symbol, struct error *err)
{
    const struct image_part *last = &image->parts[image->count - 1];
    void *dl = NULL;

    /* from disk the loader finds the libraries itself */
    for (size_t i = image->from_disk ? image->count - 1 : 0; i < image->count; i++) {
        dl = open_part(image, &image->parts[i], err);
        if (!dl)
            return -1;
    }
    find(dl, symbol, &app->handler);
    if (!app->handler)
        return explain_no_handler(last->path, symbol, dl, err);
    find(dl, "gcorn_on_worker_init", &app->on_worker_init);
    find(dl, "gcorn_on_worker_exit", &app->on_worker_exit);
    find(dl, "gcorn_on_worker_abort", &app->on_worker_abort);
    find(dl, "gcorn_on_pre_request", &app->on_pre_request);
    find(dl, "gcorn_on_post_request", &app->on_post_request);
    return 0;
}

int app_parse(const char *spec, char **path, const char **symbol, struct error *err)
{
    const char *colon = strrchr(spec, ':');

    if (colon && strpbrk(colon, "/."))
        colon = NULL; /* a colon of the path: no function is named so */
    size_t path_len = colon ? (size_t)(colon - spec) : strlen(spec);
    *symbol = colon ? colon + 1 : "handler";
    if (path_len == 0 || (*symbol)[0] == '\0')
        return error_set(err, EXIT_APP,
                         "'%s' names no application: write app.so:handler, or app.so", spec);
    bool has_slash = memchr(spec, '/', path_len) != NULL;
    *path = xasprintf("%s%.*s", has_slash ? "" : "./", (int)path_len, spec);
    return 0;
}

int app_open(const char *spec, struct image *image, const char **symbol, struct error *err)
{
    char *path = NULL;

    if (app_parse(spec, &path, symbol, err) < 0)
        return -1;
    int result = image_open(image, path, err);
    free(path);
    return result;
}
