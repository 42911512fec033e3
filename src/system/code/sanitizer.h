/* SPDX-License-Identifier: MIT
 *
 * sanitizer - how the sanitizers behave in gcorn; compiled only with SANITIZE. Their libraries look
 * for these functions by name before main, and what the environment says (ASAN_OPTIONS and the
 * like) comes after and wins.
 *
 * A report ends in SIGABRT, not in an exit status of the sanitizer's own: then it goes the way of
 * every crash, its client is answered, and the log names the request. Plain faults are left to
 * gcorn's handler, which has a stack of its own. Leaks are looked for when a process exits; they
 * end in SIGABRT too.
 */
#ifndef GCORN_SYSTEM_CODE_SANITIZER_H
#define GCORN_SYSTEM_CODE_SANITIZER_H

#include <stddef.h>

#define SANITIZER_EXPORT __attribute__((visibility("default"))) /* for their libraries */

/* Options as in the variables ASAN_OPTIONS, UBSAN_OPTIONS and TSAN_OPTIONS. */
SANITIZER_EXPORT const char *__asan_default_options(void);
SANITIZER_EXPORT const char *__ubsan_default_options(void);
SANITIZER_EXPORT const char *__tsan_default_options(void);

/* LeakSanitizer's, and NULL without it. It does not look into mappings: what is reachable from one
 * alone has leaked, unless it is told of the mapping. */
void __lsan_register_root_region(const void *p, size_t size) __attribute__((weak));

#endif
