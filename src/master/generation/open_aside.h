/* SPDX-License-Identifier: MIT
 *
 * open_aside - opens a socket whose host name is to be resolved in a child. A resolver waits for its
 * servers for as long as it likes; the caller, which has to react to a signal, waits in a way of its
 * own.
 */
#ifndef GCORN_MASTER_GENERATION_OPEN_ASIDE_H
#define GCORN_MASTER_GENERATION_OPEN_ASIDE_H

#include <stdbool.h>

#include "system/net/listener.h"

struct error;
struct handover_socket;

/* How the caller waits: until fd can be read. Returns 0, or -1 with err: it gives up. */
struct open_wait {
    int (*wait)(void *arg, int fd, struct error *err);
    void *arg;
};

/* True: to open text, the resolver is asked. */
bool open_aside_resolves(const char *text);

/* As listener_open_for, in a child that is ended when the caller gives up; errno is EINTR then. */
int open_aside(struct listener *l, const char *text, int backlog,
               const struct listener_options *options, const struct open_wait *wait,
               struct error *err);

#endif
