/* SPDX-License-Identifier: MIT
 *
 * made_up_root - a directory with a tree of /proc and /sys in it, for tests of what reads those.
 * make_root and remove_root are a test's setup and teardown.
 */
#ifndef TESTS_MADE_UP_ROOT_H
#define TESTS_MADE_UP_ROOT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"

static inline int make_root(void **state)
{
    char *root = xstrdup("/tmp/gcorn-root-XXXXXX");

    *state = root;
    return mkdtemp(root) ? 0 : -1;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline int remove_root(void **state)
{
    int rc = nftw(*state, remove_one, 16, FTW_DEPTH | FTW_PHYS);

    free(*state);
    return rc;
}

/* Writes root/path, with the directories that it needs. */
static inline void put(const char *root, const char *path, const char *text)
{
    char *full = xasprintf("%s/%s", root, path);

    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        assert_true(mkdir(full, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *f = fopen(full, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    free(full);
}

#endif
