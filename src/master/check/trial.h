/* SPDX-License-Identifier: MIT
 *
 * trial - what --check-config tries in a child that has become the workers' user: the application
 * may exit, crash or hang while it is loaded, and a file of that user must not be made as root.
 *
 * Each function blocks until the child has ended, for boot_timeout at most.
 */
#ifndef GCORN_MASTER_CHECK_TRIAL_H
#define GCORN_MASTER_CHECK_TRIAL_H

struct config;
struct error;
struct privileges;

/* Loads the application. Returns 0, or -1 with the child's error in err. */
int trial_app(const struct config *config, const struct privileges *privileges, struct error *err);

/* Makes a nameless file where long request bodies go. Returns 0, or -1 with err. */
int trial_uploads(const struct config *config, const struct privileges *privileges,
                  struct error *err);

/* Opens crash_dir. Returns 0, also when it is not set; or -1 with err. */
int trial_crash_dir(const struct config *config, const struct privileges *privileges,
                    struct error *err);

#endif
