/* SPDX-License-Identifier: MIT
 *
 * app - an application out of a shared object: found, checked, loaded, its hooks looked up. Only a
 * worker (or the child of --check-config) does this, never the master: constructors run at dlopen,
 * and they may crash, call exit or start threads.
 */
#ifndef GCORN_WORKER_APP_H
#define GCORN_WORKER_APP_H

#include "base/error.h"
#include "gcorn.h"

/* Hooks are NULL where the application defines none. */
struct app {
    gcorn_app *handler;
    int (*on_worker_init)(void);
    void (*on_worker_exit)(void);
    void (*on_worker_abort)(void);
    void (*on_pre_request)(struct gcorn_environ *env);
    void (*on_post_request)(struct gcorn_environ *env);
};

/* spec is "app.so:handler" or "app.so" (the symbol `handler`), relative to the working directory.
 * Runs the object's constructors. 0, or -1 with one line in err (EXIT_APP). It is never unloaded:
 * new code is a new process. */
int app_load(struct app *app, const char *spec, struct error *err);

#endif
