/* SPDX-License-Identifier: MIT
 *
 * See hooks.h.
 */
#include "testlib/hooks.h"

#include "testlib/state.h"

#define WEAK_HOOK(result, name, parameters)                                                        \
    extern result gcorn_##name parameters __attribute__((weak));
APP_HOOKS(WEAK_HOOK)

#define HOOK_FOUND(result, name, parameters) .name = gcorn_##name,
const struct app test_hooks = {APP_HOOKS(HOOK_FOUND)};

void hooks_before_request(struct test *t)
{
    t->env.was_run = true;
    if (test_hooks.on_pre_request)
        test_hooks.on_pre_request(&t->env);
}

void hooks_after_request(struct test *t)
{
    if (t->env.was_run && test_hooks.on_post_request)
        test_hooks.on_post_request(&t->env);
}
