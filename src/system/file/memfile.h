/* SPDX-License-Identifier: MIT
 *
 * memfile - a file in memory without a name, to be mapped by several processes or handed to one.
 * Both functions return a descriptor that is readable, writable and close-on-exec, or -1 with
 * errno. name is for /proc alone.
 */
#ifndef GCORN_SYSTEM_FILE_MEMFILE_H
#define GCORN_SYSTEM_FILE_MEMFILE_H

/* memfd_create(2): takes seals, and cannot be executed as a program where the kernel knows that
 * (Linux 6.3). EPERM, EACCES or ENOSYS: a sandbox refuses it. */
int memfile_sealable(const char *name);

/* The same, or an unlinked file of /dev/shm, $TMPDIR or /tmp where that is refused. */
int memfile_new(const char *name);

#endif
