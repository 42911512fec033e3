/* SPDX-License-Identifier: MIT
 *
 * environ_fields - the header fields of a request as the application and the logs see them: by
 * name or by key, joined where they are repeated, without those whose names would be ambiguous.
 * All texts live as long as the request.
 */
#ifndef GCORN_HTTP_ENVIRON_FIELDS_H
#define GCORN_HTTP_ENVIRON_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "http/request/fields.h"

struct gcorn_environ;

/* A field of the request by name (lower case), joined if repeated; NULL when absent. */
const char *environ_field(struct gcorn_environ *env, const char *lower);

/* The same by the key without its HTTP_ (USER_AGENT). */
const char *environ_field_by_key(struct gcorn_environ *env, const char *key);

/* The first field of this id, as it came; NULL when absent. */
const char *environ_field_by_id(struct gcorn_environ *env, enum field_id id);

/* Does the application see the field, as a variable HTTP_*? */
bool environ_field_is_visible(const struct gcorn_environ *env, const struct field *f);

/* Makes an HTTP_* style key of a field name: upper case, '-' as '_'. out takes len + 1 bytes. */
void environ_key(char *out, const char *name, size_t len);

/* A copy with a NUL, in the request's arena. */
const char *environ_span_text(struct gcorn_environ *env, struct span s);

#endif
