/* SPDX-License-Identifier: MIT
 *
 * memfile - a file in memory without a name, for several processes to map or for one to inherit.
 * Both functions return a descriptor that is readable, writable and close-on-exec, or -1 with
 * errno. name is shown in /proc only.
 */
#ifndef GCORN_SYSTEM_FILE_MEMFILE_H
#define GCORN_SYSTEM_FILE_MEMFILE_H

/* A memfd (memfd_create(2)) that can be sealed and, since Linux 6.3, cannot be executed as a
 * program. EPERM, EACCES or ENOSYS: a sandbox forbids it. */
int memfile_sealable(const char *name);

/* The same; where that is forbidden, an unlinked file in /dev/shm, $TMPDIR or /tmp. */
int memfile_new(const char *name);

#endif
