/* SPDX-License-Identifier: MIT
 *
 * spool - a body of any length: a short one in memory, a longer one in a recycled buffer while the
 * pool has one, any other in an unlinked file, so that a large upload costs disk instead of memory,
 * and no file stays behind. Small pieces are gathered before they are written.
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

struct buffer;
struct buffer_pool;

/* A limit on the files of many spools together. Spools may be released in any thread. */
struct spool_budget {
    uint64_t max; /* bytes; 0: no limit */
    _Atomic uint64_t used;
};

/* Where spools keep their bytes. All is borrowed and outlives them. */
struct spool_place {
    size_t mem_max;           /* bytes of a spool that are always kept in memory; below 2 GiB */
    struct buffer_pool *pool; /* for up to SPOOL_BUFFER_MAX bytes of it; NULL: none */
    const char *dir;          /* of the file */
};

enum {
    SPOOL_BUFFER_MIN = 16 * 1024,   /* up to here a buffer of the pool is not worth it */
    SPOOL_BUFFER_MAX = 1024 * 1024, /* longer spools are files */
};

/* Counts len bytes: 0, or -1 with ENOBUFS, and nothing is counted. And back. b may be NULL. */
int spool_budget_take(struct spool_budget *b, uint64_t len);
void spool_budget_give_back(struct spool_budget *b, uint64_t len);

/* A file without a name in dir, marked as the server's (owned.h); -1 with errno. The caller closes
 * it with owned_close. */
int spool_open_file(const char *dir);

struct spool {
    char *mem; /* all bytes and a NUL while fd < 0; else the last ones, not yet in the file */
    size_t mem_cap;
    struct buffer *buffer; /* of the pool, which mem is in; NULL: mem is of its own */
    uint64_t len;
    const struct spool_place *place;
    struct spool_budget *budget;
    uint64_t expected; /* bytes in all; 0: unknown */
    int fd;            /* -1 while in memory */
    uint32_t gathered; /* bytes in mem that are not yet in the file */
    char *map;         /* of spool_map */
    size_t map_len;
};

/* Allocates nothing. place and budget (NULL: unlimited) are borrowed and must outlive the spool. */
void spool_init(struct spool *s, const struct spool_place *place, struct spool_budget *budget);
void spool_release(struct spool *s);

/* So many bytes will be appended in all, at most: more than SPOOL_BUFFER_MAX take no buffer first. */
static inline void spool_expect(struct spool *s, uint64_t len)
{
    s->expected = len;
}

/* Appends a copy, or what was written to spool_room. Returns 0, or -1 with errno (ENOSPC, EDQUOT, EMFILE, ...; ENOBUFS: the budget is
 * used up); what was appended before is kept. */
int spool_append(struct spool *s, const void *data, size_t len);

/* Memory to which the caller may write the bytes that it will append next, which then copies none:
 * *size bytes, at most `want`, and what is in it is undefined. NULL: append as always; it would only
 * be a copy more for few bytes (want tells how many are expected), or the spool has no buffer of the
 * pool, or the pool is used up. Valid until the next call of a function of this spool. */
char *spool_room(struct spool *s, uint64_t want, size_t *size);

/* Ends the appending: writes what is gathered. Returns 0, or -1 with errno as spool_append does. */
int spool_finish(struct spool *s);

/* Reads up to size bytes from offset. Returns how many, 0 at the end, or -1 with errno. */
ssize_t spool_read(const struct spool *s, uint64_t offset, void *buf, size_t size);

/* The whole body followed by a NUL, valid and unchanged until spool_release; "" when it is empty.
 * Ends the appending. NULL with errno when the file cannot be written or mapped. */
const char *spool_map(struct spool *s);

#endif
