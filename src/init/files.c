/* SPDX-License-Identifier: MIT
 *
 * See files.h. The assembler includes each file as it is; the compiler runs in the top directory. It
 * is compiled without link-time optimization, which would assemble it in another place.
 */
#include "init/files.h"

#include "base/util.h"

#define FILE_OF_TEMPLATE(symbol, name)                                                             \
    __asm__(".pushsection .rodata\n" #symbol ":\n\t.incbin \"src/init/template/" name              \
            ".in\"\n" #symbol "_end:\n\t.popsection");                                             \
    extern const char symbol[], symbol##_end[];

FILE_OF_TEMPLATE(init_handler, "handler.c")
FILE_OF_TEMPLATE(init_test, "test_handler.c")
FILE_OF_TEMPLATE(init_makefile, "Makefile")
FILE_OF_TEMPLATE(init_settings, "gunicorn-c.yaml")
FILE_OF_TEMPLATE(init_dockerfile, "Dockerfile")
FILE_OF_TEMPLATE(init_gitignore, "gitignore")

static const struct init_file files[] = {
    {"handler.c", init_handler, init_handler_end},
    {"test_handler.c", init_test, init_test_end},
    {"Makefile", init_makefile, init_makefile_end},
    {"gunicorn-c.yaml", init_settings, init_settings_end},
    {"Dockerfile", init_dockerfile, init_dockerfile_end},
    {".gitignore", init_gitignore, init_gitignore_end},
};

const struct init_file *init_files(size_t *count)
{
    *count = ARRAY_LEN(files);
    return files;
}
