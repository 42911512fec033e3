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
 * loaded from disk, with a warning. And what the application itself opens with dlopen.
 *
 * Nothing of the object runs here; it is read as a file.
 */
#ifndef GCORN_SYSTEM_IMAGE_H
#define GCORN_SYSTEM_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

struct error;

enum { IMAGE_PARTS_MAX = 64 };

/* One file. */
struct image_part {
    char *path; /* where it was found */
    int fd;     /* the copy, a memfd, close-on-exec */
};

struct image {
    struct image_part parts[IMAGE_PARTS_MAX]; /* a library stands before who needs it; the
                                                 application is the last */
    size_t count;
    bool from_disk;    /* a copy would not find its libraries: load the files themselves */
    char build_id[41]; /* the application's, in hex (cut after 20 bytes); "" when it has none */
};

/* Copies the object at path and its private libraries. A file that changes while it is copied is
 * refused: somebody is writing it. 0, or -1 with err (EXIT_APP) and nothing open. */
int image_open(struct image *image, const char *path, struct error *err);

/* Closes the copies; what is mapped stays mapped. Harmless on a closed or zeroed one. */
void image_close(struct image *image);

/* The name under which the dynamic loader finds a part: "/proc/self/fd/7". */
void image_part_name(const struct image_part *part, char *name, size_t size);

#endif
