/* SPDX-License-Identifier: MIT
 *
 * See pages.h.
 */
#include "system/code/pages.h"

#include <fcntl.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"

/* Bits of /proc/PID/pagemap: in memory, in swap, mapped from its file rather than copied. */
static const uint64_t PAGE_IS_PRESENT = UINT64_C(1) << 63, PAGE_IS_SWAPPED = UINT64_C(1) << 62,
                      PAGE_IS_OF_FILE = UINT64_C(1) << 61;

bool pages_is_clean(uint64_t flags)
{
    return !(flags & (PAGE_IS_PRESENT | PAGE_IS_SWAPPED)) || (flags & PAGE_IS_OF_FILE);
}

struct pages {
    int map; /* pagemap */
    size_t size;
};

/* How many pages from the first one on are clean. One that is not would be lost: a relocation or a
 * patch of the code wrote to it. */
static size_t count_clean(const struct pages *pages, uintptr_t first, size_t count)
{
    uint64_t flags[64];
    size_t clean = 0;

    while (clean < count) {
        size_t left = count - clean, n = left < ARRAY_LEN(flags) ? left : ARRAY_LEN(flags);
        off_t at = (off_t)((first / pages->size + clean) * sizeof(*flags));

        if (pread(pages->map, flags, n * sizeof(*flags), at) != (ssize_t)(n * sizeof(*flags)))
            return 0;
        for (size_t i = 0; i < n; i++, clean++) {
            if (!pages_is_clean(flags[i]))
                return clean;
        }
    }
    return clean;
}

/* The segments of one object that cannot be written to. */
static int drop_object(struct dl_phdr_info *object, size_t size, void *arg)
{
    const struct pages *pages = arg;

    (void)size;
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t first = (object->dlpi_addr + segment->p_vaddr) / pages->size * pages->size;
        uintptr_t end = object->dlpi_addr + segment->p_vaddr + segment->p_filesz;
        size_t count = (end - first + pages->size - 1) / pages->size;

        if (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W) && segment->p_filesz > 0 &&
            count_clean(pages, first, count) == count)
            (void)madvise((void *)first, count * pages->size, MADV_DONTNEED); /* or they stay */
    }
    return 0;
}

void pages_drop_clean(void)
{
    struct pages pages = {.map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC),
                          .size = (size_t)sysconf(_SC_PAGESIZE)};

    if (pages.map < 0)
        return;
    (void)dl_iterate_phdr(drop_object, &pages);
    fd_close(&pages.map);
}
