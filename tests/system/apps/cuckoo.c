/* SPDX-License-Identifier: MIT
 *
 * cuckoo - its constructor leaves a process behind that says, at each socket that might be the
 * template's, that it is the worker which is to be born. It is forked by the system call alone, for
 * a child by fork(3) has no socket of the server's.
 */
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <gcorn.h>

__attribute__((constructor)) static void load(void)
{
    const uint64_t serial = 1;

    if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) != 0)
        return;
    for (int fd = 3; fd < 64; fd++) {
        int type;
        socklen_t len = sizeof(type);

        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET)
            (void)!write(fd, &serial, sizeof(serial));
    }
    pause();
    _exit(0);
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, gcorn_printf(env, "%d", (int)getpid()));
}
