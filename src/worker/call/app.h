/* SPDX-License-Identifier: MIT
 *
 * app - finds, checks and loads an application from a shared object, and looks up its hooks. Only a
 * worker (or the child of --check-config) does this, never the master: constructors run at dlopen,
 * and they may crash, call exit or start threads.
 */
#ifndef GCORN_WORKER_CALL_APP_H
#define GCORN_WORKER_CALL_APP_H

#include "base/error.h"
#include "gcorn.h"

/* The number of the ABI of gcorn.h that this server speaks. */
#define APP_ABI "2"

/* The hooks, each a row: HOOK(result, name, parameters). An application defines them as gcorn_NAME
 * (gcorn.h); struct app has a pointer to each. */
/* clang-format off */
#define APP_HOOKS(HOOK)                                         \
    HOOK(int,  on_load,         (void))                         \
    HOOK(void, on_fork,         (enum gcorn_fork when))         \
    HOOK(int,  on_worker_init,  (void))                         \
    HOOK(void, on_worker_exit,  (void))                         \
    HOOK(void, on_worker_abort, (void))                         \
    HOOK(void, on_thread_start, (unsigned number))              \
    HOOK(void, on_thread_end,   (unsigned number))              \
    HOOK(void, on_call_late,    (void))                         \
    HOOK(void, on_pre_request,  (struct gcorn_environ *env))    \
    HOOK(void, on_post_request, (struct gcorn_environ *env))    \
    HOOK(struct gcorn_body *, on_head,                          \
         (struct gcorn_environ *env, struct gcorn_start_response *start_response))
/* clang-format on */

#define APP_HOOK_MEMBER(result, name, parameters) result(*name) parameters;

/* Hooks are NULL where the application defines none. */
struct app {
    gcorn_app *handler;
    APP_HOOKS(APP_HOOK_MEMBER)
};

struct copies_home;
struct image;

/* Takes "app.so:handler", or "app.so" (the symbol `handler`), apart: *path is the caller's to free
 * and holds a slash, so that it is a file and not searched for; *symbol points into spec or is
 * static. 0, or -1 with err (EXIT_APP). */
int app_parse(const char *spec, char **path, const char **symbol, struct error *err);

/* The same, and opens the object (image_open has the rest). */
int app_open(const char *spec, struct image *image, const char **symbol,
             const struct copies_home *home, struct error *err);

/* Loads the application from its image (system/code/image.h), its libraries first. Runs
 * constructors. 0, or -1 with one line in err (EXIT_APP). It is never unloaded: new code is a new
 * process. */
int app_load(struct app *app, const struct image *image, const char *symbol, struct error *err);

/* Runs gcorn_on_load, where the application has been loaded and is to run: never for
 * --check-config. 0, or -1 with err (EXIT_APP). */
int app_run_on_load(const struct app *app, struct error *err);

/* In a process that was forked from the one that has loaded the application: the loader's names of
 * its parts are this process's from now on. A debugger finds the files by them, also when the other
 * process is gone. */
void app_forked(const struct image *image);

/* The file of the object that the loader knows by this name (dladdr(3)): a part of the application,
 * or the name itself. Borrowed. image may be NULL. */
const char *app_file_of(const struct image *image, const char *loader_name);

#endif
