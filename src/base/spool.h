/* SPDX-License-Identifier: MIT
 *
 * spool - a body of any length: in memory up to a limit, then in an unlinked file, so that a large
 * upload costs disk instead of memory, and no file stays behind. Small pieces are gathered before
 * they are written.
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

/* A limit on the files of many spools together. Spools may be released in any thread. */
struct spool_budget {
    uint64_t max; /* bytes; 0: no limit */
    _Atomic uint64_t used;
};

struct spool {
    char *mem; /* all bytes and a NUL while fd < 0; else the last ones, not yet in the file */
    uint32_t mem_cap;
    uint32_t mem_max;
    uint64_t len;
    const char *dir; /* borrowed: where the file is made */
    struct spool_budget *budget;
    int fd;            /* -1 while in memory */
    uint32_t gathered; /* bytes in mem that are not yet in the file */
    char *map;         /* of spool_map */
    size_t map_len;
};

/* Allocates nothing. dir and budget (NULL: unlimited) are borrowed and must outlive the spool.
 * mem_max is below 2 GiB. */
void spool_init(struct spool *s, size_t mem_max, const char *dir, struct spool_budget *budget);
void spool_release(struct spool *s);

/* Appends a copy. Returns 0, or -1 with errno (ENOSPC, EDQUOT, EMFILE, ...; ENOBUFS: the budget is
 * used up); what was appended before is kept. */
int spool_append(struct spool *s, const void *data, size_t len);

/* Ends the appending: writes what is gathered. Returns 0, or -1 with errno as spool_append does. */
int spool_finish(struct spool *s);

/* Reads up to size bytes from offset. Returns how many, 0 at the end, or -1 with errno. */
ssize_t spool_read(const struct spool *s, uint64_t offset, void *buf, size_t size);

/* The whole body followed by a NUL, valid and unchanged until spool_release; "" when it is empty.
 * Ends the appending. NULL with errno when the file cannot be written or mapped. */
const char *spool_map(struct spool *s);

#endif
