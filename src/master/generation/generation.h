/* SPDX-License-Identifier: MIT
 *
 * generation/ is one set of settings and what it opens: sockets, logs, the application's copy; and
 * how the program was started.
 *
 * generation - one set of settings with everything that they open: the application's code, sockets,
 * logs, the workers' user. The master makes the first at its start and a new one for each reload. A
 * worker keeps the generation that it was forked with. A generation is freed when another one is
 * current and its last worker has ended.
 */
#ifndef GCORN_MASTER_GENERATION_GENERATION_H
#define GCORN_MASTER_GENERATION_GENERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/syslog.h"
#include "settings/config.h"
#include "system/code/image.h"
#include "system/net/listener.h"
#include "system/process/privileges.h"

/* A socket is shared by all generations that listen on its address. */
struct shared_listener {
    struct listener listener; /* first: a listener is its share */
    unsigned refs;
    bool is_borrowed; /* it was passed to gcorn, and no generation that has it has counted yet */
};

struct template;

struct generation {
    unsigned id; /* 1, 2, ... */
    unsigned refs;
    struct generation *next, *prev; /* the ring of all that live */
    int dir_fd;                     /* the directory that its relative paths begin at */
    struct config config;
    struct privileges privileges;
    struct image image;          /* the application, as it was when the generation was made */
    const char *symbol;          /* its function */
    struct listener **listeners; /* each a struct shared_listener */
    size_t listener_count;
    struct listener *admin_listener; /* shared too; NULL: no admin process */
    int error_fd;                    /* above 2, also for standard error */
    int access_fd;                   /* the same, or -1: there is no access log */
    struct syslog syslog;
    struct template *template; /* preload.c's; NULL: none runs */
    bool is_proven;            /* a worker of it has been ready */
    struct file_notice notice; /* of socket files, in the process that prepares it; else empty */
};

/* Prefixes err with the place where the setting was set. Returns -1. */
int generation_blame(const struct config *config, const char *key, struct error *err);

/* Checks config without opening anything, and fills in the workers' user (privileges_release, also
 * on failure). Returns 0, or -1 with err, which names the place of the setting. */
int generation_check(const struct config *config, struct privileges *privileges, struct error *err);

/* Makes a generation with nothing open. Takes config. `before`: NULL, or a generation of the ring
 * that it joins. The caller has one reference. */
struct generation *generation_make(unsigned id, struct config *config, struct generation *before);

/* Opens everything that its settings name, except the sockets, in the current directory, which
 * becomes the generation's; sets the umask. server: the process that will own the generation. Reads
 * disks, so it may block. Returns 0, or -1 with err; generation_unref in either case. */
int generation_open(struct generation *g, pid_t server, struct error *err);

/* Both. NULL with err; nothing is open then. */
struct generation *generation_new(unsigned id, struct config *config, struct generation *before,
                                  struct error *err);

/* Makes a generation of the sockets that another master hands over (handover.h), which are taken
 * from *from and marked as lent; it has no application. It is the `before` of this master's first
 * generation. Takes config. NULL with err. */
struct handover;
struct generation *generation_inherit(unsigned id, struct config *config, struct handover *from,
                                      struct error *err);

/* Every generation in the ring, beginning with `any`, which must not be freed meanwhile. */
#define for_each_generation(each, any)                                                             \
    for ((each) = (any); (each); (each) = (each)->next == (any) ? NULL : (each)->next)

struct generation *generation_ref(struct generation *g);

/* Gives a reference back; the last one closes everything. unlink_files: also the files of unix
 * sockets, because no process serves them any more. NULL is allowed. */
void generation_unref(struct generation *g, bool unlink_files);

/* Changes the process to the generation's directory and umask. Returns 0, or -1 with errno: the
 * directory is unchanged. */
int generation_enter(const struct generation *g);

#endif
