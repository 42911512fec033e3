/* SPDX-License-Identifier: MIT
 *
 * See start.h.
 */
#include "master/generation/start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "settings/config.h"
#include "settings/config_load.h"
#include "system/host/cores.h"
#include "system/process/process.h"

void start_init(struct start *s, int argc, char **argv)
{
    const char *pwd = getenv("PWD");
    struct stat named, here;
    bool is_here = pwd && pwd[0] == '/' && stat(pwd, &named) == 0 && stat(".", &here) == 0 &&
                   named.st_dev == here.st_dev && named.st_ino == here.st_ino;
    char *cwd = is_here ? NULL : getcwd(NULL, 0);

    s->argc = argc;
    s->argv = argv;
    s->umask = umask(0); /* the only way to read it */
    (void)umask(s->umask);
    socket_activation_init(&s->activation);
    s->program = process_program(argv[0] ? argv[0] : "");
    s->dir = is_here ? xstrdup(pwd) : cwd ? cwd : xstrdup(".");
}

static void name_dir(const struct start *s, struct config *config)
{
    const char *to = config->chdir ? config->chdir : "";

    config->dir = arena_printf(&config->arena, "%s%s%s", to[0] == '/' ? "" : s->dir,
                               to[0] == '/' ? "" : "/", to);
}

/* Makes a removed directory the working directory: there every relative path fails, and no file can
 * be created. Returns 0, or -1 with errno. */
static int enter_removed_dir(void)
{
    char path[] = "/tmp/gcorn-XXXXXX";
    struct stat here;

    if (stat(".", &here) == 0 && here.st_nlink == 0)
        return 0;
    if (!mkdtemp(path))
        return -1;
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool is_ready = fd >= 0 && chmod(path, 0755) == 0; /* for workers, which are other users */
    int saved_errno = errno;
    int result = rmdir(path) == 0 && is_ready ? fchdir(fd) : -1;
    if (!is_ready)
        errno = saved_errno;
    fd_close(&fd);
    return result;
}

int start_enter(const struct start *s)
{
    if (chdir(s->dir) == 0)
        return 0;
    int saved_errno = errno;
    bool is_gone = errno == ENOENT || errno == ENOTDIR;
    if (is_gone && enter_removed_dir() == 0)
        log_warnx("The directory of the start, %s, is gone (%s): relative paths do not work",
                  s->dir, strerror(saved_errno));
    else
        is_gone = false;
    errno = saved_errno;
    return is_gone ? 0 : -1;
}

/* When the settings file was removed with its directory, the settings must not become the
 * defaults. */
static int check_file(const struct start *s, const struct config *config,
                      const struct config *before, struct error *err)
{
    struct stat dir;

    if (!before || !before->config_file || config->config_file || stat(s->dir, &dir) == 0)
        return 0;
    return error_set(err, EXIT_FAILED,
                     "%s: it was in the directory of the start, %s, which is gone",
                     before->config_file, s->dir);
}

void sources_release(struct sources *from)
{
    strbuf_release(&from->file.bytes);
}

int start_load_again(const struct start *s, struct sources *from, struct config *config,
                     struct error *err)
{
    if (config_load_file(config, &from->file, s->argc, s->argv, environ, err) < 0)
        return -1;
    if (socket_activation_bind(&s->activation, config, err) < 0) {
        config_release(config);
        return -1;
    }
    config_resolve_workers(config, from->cores, from->how_cores);
    config_resolve_umask(config, s->umask);
    name_dir(s, config);
    return 0;
}

static int enter_dir(const struct config *config, struct error *err)
{
    if (!config->chdir || chdir(config->chdir) == 0)
        return 0;
    return error_set(err, EXIT_USAGE, "chdir: cannot change to %s: %s", config->chdir,
                     strerror(errno));
}

int start_load_config(const struct start *s, const struct config *before, struct sources *from,
                      struct config *config, struct error *err)
{
    if (start_enter(s) < 0)
        return error_set(err, EXIT_FAILED,
                         "cannot change back to the directory of the start, %s: %s", s->dir,
                         strerror(errno));
    from->cores = cores_available(from->how_cores, sizeof(from->how_cores));
    if (start_load_again(s, from, config, err) < 0)
        return -1;
    if (check_file(s, config, before, err) == 0 && enter_dir(config, err) == 0)
        return 0;
    config_release(config);
    return -1;
}
