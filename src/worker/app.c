/* SPDX-License-Identifier: MIT
 *
 * See app.h. What can be told before dlopen has been told (image.c): dlopen's own messages name
 * symbols and files, but rarely what to do.
 */
#include "worker/app.h"

#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
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

/* Stops at the object that has the address in a segment of code. */
static int has_code_at(struct dl_phdr_info *object, size_t size, void *address)
{
    uintptr_t wanted = (uintptr_t)address;

    (void)size;
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *s = &object->dlpi_phdr[i];
        uintptr_t start = object->dlpi_addr + s->p_vaddr;

        if (s->p_type == PT_LOAD && (s->p_flags & PF_X) && wanted >= start &&
            wanted - start < s->p_memsz)
            return 1;
    }
    return 0;
}

/* Is a symbol's address a function's? A constant may lie in a segment of code, too; what a linker
 * or an assembler gives no type, or what an ifunc chose, is known by its segment alone. */
static bool is_function(void *address)
{
    const ElfW(Sym) *symbol = NULL;
    Dl_info info;

    if (dladdr1(address, &info, (void **)&symbol, RTLD_DL_SYMENT) != 0 && symbol &&
        info.dli_saddr == address) {
        unsigned char type = symbol->st_info & 0xf;

        if (type == STT_OBJECT || type == STT_COMMON || type == STT_TLS)
            return false;
    }
    return dl_iterate_phdr(has_code_at, address) != 0;
}

/* A function of the application; it is NULL when there is none. 0, or -1 with err: it has data of
 * that name. ISO C has no conversion between object and function pointers; POSIX promises this
 * one. */
static int find(void *dl, const char *path, const char *symbol, void *function, struct error *err)
{
    void *address = dlsym(dl, symbol);

    if (address && !is_function(address))
        return error_set(err, EXIT_APP,
                         "%s exports %s as data, not as a function: name a function (app.so:"
                         "function), or rename the data",
                         path, symbol);
    memcpy(function, &address, sizeof(address));
    return 0;
}

static int find_functions(struct app *app, void *dl, const char *path, const char *symbol,
                          struct error *err)
{
    const struct {
        const char *name;
        void *function;
    } wanted[] = {
        {symbol, &app->handler},
        {"gcorn_on_worker_init", &app->on_worker_init},
        {"gcorn_on_worker_exit", &app->on_worker_exit},
        {"gcorn_on_worker_abort", &app->on_worker_abort},
        {"gcorn_on_pre_request", &app->on_pre_request},
        {"gcorn_on_post_request", &app->on_post_request},
    };

    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        if (find(dl, path, wanted[i].name, wanted[i].function, err) < 0)
            return -1;
    }
    return app->handler ? 0 : explain_no_handler(path, symbol, dl, err);
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
    return find_functions(app, dl, last->path, symbol, err);
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
