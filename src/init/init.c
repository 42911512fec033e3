/* SPDX-License-Identifier: MIT
 *
 * See init.h.
 */
#include "init/init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/error.h"
#include "base/util.h"
#include "init/files.h"

static int fail(struct error *err, const char *path, const char *name)
{
    return error_set(err, EXIT_FAILED, "--init %s: cannot write %s: %s", path, name,
                     ascii_error(errno));
}

/* Opens the directory, which is made if need be. Returns its descriptor, or -1 with errno. */
static int open_directory(const char *path, bool *made)
{
    *made = mkdir(path, 0777) == 0;
    if (!*made && errno != EEXIST)
        return -1;
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Returns 1 or 0, or -1 with errno. */
static int is_empty(int dir)
{
    int own = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = own < 0 ? NULL : fdopendir(own);
    const struct dirent *entry;
    int empty = 1;

    if (!list) {
        if (own >= 0)
            (void)close(own);
        return -1;
    }
    while (empty && (entry = readdir(list)))
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    (void)closedir(list);
    return empty;
}

static int write_file(int dir, const struct init_file *file)
{
    int fd = openat(dir, file->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

    if (fd < 0)
        return -1;
    int result = write_all(fd, file->data, (size_t)(file->end - file->data));
    fd_close(&fd); /* keeps errno */
    if (result < 0)
        (void)unlinkat(dir, file->name, 0);
    return result;
}

/* Writes all files, or none. */
static int write_files(int dir, const char *path, struct error *err)
{
    size_t count;
    const struct init_file *files = init_files(&count);

    for (size_t i = 0; i < count; i++) {
        if (write_file(dir, &files[i]) == 0)
            continue;
        (void)fail(err, path, files[i].name);
        while (i-- > 0)
            (void)unlinkat(dir, files[i].name, 0);
        return -1;
    }
    return 0;
}

static int fill(int dir, const char *path, struct error *err)
{
    switch (is_empty(dir)) {
    case 1: return write_files(dir, path, err);
    case 0:
        return error_set(err, EXIT_USAGE,
                         "--init %s: the directory is not empty: name one that is, or a new one",
                         path);
    default: return fail(err, path, "there");
    }
}

static void print_next_steps(FILE *out, const char *path)
{
    size_t count;
    const struct init_file *files = init_files(&count);

    (void)fprintf(out, "wrote %s:", path);
    for (size_t i = 0; i < count; i++)
        (void)fprintf(out, " %s", files[i].name);
    (void)fprintf(out,
                  "\n\n"
                  "  cd %s\n"
                  "  make run     compiles handler.c and serves it on http://127.0.0.1:8000/\n"
                  "  make test    runs its tests\n",
                  path);
}

int init_write(const char *path, FILE *out, struct error *err)
{
    bool made;
    int dir = open_directory(path, &made);

    if (dir < 0)
        return error_set(err, EXIT_FAILED, "--init %s: cannot make the directory: %s", path,
                         ascii_error(errno));
    int result = fill(dir, path, err);
    fd_close(&dir);
    if (result < 0 && made)
        (void)rmdir(path);
    if (result == 0)
        print_next_steps(out, path);
    return result;
}
