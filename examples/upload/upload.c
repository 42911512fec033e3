/* SPDX-License-Identifier: MIT
 *
 * upload - keeps what it is sent, under its SHA-256, and answers size and digest.
 *
 *   gcorn --limit-request-body 4GiB --env UPLOAD_DIR=/srv/uploads upload.so:handler
 *   curl -T holiday.mp4 http://127.0.0.1:8000/
 *
 * What it shows: a request's body is complete before the handler is called; gcorn has taken it from
 * the client at the client's pace, to an unlinked file when it is long. So this reads at the disk's
 * speed, 64 KiB at a time, and a gigabyte costs no more memory than a kilobyte. As that can take
 * longer than `timeout` allows for a call, it asks for more time as long as it gets on.
 *
 * Each way out of the handler leaves nothing behind: what must be undone is deferred as soon as it
 * is done.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gcorn.h>

enum { PIECE = 64 * 1024, MORE_TIME_MS = 30000 };

struct upload {
    char path[4096]; /* "" once it has its final name */
    int fd;
};

static const char *directory(void)
{
    const char *dir = getenv("UPLOAD_DIR");

    return dir ? dir : ".";
}

/* The request is over. */
static void clean_up(void *arg)
{
    struct upload *u = arg;

    if (u->fd >= 0)
        close(u->fd);
    if (u->path[0] != '\0')
        unlink(u->path);
}

static void free_digest(void *digest)
{
    EVP_MD_CTX_free(digest);
}

static int write_whole(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno != EINTR)
            return -1;
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* The body into the file and the digest: its length, or -1 with errno. */
static int64_t take_body(struct gcorn_environ *env, int fd, EVP_MD_CTX *digest)
{
    char *piece = gcorn_alloc(env, PIECE); /* not static: calls may run in several threads */
    int64_t total = 0;
    ssize_t n;

    while ((n = gcorn_input_read(env, piece, PIECE)) > 0) {
        if (EVP_DigestUpdate(digest, piece, (size_t)n) != 1 ||
            write_whole(fd, piece, (size_t)n) < 0)
            return -1;
        total += n;
        gcorn_extend_deadline(env, MORE_TIME_MS);
    }
    return n < 0 ? -1 : total;
}

static const char *hex_of(struct gcorn_environ *env, EVP_MD_CTX *digest)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    char *hex = gcorn_alloc(env, 2 * sizeof(bytes) + 1);

    EVP_DigestFinal_ex(digest, bytes, &len);
    for (unsigned i = 0; i < len; i++)
        sprintf(hex + 2 * (size_t)i, "%02x", bytes[i]);
    return hex;
}

/* A full disk has a status of its own: the client may come again, or elsewhere. */
static struct gcorn_body *fail(struct gcorn_environ *env, struct gcorn_start_response *start,
                               const char *what)
{
    bool is_full = errno == ENOSPC || errno == EDQUOT;

    gcorn_log(env, GCORN_ERROR, "%s in %s: %s", what, directory(), strerror(errno));
    if (!is_full)
        return NULL; /* 500 */
    gcorn_start(start, "507 Insufficient Storage", NULL);
    return gcorn_body_text(env, "there is no room for it\n");
}

static struct gcorn_body *keep(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};
    struct upload *u = gcorn_alloc(env, sizeof(*u));
    EVP_MD_CTX *digest = EVP_MD_CTX_new();

    gcorn_defer(env, free_digest, digest);
    if (!digest || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
        return NULL;
    snprintf(u->path, sizeof(u->path), "%s/.upload-XXXXXX", directory());
    u->fd = mkostemp(u->path, O_CLOEXEC);
    if (u->fd < 0)
        return fail(env, start, "cannot make a file");
    gcorn_defer(env, clean_up, u);
    int64_t size = take_body(env, u->fd, digest);
    if (size < 0)
        return fail(env, start, "cannot keep a body");
    const char *hex = hex_of(env, digest);
    /* the name is of the content, so nothing that a client says becomes part of a path */
    if (rename(u->path, gcorn_printf(env, "%s/%s", directory(), hex)) < 0)
        return fail(env, start, "cannot name a file");
    u->path[0] = '\0';
    gcorn_start(start, "201 Created", headers);
    return gcorn_body_text(env, gcorn_printf(env, "%lld %s\n", (long long)size, hex));
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct gcorn_header allow[] = {{"Allow", "POST, PUT"}, {NULL, NULL}};
    const char *method = gcorn_get(env, "REQUEST_METHOD");

    if (strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0)
        return keep(env, start_response);
    gcorn_start(start_response, "405 Method Not Allowed", allow);
    return gcorn_body_text(env, "POST or PUT a file here\n");
}
