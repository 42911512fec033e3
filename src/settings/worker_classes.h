/* SPDX-License-Identifier: MIT
 *
 * worker_classes - the classes of workers, one row each. A class is one file of worker/call: its
 * open, which call.h declares for each row, is called once in a worker that boots and sets w->calls.
 * What runs threads is given the setting `threads`.
 */
#ifndef GCORN_SETTINGS_WORKER_CLASSES_H
#define GCORN_SETTINGS_WORKER_CLASSES_H

/* ROW(ID, name, runs threads, open, help) */
#define WORKER_CLASSES(ROW)                                                                        \
    ROW(SYNC, "sync", false, call_inline_open,                                                     \
        "one call at a time, on the thread of the event loop that serves the connections.")        \
    ROW(GTHREAD, "gthread", true, call_pool_open,                                                  \
        "calls run on a pool of threads, and the event loop on its own.")

#define WORKER_CLASS_ID(id, name, runs_threads, open, help)   WORKER_CLASS_##id,
#define WORKER_CLASS_NAME(id, name, runs_threads, open, help) [WORKER_CLASS_##id] = name,
#define WORKER_CLASS_HELP(id, name, runs_threads, open, help) " " name ": " help

#endif
