/* SPDX-License-Identifier: MIT
 *
 * talk - an application that prints and logs, one way a path:
 *
 *   /print?n=N    N lines on standard output
 *   /warn         a line on standard error
 *   /bytes        every byte but the line feed, on standard output
 *   /long         10000 letters in one line, on standard output
 *   /last         a line without end on standard output, then abort()
 *   /flood        lines on standard output, for ever
 *   /fork         forks a child that keeps the descriptors and does not end; answers its pid
 *   /log          a message of every byte but NUL;  /loglong: one of 10000 quotes
 *   /close        closes standard output and error
 *   /closelogs    closes the server's descriptors of what is behind standard output and error
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gcorn.h>

static void close_logs(void)
{
    struct stat out, err, st;

    fstat(STDOUT_FILENO, &out);
    fstat(STDERR_FILENO, &err);
    for (int fd = 3; fd < 64; fd++) {
        if (fstat(fd, &st) == 0 && (st.st_ino == out.st_ino || st.st_ino == err.st_ino))
            close(fd);
    }
}

static void print_bytes(void)
{
    for (int c = 0; c < 256; c++) {
        if (c != '\n')
            putchar(c);
    }
    putchar('\n');
}

static void print_long(void)
{
    for (int i = 0; i < 10000; i++)
        putchar('a' + i % 26);
    putchar('\n');
}

static void log_bytes(struct gcorn_environ *env)
{
    char every[256];

    for (int i = 0; i < 255; i++)
        every[i] = (char)(i + 1);
    every[255] = '\0';
    gcorn_log(env, GCORN_ERROR, "%s", every);
}

static void log_long(struct gcorn_environ *env)
{
    char quotes[10001];

    memset(quotes, '"', 10000);
    quotes[10000] = '\0';
    gcorn_log(env, GCORN_ERROR, "%s", quotes);
}

static int fork_child(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        signal(SIGTERM, SIG_DFL);
        for (;;)
            pause();
    }
    return (int)pid;
}

static const char *talk(struct gcorn_environ *env, const char *path)
{
    const char *n = gcorn_query(env, "n");

    if (strcmp(path, "/print") == 0) {
        for (int i = 0; i < atoi(n ? n : "1"); i++)
            printf("printed %d\n", i);
    } else if (strcmp(path, "/warn") == 0) {
        fprintf(stderr, "warned caf\xc3\xa9\n");
    } else if (strcmp(path, "/bytes") == 0) {
        print_bytes();
    } else if (strcmp(path, "/long") == 0) {
        print_long();
    } else if (strcmp(path, "/last") == 0) {
        if (write(STDOUT_FILENO, "last words", 10) == 10)
            abort();
    } else if (strcmp(path, "/flood") == 0) {
        for (;;)
            puts("flood");
    } else if (strcmp(path, "/fork") == 0) {
        return gcorn_printf(env, "%d", fork_child());
    } else if (strcmp(path, "/log") == 0) {
        log_bytes(env);
    } else if (strcmp(path, "/loglong") == 0) {
        log_long(env);
    } else if (strcmp(path, "/close") == 0) {
        close(STDOUT_FILENO);
        close(STDERR_FILENO);
    } else if (strcmp(path, "/closelogs") == 0) {
        close_logs();
    }
    return gcorn_printf(env, "%d", (int)getpid());
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};

    gcorn_start(start_response, "200 OK", headers);
    return gcorn_body_text(env, talk(env, gcorn_get(env, "PATH_INFO")));
}
