/* SPDX-License-Identifier: MIT
 *
 * generation - one set of settings with all that they open: the application's code, sockets, logs,
 * the workers' user. The
 * first is made at start, a further one by every reload; workers belong to the one that they were
 * forked with. It lives until the master wants another and its last worker is gone.
 */
#ifndef GCORN_MASTER_GENERATION_H
#define GCORN_MASTER_GENERATION_H

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

/* What can be wrong with config itself, found without opening anything; fills in the workers' user
 * (privileges_release, also on failure). 0, or -1 with err, which says where the setting stands. */
int generation_check(const struct config *config, struct privileges *privileges, struct error *err);

/* Can the log files be opened? Makes and truncates nothing. 0, or -1 with what generation_new would
 * say in err. */
int generation_check_logs(const struct config *config, const struct privileges *workers,
                          struct error *err);

/* Opens all that config names but for the sockets, in the present directory, which becomes its own;
 * sets the umask. Takes config, also on failure. `before`: NULL, or one of those that there are.
 * NULL with err; nothing is open then. The caller has one reference. */
struct generation *generation_new(unsigned id, struct config *config, struct generation *before,
                                  struct error *err);

/* And then its sockets; those that `before` (NULL: none) has open are shared. Only once the pid
 * file is locked: two starts of one site could otherwise both take the file of a dead server for
 * theirs to remove. 0, or -1 with err and none open; errno is EADDRINUSE if another server has an
 * address. */
int generation_listen(struct generation *g, const struct generation *before, struct error *err);

/* What a former master has left (handover.h): the sockets of *from, which it takes, and workers,
 * but no application. For `before`. Unless in place, the sockets are lent. config
 * as there. NULL with err. */
struct handover;
struct generation *generation_inherit(unsigned id, struct config *config, struct handover *from,
                                      struct error *err);

/* Another master serves the sockets of all generations too, or none does any more: whose files they
 * are (listener.lent). */
void generation_lend_listeners(struct generation *any, bool lent);

struct generation *generation_ref(struct generation *g);

/* Gives a reference back; the last one closes everything. unlink_files: also the files of unix
 * sockets, because nobody serves them any more. NULL is allowed. */
void generation_unref(struct generation *g, bool unlink_files);

/* Makes its directory and umask the process's. 0, or -1 with errno: the directory is as it was. */
int generation_enter(const struct generation *g);

/* In a child that works for another generation: closes what g has open, but for its sockets. */
void generation_forget(struct generation *g);

/* In a child that writes no access log: closes it. */
void generation_forget_access_log(struct generation *g);

/* In a child: closes g's sockets, but for those that the child is to serve. */
void generation_forget_listeners(struct generation *g, struct listener *const *served,
                                 size_t served_count);

/* Does a client wait to be accepted by its workers? */
bool generation_has_clients(const struct generation *g);

/* Workers listen no more, for good: closes the sockets and unlinks their files. Workers that have
 * them are not concerned, nor is the admin process. Harmless a second time. */
void generation_stop_listening(struct generation *g);

/* Lets its sockets have the backlog that it wants, those too that an older one opened. */
void generation_apply_backlog(const struct generation *g);

/* Do its workers listen on this very socket? */
bool generation_has_listener(const struct generation *g, const struct listener *l);

/* From here on the process logs where, what and how g says. */
void generation_use_log(struct generation *g);

/* Now and then: connects g's syslog again, for its workers too, when the daemon has come back. */
void generation_tend_log(struct generation *g);

/* Opens the log files anew, behind the same descriptors; the process is in g's directory then. 0,
 * or -1 with err: those that could not be opened are as they were. */
int generation_reopen_logs(struct generation *g, struct error *err);

/* What of a log a process is sent that has had it since its fork: fd, behind which another file may
 * be by now; -1 where path stands for standard output or error, which stay. */
int generation_log_to_send(const char *path, int fd);

#endif
