/* SPDX-License-Identifier: MIT
 *
 * error - an error that a person must fix: the function that finds it writes one line (what, where,
 * what to do), its callers return -1, and only the top one prints it.
 */
#ifndef GCORN_BASE_ERROR_H
#define GCORN_BASE_ERROR_H

/* The exit statuses of gcorn, documented in README.md. */
enum exit_status {
    EXIT_STOPPED = 0, /* stopped as told */
    EXIT_FAILED = 1,  /* failed while running */
    EXIT_USAGE = 2,   /* bad command line or settings */
    EXIT_APP = 3,     /* the application does not load or boot */
    EXIT_BIND = 4,    /* cannot bind */
};

struct error {
    enum exit_status status; /* of the program, if it cannot go on */
    char text[1000];
};

/* Fills in err and returns -1, so that a failure is one statement. A long text is cut. Keeps
 * errno. */
int error_set(struct error *err, enum exit_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "fmt: " in front of the text of err. Returns -1. */
int error_prefix(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
