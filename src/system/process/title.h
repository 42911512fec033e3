/* SPDX-License-Identifier: MIT
 *
 * title - the name of a process in ps and top, written over its command line.
 */
#ifndef GCORN_SYSTEM_PROCESS_TITLE_H
#define GCORN_SYSTEM_PROCESS_TITLE_H

/* Makes the memory of the command line and the environment available for titles, and names the
 * process "gcorn". To be called before anything keeps a pointer into argv or the environment: argv's
 * strings are overwritten later, and the environment is copied. Returns a NULL-ended copy of the
 * arguments that lives as long as the process. */
char **title_init(int argc, char **argv);

/* Sets what ps and /proc/PID/cmdline show: "gcorn: worker [hello.so:handler]". A title that is
 * longer than the memory is cut. Does nothing before title_init. */
void title_set(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
