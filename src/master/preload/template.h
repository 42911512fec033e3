/* SPDX-License-Identifier: MIT
 *
 * template - with preload_app, the fork server: a process that loads the application once for all
 * workers of a generation, which then share its memory until they write to it. It serves no
 * requests; it forks a worker whenever the master orders one. It forks twice and the process in
 * between ends at once, so the worker becomes a child of the master (which is the subreaper) before
 * it sends its first message.
 *
 *   master -> template   an order, with the worker's descriptors
 *   worker -> master     it was forked; the kernel says what its pid is
 *   template -> master   why the application does not load, or why a fork failed
 *
 * The master can send an order at once: it waits in the socket while the application is loaded.
 * workers/preload.c has the master's side of a worker's life; spawn.c forks the template.
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

struct app;
struct output;

struct template
{
    pid_t pid;
    int fd; /* the master's end */
    struct ev_io io;
    struct output *output; /* of the application while it is loaded; NULL: not captured */
    uint64_t last_serial;
    struct speech speech;
    const char *misdeed; /* the reason why the master killed it; NULL: it did not */
    bool has_forked;     /* a worker, so the application is loaded */
    bool has_crashed;    /* it has reported a crash */
    bool is_late;        /* boot_timeout is over, and its stacks are being taken */
    bool has_failed;     /* it has said why the application does not load */
    bool has_stacks;     /* noted: its stacks are in the log */
    bool was_doubted;    /* logged: one of its processes claimed to be a worker */
};

/* An order to fork a worker. A descriptor that it does not have is -1. */
struct template_order {
    uint64_t serial; /* unique; 0: fork no worker, only take the log files */
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

/* A message from a template or from a worker that it has just forked. */
struct template_news {
    bool is_crash; /* of the template; then only fault is set */
    struct template_fault fault;
    uint64_t serial;           /* of the order; 0: the application does not load */
    pid_t pid;                 /* of the new worker */
    char why[UP_TEXT_MAX + 1]; /* no worker was forked; "": one was */
};

/* Makes the socket: fds[0] is the master's end, fds[1] the template's. 0, or -1 with errno. */
int template_socket(int fds[2]);

/* Master: 0, or -1 with errno. The order's descriptors remain the caller's. */
int template_send(const struct template *t, const struct template_order *order);

/* Master: receives a message. Returns 1; 0: none now; -1 with errno: EPROTO, the message is
 * malformed; any other, the socket is closed. */
int template_recv(const struct template *t, struct template_news *news);

/* In the template, before it loads the application: on a fatal signal the template reports it to
 * the master, which takes the stacks; the template dies of the signal when the master sends
 * SIGCONT, or after some seconds. */
void template_catch_crash(int fd);

/* In the template: reports why the application does not load, and exits. */
void template_refuse(int fd, const char *why) __attribute__((noreturn));

/* Master: sends the template the new log files; -1: that log is not a file. Returns 0, or -1 with
 * errno. */
int template_reopen_logs(const struct template *t, int error_fd, int access_fd);

/* In the template, after the application is loaded: carries out orders, and exits when the master
 * ends. Returns only in a new worker, with its order, after it has announced itself to the master;
 * fd is closed there. The log files of the order have replaced the template's, at the same
 * descriptor numbers. Each fork is bracketed by gcorn_on_fork of app in the template; the worker calls
 * it as it takes the application over. */
void template_fork_worker(const struct app *app, int fd, struct template_order *order,
                          int error_number, int access_number);

#endif
