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
enum called call_inline_start(struct worker *w, struct stream *s);
enum called call_inline_end(struct worker *w, struct stream *s);
void call_inline_send(struct worker *w, struct stream *s);
bool call_inline_wait_taken(struct worker *w, struct stream *s);

/* Runs the handler of a complete request: see struct call_ops. */
static inline enum called call_start(struct worker *w, struct stream *s)
{
    if (__builtin_expect(!w->calls, 1))
        return call_inline_start(w, s);
    return w->calls->start(w, s);
}

static inline enum called call_next(struct worker *w, struct stream *s)
{
    if (__builtin_expect(w->calls != NULL, 0))
        return w->calls->next(w, s);
    call_make_piece(w, s);
    return CALL_DONE;
}

static inline enum called call_end(struct worker *w, struct stream *s)
{
    if (__builtin_expect(!w->calls, 1))
        return call_inline_end(w, s);
    return w->calls->end(w, s);
}

#endif
