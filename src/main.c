/* SPDX-License-Identifier: MIT
 *
 * main - the phases of the program, and nothing else: settings, then what the command line asks
 * for, then the master.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "init/init.h"
#include "master/check/check.h"
#include "master/upgrade/successor.h"
#include "master/fatal.h"
#include "master/master.h"
#include "master/generation/start.h"
#include "system/ipc/handover.h"
#include "system/process/daemon.h"
#include "system/process/process.h"
#include "system/process/signals.h"
#include "system/process/title.h"
#include "version.h"
#include "worker/replay.h"
#include "settings/config_print.h"
#include "settings/cli_help.h"

static int report(const struct error *err)
{
    (void)fprintf(stderr, "%sgcorn: %s\n", log_is_journal(STDERR_FILENO) ? "<3>" : "", err->text);
    return (int)err->status;
}

/* What ends without serving. */
static int act(struct config *config, struct error *err)
{
    int status = EXIT_STOPPED;

    switch (config->action) {
    case CONFIG_HELP: cli_help_print(stdout); break;
    case CONFIG_USAGE: cli_help_print_usual(stdout); break;
    case CONFIG_INIT:
        if (init_write(config->action_path, stdout, err) < 0)
            status = report(err);
        break;
    case CONFIG_VERSION: version_print(); break;
    case CONFIG_SAMPLE: config_print_sample(stdout); break;
    case CONFIG_PRINT: config_print(config, stdout); break;
    case CONFIG_REPLAY:
        log_set_level((enum log_level)config->loglevel);
        if (replay_run(config, err) < 0)
            status = report(err);
        break;
    default:
        if (check_start(config, stderr, err) < 0)
            status = report(err);
        break;
    }
    config_release(config);
    if (fflush(stdout) != 0) {
        (void)error_set(err, EXIT_FAILED, "cannot write to standard output: %s", strerror(errno));
        return report(err);
    }
    return status;
}

int main(int argc, char **argv)
{
    struct handover handover;
    static struct start start; /* static: leak checkers see that exit() leaves it in use */
    struct sources sources = {0};
    struct config config;
    struct error err;
    sigset_t inherited;

    /* the first thing of all: pid 1 has no default dispositions, so what comes too early is lost */
    signals_block(&inherited);
    leave_prepare(NULL);
    (void)process_stdin_null(); /* at worst stdin stays what it was */
    process_take_zone();
    log_set_fd(STDERR_FILENO); /* until a generation has its own */
    if (handover_receive(&handover, &err) < 0)
        return report(&err);
    char **args = title_init(argc, argv);
    start_init(&start, argc, args);
    int loaded = start_load_config(&start, NULL, &sources, &config, &err);
    sources_release(&sources);
    if (loaded < 0) {
        successor_report_failure(&handover, err.text);
        handover_release(&handover);
        return report(&err);
    }
    if (config.action != CONFIG_RUN) {
        signals_restore(&inherited);
        return act(&config, &err);
    }
    if (config.daemon && !handover.is_received && daemon_start(&err) < 0)
        return report(&err);
    return master_run(&start, &config, &handover);
}
