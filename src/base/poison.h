/* SPDX-License-Identifier: MIT
 *
 * poison - tells AddressSanitizer of memory that may not be used now although nothing has freed it.
 * Without AddressSanitizer both do nothing.
 */
#ifndef GCORN_BASE_POISON_H
#define GCORN_BASE_POISON_H

#if defined(__SANITIZE_ADDRESS__)
#define POISON_WORKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISON_WORKS 1
#endif
#endif

#ifdef POISON_WORKS
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#endif
