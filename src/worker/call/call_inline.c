/* SPDX-License-Identifier: MIT
 *
 * See call_inline.h.
 */
#include "worker/call/call_inline.h"

#include "worker/call/call.h"
#include "worker/call/wake.h"
#include "worker/loop/counts.h"
#include "worker/loop/state.h"

enum called call_inline_start(struct worker *w, struct stream *s)
{
    struct gcorn_environ *env = s->env;
    uint64_t queued_ns = w->now_ns - s->x->arrived_ns;

    int refusal = call_refusal(s, queued_ns / 1000000);
    if (refusal != 0) {
        s->x->call.refusal = refusal;
        return CALL_REFUSED;
    }
    if (__builtin_expect(!s->was_asked, 1)) /* else it is counted */
        worker_note_run(w, queued_ns);
    call_enter(w, s, env);
    call_handler(w, env);
    w->last_call_ns = call_leave(w);
    return CALL_DONE;
}

/* s->env is NULL first: what runs or breaks from here on is no reason to answer it again. */
enum called call_inline_end(struct worker *w, struct stream *s)
{
    struct gcorn_environ *env = s->env;

    s->env = NULL;
    call_finish(w, env);
    wake_forget(s);
    return CALL_DONE;
}
