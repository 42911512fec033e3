/* SPDX-License-Identifier: MIT
 *
 * privileges - the user and groups that workers run as. The master looks them up before it forks: a
 * wrong name fails the start, and it may read the files in /etc. Each worker then takes them.
 */
#ifndef GCORN_SYSTEM_PROCESS_PRIVILEGES_H
#define GCORN_SYSTEM_PROCESS_PRIVILEGES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct error;

struct privileges {
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* supplementary groups */
    size_t group_count;
    bool is_chosen; /* by a setting, so that the groups are set, too */
};

/* Looks up user and group, names or numbers; NULL or "" keeps the process's own, but a user without
 * a group gets its own group: dropping root's uid must not keep root's gid. init_groups: with all
 * groups that the system lists for the user (or for this process's user), else with gid alone.
 * Returns 0, or -1 with err (EXIT_USAGE), also when this process may not take them. Blocks on the
 * user database. */
int privileges_resolve(struct privileges *p, const char *user, const char *group, bool init_groups,
                       struct error *err);
void privileges_release(struct privileges *p);

/* Makes this process a worker's, and verifies it: sets user and groups, if it has others, and drops
 * all capabilities from all sets (capabilities(7)). A worker whose user is root keeps root's.
 * may_gain: programs that it executes may gain privileges by set-user-ID bits and file
 * capabilities; else they may not (PR_SET_NO_NEW_PRIVS). It cannot be undone. Returns 0, or -1 with
 * err: the process is then half changed and must exit.
 *
 * The kernel makes a process that has changed its user undumpable: it leaves no core, and other
 * processes of that user may not trace it or read /proc/PID/mem. Workers stay so, because their
 * memory is a copy of what root has read. */
int privileges_take(const struct privileges *p, bool may_gain, struct error *err);

#endif
