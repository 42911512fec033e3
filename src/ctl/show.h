/* SPDX-License-Identifier: MIT
 *
 * show - the answers of the master as text and tables. The only part that reads JSON: it is left
 * out where there is no jansson.
 */
#ifndef GCORN_CTL_SHOW_H
#define GCORN_CTL_SHOW_H

#include <stdbool.h>

struct strbuf;

enum ctl_status {
    CTL_DONE = 0,
    CTL_REFUSED = 1, /* the server refused, or the command failed */
    CTL_USAGE = 2,
    CTL_UNREACHABLE = 4,
};

/* How `top` sorts workers: by number, or the greatest first. */
enum top_order { TOP_NUMBER, TOP_REQUESTS, TOP_CPU, TOP_MEMORY, TOP_TIME };

/* Appends the answer to a command as lines. Returns CTL_DONE, or another status and appends the
 * reason, without a newline. */
enum ctl_status show_answer(struct strbuf *out, const char *command, const struct strbuf *answer);

/* The same for the answer to `status`, as `top` shows it. has_colour: with escape sequences. */
enum ctl_status show_top(struct strbuf *out, const struct strbuf *answer, enum top_order order,
                         bool has_colour);

#endif
