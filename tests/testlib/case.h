/* SPDX-License-Identifier: MIT
 *
 * What the tests of the test library include. They are an application's tests: they know gcorn.h and
 * gcorn_test.h alone, and are compiled as C and as C++.
 */
#ifndef GCORN_TESTS_TESTLIB_CASE_H
#define GCORN_TESTS_TESTLIB_CASE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif
#include <cmocka.h>
#ifdef __cplusplus
}
#endif

#include <gcorn_test.h>

/* A request without a body that is answered at once. */
static inline struct gcorn_test *get(gcorn_app *app, const char *head)
{
    struct gcorn_test *t = gcorn_test_request(app, head, NULL, 0);

    assert_true(t->complete);
    return t;
}

#endif
