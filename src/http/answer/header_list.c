/* SPDX-License-Identifier: MIT
 *
 * Header lists, as middleware edits them: an array in the request's arena that grows by doubling. A
 * string is copied when it comes into the list.
 */
#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/ascii.h"
#include "base/log.h"
#include "http/environ.h"

enum { SPARE = 8 }; /* of a new list, for fields that will be added */

struct gcorn_header_list {
    struct gcorn_environ *env;
    struct gcorn_header *array; /* ends with {NULL, NULL} */
    size_t count;
    size_t room; /* with the end */
};

const char *gcorn_headers_get(const struct gcorn_header *headers, const char *name)
{
    for (; headers && headers->name; headers++) {
        if (ascii_same(headers->name, name))
            return headers->value;
    }
    return NULL;
}

static void set_room(struct gcorn_header_list *list, size_t room)
{
    struct gcorn_header *array = arena_alloc(&list->env->arena, room * sizeof(*array));

    assert(room > list->count);
    if (list->count > 0)
        memcpy(array, list->array, list->count * sizeof(*array));
    array[list->count] = (struct gcorn_header){NULL, NULL};
    list->array = array;
    list->room = room;
}

static void add(struct gcorn_header_list *list, const char *name, const char *value)
{
    struct arena *arena = &list->env->arena;

    if (list->count + 1 == list->room)
        set_room(list, 2 * list->room);
    list->array[list->count++] =
        (struct gcorn_header){arena_strdup(arena, name), arena_strdup(arena, value)};
    list->array[list->count] = (struct gcorn_header){NULL, NULL};
}

struct gcorn_header_list *gcorn_header_list_new(struct gcorn_environ *env,
                                                const struct gcorn_header *headers)
{
    struct gcorn_header_list *list = arena_alloc(&env->arena, sizeof(*list));
    size_t count = 0;

    while (headers && headers[count].name)
        count++;
    *list = (struct gcorn_header_list){.env = env};
    set_room(list, count + SPARE);
    for (size_t i = 0; i < count; i++)
        add(list, headers[i].name, headers[i].value ? headers[i].value : "");
    return list;
}

/* Drops the fields of this name from number `from` on. */
static void drop(struct gcorn_header_list *list, size_t from, const char *name)
{
    size_t kept = from;

    for (size_t i = from; i < list->count; i++) {
        if (!ascii_same(list->array[i].name, name))
            list->array[kept++] = list->array[i];
    }
    list->count = kept;
    list->array[kept] = (struct gcorn_header){NULL, NULL};
}

static bool is_usable(const struct gcorn_header_list *list, const char *function, const char *name,
                      const char *value)
{
    if (name && value)
        return true;
    log_request(LOG_LEVEL_ERROR, environ_request_id(list->env), "%s: %s is NULL: the list stays",
                function, name ? "value" : "name");
    return false;
}

void gcorn_header_append(struct gcorn_header_list *list, const char *name, const char *value)
{
    if (is_usable(list, "gcorn_header_append", name, value))
        add(list, name, value);
}

void gcorn_header_set(struct gcorn_header_list *list, const char *name, const char *value)
{
    size_t i = 0;

    if (!is_usable(list, "gcorn_header_set", name, value))
        return;
    while (i < list->count && !ascii_same(list->array[i].name, name))
        i++;
    if (i == list->count) {
        add(list, name, value);
        return;
    }
    list->array[i].value = arena_strdup(&list->env->arena, value);
    drop(list, i + 1, name);
}

void gcorn_header_remove(struct gcorn_header_list *list, const char *name)
{
    if (is_usable(list, "gcorn_header_remove", name, ""))
        drop(list, 0, name);
}

const struct gcorn_header *gcorn_header_array(const struct gcorn_header_list *list)
{
    return list->array;
}
