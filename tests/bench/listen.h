/* SPDX-License-Identifier: MIT
 *
 * listen - the socket of a server that `make bench` compares.
 */
#ifndef TESTS_BENCH_LISTEN_H
#define TESTS_BENCH_LISTEN_H

#include <err.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

/* Of all its processes, on the loopback device; non-blocking. Ends the program when it cannot be.
 */
static inline int listen_at(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 2048) != 0)
        err(1, "listen at port %u", port);
    return fd;
}

#endif
