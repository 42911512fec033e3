/* SPDX-License-Identifier: MIT
 *
 * advice - what is no error and will yet go wrong: settings that contradict each other or do not
 * fit the machine. Functions of settings and numbers: they ask the system nothing (check.c does),
 * so they are tested without changing it.
 *
 * Each appends to out one line for each thing to mend: where the setting stands, which one, what is
 * wrong, what to do.
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

/* How many open files the processes come to; each process inherits the master's limit. */
struct descriptors {
    uint64_t worker; /* its connections and a few more */
    uint64_t master; /* the channels, and the sockets of a generation */
};

struct descriptors advice_descriptors(const struct config *c, unsigned places,
                                      size_t listener_count);

/* For a limit that is lower than need: appends what is wrong, without place and newline, and
 * returns the key of the setting that wants more. NULL: it is enough. */
const char *advice_add_shortage(const struct config *c, const struct descriptors *need,
                                uint64_t limit, struct strbuf *out);

/* What the machine allows. */
struct host_limits {
    uint64_t open_files; /* the hard limit */
    int64_t somaxconn;   /* net.core.somaxconn; 0: not known */
    struct cgroup_limits cgroup;
};

/* Logs that a daemon has no descriptor for. */
void advice_on_daemon(const struct config *c, struct strbuf *out);

/* Settings that make little sense beside each other, or behind a load balancer. */
void advice_on_settings(const struct config *c, struct strbuf *out);

/* Settings that do not fit the machine. */
void advice_on_host_limits(const struct config *c, const struct host_limits *s, struct strbuf *out);

/* Appends a line on one setting, with the place where it stands unless it has its default. */
void advice_add(struct strbuf *out, const struct config *c, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* What of these settings' files and addresses is held by somebody, and by which process: 0, not
 * known. Nothing of it is an error beside the very server that runs with these settings, where a
 * configuration is commonly checked before a reload. */
struct holders {
    bool pidfile, control, address; /* address: one of bind's */
    pid_t pidfile_pid, control_pid;
};

/* Is the pid file, the control socket held by another server than the one that the settings belong
 * to? That one has two of the three: its files and an address, or both its files. */
bool advice_pidfile_is_others(const struct holders *h);
bool advice_control_is_others(const struct holders *h);

#endif
