/* SPDX-License-Identifier: MIT
 *
 * privileges - whom the workers run as. Looked up in the master before it forks, where a wrong name
 * stops the start, and where the files of /etc can be read; taken on in each worker.
 */
#ifndef GCORN_SYSTEM_PRIVILEGES_H
#define GCORN_SYSTEM_PRIVILEGES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct error;

struct privileges {
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* supplementary groups */
    size_t group_count;
};

/* user and group are names or numbers; NULL or "" keeps what the process has, save that a user
 * without a group gets the user's own: the settings that drop root's uid must not keep root's gid.
 * init_groups: with all groups that the system lists for the user, else with gid alone. 0, or -1
 * with err filled (EXIT_USAGE), also when this process may not become that. */
int privileges_resolve(struct privileges *p, const char *user, const char *group, bool init_groups,
                       struct error *err);
void privileges_release(struct privileges *p);

/* Changes this process for good, and makes sure that it did. Does nothing when it is that user and
 * group already. 0, or -1 with err filled: the process is then half changed, and must exit.
 *
 * The kernel makes a process that changed its user undumpable: no core file, and neither ptrace nor
 * /proc/PID/mem by other processes of that user. Workers stay so: their memory is a copy of what
 * root read. */
int privileges_apply(const struct privileges *p, struct error *err);

/* From now on neither this process nor what it executes can gain a privilege (PR_SET_NO_NEW_PRIVS):
 * set-user-ID bits and file capabilities count for nothing. For good. */
void privileges_renounce(void);

#endif
