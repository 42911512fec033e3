/* SPDX-License-Identifier: MIT
 *
 * spool - a body of any length: in memory up to a limit, past it in an unlinked file, so that a
 * large upload costs disk and not memory, and nothing is left behind whatever happens. What comes
 * in small pieces is gathered before it is written, so a body costs no system call a piece.
 *
 * Life: spool_init, spool_append..., spool_finish, then read, spool_release. File operations may
 * block on the disk, never on a peer.
 */
#ifndef GCORN_BASE_SPOOL_H
#define GCORN_BASE_SPOOL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What the files of many spools may hold together. Spools may be released in any thread. */
struct spool_budget {
    uint64_t max; /* bytes; 0: any number */
    _Atomic uint64_t used;
};

struct spool {
    char *mem; /* all bytes while fd < 0, NUL-followed; else the last ones, which the file lacks */
    uint32_t mem_cap;
    uint32_t mem_max;
    uint64_t len;
    const char *dir; /* borrowed: where the file is made */
    struct spool_budget *budget;
    int fd;            /* -1 while in memory */
    uint32_t gathered; /* bytes in mem that the file lacks */
    char *map;         /* by spool_map */
    size_t map_len;
};

/* Allocates nothing. dir and budget (NULL: unlimited) are borrowed and must outlive the spool.
 * mem_max is below 2 GiB. */
void spool_init(struct spool *s, size_t mem_max, const char *dir, struct spool_budget *budget);
void spool_release(struct spool *s);

/* 0, or -1 with errno (ENOSPC, EDQUOT, EMFILE, ...; ENOBUFS: past the budget); what was appended
 * before is kept. */
int spool_append(struct spool *s, const void *data, size_t len);

/* All has been appended: writes what is gathered. 0, or -1 with errno, as of spool_append. */
int spool_finish(struct spool *s);

/* Up to size bytes from offset; 0 at the end, -1 with errno. */
ssize_t spool_read(const struct spool *s, uint64_t offset, void *buf, size_t size);

/* All of it as one piece followed by a NUL, valid and unchanged until spool_release; "" when empty.
 * Finishes it: nothing may be appended afterwards. NULL with errno when the file cannot be written
 * or mapped. */
const char *spool_map(struct spool *s);

#endif
