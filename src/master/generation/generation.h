/* SPDX-License-Identifier: MIT
 *
 * generation/ is one set of settings and what it opens: sockets, logs, the application's copy; and how
 * the program was started.
 *
 * generation - one set of settings with all that they open: the application's code, sockets, logs,
 * the workers' user. The
 * first is made at start, a further one by every reload; workers belong to the one that they were
 * forked with. It lives until the master wants another and its last worker is gone.
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
};

/* Puts in front of err where the setting stands. Returns -1. */
int generation_blame(const struct config *config, const char *key, struct error *err);

/* What can be wrong with config itself, found without opening anything; fills in the workers' user
 * (privileges_release, also on failure). 0, or -1 with err, which says where the setting stands. */
int generation_check(const struct config *config, struct privileges *privileges, struct error *err);

/* One with nothing open. Takes config. `before`: NULL, or one of those that there are. The caller
 * has one reference. */
struct generation *generation_make(unsigned id, struct config *config, struct generation *before);

/* Opens all that its settings name but for the sockets, in the present directory, which becomes its
 * own; sets the umask. server: the process whose generation it will be. Reads disks, so it may
 * block. 0, or -1 with err; generation_unref in either
 * case. */
int generation_open(struct generation *g, pid_t server, struct error *err);

/* Both. NULL with err; nothing is open then. */
struct generation *generation_new(unsigned id, struct config *config, struct generation *before,
                                  struct error *err);

/* What another master has left (handover.h): its sockets, taken from *from and lent, and no
 * application. To be the `before` of the first own generation. config as there. NULL with err. */
struct handover;
struct generation *generation_inherit(unsigned id, struct config *config, struct handover *from,
                                      struct error *err);

/* Every generation that lives, beginning with `any`, which stays alive meanwhile. */
#define for_each_generation(each, any)                                                             \
    for ((each) = (any); (each); (each) = (each)->next == (any) ? NULL : (each)->next)

struct generation *generation_ref(struct generation *g);

/* Gives a reference back; the last one closes everything. unlink_files: also the files of unix
 * sockets, because no process serves them any more. NULL is allowed. */
void generation_unref(struct generation *g, bool unlink_files);

/* Makes its directory and umask the process's. 0, or -1 with errno: the directory is as it was. */
int generation_enter(const struct generation *g);

#endif
