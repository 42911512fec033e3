/* SPDX-License-Identifier: MIT
 *
 * template - with preload_app, the process that loads the application once for all workers of a
 * generation, which then share its memory until they write to it. It serves nothing: it bears a
 * worker whenever the master orders one. It forks twice and the one between ends at once, so the
 * worker becomes the master's own child (which is the subreaper) before it says anything.
 *
 *   master -> template   an order, with the worker's descriptors
 *   worker -> master     its birth; the kernel says what its pid is
 *   template -> master   why the application does not load, or nobody is born
 *
 * An order can be given at once: it waits in the socket while the application is loaded. The
 * master's side of a life is preload.c's; forking the process is spawn.c's.
 */
#ifndef GCORN_MASTER_PRELOAD_TEMPLATE_H
#define GCORN_MASTER_PRELOAD_TEMPLATE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "master/proc/message_limits.h"
#include "system/ipc/channel.h"

struct output;

struct template
{
    pid_t pid;
    int fd; /* the master's end */
    struct ev_io io;
    struct output *output; /* what the application prints while it is loaded; NULL: not captured */
    uint64_t last_serial;
    struct speech speech;
    const char *misdeed; /* what it was killed for; NULL: it was not */
    bool has_forked;     /* a worker: so the application is loaded */
    bool has_crashed;    /* it has said so */
    bool is_late;        /* boot_timeout is over, and its stacks are being taken */
    bool has_failed;     /* it has said why the application does not load */
    bool has_stacks;     /* noted: those that were taken of it are in the log */
    bool was_doubted;    /* the log says that a process of it posed as a worker */
};

/* A worker to be borne. Descriptors that there are none of are -1. */
struct template_order {
    uint64_t serial; /* never the same twice; 0: no worker, only the logs are meant */
    uint32_t place, number;
    bool is_canary, is_proven;
    struct channel channel; /* the worker's ends */
    int output_fd, error_fd, access_fd;
};

/* A fatal signal in a template: the members of siginfo_t. */
struct template_fault {
    int32_t signal, code, sender;
    uint32_t unused;
    uint64_t address;
};

/* What a template or its newborn says. */
struct template_news {
    bool is_crash; /* of the template, and fault is all there is */
    struct template_fault fault;
    uint64_t serial;           /* 0: the application does not load */
    pid_t pid;                 /* of the newborn */
    char why[UP_TEXT_MAX + 1]; /* nobody is born; "": somebody is */
};

/* Makes the socket: fds[0] is the master's end, fds[1] the template's. 0, or -1 with errno. */
int template_socket(int fds[2]);

/* Master: 0, or -1 with errno. The order's descriptors remain the caller's. */
int template_send(const struct template *t, const struct template_order *order);

/* Master: 1 with news, 0 none now, -1 with errno: EPROTO, what came is no news; else no more will
 * come. */
int template_recv(const struct template *t, struct template_news *news);

/* In the template, before it loads the application: a fatal signal is told to the master, which
 * takes the stacks; it has its course when the master sends SIGCONT, or after some seconds. */
void template_catch_crash(int fd);

/* In the template: says why, and ends. */
void template_refuse(int fd, const char *why) __attribute__((noreturn));

/* Master: the logs are these files from now on; -1: that one is no file. 0, or -1 with errno. */
int template_reopen_logs(const struct template *t, int error_fd, int access_fd);

/* In the template, application loaded: carries out orders, and ends with the master. Returns only
 * in a newborn worker, which has announced itself, with its order; fd is closed there. The log
 * files of an order have taken the numbers of the template's own. */
void template_fork_worker(int fd, struct template_order *order, int error_number,
                          int access_number);

#endif
