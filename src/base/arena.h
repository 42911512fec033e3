/* SPDX-License-Identifier: MIT
 *
 * arena - memory that is freed all at once: everything that a request makes is in one arena.
 * Nothing in it is freed alone.
 *
 * Life: arena_init (allocates nothing; a zeroed struct is valid, too), arena_alloc..., then
 * arena_reset to use it again (it keeps its first block) or arena_release. Not thread-safe.
 */
#ifndef GCORN_BASE_ARENA_H
#define GCORN_BASE_ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *block; /* the newest, which is being filled; it points to older ones */
    char *next;                /* the first free byte in it */
    char *end;
    bool is_fixed; /* by arena_init_fixed */
};

void arena_init(struct arena *a);

/* An arena of this memory alone, which is aligned for any object: it calls no malloc. An allocation
 * that does not fit aborts. It must not be reset or released. */
void arena_init_fixed(struct arena *a, void *memory, size_t size);

void arena_reset(struct arena *a);   /* frees all blocks but the first, ordinary-sized one */
void arena_release(struct arena *a); /* frees everything */

/* Returns size bytes, aligned for any object, not zeroed. Aborts when memory is out. */
void *arena_alloc(struct arena *a, size_t size);

/* A copy of len bytes with a NUL; of a string; a formatted string. */
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

#endif
