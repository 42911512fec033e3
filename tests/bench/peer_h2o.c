/* SPDX-License-Identifier: MIT
 *
 * peer_h2o - libh2o in `make bench`: the least program that serves with it, pre-forked.
 *
 *   peer_h2o PORT WORKERS FILE
 */
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define H2O_USE_LIBUV 0
#include <h2o.h>

#include "listen.h"

enum { BODY_SIZE = 100 * 1024 };

static h2o_globalconf_t config;
static h2o_context_t context;
static h2o_accept_ctx_t accepting;
static const char *file;
static char body[BODY_SIZE];

static int answer(h2o_req_t *req, const char *text, size_t len)
{
    static h2o_generator_t generator;
    h2o_iovec_t piece = h2o_iovec_init(text, len);

    req->res.status = 200;
    req->res.reason = "OK";
    req->res.content_length = len;
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                   H2O_STRLIT("text/plain"));
    h2o_start_response(req, &generator);
    h2o_send(req, &piece, 1, H2O_SEND_STATE_FINAL);
    return 0;
}

static int on_hello(h2o_handler_t *self, h2o_req_t *req)
{
    (void)self;
    return answer(req, "Hello, World!", 13);
}

static int on_body(h2o_handler_t *self, h2o_req_t *req)
{
    (void)self;
    return answer(req, body, sizeof(body));
}

static int on_file(h2o_handler_t *self, h2o_req_t *req)
{
    (void)self;
    return h2o_file_send(req, 200, "OK", file, h2o_iovec_init(H2O_STRLIT("text/plain")), 0);
}

static void route(h2o_hostconf_t *host, const char *path, int (*fn)(h2o_handler_t *, h2o_req_t *))
{
    h2o_pathconf_t *at = h2o_config_register_path(host, path, 0);
    h2o_handler_t *handler = h2o_create_handler(at, sizeof(*handler));

    handler->on_req = fn;
}

static void on_accept(h2o_socket_t *listener, const char *error)
{
    h2o_socket_t *sock = error ? NULL : h2o_evloop_socket_accept(listener);

    if (sock)
        h2o_accept(&accepting, sock);
}

static void serve(int listen_fd)
{
    h2o_socket_t *listener;

    h2o_context_init(&context, h2o_evloop_create(), &config);
    accepting.ctx = &context;
    accepting.hosts = config.hosts;
    listener = h2o_evloop_socket_create(context.loop, listen_fd, H2O_SOCKET_FLAG_DONT_READ);
    h2o_socket_read_start(listener, on_accept);
    while (h2o_evloop_run(context.loop, INT32_MAX) == 0)
        ;
}

int main(int argc, char **argv)
{
    h2o_hostconf_t *host;
    int listen_fd;

    if (argc != 4)
        errx(2, "peer_h2o PORT WORKERS FILE");
    file = argv[3];
    memset(body, 'x', sizeof(body));
    (void)signal(SIGPIPE, SIG_IGN);
    h2o_config_init(&config);
    host = h2o_config_register_host(&config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    route(host, "/body", on_body);
    route(host, "/file", on_file);
    route(host, "/", on_hello);
    listen_fd = listen_at((uint16_t)atoi(argv[1]));
    for (int i = 0; i < atoi(argv[2]); i++) {
        if (fork() == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
            serve(listen_fd);
        }
    }
    while (wait(NULL) > 0)
        ;
    return 0;
}
