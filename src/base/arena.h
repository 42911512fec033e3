/* SPDX-License-Identifier: MIT
 *
 * arena - memory that is given back all at once: what a request makes lives in one arena and ends
 * with it. Nothing in it is freed singly.
 *
 * Life: arena_init (allocates nothing; a zeroed struct will do), arena_alloc..., then arena_reset
 * to use it anew (it keeps its first block) or arena_release.
 */
#ifndef GCORN_BASE_ARENA_H
#define GCORN_BASE_ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *block; /* the one being filled, the newest; older ones hang behind it */
    char *next;                /* first free byte of it */
    char *end;
    bool is_fixed; /* it does not grow */
};

void arena_init(struct arena *a);

/* One of this memory alone, which is aligned for any object: it calls no malloc. What does not fit
 * aborts. Neither reset nor released: it is left. */
void arena_init_fixed(struct arena *a, void *memory, size_t size);

void arena_reset(struct arena *a);   /* frees all blocks but the first, ordinary-sized one */
void arena_release(struct arena *a); /* frees everything */

/* size bytes, aligned for any object, not zeroed. Aborts when memory is out. */
void *arena_alloc(struct arena *a, size_t size);

/* A NUL-ended copy of len bytes; a formatted string. */
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

#endif
