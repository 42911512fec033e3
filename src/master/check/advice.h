/* SPDX-License-Identifier: MIT
 *
 * advice - warnings about settings that are valid but will cause trouble: they contradict each
 * other or do not fit the machine. The functions get settings and numbers and make no system calls
 * (check.c does), so tests need not change the machine.
 *
 * Each function appends to out one line for each problem: the place of the setting, its name, what
 * is wrong, what to do.
 */
#ifndef GCORN_MASTER_CHECK_ADVICE_H
#define GCORN_MASTER_CHECK_ADVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "system/host/cgroup.h"

struct config;
struct strbuf;

/* How many descriptors the processes need; each process inherits the master's limit. */
struct descriptors {
    uint64_t worker; /* its connections and a few more */
    uint64_t master; /* the channels, and the sockets of a generation */
};

struct descriptors advice_descriptors(const struct config *c, unsigned places,
                                      size_t listener_count);

/* When the limit is lower than need: appends the problem, without place and newline, and returns
 * the key of the setting that needs more. NULL: the limit is enough. */
const char *advice_add_shortage(const struct config *c, const struct descriptors *need,
                                uint64_t limit, struct strbuf *out);

/* The limits of the machine. */
struct host_limits {
    uint64_t open_files; /* the hard limit */
    int64_t somaxconn;   /* net.core.somaxconn; 0: not known */
    struct cgroup_limits cgroup;
};

/* Warns of logs on standard output or error, which a daemon does not have. */
void advice_on_daemon(const struct config *c, struct strbuf *out);

/* Warns of settings that contradict each other, or that cause errors behind a load balancer. */
void advice_on_settings(const struct config *c, struct strbuf *out);

/* Warns of settings that do not fit the machine. */
void advice_on_host_limits(const struct config *c, const struct host_limits *s, struct strbuf *out);

/* Appends a line about one setting, with the place where it was set, if it was. */
void advice_add(struct strbuf *out, const struct config *c, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Which of these settings' files and addresses are in use, and by which process (0: not known).
 * When it is the server that runs with these settings, this is no error: operators check a
 * configuration before they reload that server. */
struct holders {
    bool pidfile, control, address; /* address: one of bind's */
    pid_t pidfile_pid, control_pid;
};

/* True: the pid file, or the control socket, is held by another server than the one that runs with
 * these settings. That server holds two of the three: a file and an address, or both files. */
bool advice_pidfile_is_others(const struct holders *h);
bool advice_control_is_others(const struct holders *h);

#endif
