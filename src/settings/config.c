/* SPDX-License-Identifier: MIT
 *
 * See config.h.
 */
#include "settings/config.h"

#include <assert.h>

#include "base/error.h"
#include "settings/config_set.h"
#include "settings/setting.h"

const struct config_origin *config_origin(const struct config *c, const struct setting *s)
{
    return &c->origins[setting_index(s)];
}

const struct config_list *config_list(const struct config *c, const struct setting *s)
{
    assert(s->type == SETTING_LIST);
    return setting_const_field(c, s);
}

void config_init(struct config *c)
{
    static const struct config_origin by_default = {SOURCE_DEFAULT, "default"};
    size_t count;
    const struct setting *table = setting_table(&count);
    struct error err;

    *c = (struct config){.action = CONFIG_RUN};
    arena_init(&c->arena);
    c->origins = arena_alloc(&c->arena, count * sizeof(c->origins[0]));
    for (size_t i = 0; i < count; i++) {
        c->origins[i] = by_default;
        if (table[i].text && config_set_text(c, &table[i], table[i].text, &by_default, &err) < 0)
            assert(!"a row of settings.def has a bad default");
    }
}

void config_release(struct config *c)
{
    arena_release(&c->arena);
    *c = (struct config){0};
}

int config_check(const struct config *c, struct error *err)
{
    if (!c->wsgi_app && c->action <= CONFIG_CHECK)
        return error_set(err, EXIT_USAGE, "no application given: gcorn app.so:handler");
    return 0;
}

#define RUNS_THREADS(id, name, runs_threads, open, help) [WORKER_CLASS_##id] = (runs_threads),
static const bool class_runs_threads[] = {WORKER_CLASSES(RUNS_THREADS)};

enum worker_class config_worker_class(const struct config *c)
{
    bool needs_threads = c->threads > 1 && !class_runs_threads[c->worker_class];

    return needs_threads ? WORKER_CLASS_GTHREAD : (enum worker_class)c->worker_class;
}

const char *config_worker_class_name(const struct config *c)
{
    static const char *const names[] = {WORKER_CLASSES(WORKER_CLASS_NAME)};

    return names[config_worker_class(c)];
}

unsigned config_threads(const struct config *c)
{
    return class_runs_threads[config_worker_class(c)] ? (unsigned)c->threads : 0;
}

void config_resolve_workers(struct config *c, int cores, const char *how)
{
    const struct setting *s = setting_find("workers");
    struct config_origin *origin = &c->origins[setting_index(s)];

    if (c->workers != 0)
        return;
    assert(cores >= 1);
    c->workers = cores < (int)s->max / 2 ? 2 * cores + 1 : (int)s->max;
    if (how)
        origin->text = arena_printf(&c->arena, "%s: 2 x %s + 1", origin->text, how);
    else
        origin->text = arena_printf(&c->arena, "%s: 2 x %d cores + 1", origin->text, cores);
}

void config_resolve_umask(struct config *c, mode_t inherited)
{
    const struct setting *s = setting_find("umask");
    struct config_origin *origin = &c->origins[setting_index(s)];

    if (c->umask != s->word_value)
        return;
    c->umask = (int)inherited;
    if (origin->source == SOURCE_DEFAULT)
        origin->text = arena_printf(&c->arena, "%s: as gcorn was started", origin->text);
}
