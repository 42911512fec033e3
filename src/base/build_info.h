/* SPDX-License-Identifier: MIT
 *
 * build_info - how the program was built: what --version prints after the version.
 */
#ifndef GCORN_BASE_BUILD_INFO_H
#define GCORN_BASE_BUILD_INFO_H

struct strbuf;

/* Appends lines: the compiler, its target and the C library that the program runs with; the options
 * that change its code (optimisation, hardening, sanitizers, LTO). */
void build_info_add(struct strbuf *out);

#endif
