/* SPDX-License-Identifier: MIT
 *
 * version - what gcorn --version prints.
 */
#ifndef GCORN_VERSION_H
#define GCORN_VERSION_H

/* Prints the version, the ABI of gcorn.h, the libraries with their versions, and how gcorn was built,
 * to standard output. The caller asks ferror. */
void version_print(void);

#endif
