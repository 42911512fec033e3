/* SPDX-License-Identifier: MIT
 *
 * image - an application's shared object as a private copy in memory, with the private libraries
 * that it brings. A generation of workers maps the copy, so nothing that is done to the file on
 * disk (replaced, overwritten, truncated, deleted) reaches a running worker, and a worker that is
 * started a week later runs the same code as its siblings.
 *
 * Private are the libraries that the object finds through its own RPATH or RUNPATH ($ORIGIN and
 * all); those of the system are left to the dynamic loader. Two things remain outside. A private
 * library without SONAME, which the loader could not recognise as loaded: the application is then
 * loaded from disk, with a warning, as it is where the system allows no files in memory or shows no
 * /proc. And what the application itself opens with dlopen.
 *
 * A copy in memory has a name that debuggers find, and that profilers and valgrind do not: they
 * read the file that a mapping names. With app_copy_dir the copies are files (copies.h).
 *
 * Nothing of the object runs here; it is read as a file.
 */
#ifndef GCORN_SYSTEM_CODE_IMAGE_H
#define GCORN_SYSTEM_CODE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "system/code/copies.h"

struct error;

enum { IMAGE_PARTS_MAX = 64, IMAGE_NAME_SIZE = 4096 };

/* One file. */
struct image_part {
    char *path; /* where it was found */
    int fd;     /* the copy, a sealed memfd, or the file where none can be made; close-on-exec */
    char *copy; /* the copy's file, in app_copy_dir; NULL: it has none */
};

struct image {
    struct image_part parts[IMAGE_PARTS_MAX]; /* libraries before the objects that need
                                                 them; the application is the last */
    size_t count;
    struct copies copies; /* where they lie as files */
    bool from_disk;       /* a copy would not find its libraries: load the files themselves */
    char build_id[41];    /* the application's, in hex (cut after 20 bytes); "" when it has none */
};

/* Copies the object at path and its private libraries: into memory, or as files into home unless
 * that is NULL. A file that changes while it is copied is refused, because
 * another program is writing it. 0, or -1 with err (EXIT_APP; EXIT_FAILED for home) and nothing
 * open. */
int image_open(struct image *image, const char *path, const struct copies_home *home,
               struct error *err);

/* Closes the copies, and in the process that has made them removes their files; what is mapped
 * stays mapped. Harmless on a closed or zeroed one. */
void image_close(struct image *image);

/* The name under which the dynamic loader finds a part: its copy's file, or "/proc/4711/fd/7", with
 * this process's pid, so that a debugger, which resolves the name in its own process, finds the
 * same file. Returns 0; or -1 with errno when there is no such name, which is logged once: then the
 * part's path is its name. */
int image_part_name(const struct image_part *part, char *name, size_t size);

#endif
