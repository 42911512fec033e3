/* SPDX-License-Identifier: MIT
 *
 * See sd_notify.h. The protocol is a dozen lines, so libsystemd is not needed. Each of the few
 * messages has a socket of its own: children inherit none, and a restarted manager is found again.
 */
#include "system/ipc/sd_notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value && value[0] != '\0' ? value : NULL;
}

/* 0 unless the watchdog is for this process: it may be for a wrapper that started it. */
static uint64_t read_watchdog_ms(void)
{
    const char *pid_text = variable("WATCHDOG_PID"), *usec_text = variable("WATCHDOG_USEC");
    int64_t pid, usec;

    if (!usec_text || parse_int(usec_text, 1, INT64_MAX, &usec) < 0)
        return 0;
    if (pid_text && (parse_int(pid_text, 1, INT32_MAX, &pid) < 0 || pid != getpid()))
        return 0;
    return usec >= 1000 ? (uint64_t)usec / 1000 : 1;
}

int sd_notify_init(struct sd_notify *n, struct error *err)
{
    const char *name = variable("NOTIFY_SOCKET");
    size_t len = name ? strlen(name) : 0;

    *n = (struct sd_notify){.address = {.sun_family = AF_UNIX}};
    if (!name)
        return 0;
    if ((name[0] != '/' && name[0] != '@') || len < 2 || len > sizeof(n->address.sun_path))
        return error_set(err, EXIT_FAILED,
                         "NOTIFY_SOCKET: '%s' is neither a path nor @NAME; the service manager "
                         "is told nothing",
                         name);
    memcpy(n->address.sun_path, name, len);
    if (name[0] == '@')
        n->address.sun_path[0] = '\0'; /* the length, not a NUL, ends an abstract name */
    n->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    n->watchdog_ms = read_watchdog_ms();
    return 0;
}

int sd_notify_send(const struct sd_notify *n, const char *message)
{
    size_t len = strlen(message);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    ssize_t sent = sendto(fd, message, len, MSG_NOSIGNAL | MSG_DONTWAIT,
                          (const struct sockaddr *)&n->address, n->address_len);
    fd_close(&fd);
    return sent < 0 ? -1 : 0; /* a datagram goes whole */
}

static const char *const names[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                    "LISTEN_PID",    "LISTEN_FDS",    "LISTEN_FDNAMES"};

void sd_notify_clear_environment(void)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        (void)unsetenv(names[i]); /* cannot fail: the names are valid */
}

bool sd_notify_owns_variable(const char *assignment)
{
    size_t len = strcspn(assignment, "=");

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strlen(names[i]) == len && memcmp(names[i], assignment, len) == 0)
            return true;
    }
    return false;
}
