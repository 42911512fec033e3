/* SPDX-License-Identifier: MIT
 *
 * privileges - whom the workers run as. Looked up in the master before it forks, where a wrong name
 * stops the start, and where the files of /etc can be read; taken on in each worker.
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
    bool is_chosen; /* by a setting, so the groups are wanted too */
};

/* user and group are names or numbers; NULL or "" keeps what the process has, save that a user
 * without a group gets the user's own: the settings that drop root's uid must not keep root's gid.
 * init_groups: with all groups that the system lists for the user (without user, for this process's
 * own), else with gid alone. 0, or -1 with err filled (EXIT_USAGE), also when this process may not
 * become that. */
int privileges_resolve(struct privileges *p, const char *user, const char *group, bool init_groups,
                       struct error *err);
void privileges_release(struct privileges *p);

/* Gives this process, for good, what workers have, and makes sure that it did: the user and the
 * groups, where it has others, and no capability, in none of the kernel's sets (capabilities(7)),
 * whatever the master was given. Only a worker whose user is root keeps what root has. may_gain:
 * programs that it executes may gain privileges by set-user-ID bits and file capabilities;
 * otherwise those count for nothing (PR_SET_NO_NEW_PRIVS). 0, or -1 with err filled: the process is
 * then half changed, and must exit.
 *
 * The kernel makes a process that changed its user undumpable: no core file, and neither ptrace nor
 * /proc/PID/mem by other processes of that user. Workers stay so: their memory is a copy of what
 * root read. */
int privileges_take(const struct privileges *p, bool may_gain, struct error *err);

#endif
