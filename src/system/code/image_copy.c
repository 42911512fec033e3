/* SPDX-License-Identifier: MIT
 *
 * See image_copy.h.
 */
#include "system/code/image_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "system/code/copies.h"
#include "system/code/image.h"
#include "system/file/memfile.h"

static int copy_bytes(int from, int to, off_t size)
{
    off_t at = 0;

    while (at < size) {
        char block[64 * 1024];
        ssize_t n = pread(from, block, sizeof(block), at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0) {
            errno = ETXTBSY; /* shorter than before: a process is writing it */
            return -1;
        }
        if (write_all(to, block, (size_t)n) < 0)
            return -1;
        at += n;
    }
    return 0;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* A name under which any process finds a descriptor of this one, as long as this one lives: the
 * pid is what /proc calls it, which in a pid namespace need not be getpid(). 0, or -1 with errno:
 * /proc does not show the descriptor. */
static int name_fd(int fd, char *name, size_t size)
{
    struct stat shown, st;
    char self[16];
    ssize_t len = readlink("/proc/self", self, sizeof(self) - 1);

    if (len < 0)
        return -1;
    self[len] = '\0';
    (void)snprintf(name, size, "/proc/%s/fd/%d", self, fd);
    if (stat(name, &shown) < 0 || fstat(fd, &st) < 0)
        return -1;
    if (shown.st_dev == st.st_dev && shown.st_ino == st.st_ino)
        return 0;
    errno = ENOENT;
    return -1;
}

/* The server works without private copies; this line is the only difference that an operator sees.
 * It is logged once in a process, whatever the number of reloads. errno says why. */
static void tell_from_disk(const char *what)
{
    static bool told;

    if (!told)
        log_warnx("%s: %s: the application is loaded from its file, not from a private copy; "
                  "replace the file by rename, do not overwrite it",
                  what, strerror(errno));
    told = true;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Copies size bytes of fd into a sealed file in memory. Its descriptor; -1 with errno, and
 * *is_refused when this system allows no such file. */
static int copy_to_memory(const char *path, int fd, off_t size, bool *is_refused)
{
    int copy = memfile_sealable(base_name(path));
    char name[IMAGE_NAME_SIZE];

    if (copy < 0) {
        *is_refused = errno == ENOSYS || errno == EPERM || errno == EACCES;
        if (*is_refused)
            tell_from_disk("memfd_create");
    } else if (name_fd(copy, name, sizeof(name)) < 0) {
        *is_refused = true;
        tell_from_disk("/proc/self/fd");
        fd_close(&copy);
    } else if (copy_bytes(fd, copy, size) < 0) {
        fd_close(&copy);
    } else { /* a wild write of one worker must not reach the others; refused: it can */
        (void)fcntl(copy, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    }
    return copy;
}

/* The same into a file of app_copy_dir, which *name is. */
static int copy_to_file(struct copies *copies, const char *path, int fd, off_t size, char **name)
{
    int copy = copies_make(copies, base_name(path), name);

    if (copy >= 0 && copy_bytes(fd, copy, size) < 0)
        fd_close(&copy);
    if (copy >= 0)
        (void)copies_finish(*name, &copy); /* failed: copy is -1 */
    return copy;
}

int image_copy_part(struct image *image, struct image_part *part)
{
    struct stat before, after;
    bool is_refused = false;
    /* no FIFO holds the master, which would wait for its writer */
    int fd = open(part->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0 || fstat(fd, &before) < 0)
        goto out;
    if (!S_ISREG(before.st_mode)) {
        errno = EINVAL;
        goto out;
    }
    if (image->copies.path)
        part->fd = copy_to_file(&image->copies, part->path, fd, before.st_size, &part->copy);
    else
        part->fd = copy_to_memory(part->path, fd, before.st_size, &is_refused);
    if (is_refused) {
        image->from_disk = true;
        part->fd = fd;
        return 0;
    }
    if (part->fd < 0)
        goto out;
    if (stat(part->path, &after) < 0) {
        fd_close(&part->fd);
    } else if (!same_file(&before, &after)) {
        fd_close(&part->fd);
        errno = ETXTBSY;
    }
out:
    fd_close(&fd);
    return part->fd < 0 ? -1 : 0;
}

int image_part_name(const struct image_part *part, char *name, size_t size)
{
    if (part->copy) {
        int len = snprintf(name, size, "%s", part->copy);

        errno = ENAMETOOLONG;
        return len < 0 || (size_t)len >= size ? -1 : 0;
    }
    if (name_fd(part->fd, name, size) == 0)
        return 0;
    tell_from_disk("/proc/self/fd");
    return -1;
}
