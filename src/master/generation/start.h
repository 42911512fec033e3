/* SPDX-License-Identifier: MIT
 *
 * start - how the program was started: what each reload and each upgrade starts from again.
 */
#ifndef GCORN_MASTER_GENERATION_START_H
#define GCORN_MASTER_GENERATION_START_H

#include <sys/types.h>

#include "master/upgrade/socket_activation.h"
#include "settings/config_load.h"

struct config;
struct error;

struct start {
    int argc;
    char **argv;
    char *program; /* to be executed by an upgrade, seen from dir */
    char *dir;     /* the working directory, by the name that the shell had for it: a link in it is
                      followed again by each reload */
    mode_t umask;  /* what it was then */
    struct socket_activation activation; /* sockets that came with it */
};

/* Remembers how gcorn was started; argv is borrowed for ever. */
void start_init(struct start *s, int argc, char **argv);

/* Changes to the directory of the start. When that was removed (an old release), changes to one
 * where every relative path fails, and logs it. Returns 0, or -1 with errno. */
int start_enter(const struct start *s);

/* The sources of the settings that may change, other than the command line and the environment:
 * start_load_config reads them, start_load_again uses them again. Zeroed: nothing read yet. */
struct sources {
    struct config_file file;
    int cores;
    char how_cores[160]; /* as of cores_available */
};
void sources_release(struct sources *from);

/* Loads the settings (config_load) as at start, from the directory of the start (start_enter), and
 * then changes to the directory that they name. before: the current ones; NULL: none.
 * Fills in *from. Returns 0, or -1 with err; sources_release in either case. */
int start_load_config(const struct start *s, const struct config *before, struct sources *from,
                      struct config *config, struct error *err);

/* Loads the same settings again from *from, without reading a file: never blocks. Returns 0, or -1
 * with err. */
int start_load_again(const struct start *s, struct sources *from, struct config *config,
                     struct error *err);

#endif
