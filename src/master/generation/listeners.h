/* SPDX-License-Identifier: MIT
 *
 * listeners - the sockets of a generation: those that its workers serve and that of the admin
 * process. Generations that listen on the same address share one socket, which closes with the last
 * of them.
 */
#ifndef GCORN_MASTER_GENERATION_LISTENERS_H
#define GCORN_MASTER_GENERATION_LISTENERS_H

#include <stdbool.h>
#include <stddef.h>

struct config;
struct error;
struct generation;
struct handover;
struct handover_socket;
struct listener;
struct open_wait;

/* Are bind and admin_bind addresses that one server can have at once? Opens and resolves nothing.
 * 0, or -1 with err. */
int listeners_check(const struct config *config, struct error *err);

/* Opens the sockets of g. Those that `before` (NULL: none) has open are shared. Only once the pid
 * file is locked: two starts of one site could otherwise both take the file of a dead server for
 * theirs to remove. Blocks to resolve a host name, here; or, with `wait` (else NULL), in a child
 * while the caller waits (open_aside.h). 0, or -1 with err and none open; errno is EADDRINUSE if
 * another server has an address. */
int listeners_open(struct generation *g, const struct generation *before,
                   const struct open_wait *wait, struct error *err);

/* Takes the sockets that another master has left (handover.h): they are lent. 0, or -1 with err;
 * listeners_close in either case. */
int listeners_inherit(struct generation *g, struct handover *from, struct error *err);

/* For generations that are not opened by listeners_open (prepared.h): one socket more, to be put
 * into g. listeners_ref is for one that another generation has; listeners_open_one opens text,
 * which blocks unless it is fd://; listeners_adopt_one takes a socket that another process has
 * opened. NULL with err. */
struct listener *listeners_ref(struct listener *l);
struct listener *listeners_open_one(const struct generation *g, const char *text,
                                    struct error *err);
struct listener *listeners_adopt_one(struct handover_socket *s, struct error *err);

/* Gives the sockets back; the last generation that has one closes it. unlink_files: also the files
 * of unix sockets, because no process serves them any more. */
void listeners_close(struct generation *g, bool unlink_files);

/* g counts: it keeps the sockets that were passed to gcorn (fd://), which close with the last
 * generation that has them. g, which has never counted, is given up: those that only g has asked for
 * stay open as they were passed, for a later reload; g has them no more. */
void listeners_keep(const struct generation *g);
void listeners_give_back(const struct generation *g);

/* Another master serves the sockets of all generations too, or stops doing so: marks the sockets'
 * files as shared with it, or as this master's (listener.lent). */
void listeners_lend(struct generation *any, bool lent);

/* Do its workers listen on this socket? */
bool listeners_contain(const struct generation *g, const struct listener *l);

/* Does a client wait to be accepted by its workers? */
bool listeners_have_clients(const struct generation *g);

/* Sets the backlog of its settings, also on the sockets that an older generation opened. */
void listeners_apply_backlog(const struct generation *g);

/* Closes the sockets in the master and unlinks their files, when no more workers are forked.
 * Workers that have the sockets, and the admin process, are not affected. May be called again. */
void listeners_stop(struct generation *g);

/* Logs the addresses. */
void listeners_log(const struct generation *g);

#endif
