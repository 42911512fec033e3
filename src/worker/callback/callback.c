/* SPDX-License-Identifier: MIT
 *
 * See callback.h.
 */
#include "worker/callback/callback.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "worker/call/app.h"
#include "worker/call/call.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"

enum { NAME_SIZE = 96, NAMES = 64 };

/* dladdr(3) searches an object's whole table of symbols, so names are kept. */
struct callback_name {
    gcorn_call_fn *fn;
    uint8_t len;
    char text[NAME_SIZE];
};

/* The slot's entry of the loop's thread. In the sync class it is the one of all calls. */
static struct slot_call *own_entry(const struct worker *w)
{
    return &w->slot->calls[call_thread_count(w)];
}

void callback_show(struct slot_call *call, const char *kind, const char *what, size_t len,
                   uint64_t started_ms)
{
    call->request_id = 0;
    call->answers = 0;
    call->target_len = (uint32_t)len;
    call->peer[0] = call->given_id[0] = '\0';
    slot_set_text(call->method, sizeof(call->method), kind, strlen(kind));
    slot_set_text(call->target, sizeof(call->target), what, len);
    slot_call_begin(call, started_ms);
}

void callback_enter(struct worker *w, const char *kind, const char *what, size_t len)
{
    struct slot_call *call = own_entry(w);

    w->callback_is_nested = slot_call_runs(call);
    if (w->callback_is_nested)
        return;
    w->serving = NULL;
    w->state_before = w->slot->state;
    if (!w->calls || !w->draining) /* its threads' calls do not hide that it drains, either */
        w->slot->state = SLOT_CALLING;
    callback_show(call, kind, what, len, w->now_ns / 1000000);
}

void callback_leave(struct worker *w)
{
    uint64_t now = now_ns();

    crash_end_recovered();
    forked_check();
    if (w->callback_is_nested)
        return;
    w->calls_ns += now - w->now_ns;
    w->now_ns = now;
    if (atomic_load_explicit(&w->slot->loop_ms, memory_order_relaxed) != SLOT_LOOP_OVER)
        atomic_store_explicit(&w->slot->loop_ms, now / 1000000, memory_order_relaxed);
    slot_call_end(own_entry(w));
    w->slot->state = w->state_before;
}

/* The last part of a path. */
static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Returns the length of the name, less than its size. */
static uint8_t describe(const struct worker *w, const void *function, char name[NAME_SIZE])
{
    Dl_info info;
    int len;

    if (dladdr(function, &info) == 0 || !info.dli_fname)
        len = snprintf(name, NAME_SIZE, "%p", function);
    else if (info.dli_sname && info.dli_saddr == function)
        len = snprintf(name, NAME_SIZE, "%s", info.dli_sname);
    else
        len = snprintf(name, NAME_SIZE, "%s+0x%zx",
                       file_name(app_file_of(w->args->image, info.dli_fname)),
                       (size_t)((const char *)function - (const char *)info.dli_fbase));
    return (uint8_t)(len < NAME_SIZE ? len : NAME_SIZE - 1);
}

static const struct callback_name *name_of(struct worker *w, gcorn_call_fn *fn)
{
    if (!w->callback_names)
        w->callback_names = xcalloc(NAMES, sizeof(*w->callback_names));
    struct callback_name *name = &w->callback_names[(uintptr_t)fn / 16 % NAMES];
    const void *function;

    if (name->fn == fn)
        return name;
    memcpy(&function, &fn, sizeof(function)); /* ISO C has no such conversion, POSIX does */
    name->fn = fn;
    name->len = describe(w, function, name->text);
    return name;
}

void callback_run(struct worker *w, const char *kind, gcorn_call_fn *fn, void *arg)
{
    const struct callback_name *name = name_of(w, fn);

    callback_enter(w, kind, name->text, name->len);
    fn(arg);
    callback_leave(w);
}
