/* SPDX-License-Identifier: MIT
 *
 * spool - a body of any length: in memory up to a limit, past it in an unlinked file, so that a
 * large upload costs disk and not memory, and nothing is left behind whatever happens.
 *
 * Life: spool_init, spool_append..., then read, spool_release. File operations may block on the
 * disk, never on a peer.
 */
#ifndef GCORN_BASE_SPOOL_H
#define GCORN_BASE_SPOOL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct spool {
    char *mem; /* all bytes while fd < 0, NUL-followed; NULL while empty */
    size_t mem_cap;
    size_t mem_max;
    uint64_t len;
    const char *dir; /* borrowed: where the file is made */
    int fd;          /* -1 while in memory */
    char *map;       /* by spool_map */
    size_t map_len;
};

/* Allocates nothing. dir is borrowed and must outlive the spool. */
void spool_init(struct spool *s, size_t mem_max, const char *dir);
void spool_release(struct spool *s);

/* 0, or -1 with errno (ENOSPC, EDQUOT, EMFILE, ...); what was appended before is kept. */
int spool_append(struct spool *s, const void *data, size_t len);

/* Up to size bytes from offset; 0 at the end, -1 with errno. */
ssize_t spool_read(const struct spool *s, uint64_t offset, void *buf, size_t size);

/* All of it as one piece followed by a NUL, valid and unchanged until spool_release; "" when empty.
 * Nothing may be appended afterwards. NULL with errno when the file cannot be mapped. */
const char *spool_map(struct spool *s);

#endif
