/* SPDX-License-Identifier: MIT
 *
 * call_inline - the class that calls on the loop's thread, and the way to all classes: inline, so
 * that the usual one costs a request one branch and no indirect call.
 */
#ifndef GCORN_WORKER_CALL_CALL_INLINE_H
#define GCORN_WORKER_CALL_CALL_INLINE_H

#include "worker/call/call.h"
#include "worker/loop/state.h"

/* The class itself: see struct call_ops. */
enum called call_inline_start(struct worker *w, struct conn *c);
enum called call_inline_end(struct worker *w, struct conn *c);

/* Runs the handler of a complete request: see struct call_ops. */
static inline enum called call_start(struct worker *w, struct conn *c)
{
    if (__builtin_expect(!w->calls, 1))
        return call_inline_start(w, c);
    return w->calls->start(w, c);
}

static inline enum called call_next(struct worker *w, struct conn *c)
{
    if (__builtin_expect(w->calls != NULL, 0))
        return w->calls->next(w, c);
    call_make_piece(w, c);
    return CALL_DONE;
}

static inline enum called call_end(struct worker *w, struct conn *c)
{
    if (__builtin_expect(!w->calls, 1))
        return call_inline_end(w, c);
    return w->calls->end(w, c);
}

#endif
