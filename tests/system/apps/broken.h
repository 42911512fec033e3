/* SPDX-License-Identifier: MIT
 *
 * broken - applications that do not even load: with CRASHES they fault in a constructor, with
 * LEAVES they call exit(0) there.
 */
#ifndef GCORN_TESTS_BROKEN_H
#define GCORN_TESTS_BROKEN_H

#include <stdint.h>
#include <stdlib.h>

#ifdef CRASHES
static volatile uintptr_t nowhere = 64; /* volatile: the compiler would warn */

__attribute__((constructor)) static void crash(void)
{
    *(volatile int *)nowhere = 1;
}
#endif

#ifdef LEAVES
__attribute__((constructor)) static void leave(void)
{
    exit(0);
}
#endif

#endif
