/* SPDX-License-Identifier: MIT
 *
 * See stacks.h. In this order:
 *
 *   look      what /proc tells of the threads, as long as they run
 *   hold      all of them at once, so that their stacks belong together
 *   drop      become the process's user: from here on foreign data is interpreted, and files are
 *             opened by names that the process chose
 *   unwind    only addresses, as quickly as can be
 *   detach    the process goes on
 *   write     names and lines, which takes longer, after the process runs again
 *
 * Only this file knows libdw. Without it a stack is the instruction that its thread is at.
 */
#include "system/trace/stacks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef HAVE_LIBDW
#include <elfutils/libdwfl.h>
#endif

#include "base/error.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "system/trace/modules.h"
#include "system/process/privileges.h"
#include "system/trace/ptrace.h"

struct frame {
    uint64_t pc;
    bool is_call; /* pc is where a call returns to: the line is that of the byte before */
};

struct stack {
    struct frame frames[STACKS_FRAMES_MAX];
    size_t count;
    bool is_cut;       /* there are more */
    const char *error; /* why it ends early; NULL: it does not */
    bool is_written;
    uint64_t deadline_ms;
};

struct dump {
    const struct stacks_target *target;
    struct strbuf *out;
    size_t end; /* out may not grow beyond */
    bool is_full;
    struct threads threads;
    struct modules modules;
    struct stack *stacks; /* by the thread's place in the list */
#ifdef HAVE_LIBDW
    Dwfl *dwfl;
#endif
};

/* ---- text -------------------------------------------------------------------------------- */

static void add(struct dump *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A line or a part of one; all or nothing, and nothing more after what did not fit. */
static void add(struct dump *d, const char *fmt, ...)
{
    static const char cut[] = "\n(cut)\n";
    size_t before = d->out->len;
    va_list ap;

    if (d->is_full)
        return;
    va_start(ap, fmt);
    strbuf_vaddf(d->out, fmt, ap);
    va_end(ap);
    if (d->out->len + sizeof(cut) <= d->end)
        return;
    d->out->len = before;
    d->is_full = true;
    strbuf_addstr(d->out, cut);
}

static void add_facts(struct dump *d)
{
    const struct threads *t = &d->threads;
    struct strbuf line = {0};

    add(d, "process %d \"%s\", %zu thread%s\n", (int)t->pid, t->list[0].name, t->count + t->unseen,
        t->count + t->unseen == 1 ? "" : "s");
    for (size_t i = 0; i < t->count; i++) {
        strbuf_reset(&line);
        thread_describe(&t->list[i], &line);
        add(d, "thread %d \"%s\": %s\n", (int)t->list[i].tid, t->list[i].name, line.data);
    }
    if (t->unseen > 0)
        add(d, "(%zu more threads)\n", t->unseen);
    strbuf_release(&line);
}

/* "(libc.so.6+0xf81ed)"; bias: what its addresses in memory are more than in the file. */
static void add_place(struct dump *d, uint64_t pc, uint64_t bias)
{
    const struct module *module = modules_find(&d->modules, pc);

    if (!module) {
        add(d, " 0x%" PRIx64 " (in no file)", pc);
        return;
    }
    add(d, " (%s+0x%" PRIx64 ")", module_short_name(module), pc - bias);
}

/* ---- with libdw -------------------------------------------------------------------------- */

#ifdef HAVE_LIBDW

/* Asked for a module when an address in it is met. What cannot be opened is read from memory, which
 * holds at least the exported names. */
static int find_elf(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr base,
                    char **file_name, Elf **elf)
{
    const struct module *module = *userdata;
    int fd = module && module->fd >= 0 ? dup(module->fd) : -1;

    if (fd < 0)
        return dwfl_linux_proc_find_elf(mod, userdata, name, base, file_name, elf);
    *file_name = strdup(module->path); /* libdw looks for debug files in its directory */
    return fd;
}

static void report_modules(struct dump *d)
{
    char vdso[32];

    (void)snprintf(vdso, sizeof(vdso), "[vdso: %d]", (int)d->target->pid);
    dwfl_report_begin(d->dwfl);
    for (size_t i = 0; i < d->modules.count; i++) {
        struct module *module = &d->modules.list[i];
        const char *name = module->name[0] == '[' ? vdso : module->name;
        Dwfl_Module *mod =
            module->has_code ? dwfl_report_module(d->dwfl, name, module->start, module->end) : NULL;
        void **userdata;

        if (mod && dwfl_module_info(mod, &userdata, NULL, NULL, NULL, NULL, NULL, NULL))
            *userdata = module;
    }
    (void)dwfl_report_end(d->dwfl, NULL, NULL);
}

/* 0, or -1 and the text says why. */
static int unwinder_open(struct dump *d)
{
    static const Dwfl_Callbacks callbacks = {
        .find_elf = find_elf,
        .find_debuginfo = dwfl_standard_find_debuginfo,
    };

    (void)unsetenv("DEBUGINFOD_URLS"); /* no questions to the network */
    d->dwfl = dwfl_begin(&callbacks);
    if (d->dwfl)
        report_modules(d);
    if (d->dwfl && dwfl_linux_proc_attach(d->dwfl, d->target->pid, true) == 0)
        return 0;
    add(d, "no stacks: libdw: %s\n", dwfl_errmsg(-1));
    return -1;
}

static void unwinder_close(struct dump *d)
{
    if (d->dwfl)
        dwfl_end(d->dwfl);
}

static int on_frame(Dwfl_Frame *state, void *arg)
{
    struct stack *s = arg;
    bool is_activation;
    Dwarf_Addr pc;

    if (!dwfl_frame_pc(state, &pc, &is_activation))
        return -1;
    if (s->count == STACKS_FRAMES_MAX || now_ms() >= s->deadline_ms) {
        s->is_cut = true;
        return DWARF_CB_ABORT;
    }
    s->frames[s->count++] = (struct frame){.pc = pc, .is_call = !is_activation};
    return DWARF_CB_OK;
}

static void unwind(struct dump *d, const struct thread *t, struct stack *s)
{
    if (dwfl_getthread_frames(d->dwfl, t->tid, on_frame, s) < 0)
        s->error = dwfl_errmsg(-1);
    if (s->count == 0 && t->pc != 0)
        s->frames[s->count++] = (struct frame){.pc = t->pc};
}

static void add_name(struct dump *d, Dwfl_Module *mod, uint64_t address, const struct frame *f)
{
    GElf_Off offset;
    GElf_Sym symbol;
    int number;

    const char *name = dwfl_module_addrinfo(mod, address, &offset, &symbol, NULL, NULL, NULL);
    if (name)
        add(d, " %s+0x%" PRIx64, name, offset + (f->pc - address));
    else
        add(d, " ?");
    Dwfl_Line *line = dwfl_module_getsrc(mod, address);
    const char *file = line ? dwfl_lineinfo(line, NULL, &number, NULL, NULL, NULL) : NULL;
    if (file)
        add(d, " at %s:%d", file, number);
}

static void add_frame(struct dump *d, const struct frame *f)
{
    uint64_t address = f->pc - f->is_call;
    Dwfl_Module *mod = dwfl_addrmodule(d->dwfl, address);
    const struct module *module = modules_find(&d->modules, f->pc);
    GElf_Addr bias = module ? module->start : 0;

    if (mod) {
        add_name(d, mod, address, f);
        if (!dwfl_module_getelf(mod, &bias))
            bias = module ? module->start : 0;
    }
    add_place(d, f->pc, bias);
}

#else /* ---- without it --------------------------------------------------------------------- */

static int unwinder_open(struct dump *d)
{
    add(d, "built without libdw: of each stack only the top, and no names\n");
    return 0;
}

static void unwinder_close(struct dump *d)
{
    (void)d;
}

static void unwind(struct dump *d, const struct thread *t, struct stack *s)
{
    (void)d;
    if (t->pc != 0)
        s->frames[s->count++] = (struct frame){.pc = t->pc};
}

/* The first mapping of a shared object or of a position-independent program is its address 0. */
static void add_frame(struct dump *d, const struct frame *f)
{
    const struct module *module = modules_find(&d->modules, f->pc);

    add(d, " ?");
    add_place(d, f->pc, module ? module->start : 0);
}

#endif

/* ---- the stacks -------------------------------------------------------------------------- */

static bool is_same(const struct stack *a, const struct stack *b)
{
    bool same = a->count == b->count && a->is_cut == b->is_cut && a->error == b->error;

    for (size_t i = 0; same && i < a->count; i++)
        same = a->frames[i].pc == b->frames[i].pc;
    return same;
}

/* "stack of threads 4711, 4712": those from i on that have this one. */
static void add_stack_title(struct dump *d, size_t i)
{
    const struct stack *s = &d->stacks[i];
    size_t same = 0;

    for (size_t j = i; j < d->threads.count; j++)
        same += d->stacks[j].count > 0 && is_same(s, &d->stacks[j]);
    add(d, "\nstack of ");
    if (same > 1)
        add(d, "%zu threads: ", same);
    else
        add(d, "thread ");
    for (size_t j = i; j < d->threads.count; j++) {
        if (d->stacks[j].count == 0 || !is_same(s, &d->stacks[j]))
            continue;
        add(d, "%s%d", j > i ? ", " : "", (int)d->threads.list[j].tid);
        d->stacks[j].is_written = true;
    }
    add(d, "\n");
}

static void add_stack(struct dump *d, size_t i)
{
    const struct stack *s = &d->stacks[i];

    add_stack_title(d, i);
    for (size_t j = 0; j < s->count; j++) {
        add(d, "  #%zu", j);
        add_frame(d, &s->frames[j]);
        add(d, "\n");
    }
    if (s->is_cut)
        add(d, "  (more frames)\n");
    if (s->error)
        add(d, "  (it ends here: %s)\n", s->error);
}

static void add_stacks(struct dump *d)
{
    for (size_t i = 0; i < d->threads.count && !d->is_full; i++) {
        if (d->stacks[i].count > 0 && !d->stacks[i].is_written)
            add_stack(d, i);
    }
}

/* What became of those that are not held, which is all that will be known of them. */
static void add_missing(struct dump *d)
{
    struct strbuf why = {0};

    for (size_t i = 0; i < d->threads.count; i++) {
        const struct thread *t = &d->threads.list[i];

        strbuf_reset(&why);
        if (t->hold == THREAD_REFUSED)
            threads_explain_refusal(d->threads.pid, t->error, &why);
        else if (t->hold == THREAD_SEIZED || t->hold == THREAD_FREE)
            strbuf_addstr(&why, "it did not stop in time");
        else if (t->hold == THREAD_GONE)
            strbuf_addstr(&why, "it has ended");
        if (why.len > 0)
            add(d, "no stack of thread %d: %s\n", (int)t->tid, why.data);
        if (t->hold == THREAD_REFUSED && i == 0)
            break; /* the others alike */
    }
    strbuf_release(&why);
}

static int drop_privileges(struct dump *d)
{
    struct error err;

    if (!d->target->privileges || privileges_take(d->target->privileges, false, &err) == 0)
        return 0;
    add(d, "no stacks: %s\n", err.text);
    return -1;
}

/* With the threads held. How many stacks there are. */
static size_t unwind_all(struct dump *d)
{
    uint64_t deadline_ms = d->threads.began_ms + STACKS_HOLD_MS;
    size_t taken = 0;

    if (modules_read(&d->modules, d->target->pid) < 0)
        add(d, "its modules cannot be read: %s\n", strerror(errno));
    if (drop_privileges(d) < 0)
        return 0;
    modules_open(&d->modules, d->target->image);
    if (unwinder_open(d) < 0)
        return 0;
    for (size_t i = 0; i < d->threads.count; i++) {
        d->stacks[i].deadline_ms = deadline_ms;
        if (d->threads.list[i].hold == THREAD_HELD)
            unwind(d, &d->threads.list[i], &d->stacks[i]);
        taken += d->stacks[i].count > 0;
    }
    return taken;
}

int stacks_write(const struct stacks_target *target, struct strbuf *out)
{
    struct dump *d = xcalloc(1, sizeof(*d));
    size_t taken = 0;

    d->target = target;
    d->out = out;
    d->end = out->len + target->text_max;
    if (threads_look(&d->threads, target->pid) < 0) {
        add(d, "process %d: %s\n", (int)target->pid,
            errno == ESRCH ? "it has ended" : strerror(errno));
        goto out;
    }
    d->stacks = xcalloc(THREADS_MAX, sizeof(*d->stacks));
    add_facts(d);
    size_t held = threads_hold(&d->threads, now_ms() + STACKS_HOLD_MS / 2);
    add_missing(d);
    if (held > 0)
        taken = unwind_all(d);
    threads_let_go(&d->threads);
    if (held > 0)
        add(d, "stopped for %" PRIu64 " ms\n", d->threads.held_ms);
    if (taken > 0)
        add_stacks(d);
    unwinder_close(d);
out:
    threads_release(&d->threads);
    modules_release(&d->modules);
    free(d->stacks);
    free(d);
    return taken > 0 ? 0 : -1;
}
