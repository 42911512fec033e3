/* SPDX-License-Identifier: MIT
 *
 * elf_file - an application's shared object, or a library, read as a file: is it whole, is it for
 * this machine, what does its dynamic section say? Every offset is checked against the size of the
 * file, because another program may be writing it.
 */
#ifndef GCORN_SYSTEM_CODE_ELF_FILE_H
#define GCORN_SYSTEM_CODE_ELF_FILE_H

#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* A mapped ELF file. */
struct elf {
    const char *data;
    size_t size;
    const ElfW(Ehdr) * header;
    const ElfW(Phdr) * segments;
    const ElfW(Dyn) * dynamic;
    size_t dynamic_count;
    const char *strings; /* of the dynamic section */
    size_t strings_size;
};

/* Maps the file that fd is and checks it; path is for messages. 0, or -1 with err (EXIT_APP).
 * elf_unmap in either case. */
int elf_map(struct elf *e, int fd, const char *path, struct error *err);
void elf_unmap(struct elf *e);

/* The value of an entry of the dynamic section; 0: no such entry. */
uint64_t elf_dynamic_value(const struct elf *e, int64_t tag);

/* A string of the dynamic section; NULL where it runs past its end. */
const char *elf_dynamic_string(const struct elf *e, uint64_t offset);

/* Writes the GNU build-id in hex, cut to size; "" where the file has none. */
void elf_build_id(const struct elf *e, char *out, size_t size);

#endif
