/* SPDX-License-Identifier: MIT
 *
 * See privileges.h. The order is: bounding set, supplementary groups, group, user: once the user
 * has changed, the others cannot. Capabilities come last: a change of user drops them in a process
 * that was root, but not in one that got them as another user.
 */
#include "system/process/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"

/* (uid_t)-1 means "no change" to setresuid */
static const int64_t id_max = UINT32_MAX - 1;

static bool is_set(const char *text)
{
    return text && text[0] != '\0';
}

/* Fills in "no such user", for which getpwnam leaves errno 0, or why the lookup failed. */
static int unknown(struct error *err, const char *what, const char *name)
{
    bool absent = errno == 0 || errno == ENOENT || errno == ESRCH;

    if (absent)
        return error_set(err, EXIT_USAGE, "%s: there is no %s '%s' on this system", what, what,
                         name);
    return error_set(err, EXIT_USAGE, "%s: cannot look up '%s': %s", what, name, strerror(errno));
}

/* *pw is NULL for a number without a name. */
static int find_user(struct privileges *p, const char *user, const struct passwd **pw,
                     struct error *err)
{
    int64_t id;

    errno = 0;
    *pw = getpwnam(user); /* first as a name, like chown: a name may be all digits */
    if (!*pw) {
        int lookup_errno = errno;

        if (parse_int(user, 0, id_max, &id) < 0) {
            errno = lookup_errno;
            return unknown(err, "user", user);
        }
        p->uid = (uid_t)id;
        *pw = getpwuid(p->uid);
        return 0;
    }
    p->uid = (*pw)->pw_uid;
    return 0;
}

static int find_group(struct privileges *p, const char *group, struct error *err)
{
    int64_t id;

    errno = 0;
    const struct group *gr = getgrnam(group);
    int lookup_errno = errno;
    if (gr) {
        p->gid = gr->gr_gid;
        return 0;
    }
    if (parse_int(group, 0, id_max, &id) < 0) {
        errno = lookup_errno;
        return unknown(err, "group", group);
    }
    p->gid = (gid_t)id;
    return 0;
}

/* All groups of a user, p->gid among them. */
static void list_groups(struct privileges *p, const char *name)
{
    int count = 64, room;

    do {
        room = count;
        p->groups = xrealloc(p->groups, (size_t)room * sizeof(*p->groups));
        /* too small: count is then the number of groups */
    } while (getgrouplist(name, p->gid, p->groups, &count) < 0 && count > room);
    p->group_count = (size_t)(count < room ? count : room);
}

static bool has_capability(unsigned number)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{0}};

    return syscall(SYS_capget, &header, sets) == 0 &&
           (sets[number / 32].effective & 1u << number % 32) != 0;
}

/* Real, effective and saved ids: the process could change back to any of them. */
static bool is_in_force(const struct privileges *p)
{
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;

    if (getresuid(&ruid, &euid, &suid) < 0 || getresgid(&rgid, &egid, &sgid) < 0)
        return false;
    return ruid == p->uid && euid == p->uid && suid == p->uid && rgid == p->gid && egid == p->gid &&
           sgid == p->gid;
}

/* Checked in the master: a worker that fails here looks like an application that does not boot. */
static int check_allowed(const struct privileges *p, struct error *err)
{
    if (is_in_force(p))
        return 0;
    if (p->uid != geteuid() && !has_capability(CAP_SETUID))
        return error_set(err, EXIT_USAGE, "user: only root can run workers as another user");
    if (!has_capability(CAP_SETGID))
        return error_set(err, EXIT_USAGE, "group: only root can run workers as another group");
    return 0;
}

int privileges_resolve(struct privileges *p, const char *user, const char *group, bool init_groups,
                       struct error *err)
{
    const struct passwd *pw = NULL;

    *p = (struct privileges){.uid = geteuid(),
                             .gid = getegid(),
                             .is_chosen = is_set(user) || is_set(group) || init_groups};
    if (is_set(user) && find_user(p, user, &pw, err) < 0)
        return -1;
    if (pw)
        p->gid = pw->pw_gid;
    else if (is_set(user) && !is_set(group) && p->uid != geteuid())
        return error_set(err, EXIT_USAGE,
                         "user: the system has no name for %s, so a group must be set as well",
                         user);
    if (is_set(group) && find_group(p, group, err) < 0)
        return -1;
    if (init_groups && !pw)
        pw = getpwuid(p->uid); /* NULL: the system lists no groups for it */
    if (init_groups && pw) {
        list_groups(p, pw->pw_name);
    } else {
        p->groups = xmalloc(sizeof(*p->groups));
        p->groups[0] = p->gid;
        p->group_count = 1;
    }
    return check_allowed(p, err);
}

void privileges_release(struct privileges *p)
{
    free(p->groups);
    *p = (struct privileges){0};
}

static bool has_group(const gid_t *groups, size_t count, gid_t gid)
{
    for (size_t i = 0; i < count; i++) {
        if (groups[i] == gid)
            return true;
    }
    return false;
}

/* Are the supplementary groups the wanted ones, in any order? */
static bool has_wanted_groups(const struct privileges *p)
{
    int count = getgroups(0, NULL);
    gid_t *groups = xcalloc((size_t)(count > 0 ? count : 1), sizeof(*groups));
    bool same = count >= 0 && getgroups(count, groups) == count;

    for (size_t i = 0; same && i < p->group_count; i++)
        same = has_group(groups, (size_t)count, p->groups[i]);
    for (size_t i = 0; same && i < (size_t)count; i++)
        same = has_group(p->groups, p->group_count, groups[i]);
    free(groups);
    return same;
}

static int take_groups(const struct privileges *p)
{
    bool wanted = !is_in_force(p) || (p->is_chosen && has_capability(CAP_SETGID));

    return !wanted || has_wanted_groups(p) ? 0 : setgroups(p->group_count, p->groups);
}

/* The bounding set limits what executed programs can gain. Without CAP_SETPCAP it cannot be
 * changed: then PR_SET_NO_NEW_PRIVS alone limits them. */
static void empty_bounding_set(void)
{
    for (unsigned long number = 0; prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0; number++)
        (void)prctl(PR_CAPBSET_DROP, number, 0, 0, 0);
}

static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0,
                0); /* EINVAL: an old kernel has none */
    return (int)syscall(SYS_capset, &header, none);
}

int privileges_take(const struct privileges *p, bool may_gain, struct error *err)
{
    bool is_root = p->uid == 0;

    if (!is_root && !may_gain)
        empty_bounding_set();
    if (take_groups(p) < 0 || (!is_in_force(p) && (setresgid(p->gid, p->gid, p->gid) < 0 ||
                                                   setresuid(p->uid, p->uid, p->uid) < 0)))
        return error_set(err, EXIT_FAILED, "cannot become user %u, group %u: %s", (unsigned)p->uid,
                         (unsigned)p->gid, strerror(errno));
    if (!is_in_force(p))
        return error_set(err, EXIT_FAILED, "did not become user %u, group %u", (unsigned)p->uid,
                         (unsigned)p->gid);
    if (!is_root && drop_capabilities() < 0)
        return error_set(err, EXIT_FAILED, "cannot drop capabilities: %s", strerror(errno));
    if (!may_gain)
        (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); /* cannot fail: Linux 3.5 has it */
    return 0;
}
