/* SPDX-License-Identifier: MIT
 *
 * hash - answers with the length and SHA-256 of what it is sent, however long, and keeps nothing.
 *
 *   gcorn --env HASH_TOKEN=secret hash.so:handler
 *   curl -T disk.img -H 'Authorization: Bearer secret' http://127.0.0.1:8000/
 *
 * What it shows: gcorn_on_head sees a request before its body. A client without the token hears 401
 * there, and its upload is neither read nor kept. For the others it lifts limit_request_body and asks
 * for the body as it comes: next hashes what is there, returns GCORN_AGAIN, and is called again when
 * more has come. So 10 GiB cost a worker no more than 64 KiB, and many uploads can take turns in one.
 *
 * A body that is malformed, late or cut never ends here: the server answers, and what was deferred
 * is run.
 */
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <gcorn.h>

struct hash {
    EVP_MD_CTX *digest;
    uint64_t len;
    bool has_ended;
};

static struct gcorn_body *refuse(struct gcorn_environ *env,
                                 struct gcorn_start_response *start_response, const char *status,
                                 const char *name, const char *value)
{
    const struct gcorn_header headers[] = {
        {"Content-Type", "text/plain"}, {name, value}, {NULL, NULL}};

    gcorn_start(start_response, status, headers);
    return gcorn_body_printf(env, "%s\n", status);
}

static bool is_allowed(struct gcorn_environ *env)
{
    static const char scheme[] = "Bearer ";
    const char *token = getenv("HASH_TOKEN"), *given = gcorn_get(env, "HTTP_AUTHORIZATION");

    return !token || (given && strncmp(given, scheme, sizeof(scheme) - 1) == 0 &&
                      strcmp(given + sizeof(scheme) - 1, token) == 0);
}

GCORN_EXPORT
struct gcorn_body *gcorn_on_head(struct gcorn_environ *env,
                                 struct gcorn_start_response *start_response)
{
    const char *method = gcorn_get(env, "REQUEST_METHOD");

    if (!is_allowed(env))
        return refuse(env, start_response, "401 Unauthorized", "WWW-Authenticate", "Bearer");
    if (strcmp(method, "PUT") != 0 && strcmp(method, "POST") != 0)
        return refuse(env, start_response, "405 Method Not Allowed", "Allow", "PUT, POST");
    gcorn_limit_body(env, -1);
    gcorn_stream_body(env);
    return NULL;
}

static const char *text_of(struct gcorn_environ *env, struct hash *h)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1];
    unsigned len = 0;

    EVP_DigestFinal_ex(h->digest, bytes, &len);
    for (unsigned i = 0; i < len; i++) {
        hex[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    hex[2 * len] = '\0';
    return gcorn_printf(env, "%llu %s\n", (unsigned long long)h->len, hex);
}

static ssize_t next(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct hash *h = state;
    char piece[16 * 1024];
    const char *text;
    ssize_t n;

    if (h->has_ended)
        return 0;
    while ((n = gcorn_input_read(env, piece, sizeof(piece))) > 0) {
        EVP_DigestUpdate(h->digest, piece, (size_t)n);
        h->len += (uint64_t)n;
    }
    if (n != 0)
        return n; /* GCORN_AGAIN */
    h->has_ended = true;
    *chunk = text = text_of(env, h);
    return (ssize_t)strlen(text);
}

static void free_digest(void *digest)
{
    EVP_MD_CTX_free(digest);
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};
    struct hash *h = gcorn_alloc(env, sizeof(*h));

    h->digest = EVP_MD_CTX_new();
    if (!h->digest)
        return NULL;
    gcorn_defer(env, free_digest, h->digest);
    if (EVP_DigestInit_ex(h->digest, EVP_sha256(), NULL) != 1)
        return NULL;
    gcorn_start(start_response, "200 OK", headers);
    return gcorn_body_iter(env, next, NULL, h);
}
