/* SPDX-License-Identifier: MIT
 *
 * variables - the names and values of the environ: those of CGI (RFC 3875) and PEP 3333, gcorn's
 * own, and what an application has set. Each is made when it is first asked for, and kept.
 *
 * The functions are gcorn_get, gcorn_set, gcorn_get_ptr, gcorn_set_ptr, gcorn_variable_at and gcorn_query
 * of include/gcorn.h; a variable is one row of the table in variables.c.
 */
#ifndef GCORN_HTTP_VARIABLES_H
#define GCORN_HTTP_VARIABLES_H

#include "gcorn.h"

/* A variable that was set by the application, or made once and kept; in the request's arena. */
struct environ_var {
    const char *key;
    const char *value; /* NULL: removed */
    struct environ_var *next;
};

struct environ_object {
    const char *key;
    void *value;
    struct environ_object *next;
};

#endif
