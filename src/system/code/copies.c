/* SPDX-License-Identifier: MIT
 *
 * See copies.h. The master may be root, and the directory is one that others can write to at worst:
 * nothing here follows a link, and only directories of the caller's own user are removed.
 *
 * A directory that was just made has no lock for a moment, in which another server that starts may
 * take it for a left one. Its maker finds that it is gone once it has the lock, and makes it again.
 */
#include "system/code/copies.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"

enum { TRIES_MAX = 100 };

/* "4711-2", or "4711-2-1" where servers of several pid namespaces share the directory. */
static bool is_name(const char *name)
{
    static const char digits[] = "0123456789";
    int parts = 0;

    for (;;) {
        size_t len = strspn(name, digits);

        parts++;
        if (len == 0 || parts > 3)
            return false;
        name += len;
        if (*name == '\0')
            return parts >= 2;
        if (*name++ != '-')
            return false;
    }
}

/* A second descriptor, because closedir closes its own. NULL with errno. */
static DIR *list(int fd)
{
    int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = again < 0 ? NULL : fdopendir(again);

    if (!dir)
        fd_close(&again);
    return dir;
}

static void remove_files(int fd)
{
    const struct dirent *entry;
    DIR *dir = list(fd);

    while (dir && (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(fd, entry->d_name, 0); /* failed: the directory stays, too */
    }
    if (dir)
        (void)closedir(dir);
}

static void remove_left(int parent_fd, const char *name)
{
    struct stat st;
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
        flock(fd, LOCK_EX | LOCK_NB) == 0) {
        remove_files(fd);
        (void)unlinkat(parent_fd, name, AT_REMOVEDIR);
    }
    fd_close(&fd);
}

static void remove_all_left(int parent_fd)
{
    const struct dirent *entry;
    DIR *dir = list(parent_fd);

    while (dir && (entry = readdir(dir))) {
        if (is_name(entry->d_name))
            remove_left(parent_fd, entry->d_name);
    }
    if (dir)
        (void)closedir(dir);
}

/* Makes one directory and locks it. Its descriptor, or -1 with errno: EEXIST, another one has the
 * name; EAGAIN, a server that starts has removed it, or is about to. */
static int make_locked(int parent_fd, const char *name)
{
    struct stat st;

    if (mkdirat(parent_fd, name, 0755) < 0)
        return -1;
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0 &&
        fchmod(fd, 0755) == 0) /* whatever the umask: the workers' user reads it */
        return fd;
    fd_close(&fd);
    errno = EAGAIN;
    return -1;
}

static int make(struct copies *c, int parent_fd, const char *dir, const struct copies_home *home)
{
    char name[64];

    for (unsigned i = 0; i < TRIES_MAX; i++) {
        int len = snprintf(name, sizeof(name), "%d-%u", (int)home->owner, home->generation);

        if (i > 0)
            (void)snprintf(name + len, sizeof(name) - (size_t)len, "-%u", i);
        c->fd = make_locked(parent_fd, name);
        if (c->fd >= 0) {
            c->path = xasprintf("%s/%s", dir, name);
            return 0;
        }
        if (errno != EEXIST && errno != EAGAIN)
            return -1;
    }
    return -1;
}

int copies_open(struct copies *c, const struct copies_home *home, struct error *err)
{
    char *real = realpath(home->dir, NULL);
    int parent_fd = real ? open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int result = -1;

    *c = (struct copies){.fd = -1, .maker = getpid()};
    if (parent_fd < 0) {
        (void)error_set(err, EXIT_FAILED, "app_copy_dir: cannot open the directory %s: %s",
                        home->dir, strerror(errno));
    } else {
        remove_all_left(parent_fd);
        result = make(c, parent_fd, real, home);
        if (result < 0)
            (void)error_set(err, EXIT_FAILED, "app_copy_dir: cannot make a directory in %s: %s",
                            home->dir, strerror(errno));
    }
    fd_close(&parent_fd);
    free(real);
    return result;
}

int copies_make(struct copies *c, const char *name, char **path)
{
    char other[300];
    int fd = -1;

    /* two libraries of the same name come from different directories */
    for (unsigned i = 1; i < TRIES_MAX && fd < 0; i++) {
        if (i > 1)
            (void)snprintf(other, sizeof(other), "%u-%.255s", i, name);
        const char *tried = i > 1 ? other : name;

        fd = openat(c->fd, tried, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
        if (fd >= 0)
            *path = xasprintf("%s/%s", c->path, tried);
        else if (errno != EEXIST)
            break;
    }
    return fd;
}

int copies_finish(const char *path, int *fd)
{
    const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC; /* no FIFO holds the master */
    struct stat written, read;
    int reader = fchmod(*fd, 0444) < 0 || fstat(*fd, &written) < 0 ? -1 : open(path, flags);

    if (reader >= 0 && (fstat(reader, &read) < 0 || read.st_dev != written.st_dev ||
                        read.st_ino != written.st_ino)) {
        fd_close(&reader);
        errno = EEXIST; /* another process has replaced the file in the directory */
    }
    fd_close(fd);
    *fd = reader;
    return reader < 0 ? -1 : 0;
}

void copies_close(struct copies *c)
{
    if (!c->path)
        return;
    if (c->maker == getpid()) {
        remove_files(c->fd);
        (void)rmdir(c->path); /* failed: the next start removes it */
    }
    fd_close(&c->fd);
    free(c->path);
    c->path = NULL;
}
