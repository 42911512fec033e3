/* SPDX-License-Identifier: MIT
 *
 * See elf_file.h.
 */
#include "system/code/elf_file.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/ascii.h"
#include "base/error.h"
#include "base/util.h"

/* The machine that this binary is for, read off its own header. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

static bool is_inside(const struct elf *e, uint64_t offset, uint64_t size)
{
    return offset <= e->size && size <= e->size - offset;
}

/* Where a virtual address lies in the file; NULL when it does not. */
static const char *at_address(const struct elf *e, uint64_t address, uint64_t *room)
{
    for (size_t i = 0; i < e->header->e_phnum; i++) {
        const ElfW(Phdr) *s = &e->segments[i];

        if (s->p_type == PT_LOAD && address >= s->p_vaddr && address - s->p_vaddr < s->p_filesz) {
            *room = s->p_filesz - (address - s->p_vaddr);
            return e->data + s->p_offset + (address - s->p_vaddr);
        }
    }
    return NULL;
}

uint64_t elf_dynamic_value(const struct elf *e, int64_t tag)
{
    for (size_t i = 0; i < e->dynamic_count; i++) {
        if (e->dynamic[i].d_tag == tag)
            return e->dynamic[i].d_un.d_val;
    }
    return 0;
}

const char *elf_dynamic_string(const struct elf *e, uint64_t offset)
{
    if (offset >= e->strings_size ||
        !memchr(e->strings + offset, '\0', (size_t)(e->strings_size - offset)))
        return NULL;
    return e->strings + offset;
}

static int check_header(const struct elf *e, const char *path, struct error *err)
{
    const ElfW(Ehdr) *h = e->header, *own = &__ehdr_start;

    if (e->size < sizeof(*h) || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0)
        return error_set(err, EXIT_APP, "%s is not a shared object: build it with cc -shared -fPIC",
                         path);
    if (h->e_ident[EI_CLASS] != own->e_ident[EI_CLASS] || h->e_machine != own->e_machine)
        return error_set(err, EXIT_APP,
                         "%s is built for another machine (ELF machine %d, this gcorn is %d)", path,
                         h->e_machine, own->e_machine);
    if (h->e_type != ET_DYN)
        return error_set(err, EXIT_APP,
                         "%s is an ELF file but no shared object: build it with cc -shared -fPIC",
                         path);
    return 0;
}

/* Everything that the file says it has must be in it: a file cut short is being written. */
static int check_whole(struct elf *e, const char *path, struct error *err)
{
    const ElfW(Ehdr) *h = e->header;

    assert(h); /* check_header has read it */
    bool whole = h->e_phentsize == sizeof(ElfW(Phdr)) && h->e_phoff % _Alignof(ElfW(Phdr)) == 0 &&
                 is_inside(e, h->e_phoff, (uint64_t)h->e_phnum * sizeof(ElfW(Phdr))) &&
                 is_inside(e, h->e_shoff, (uint64_t)h->e_shnum * h->e_shentsize);

    e->segments = (const ElfW(Phdr) *)(const void *)(e->data + (whole ? h->e_phoff : 0));
    for (size_t i = 0; whole && i < h->e_phnum; i++)
        whole = is_inside(e, e->segments[i].p_offset, e->segments[i].p_filesz);
    if (!whole)
        return error_set(err, EXIT_APP, "%s is not whole: is it being written?", path);
    return 0;
}

static void find_dynamic(struct elf *e)
{
    uint64_t room;

    for (size_t i = 0; i < e->header->e_phnum; i++) {
        const ElfW(Phdr) *s = &e->segments[i];

        if (s->p_type == PT_DYNAMIC && s->p_offset % _Alignof(ElfW(Dyn)) == 0) {
            e->dynamic = (const ElfW(Dyn) *)(const void *)(e->data + s->p_offset);
            e->dynamic_count = s->p_filesz / sizeof(ElfW(Dyn));
        }
    }
    e->strings = at_address(e, elf_dynamic_value(e, DT_STRTAB), &room);
    uint64_t size = elf_dynamic_value(e, DT_STRSZ);
    e->strings_size = e->strings ? (size < room ? size : room) : 0;
}

/* Does a string of the dynamic section hold this text? A symbol's name is one with its NUL. */
static bool has_text(const struct elf *e, const char *text, size_t len)
{
    return e->strings && memmem(e->strings, e->strings_size, text, len);
}

/* A sanitizer's code works only where its library was there before everything else: dlopen would
 * end the process with a message about the order of libraries, or load what then crashes. */
static int check_sanitizer(const struct elf *e, const char *path, struct error *err)
{
    static const struct {
        const char *symbol, *library, *name, *option;
    } sanitizers[] = {
        {"__asan_init", "libasan.so.", "AddressSanitizer", "address"},
        {"__hwasan_init", "libhwasan.so.", "HWAddressSanitizer", "hwaddress"},
        {"__tsan_init", "libtsan.so.", "ThreadSanitizer", "thread"},
        {"__msan_init", "libmsan.so.", "MemorySanitizer", "memory"},
    };

    for (size_t i = 0; i < ARRAY_LEN(sanitizers); i++) {
        const char *symbol = sanitizers[i].symbol, *library = sanitizers[i].library;

        if (!has_text(e, symbol, strlen(symbol) + 1) && !has_text(e, library, strlen(library)))
            continue;
        if (!dlsym(RTLD_DEFAULT,
                   symbol)) /* else it is here: gcorn is built so, or it is preloaded */
            return error_set(err, EXIT_APP,
                             "%s is built with %s, which this gcorn is not: build gcorn with make "
                             "SANITIZE=%s, or the application without",
                             path, sanitizers[i].name, sanitizers[i].option);
    }
    return 0;
}

int elf_map(struct elf *e, int fd, const char *path, struct error *err)
{
    struct stat st;

    *e = (struct elf){0};
    if (fstat(fd, &st) < 0)
        return error_set(err, EXIT_APP, "cannot read %s: %s", path, strerror(errno));
    e->size = (size_t)st.st_size;
    e->data = e->size > 0 ? mmap(NULL, e->size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (e->data == MAP_FAILED)
        return error_set(err, EXIT_APP, "cannot read %s: %s", path, strerror(errno));
    e->header = (const ElfW(Ehdr) *)(const void *)e->data;
    if (check_header(e, path, err) < 0 || check_whole(e, path, err) < 0)
        return -1;
    find_dynamic(e);
    return check_sanitizer(e, path, err);
}

void elf_unmap(struct elf *e)
{
    if (e->data && e->data != MAP_FAILED)
        (void)munmap((void *)(uintptr_t)e->data, e->size); /* it is a mapping of ours */
}

void elf_build_id(const struct elf *e, char *out, size_t size)
{
    out[0] = '\0';
    for (size_t i = 0; i < e->header->e_phnum; i++) {
        const ElfW(Phdr) *s = &e->segments[i];
        const char *p = e->data + s->p_offset, *end = p + s->p_filesz;

        while (s->p_type == PT_NOTE && (size_t)(end - p) >= sizeof(ElfW(Nhdr))) {
            ElfW(Nhdr) note;

            memcpy(&note, p, sizeof(note));
            size_t name = ((size_t)note.n_namesz + 3) & ~(size_t)3,
                   desc = ((size_t)note.n_descsz + 3) & ~(size_t)3;
            if (name + desc > (size_t)(end - p) - sizeof(note))
                break;
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
                memcmp(p + sizeof(note), "GNU", 4) == 0) {
                for (size_t j = 0; j < note.n_descsz && 2 * j + 2 < size; j++, out += 2)
                    ascii_put_hex(out, p[sizeof(note) + name + j]);
                *out = '\0';
                return;
            }
            p += sizeof(note) + name + desc;
        }
    }
}
