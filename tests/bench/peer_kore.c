/* SPDX-License-Identifier: MIT
 *
 * peer_kore - kore in `make bench`: its pages, bound to paths by the configuration that peers.py
 * writes. Files are kore's own business (its filemap).
 */
#include <stdlib.h>
#include <string.h>

#include <kore/kore.h>
#include <kore/http.h>
#include <kore/seccomp.h>

enum { BODY_SIZE = 100 * 1024 };

/* what glibc 2.36 calls for the stat() of kore's own filemap; without it the worker is killed */
KORE_SECCOMP_FILTER("bench", KORE_SYSCALL_ALLOW(newfstatat))

int hello_page(struct http_request *req);
int body_page(struct http_request *req);

static char body[BODY_SIZE];

int hello_page(struct http_request *req)
{
    http_response_header(req, "content-type", "text/plain");
    http_response(req, 200, "Hello, World!", 13);
    return KORE_RESULT_OK;
}

int body_page(struct http_request *req)
{
    if (!body[0])
        memset(body, 'x', sizeof(body));
    http_response_header(req, "content-type", "text/plain");
    http_response(req, 200, body, sizeof(body));
    return KORE_RESULT_OK;
}
