/* SPDX-License-Identifier: MIT
 *
 * replay - runs a fuzz target over files, without a fuzzer: the corpus as a test.
 *
 *   replay FILES              a digest of each file's outcome: what a record consists of
 *   replay --print FILES      the outcomes in full
 *   replay --check RECORD FILES   compares the digests with the recorded ones
 *
 * A record begins with the major version of llhttp, whose texts of errors are part of the outcomes:
 * with another one nothing is compared.
 */
#include <llhttp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "outcome.h"

enum { INPUT_MAX = 1 << 20 };

/* FNV-1a: it detects mistakes, and is no defence against an attacker. */
static uint64_t digest(const char *text, size_t len)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Appends the outcome of the file's bytes. 0, or -1 with a message. */
static int run(const char *path, struct strbuf *text)
{
    static uint8_t data[INPUT_MAX];
    FILE *file = fopen(path, "rb");

    if (!file) {
        perror(path);
        return -1;
    }
    size_t len = fread(data, 1, sizeof(data), file);
    (void)fclose(file);
    /* a copy of its own size, so that a sanitizer sees every byte read too many */
    uint8_t *copy = malloc(len > 0 ? len : 1);
    if (len > 0)
        memcpy(copy, data, len);
    fuzz_outcome(copy, len, text);
    free(copy);
    return 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* A line of a record: NAME DIGEST LENGTH. */
static void describe(const char *path, const struct strbuf *text, char *line, size_t size)
{
    (void)snprintf(line, size, "%s %016llx %zu\n", base_name(path),
                   (unsigned long long)digest(text->data, text->len), text->len);
}

/* The record's text, NUL-terminated, to be freed; NULL with a message. */
static char *read_record(const char *path)
{
    FILE *file = fopen(path, "rb");

    if (!file) {
        perror(path);
        return NULL;
    }
    char *record = malloc(INPUT_MAX);
    size_t len = record ? fread(record, 1, INPUT_MAX - 1, file) : 0;
    if (record)
        record[len] = '\0';
    (void)fclose(file);
    return record;
}

static bool has_line(const char *record, const char *line)
{
    const char *found = strstr(record, line);

    return found && (found == record || found[-1] == '\n');
}

static int check(const char *program, const char *record_path, char **files, int count)
{
    char *record = read_record(record_path), llhttp[32];
    struct strbuf text = {0};
    int differ = 0;

    if (!record)
        return 1;
    (void)snprintf(llhttp, sizeof(llhttp), "llhttp %d\n", LLHTTP_VERSION_MAJOR);
    bool compares = has_line(record, llhttp);
    for (int i = 0; i < count; i++) {
        char line[512];

        strbuf_reset(&text);
        if (run(files[i], &text) < 0)
            return 1;
        describe(files[i], &text, line, sizeof(line));
        if (!compares || has_line(record, line))
            continue;
        printf("%s: its outcome is not the recorded one: see %s --print %s\n", files[i], program,
               files[i]);
        differ++;
    }
    strbuf_release(&text);
    free(record);
    printf("replayed %d files: %s\n", count,
           !compares    ? "recorded with another llhttp: not compared"
           : differ > 0 ? "if the change is meant: make record-corpus"
                        : "outcomes as recorded");
    return differ > 0;
}

static int print(char **files, int count, bool whole)
{
    struct strbuf text = {0};

    for (int i = 0; i < count; i++) {
        char line[512];

        strbuf_reset(&text);
        if (run(files[i], &text) < 0)
            return 1;
        describe(files[i], &text, line, sizeof(line));
        if (whole) {
            printf("==== %s", line);
            (void)fwrite(text.data, 1, text.len, stdout);
            printf("\n");
        } else {
            printf("%s", line);
        }
    }
    strbuf_release(&text);
    return 0;
}

int main(int argc, char **argv)
{
    (void)setenv("TZ", "UTC", 1); /* access log lines have local time */
    if (argc > 2 && strcmp(argv[1], "--check") == 0)
        return check(argv[0], argv[2], argv + 3, argc - 3);
    if (argc > 1 && strcmp(argv[1], "--print") == 0)
        return print(argv + 2, argc - 2, true);
    printf("llhttp %d\n", LLHTTP_VERSION_MAJOR);
    return print(argv + 1, argc - 1, false);
}
