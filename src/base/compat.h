/* SPDX-License-Identifier: MIT
 *
 * compat - functions of glibc 2.32 for C libraries that lack them: an older glibc (Debian 11 has
 * 2.31) and musl. To be included where one of them is used; with a new glibc it declares nothing.
 * `make musl` compiles all of gcorn with them.
 *
 * With COMPAT_ALL, for their test, they exist in addition to glibc's, as compat_sigabbrev_np and so
 * on.
 */
#ifndef GCORN_BASE_COMPAT_H
#define GCORN_BASE_COMPAT_H

#include <dlfcn.h>
#include <features.h>
#include <stddef.h>
#include <sys/uio.h>

#ifdef __GLIBC_PREREQ
#define COMPAT_GLIBC(major, minor) __GLIBC_PREREQ(major, minor)
#else
#define COMPAT_GLIBC(major, minor) 0
#endif

#if defined(COMPAT_ALL) || !COMPAT_GLIBC(2, 32)
#define COMPAT_HAS_TEXTS
/* "TERM" and "Terminated", in English in every locale; NULL for numbers without a name, such as
 * real-time signals. Async-signal-safe. */
const char *compat_sigabbrev_np(int number);
const char *compat_sigdescr_np(int number);
/* "No such file or directory", in English in every locale. Never NULL. */
const char *compat_strerrordesc_np(int error_number);
#endif

#if defined(COMPAT_ALL) || !COMPAT_GLIBC(2, 1)
#define COMPAT_HAS_REST
/* Does nothing: musl's free() returns memory to the kernel itself. Returns 0. */
int compat_malloc_trim(size_t pad);
/* Has exit() call function(-1, argument): the status is unknown there. One call per process.
 * Returns 0, or -1. */
int compat_on_exit(void (*function)(int status, void *argument), void *argument);
/* *extra is NULL: musl does not tell the symbol's entry. */
int compat_dladdr1(const void *address, Dl_info *info, void **extra, int flags);
#endif

#if defined(COMPAT_ALL) || !defined(RWF_NOWAIT) /* musl has both since 1.2.5 */
#define COMPAT_HAS_PWRITEV2
ssize_t compat_pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags);
#endif

#ifndef COMPAT_ALL
#ifdef COMPAT_HAS_TEXTS
#define sigabbrev_np    compat_sigabbrev_np
#define sigdescr_np     compat_sigdescr_np
#define strerrordesc_np compat_strerrordesc_np
#endif
#ifdef COMPAT_HAS_REST
#define malloc_trim   compat_malloc_trim
#define on_exit(f, a) compat_on_exit(f, a) /* there is a setting of that name */
#define dladdr1       compat_dladdr1
enum { RTLD_DL_SYMENT = 1 };
#endif
#ifdef COMPAT_HAS_PWRITEV2
#define pwritev2   compat_pwritev2
#define RWF_NOWAIT 0x8
#endif
#endif

#endif
