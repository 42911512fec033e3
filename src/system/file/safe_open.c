/* SPDX-License-Identifier: MIT
 *
 * See safe_open.h. The path is walked component by component, each opened relative to the
 * descriptor of its directory, so that the checked directory is the one that is used.
 * fs.protected_symlinks of the kernel covers sticky directories only, and RESOLVE_NO_SYMLINKS of
 * openat2(2) refuses /var/run.
 */
#include "system/file/safe_open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/util.h"
#include "system/process/privileges.h"

enum { LINKS_MAX = 40 }; /* the kernel's limit */

/* The rest of the path, relative to the directory. */
struct walk {
    const struct privileges *workers;
    int dir_fd;
    unsigned links;
    char rest[PATH_MAX];
};

static bool is_member(const struct privileges *p, gid_t gid)
{
    for (size_t i = 0; i < p->group_count; i++) {
        if (p->groups[i] == gid)
            return true;
    }
    return p->gid == gid;
}

/* May the user write to the directory? Its owner can give itself the permission. */
static bool may_write(const struct privileges *p, const struct stat *dir)
{
    return dir->st_uid == p->uid || (dir->st_mode & S_IWOTH) != 0 ||
           ((dir->st_mode & S_IWGRP) != 0 && is_member(p, dir->st_gid));
}

/* Could the user have placed the file that was found in the directory? In a sticky directory it can
 * replace only its own files. */
static bool may_have_placed(const struct privileges *p, const struct stat *dir,
                            const struct stat *found)
{
    bool sticks = (dir->st_mode & S_ISVTX) != 0 && dir->st_uid != p->uid;

    return found->st_uid == p->uid || (may_write(p, dir) && !sticks);
}

/* Links in /proc/PID are the kernel's, and may lead to files without another path. */
static bool is_kernels_link(int dir_fd)
{
    struct statfs fs;

    return fstatfs(dir_fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

/* Takes the first component off the rest. Returns whether it was the last one. */
static bool take_component(struct walk *w, char name[NAME_MAX + 2])
{
    const char *start = w->rest + strspn(w->rest, "/");
    size_t len = strcspn(start, "/");
    const char *after = start + len + strspn(start + len, "/");
    size_t kept = len <= NAME_MAX ? len : NAME_MAX + 1; /* too long: the kernel refuses it */

    memcpy(name, start, kept);
    name[kept] = '\0';
    if (len == 0)
        memcpy(name, ".", 2);
    memmove(w->rest, after, strlen(after) + 1);
    return w->rest[0] == '\0';
}

static void go_to(struct walk *w, int fd)
{
    fd_close(&w->dir_fd);
    w->dir_fd = fd;
}

/* Puts the target of the link in front of the rest. Returns 0, or -1 with errno. */
static int follow(struct walk *w, int link_fd)
{
    char target[PATH_MAX], *whole;
    struct stat dir, link;

    if (fstat(w->dir_fd, &dir) < 0 || fstat(link_fd, &link) < 0)
        return -1;
    if (++w->links > LINKS_MAX || may_have_placed(w->workers, &dir, &link)) {
        errno = ELOOP;
        return -1;
    }
    ssize_t len = readlinkat(link_fd, "", target, sizeof(target));
    if (len < 0)
        return -1;
    if (len > 0 && target[0] == '/') {
        int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (root < 0)
            return -1;
        go_to(w, root);
    }
    whole = xasprintf("%.*s%s%s", (int)len, target, w->rest[0] ? "/" : "", w->rest);
    bool fits = strlen(whole) < sizeof(w->rest);
    if (fits)
        memcpy(w->rest, whole, strlen(whole) + 1);
    free(whole);
    errno = ENAMETOOLONG;
    return fits ? 0 : -1;
}

/* Enters a directory or follows a link. Returns 0, or -1 with errno. */
static int step(struct walk *w, const char *name)
{
    struct stat st;
    int fd = openat(w->dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0) {
        fd_close(&fd);
        return -1;
    }
    if (S_ISLNK(st.st_mode) && is_kernels_link(w->dir_fd)) {
        fd_close(&fd);
        fd = openat(w->dir_fd, name, O_PATH | O_CLOEXEC);
    } else if (S_ISLNK(st.st_mode)) {
        int result = follow(w, fd);

        fd_close(&fd);
        return result;
    }
    if (fd < 0)
        return -1;
    go_to(w, fd);
    return 0;
}

/* Is the name that was opened the file's only one? Returns false also when the name is gone: the
 * user may have removed it so that the count of links is 1. */
static bool has_one_name(const struct walk *w, const char *name, int fd)
{
    struct stat before, named, after;

    return fstat(fd, &before) == 0 && before.st_nlink == 1 &&
           fstatat(w->dir_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           named.st_dev == before.st_dev && named.st_ino == before.st_ino &&
           fstat(fd, &after) == 0 && after.st_nlink == 1;
}

/* Refuses a second name of another user's file: without fs.protected_hardlinks a user can make one
 * for a file that it must not open. */
static int check_names(const struct walk *w, const char *name, int fd)
{
    struct stat dir, st;

    if (fstat(w->dir_fd, &dir) < 0 || fstat(fd, &st) < 0)
        return -1;
    if (!S_ISREG(st.st_mode) || st.st_uid == w->workers->uid || !may_write(w->workers, &dir) ||
        has_one_name(w, name, fd))
        return 0;
    errno = EMLINK;
    return -1;
}

/* Is it a link that is followed here rather than by the kernel? */
static bool is_link(const struct walk *w, const char *name)
{
    struct stat st;

    return fstatat(w->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode) &&
           !is_kernels_link(w->dir_fd);
}

/* ELOOP: the name has become a link since it was checked. */
static int open_last(struct walk *w, const char *name, int flags, mode_t mode)
{
    int nofollow = is_kernels_link(w->dir_fd) ? 0 : O_NOFOLLOW;
    int fd = openat(w->dir_fd, name, flags | nofollow | O_CLOEXEC, mode);

    if (fd >= 0 && check_names(w, name, fd) < 0)
        fd_close(&fd); /* keeps errno */
    return fd;
}

static int walk(struct walk *w, int flags, mode_t mode)
{
    char name[NAME_MAX + 2];

    for (;;) {
        bool is_last = take_component(w, name);

        if (is_last && ((flags & O_NOFOLLOW) || !is_link(w, name)))
            return open_last(w, name, flags, mode);
        if (step(w, name) < 0)
            return -1;
    }
}

int safe_open(const char *path, int flags, mode_t mode, const struct privileges *workers)
{
    struct walk w = {.workers = workers, .dir_fd = -1};

    if (workers->uid == geteuid() || workers->uid == 0)
        return open(path, flags | O_CLOEXEC, mode);
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof(w.rest) || (path[len - 1] == '/' && !(flags & O_DIRECTORY))) {
        errno = len == 0 ? ENOENT : len >= sizeof(w.rest) ? ENAMETOOLONG : EISDIR;
        return -1;
    }
    memcpy(w.rest, path, len + 1);
    w.dir_fd = open(path[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = w.dir_fd < 0 ? -1 : walk(&w, flags, mode);
    fd_close(&w.dir_fd); /* keeps errno */
    return fd;
}

const char *safe_open_reason(int error_number)
{
    switch (error_number) {
    case ELOOP:
        return "it is, or leads through, a symbolic link that the user of the workers could "
               "have placed; it is not followed";
    case EMLINK:
        return "it is a second name (hard link) of a file that the user of the workers could "
               "have placed";
    default: return strerror(error_number);
    }
}

/* Could the user replace the last component of path, which may not exist yet? */
static bool is_replaceable(const char *dir, const char *path, const struct privileges *workers)
{
    struct stat around, st;

    if (stat(dir, &around) < 0)
        return false;
    if (lstat(path, &st) < 0)
        return may_write(workers, &around);
    return may_have_placed(workers, &around, &st);
}

char *safe_open_shared_dir(const char *path, const struct privileges *workers)
{
    char *at = path_absolute(path), *dir = NULL;
    bool is_shared = false;

    if (workers->uid == geteuid() || workers->uid == 0) {
        free(at);
        return NULL;
    }
    while (!is_shared && strcmp(at, "/") != 0 && strcmp(at, ".") != 0) {
        free(dir);
        dir = path_dir(at);
        is_shared = is_replaceable(dir, at, workers);
        free(at);
        at = xstrdup(dir);
    }
    free(at);
    if (is_shared)
        return dir;
    free(dir);
    return NULL;
}
