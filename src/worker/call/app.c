/* SPDX-License-Identifier: MIT
 *
 * See app.h. image.c reports what it can before dlopen: dlopen's own messages name symbols and
 * files, but rarely the remedy.
 */
#include "worker/call/app.h"

#include <assert.h>
#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compat.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "system/code/image.h"

#define ABI_SYMBOL "gcorn_abi_" /* and the number */

/* The names by which this process's loader knows the parts of its application, in the same order;
 * NULL for one that was loaded from its file. */
static char *loaded_as[IMAGE_PARTS_MAX];

/* The loader's message with the parts' files in the place of its names for them. */
static void name_files(const struct image *image, const char *message, struct strbuf *out)
{
    while (*message != '\0') {
        size_t len = 1;

        for (size_t i = 0; i < image->count && len == 1; i++) {
            size_t name_len = loaded_as[i] ? strlen(loaded_as[i]) : 0;

            if (name_len > 0 && strncmp(message, loaded_as[i], name_len) == 0) {
                strbuf_addstr(out, image->parts[i].path);
                len = name_len;
            }
        }
        if (len == 1)
            strbuf_addch(out, *message);
        message += len;
    }
}

/* Sets the error for a symbol that object needs and no library defines. */
static int explain_symbol(const char *object, const char *symbol, struct error *err)
{
    if (strncmp(symbol, ABI_SYMBOL, strlen(ABI_SYMBOL)) == 0)
        return error_set(
            err, EXIT_APP,
            "%s speaks ABI %s of gcorn.h, this gcorn speaks ABI %s: compile it against "
            "the gcorn.h of gcorn %s",
            object, symbol + strlen(ABI_SYMBOL), APP_ABI, GCORN_VERSION);
    return error_set(err, EXIT_APP,
                     "%s needs %s, which neither gcorn nor a library it is linked with defines: "
                     "link it with that library, or compile it for this gcorn (%s)",
                     object, symbol, GCORN_VERSION);
}

/* dlopen refused path. Its message is "object: reason", and the object may be a library that is
 * needed, directly or by another one. */
static int explain_dlopen(const char *path, char *message, struct error *err)
{
    static const char undefined[] = "undefined symbol: ", missing[] = "cannot open shared object";

    assert(message); /* name_files has put a reason into it */
    char *colon = strstr(message, ": ");
    const char *reason = colon ? colon + 2 : message;
    const char *symbol = strstr(reason, undefined);

    if (colon)
        *colon = '\0';
    if (symbol)
        return explain_symbol(colon ? message : path, symbol + strlen(undefined), err);
    if (!colon || strcmp(message, path) == 0)
        return error_set(err, EXIT_APP, "cannot load %s: %s", path, reason);
    if (strncmp(reason, missing, strlen(missing)) == 0)
        return error_set(err, EXIT_APP,
                         "%s needs the library %s, which is not found: %s: install it, or name its "
                         "directory with -Wl,-rpath or LD_LIBRARY_PATH",
                         path, message, reason);
    return error_set(err, EXIT_APP, "cannot load %s: %s: %s", path, message, reason);
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

/* Callback of dl_iterate_phdr: stops at the object that has the address in a segment of code. */
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

/* True: the symbol's address is a function. A constant may lie in a segment of code, too, so the
 * type counts; a symbol without a type, or the target of an ifunc, is judged by its segment
 * alone. */
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

/* Looks up a function of the application; NULL when it does not define it. Returns 0, or -1 with
 * err: the name is data there. ISO C has no conversion between object and function pointers; POSIX
 * promises this one. */
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

#define HOOK_WANTED(result, name, parameters) {"gcorn_" #name, &app->name},

static int find_functions(struct app *app, void *dl, const char *path, const char *symbol,
                          struct error *err)
{
    const struct {
        const char *name;
        void *function;
    } wanted[] = {{symbol, &app->handler}, APP_HOOKS(HOOK_WANTED)};

    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        if (find(dl, path, wanted[i].name, wanted[i].function, err) < 0)
            return -1;
    }
    return app->handler ? 0 : explain_no_handler(path, symbol, dl, err);
}

/* The name by which the loader finds a part; NULL: its path. */
static char *loader_name(const struct image *image, size_t i)
{
    char name[IMAGE_NAME_SIZE];

    if (image->from_disk || image_part_name(&image->parts[i], name, sizeof(name)) < 0)
        return NULL;
    return xstrdup(name);
}

/* One part of the image; NULL with err. */
static void *open_part(const struct image *image, size_t i, struct error *err)
{
    const struct image_part *part = &image->parts[i];
    struct strbuf message = {0};

    free(loaded_as[i]); /* of an application loaded before this one: only tests do that */
    loaded_as[i] = loader_name(image, i);
    void *dl = dlopen(loaded_as[i] ? loaded_as[i] : part->path, RTLD_NOW | RTLD_LOCAL);
    if (dl)
        return dl;
    const char *reason = dlerror();
    name_files(image, reason ? reason : "no reason is given", &message);
    (void)explain_dlopen(part->path, message.data, err);
    if (part->copy) /* its directory may be unreadable for this user, or noexec */
        (void)error_prefix(err, "the copy %s", part->copy);
    strbuf_release(&message);
    return NULL;
}

int app_load(struct app *app, const struct image *image, const char *symbol, struct error *err)
{
    const struct image_part *last = &image->parts[image->count - 1];
    void *dl = NULL;

    /* from disk the loader finds the libraries itself */
    for (size_t i = image->from_disk ? image->count - 1 : 0; i < image->count; i++) {
        dl = open_part(image, i, err);
        if (!dl)
            return -1;
    }
    return find_functions(app, dl, last->path, symbol, err);
}

int app_run_on_load(const struct app *app, struct error *err)
{
    if (app->on_load && app->on_load() < 0)
        return error_set(err, EXIT_APP, "gcorn_on_load of the application failed");
    return 0;
}

/* The old name is not freed: it belongs to the loader, which may still use it. */
static void rename_part(const struct image *image, size_t i)
{
    struct link_map *map = NULL;
    void *dl = dlopen(loaded_as[i], RTLD_NOW | RTLD_NOLOAD);
    char *name = loader_name(image, i);

    if (!dl || !name || dlinfo(dl, RTLD_DI_LINKMAP, &map) < 0) {
        free(name);
        return;
    }
    free(loaded_as[i]);
    map->l_name = loaded_as[i] = name; /* nothing frees it: the application is never unloaded */
}

void app_forked(const struct image *image)
{
    for (size_t i = 0; i < image->count; i++) {
        if (loaded_as[i])
            rename_part(image, i);
    }
}

const char *app_file_of(const struct image *image, const char *loader_name)
{
    for (size_t i = 0; image && i < image->count; i++) {
        if (loaded_as[i] && strcmp(loaded_as[i], loader_name) == 0)
            return image->parts[i].path;
    }
    return loader_name;
}

int app_parse(const char *spec, char **path, const char **symbol, struct error *err)
{
    const char *colon = strrchr(spec, ':');

    if (colon && strpbrk(colon, "/."))
        colon = NULL; /* part of the path: no function has such a name */
    size_t path_len = colon ? (size_t)(colon - spec) : strlen(spec);
    *symbol = colon ? colon + 1 : "handler";
    if (path_len == 0 || (*symbol)[0] == '\0')
        return error_set(err, EXIT_APP,
                         "'%s' names no application: write app.so:handler, or app.so", spec);
    bool has_slash = memchr(spec, '/', path_len) != NULL;
    *path = xasprintf("%s%.*s", has_slash ? "" : "./", (int)path_len, spec);
    return 0;
}

int app_open(const char *spec, struct image *image, const char **symbol,
             const struct copies_home *home, struct error *err)
{
    char *path = NULL;

    if (app_parse(spec, &path, symbol, err) < 0)
        return -1;
    int result = image_open(image, path, home, err);
    free(path);
    return result;
}
