/* SPDX-License-Identifier: MIT
 *
 * See socket_activation.h. listener_open checks that the descriptors are listening sockets.
 */
#include "master/upgrade/socket_activation.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "settings/config.h"
#include "settings/config_set.h"
#include "settings/setting.h"

static const char fd_scheme[] = "fd://";

static bool read_number(const char *name, int64_t max, int64_t *value)
{
    const char *text = getenv(name);

    return text && parse_int(text, 1, max, value) == 0;
}

/* The next of names with colons between; "unknown" is what sd_listen_fds_with_names() says. */
static char *take_name(const char **rest)
{
    size_t len = strcspn(*rest, ":");
    char *name = len > 0 ? xasprintf("%.*s", (int)len, *rest) : xstrdup("unknown");

    *rest += len;
    if (**rest == ':')
        (*rest)++;
    return name;
}

void socket_activation_init(struct socket_activation *p)
{
    const char *listed = getenv("LISTEN_FDNAMES"), *names = listed ? listed : "";
    int64_t pid, count;

    *p = (struct socket_activation){0};
    if (!read_number("LISTEN_PID", INT32_MAX, &pid) || pid != getpid() ||
        !read_number("LISTEN_FDS", UINT16_MAX, &count))
        return;
    p->count = (unsigned)count;
    p->names = xcalloc(p->count, sizeof(*p->names));
    for (unsigned i = 0; i < p->count; i++)
        p->names[i] = take_name(&names);
}

static bool is_fd(const char *text)
{
    return strncmp(text, fd_scheme, strlen(fd_scheme)) == 0;
}

/* True: bind itself names passed sockets. */
static bool asks_for_some(const struct config_list *bind)
{
    for (size_t i = 0; i < bind->count; i++) {
        if (is_fd(bind->items[i]))
            return true;
    }
    return false;
}

/* The new items of bind, collected before bind is set, because setting it changes its list. */
struct texts {
    char **items;
    size_t count;
};

static void texts_add(struct texts *t, char *text)
{
    t->items = xrealloc(t->items, (t->count + 1) * sizeof(*t->items));
    t->items[t->count++] = text;
}

static void texts_add_fd(struct texts *t, unsigned i)
{
    texts_add(t, xasprintf("%s%u", fd_scheme, PASSED_FIRST_FD + i));
}

/* A name may mean several sockets: systemd gives all sockets of a unit the same name. */
static int add_named(struct texts *t, const struct socket_activation *p, const char *text,
                     struct error *err)
{
    const char *name = text + strlen(fd_scheme);
    size_t before = t->count;

    for (unsigned i = 0; i < p->count; i++) {
        if (strcmp(p->names[i], name) == 0)
            texts_add_fd(t, i);
    }
    if (t->count > before)
        return 0;
    struct strbuf known = {0};
    for (unsigned i = 0; i < p->count; i++)
        strbuf_addf(&known, "%s%s", i > 0 ? ", " : "", p->names[i]);
    (void)error_set(err, EXIT_USAGE, "bind: '%s': no socket of this name was passed, only %s", text,
                    known.data);
    strbuf_release(&known);
    return -1;
}

static int add_asked_for(struct texts *t, const struct socket_activation *p,
                         const struct config_list *bind, struct error *err)
{
    int64_t ignored;

    for (size_t i = 0; i < bind->count; i++) {
        const char *text = bind->items[i];

        if (!is_fd(text) || parse_int(text + strlen(fd_scheme), 0, INT32_MAX, &ignored) == 0)
            texts_add(t, xstrdup(text));
        else if (add_named(t, p, text, err) < 0)
            return -1;
    }
    return 0;
}

static int set_bind(struct config *config, const struct texts *t,
                    const struct config_origin *origin, struct error *err)
{
    const struct setting *s = setting_find("bind");

    config_set_empty(config, s, origin);
    for (size_t i = 0; i < t->count; i++) {
        if (config_set(config, s, t->items[i], origin, err) < 0)
            return error_prefix(err, "%s: bind", origin->text);
    }
    return 0;
}

int socket_activation_bind(const struct socket_activation *p, struct config *config,
                           struct error *err)
{
    struct config_origin origin = {SOURCE_PASSED, "environment LISTEN_FDS"};
    struct texts texts = {0};
    int result = 0;

    if (p->count == 0)
        return 0;
    if (asks_for_some(&config->bind)) {
        origin = *config_origin(config, setting_find("bind"));
        result = add_asked_for(&texts, p, &config->bind, err);
    } else {
        for (unsigned i = 0; i < p->count; i++)
            texts_add_fd(&texts, i);
    }
    if (result == 0)
        result = set_bind(config, &texts, &origin, err);
    for (size_t i = 0; i < texts.count; i++)
        free(texts.items[i]);
    free(texts.items);
    return result;
}

void socket_activation_forget(const struct socket_activation *p)
{
    for (unsigned i = 0; i < p->count; i++) {
        int fd = PASSED_FIRST_FD + (int)i, flags = fcntl(fd, F_GETFD);

        if (flags >= 0 && !(flags & FD_CLOEXEC))
            (void)close(fd); /* a socket without data: no error to report */
    }
}
