/* SPDX-License-Identifier: MIT
 *
 * See reopen.h.
 */
#include "master/reopen.h"

#include "base/error.h"
#include "base/log.h"
#include "master/generation/logs.h"
#include "master/reload.h"
#include "master/state.h"
#include "master/preload/template.h"

static int error_log(const struct generation *g)
{
    return logs_fd_to_send(g->config.errorlog, g->error_fd);
}

static int access_log(const struct generation *g)
{
    return logs_fd_to_send(g->config.accesslog, g->access_fd);
}

static void tell_templates(const struct master *m)
{
    const struct generation *g;

    for_each_generation (g, m->current) {
        if (g->template && template_reopen_logs(g->template, error_log(g), access_log(g)) < 0)
            log_error("cannot tell the template (pid:%d) to reopen its logs",
                      (int)g->template->pid);
    }
}

static void tell_workers(const struct master *m)
{
    const struct proc *p;

    for_each_proc (p, &m->procs) {
        const struct generation *g = p->settings;
        bool has_access = !plan_is_admin(&m->plan, p->w);
        const struct down_message order = {.type = DOWN_REOPEN,
                                           .fds = {error_log(g), has_access ? access_log(g) : -1}};

        if (channel_send_down(p->channel.down_master, &order) < 0)
            log_error("cannot tell worker %d to reopen its logs", (int)p->w->pid);
    }
}

int reopen_logs(struct master *m, struct error *err)
{
    struct generation *g;
    struct error one;
    int result = 0;

    for_each_generation (g, m->current) {
        if (logs_reopen(g, &one) < 0) {
            log_errorx("%s", one.text);
            if (result == 0)
                *err = one;
            result = -1;
        }
    }
    reload_enter_current(m);
    m->prepare.logs_reopened = true;
    tell_templates(m);
    tell_workers(m);
    return result;
}
