/* SPDX-License-Identifier: MIT
 *
 * rights - what its process may do: the lines of /proc/self/status that say so, printed to standard
 * error when it is loaded, and answered at /rights. /run answers those of a program that the handler
 * starts, by system(3) as well as by fork(2); /new makes a file in $TMPDIR; /map maps a file with a
 * newline in its name, and puts a symbolic link to $SECRET where /proc/self/maps says that it is.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gcorn.h>

static void read_status(FILE *from, char *text, size_t size)
{
    static const char *const keys[] = {"Uid:",        "Gid:",   "Groups:", "NoNewPrivs:",
                                       "Umask:",      "SigBlk:", "CapInh:", "CapPrm:",
                                       "CapEff:",     "CapBnd:", "CapAmb:"};
    char line[512];

    text[0] = '\0';
    while (from && fgets(line, sizeof(line), from)) {
        for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
            if (strncmp(line, keys[i], strlen(keys[i])) == 0 &&
                strlen(text) + strlen(line) < size)
                strcat(text, line);
        }
    }
}

static void own_status(char *text, size_t size)
{
    FILE *file = fopen("/proc/thread-self/status", "re");

    read_status(file, text, size);
    if (file)
        fclose(file);
}

static void __attribute__((constructor)) say(void)
{
    char text[2048];

    own_status(text, sizeof(text));
    fprintf(stderr, "loaded with\n%s", text);
}

static void run_program(char *text, size_t size)
{
    FILE *pipe = popen("cat /proc/self/status", "re");
    int ends[2];

    read_status(pipe, text, size / 2);
    if (pipe)
        pclose(pipe);
    if (pipe2(ends, O_CLOEXEC) < 0)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execlp("cat", "cat", "/proc/self/status", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *from = fdopen(ends[0], "r");
    read_status(from, text + strlen(text), size / 2);
    fclose(from);
    waitpid(pid, NULL, 0);
}

static void make_file(char *text, size_t size)
{
    char name[256];

    snprintf(name, sizeof(name), "%s/made", getenv("TMPDIR"));
    snprintf(text, size, "%d", open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
}

static void map_file(char *text, size_t size)
{
    const char *dir = getenv("TMPDIR"), *secret = getenv("SECRET");
    char real[256], shown[256];

    snprintf(real, sizeof(real), "%s/x\ny", dir);
    snprintf(shown, sizeof(shown), "%s/x\\012y", dir);
    int fd = open(real, O_RDWR | O_CREAT | O_CLOEXEC, 0700);
    if (fd < 0 || ftruncate(fd, 4096) < 0 || symlink(secret, shown) < 0 ||
        mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED)
        snprintf(text, size, "%m");
    else
        snprintf(text, size, "mapped");
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};
    const char *path = gcorn_get(env, "PATH_INFO");
    char text[8192] = "";

    if (strcmp(path, "/run") == 0)
        run_program(text, sizeof(text));
    else if (strcmp(path, "/new") == 0)
        make_file(text, sizeof(text));
    else if (strcmp(path, "/map") == 0)
        map_file(text, sizeof(text));
    else
        own_status(text, sizeof(text));
    gcorn_start(start_response, "200 OK", headers);
    return gcorn_body_text(env, gcorn_printf(env, "%s", text));
}
