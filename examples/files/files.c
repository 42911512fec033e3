/* SPDX-License-Identifier: MIT
 *
 * files - a directory's files, as a web server gives them out: sendfile, ETag, If-None-Match,
 * Range, Early Hints.
 *
 *   gcorn --env FILES_ROOT=/srv/www files.so:handler
 *   curl -r 0-99 http://127.0.0.1:8000/index.html
 *
 * What it shows: gcorn_body_file hands a part of a file to the kernel, so a download costs neither
 * memory nor the worker's time, however large the file and however slow the client. HEAD needs no
 * care: the server leaves the body out.
 *
 * FILES_PRELOAD is the Link field of every page: `</style.css>; rel=preload; as=style`. A 103 says it
 * before the page, so that a browser asks for the style sheet while the page is still on its way.
 *
 * No path leaves the directory: the kernel itself refuses to (openat2, RESOLVE_BENEATH), so neither
 * "..", however written, nor a symbolic link that points out of it is a way.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <gcorn.h>

#ifndef SYS_openat2 /* before glibc 2.32 */
#define SYS_openat2 437
#endif

static int root_fd = -1;
static const char *preload; /* NULL: pages have no such field */

GCORN_EXPORT int gcorn_on_worker_init(void)
{
    const char *root = getenv("FILES_ROOT");

    preload = getenv("FILES_PRELOAD");
    root_fd = open(root ? root : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0)
        gcorn_log(NULL, GCORN_ERROR, "FILES_ROOT %s: %s", root ? root : ".", strerror(errno));
    return root_fd < 0 ? -1 : 0;
}

/* O_NONBLOCK: opening a FIFO must not wait for its writer. */
static int open_beneath(const char *path)
{
    const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};

    return (int)syscall(SYS_openat2, root_fd, *path ? path : ".", &how, sizeof(how));
}

static const char *type_of(const char *path)
{
    static const char *const types[][2] = {{".html", "text/html; charset=utf-8"},
                                           {".css", "text/css"},
                                           {".js", "text/javascript"},
                                           {".json", "application/json"},
                                           {".txt", "text/plain; charset=utf-8"},
                                           {".png", "image/png"},
                                           {".jpg", "image/jpeg"},
                                           {".svg", "image/svg+xml"},
                                           {".pdf", "application/pdf"},
                                           {".wasm", "application/wasm"},
                                           {NULL, NULL}};
    const char *dot = strrchr(path, '.');

    for (size_t i = 0; dot && types[i][0]; i++) {
        if (strcmp(dot, types[i][0]) == 0)
            return types[i][1];
    }
    return "application/octet-stream";
}

/* ---- what the client has, and what it wants ---------------------------------------------- */

/* RFC 9110 13.1.2: a list of tags, each perhaps weak (W/), or "*". Ours has no comma in it. */
static bool has_tag(const char *list, const char *tag)
{
    size_t len = strlen(tag);

    if (!list)
        return false;
    for (list += strspn(list, " ,"); *list != '\0'; list += strspn(list, " ,")) {
        if (*list == '*')
            return true;
        if (strncmp(list, "W/", 2) == 0)
            list += 2;
        if (strncmp(list, tag, len) == 0)
            return true;
        list += strcspn(list, ",");
    }
    return false;
}

/* The number at *p, which moves behind it; -1: there is none. False: no file is so long. */
static bool digits(const char **p, int64_t *n)
{
    char *end;

    *n = -1;
    if (**p < '0' || **p > '9')
        return true;
    errno = 0;
    *n = strtoll(*p, &end, 10);
    *p = end;
    return errno == 0;
}

enum wanted { WHOLE, PART, NOTHING };

/* RFC 9110 14.1.2: "bytes=first-last", "bytes=first-" or "bytes=-count". What is malformed, in
 * other units, in numbers past all bounds, or several parts at once counts as not asked for, which
 * a server is free to do (14.2). Nothing is decided before all of it has been read. */
static enum wanted parse_range(const char *range, int64_t size, int64_t *offset, int64_t *len)
{
    int64_t first, last;

    if (!range || strncasecmp(range, "bytes=", 6) != 0)
        return WHOLE;
    range += 6;
    if (!digits(&range, &first) || *range++ != '-' || !digits(&range, &last) || *range != '\0')
        return WHOLE;
    if ((first < 0 && last < 0) || (last >= 0 && last < first))
        return WHOLE;
    if (first < 0 && size == 0 && last > 0)
        return WHOLE; /* which is all of it, and no Content-Range says so */
    if (first < 0) {
        first = last < size ? size - last : 0;
        last = size - 1;
    } else if (last < 0 || last >= size) {
        last = size - 1;
    }
    *offset = first;
    *len = last - first + 1;
    return first < size ? PART : NOTHING;
}

/* ---- answers ----------------------------------------------------------------------------- */

static struct gcorn_body *say(struct gcorn_environ *env, struct gcorn_start_response *start,
                              const char *status, const char *name, const char *value)
{
    const struct gcorn_header headers[] = {
        {"Content-Type", "text/plain"}, {name, value}, {NULL, NULL}};

    gcorn_start(start, status, headers);
    return gcorn_body_text(env, gcorn_printf(env, "%s\n", status));
}

/* The page itself says it, too: to clients of HTTP/1.0, and to those that pass over a 103. */
static void add_preload(struct gcorn_environ *env, struct gcorn_header *field)
{
    struct gcorn_header headers[] = {{"Link", preload}, {NULL, NULL}};

    gcorn_interim(env, "103 Early Hints", headers);
    *field = headers[0];
}

static struct gcorn_body *send_file(struct gcorn_environ *env, struct gcorn_start_response *start,
                                    const char *path, int fd, const struct stat *st)
{
    const char *tag =
        gcorn_printf(env, "\"%" PRIxMAX "-%" PRIxMAX "-%" PRIxMAX "-%lx\"", (uintmax_t)st->st_ino,
                     (uintmax_t)st->st_size, (uintmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
    const char *if_range = gcorn_get(env, "HTTP_IF_RANGE");
    /* only GET has ranges (RFC 9110 14.2) */
    bool ranges = strcmp(gcorn_get(env, "REQUEST_METHOD"), "GET") == 0 &&
                  (!if_range || strcmp(if_range, tag) == 0);
    int64_t offset = 0, len = st->st_size;
    struct gcorn_header headers[6] = {
        {"Content-Type", type_of(path)}, {"ETag", tag}, {"Accept-Ranges", "bytes"}};
    size_t count = 3;

    if (preload && strncmp(headers[0].value, "text/html", 9) == 0)
        add_preload(env, &headers[count++]);

    if (has_tag(gcorn_get(env, "HTTP_IF_NONE_MATCH"), tag)) {
        gcorn_start(start, "304 Not Modified", headers);
        return gcorn_body_file(env, fd, 0, -1); /* is not sent, and fd is closed */
    }
    switch (ranges ? parse_range(gcorn_get(env, "HTTP_RANGE"), len, &offset, &len) : WHOLE) {
    case WHOLE: gcorn_start(start, "200 OK", headers); break;
    case PART:
        headers[count].name = "Content-Range";
        headers[count].value = gcorn_printf(env, "bytes %" PRId64 "-%" PRId64 "/%" PRIdMAX, offset,
                                            offset + len - 1, (intmax_t)st->st_size);
        gcorn_start(start, "206 Partial Content", headers);
        break;
    case NOTHING:
        close(fd);
        return say(env, start, "416 Range Not Satisfiable", "Content-Range",
                   gcorn_printf(env, "bytes */%" PRIdMAX, (intmax_t)st->st_size));
    }
    return gcorn_body_file(env, fd, offset, len);
}

/* A directory is meant with a '/' at its end, or what is relative in its index would not be found.
 * Said with the target as it came: PATH_INFO is decoded, and without its SCRIPT_NAME. */
static struct gcorn_body *redirect(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    const char *target = gcorn_get(env, "RAW_URI");
    size_t len = strcspn(target, "?");

    return say(env, start, "301 Moved Permanently", "Location",
               gcorn_printf(env, "%.*s/%s", (int)len, target, target + len));
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *method = gcorn_get(env, "REQUEST_METHOD");
    const char *path = gcorn_get(env, "PATH_INFO");
    struct stat st;

    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return say(env, start_response, "405 Method Not Allowed", "Allow", "GET, HEAD");
    path += *path == '/';
    if (*path == '\0' || path[strlen(path) - 1] == '/')
        path = gcorn_printf(env, "%sindex.html", path);
    int fd = open_beneath(path);
    if (fd < 0 || fstat(fd, &st) < 0)
        return say(env, start_response, "404 Not Found", NULL, NULL); /* nor says it why */
    if (S_ISREG(st.st_mode))
        return send_file(env, start_response, path, fd, &st);
    close(fd);
    if (S_ISDIR(st.st_mode))
        return redirect(env, start_response);
    return say(env, start_response, "404 Not Found", NULL, NULL);
}
