/* SPDX-License-Identifier: MIT
 *
 * See app.h. What can be told before dlopen is told before: dlopen's own messages name symbols and
 * files, but rarely what to do.
 */
#include "worker/app.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

#define ABI_SYMBOL "gcorn_abi_" /* and the number */
#define ABI_SPOKEN "1"

/* The machine that this binary is for, read off its own header. */
static const ElfW(Ehdr) * own_header(void)
{
    extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

    return &__ehdr_start;
}

static int check_elf(const char *path, struct error *err)
{
    const ElfW(Ehdr) *own = own_header();
    ElfW(Ehdr) h = {0};

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int reason = errno;
        char cwd[2048];

        return error_set(err, EXIT_APP, "cannot open the application %s: %s (working directory %s)",
                         path, strerror(reason), getcwd(cwd, sizeof(cwd)) ? cwd : "unknown");
    }
    ssize_t n = read(fd, &h, sizeof(h));
    fd_close(&fd);
    if (n < (ssize_t)sizeof(h) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0)
        return error_set(err, EXIT_APP, "%s is not a shared object: build it with cc -shared -fPIC",
                         path);
    if (h.e_ident[EI_CLASS] != own->e_ident[EI_CLASS] || h.e_machine != own->e_machine)
        return error_set(err, EXIT_APP,
                         "%s is built for another machine (ELF machine %d, this gcorn is %d)", path,
                         h.e_machine, own->e_machine);
    if (h.e_type != ET_DYN)
        return error_set(err, EXIT_APP,
                         "%s is an ELF file but no shared object: build it with cc -shared -fPIC",
                         path);
    return 0;
}

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
    return error_set(err, EXIT_APP, "cannot load %s", message);
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

static int load(struct app *app, const char *path, const char *symbol, struct error *err)
{
    if (check_elf(path, err) < 0)
        return -1;
    void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!dl)
        return explain_dlopen(path, dlerror(), err);
    find(dl, symbol, &app->handler);
    if (!app->handler)
        return explain_no_handler(path, symbol, dl, err);
    find(dl, "gcorn_on_worker_init", &app->on_worker_init);
    find(dl, "gcorn_on_worker_exit", &app->on_worker_exit);
    find(dl, "gcorn_on_worker_abort", &app->on_worker_abort);
    find(dl, "gcorn_on_pre_request", &app->on_pre_request);
    find(dl, "gcorn_on_post_request", &app->on_post_request);
    return 0;
}

int app_load(struct app *app, const char *spec, struct error *err)
{
    const char *colon = strrchr(spec, ':');

    if (colon && strpbrk(colon, "/."))
        colon = NULL; /* a colon of the path: no function is named so */
    size_t path_len = colon ? (size_t)(colon - spec) : strlen(spec);
    const char *symbol = colon ? colon + 1 : "handler";
    bool has_slash = memchr(spec, '/', path_len) != NULL;

    if (path_len == 0 || symbol[0] == '\0')
        return error_set(err, EXIT_APP,
                         "'%s' names no application: write app.so:handler, or app.so", spec);
    /* without a slash dlopen would search the library path */
    char *path = xasprintf("%s%.*s", has_slash ? "" : "./", (int)path_len, spec);
    int result = load(app, path, symbol, err);
    free(path);
    return result;
}
