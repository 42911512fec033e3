/* SPDX-License-Identifier: MIT
 *
 * error - what a person must mend, on its way up: the function that found it fills in one line
 * (what, where, what to do), everything between returns -1, and only the top prints it.
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
    enum exit_status status; /* what the program should exit with if nobody can go on */
    char text[1000];
};

/* Fills in err and returns -1, so that a failure is one statement. A longer text is cut. errno is
 * kept. */
int error_set(struct error *err, enum exit_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "fmt: " in front of what err says. Returns -1. */
int error_prefix(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
