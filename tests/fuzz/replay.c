/* SPDX-License-Identifier: MIT
 *
 * replay - runs a fuzz target over files, without a fuzzer: the corpus as a test.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int main(int argc, char **argv)
{
    static uint8_t data[1 << 20];

    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");

        if (!file) {
            perror(argv[i]);
            return 1;
        }
        size_t len = fread(data, 1, sizeof(data), file);
        (void)fclose(file);
        uint8_t *copy = malloc(len ? len : 1);
        for (size_t j = 0; j < len; j++)
            copy[j] = data[j];
        (void)LLVMFuzzerTestOneInput(copy, len);
        free(copy);
    }
    printf("replayed %d files\n", argc - 1);
    return 0;
}
