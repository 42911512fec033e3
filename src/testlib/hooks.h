/* SPDX-License-Identifier: MIT
 *
 * hooks - those that the application in the test's program defines, called as a worker calls them.
 * A server finds hooks by name with dlsym; here the linker does, by weak references.
 */
#ifndef GCORN_TESTLIB_HOOKS_H
#define GCORN_TESTLIB_HOOKS_H

#include "worker/call/app.h"

/* Hooks are NULL where the application defines none, and so is the handler, which a test names. */
extern const struct app test_hooks;

struct test;

/* Before the handler of a request, and after its body is closed. */
void hooks_before_request(struct test *t);
void hooks_after_request(struct test *t);

#endif
