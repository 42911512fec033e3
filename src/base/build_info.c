/* SPDX-License-Identifier: MIT
 *
 * See build_info.h. The Makefile passes the options to this file alone.
 */
#include "base/build_info.h"

#include <features.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

#include "base/strbuf.h"

#ifndef BUILD_OPTIONS
#define BUILD_OPTIONS "unknown"
#endif

#ifdef __clang__
#define COMPILER "" /* its __VERSION__ names it */
#else
#define COMPILER "gcc "
#endif

#if defined(__x86_64__)
#define TARGET "x86_64"
#elif defined(__aarch64__)
#define TARGET "aarch64"
#elif defined(__riscv)
#define TARGET "riscv"
#else
#define TARGET "another processor"
#endif

static void add_c_library(struct strbuf *out)
{
#ifdef __GLIBC__
    strbuf_addf(out, "glibc %s", gnu_get_libc_version());
#else
    strbuf_addstr(out, "another C library than glibc");
#endif
}

void build_info_add(struct strbuf *out)
{
    strbuf_addstr(out, "compiler: " COMPILER __VERSION__ " for " TARGET ", running with ");
    add_c_library(out);
    strbuf_addstr(out, "\noptions: " BUILD_OPTIONS);
#ifdef _FORTIFY_SOURCE
    strbuf_addf(out, " -D_FORTIFY_SOURCE=%d", _FORTIFY_SOURCE);
#endif
    strbuf_addch(out, '\n');
}
