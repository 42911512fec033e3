/* SPDX-License-Identifier: MIT
 *
 * temp_dir - a directory for a group of tests: temp_dir_make and temp_dir_remove are its set-up and
 * tear-down. It must be empty again at the end, so that a file left behind fails.
 */
#ifndef GCORN_TESTS_UNIT_TEMP_DIR_H
#define GCORN_TESTS_UNIT_TEMP_DIR_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char temp_dir[32];

static int temp_dir_make(void **state)
{
    (void)state;
    (void)snprintf(temp_dir, sizeof(temp_dir), "/tmp/gcorn-test-XXXXXX");
    return mkdtemp(temp_dir) ? 0 : -1;
}

static int temp_dir_remove(void **state)
{
    (void)state;
    return rmdir(temp_dir);
}

#endif
