/* SPDX-License-Identifier: MIT
 *
 * See image.h. The ELF file is read through a mapping of its copy, every offset checked against its
 * size: a file that is still being written must be refused, not crash the master.
 *
 * How the loader finds a part: a worker opens the libraries first, in order, by their descriptors'
 * names. When the application then asks for "libfoo.so.1", the loader recognises the one that is
 * already there by its SONAME and looks no further.
 */
#include "system/code/image.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "system/code/elf_file.h"
#include "system/code/image_copy.h"

/* ---- private libraries ------------------------------------------------------------------- */

/* The directory of a path, in memory of the caller's to free. */
static char *directory_of(const char *path)
{
    char *real = realpath(path, NULL);
    char *dir = real ? real : xstrdup(path);
    char *slash = strrchr(dir, '/');

    if (slash)
        slash[slash == dir] = '\0';
    else
        (void)strcpy(dir, "."); /* NOLINT: a path is never empty */
    return dir;
}

/* Does dir/name exist, dir being one entry of a RUNPATH with $ORIGIN in it? */
static char *find_in(const char *entry, size_t len, const char *origin, const char *name)
{
    static const char *const tokens[] = {"$ORIGIN", "${ORIGIN}"};
    char *path = NULL;

    for (size_t i = 0; i < ARRAY_LEN(tokens) && !path; i++) {
        size_t token = strlen(tokens[i]);

        if (len >= token && memcmp(entry, tokens[i], token) == 0)
            path = xasprintf("%s%.*s/%s", origin, (int)(len - token), entry + token, name);
    }
    if (!path)
        path = xasprintf("%.*s/%s", (int)len, entry, name);
    if (access(path, R_OK) == 0)
        return path;
    free(path);
    return NULL;
}

/* The file of a needed library, if the object itself says where it lies. */
static char *find_private(const char *search, const char *origin, const char *name)
{
    while (search && *search != '\0') {
        size_t len = strcspn(search, ":");
        char *path = len > 0 ? find_in(search, len, origin, name) : NULL;

        if (path)
            return path;
        search += len + (search[len] == ':');
    }
    return NULL;
}

/* The files whose libraries are being looked for, the application's last: libraries may need each
 * other in a circle. */
struct chain {
    const char *path;
    const struct chain *up;
};

static int add_part(struct image *image, const char *path, const struct chain *up,
                    struct error *err);

static bool is_in_chain(const struct chain *chain, const char *path)
{
    while (chain && strcmp(chain->path, path) != 0)
        chain = chain->up;
    return chain != NULL;
}

static bool has_part(const struct image *image, const char *path)
{
    for (size_t i = 0; i < image->count; i++) {
        if (strcmp(image->parts[i].path, path) == 0)
            return true;
    }
    return false;
}

static int add_libraries(struct image *image, const struct elf *e, const struct chain *chain,
                         struct error *err)
{
    uint64_t runpath = elf_dynamic_value(e, DT_RUNPATH), rpath = elf_dynamic_value(e, DT_RPATH);
    const char *search = runpath || rpath ? elf_dynamic_string(e, runpath ? runpath : rpath) : NULL;
    int result = 0;

    if (!search)
        return 0;
    char *origin = directory_of(chain->path);
    for (size_t i = 0; i < e->dynamic_count && result == 0; i++) {
        const char *name = e->dynamic[i].d_tag == DT_NEEDED
                               ? elf_dynamic_string(e, e->dynamic[i].d_un.d_val)
                               : NULL;
        char *library = name && !strchr(name, '/') ? find_private(search, origin, name) : NULL;

        if (library && !has_part(image, library) && !is_in_chain(chain, library))
            result = add_part(image, library, chain, err);
        free(library);
    }
    free(origin);
    return result;
}

static void part_close(struct image_part *part)
{
    fd_close(&part->fd);
    free(part->path);
    free(part->copy);
}

static int explain_copy(const struct image *image, const char *path, const char *kind, int reason,
                        struct error *err)
{
    char cwd[1024];

    if (reason == ETXTBSY)
        return error_set(err, EXIT_APP, "%s changed while it was read: is it being written?", path);
    if (image->copies.path && access(path, R_OK) == 0)
        return error_set(err, EXIT_FAILED, "app_copy_dir: cannot copy %s to %s: %s", path,
                         image->copies.path, strerror(reason));
    return error_set(err, EXIT_APP, "cannot open the %s %s: %s (working directory %s)", kind, path,
                     strerror(reason), getcwd(cwd, sizeof(cwd)) ? cwd : "unknown");
}

/* Copies the file, behind the libraries that it needs. */
static int add_part(struct image *image, const char *path, const struct chain *up,
                    struct error *err)
{
    struct image_part part = {.path = xstrdup(path), .fd = -1};
    const struct chain chain = {path, up};
    struct elf e = {0};
    int result = -1;

    if (image_copy_part(image, &part) < 0) {
        (void)explain_copy(image, path, up ? "library" : "application", errno, err);
        goto out;
    }
    if (elf_map(&e, part.fd, path, err) < 0 || add_libraries(image, &e, &chain, err) < 0)
        goto out;
    if (image->count == IMAGE_PARTS_MAX) {
        (void)error_set(err, EXIT_APP, "%s: more than %d private libraries", path,
                        IMAGE_PARTS_MAX - 1);
        goto out;
    }
    if (!up) {
        elf_build_id(&e, image->build_id, sizeof(image->build_id));
    } else if (elf_dynamic_value(&e, DT_SONAME) == 0 && !image->from_disk) {
        log_warnx("%s has no SONAME (-Wl,-soname): the application is loaded from disk, not from a "
                  "private copy; do not overwrite it",
                  path);
        image->from_disk = true;
    }
    image->parts[image->count++] = part;
    part = (struct image_part){.fd = -1};
    result = 0;
out:
    elf_unmap(&e);
    part_close(&part);
    return result;
}

int image_open(struct image *image, const char *path, const struct copies_home *home,
               struct error *err)
{
    *image = (struct image){0};
    if (home && copies_open(&image->copies, home, err) < 0)
        return -1;
    if (add_part(image, path, NULL, err) == 0)
        return 0;
    image_close(image);
    return -1;
}

void image_close(struct image *image)
{
    for (size_t i = 0; i < image->count; i++)
        part_close(&image->parts[i]);
    image->count = 0;
    copies_close(&image->copies);
}
