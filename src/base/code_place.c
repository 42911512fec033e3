/* SPDX-License-Identifier: MIT
 *
 * See code_place.h.
 */
#include "base/code_place.h"

#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/compat.h"

void code_place(char *out, size_t size, const void *address)
{
    Dl_info info = {0};
    const ElfW(Sym) *symbol = NULL;

    if (dladdr1(address, &info, (void **)&symbol, RTLD_DL_SYMENT) == 0) {
        snprintf(out, size, "code at %p", address);
        return;
    }
    uintptr_t in_symbol = (uintptr_t)address - (uintptr_t)info.dli_saddr;
    if (info.dli_sname && symbol && in_symbol < symbol->st_size) {
        snprintf(out, size, "%s", info.dli_sname);
        return;
    }
    const char *slash = strrchr(info.dli_fname, '/');
    snprintf(out, size, "%s+0x%zx", slash ? slash + 1 : info.dli_fname,
             (uintptr_t)address - (uintptr_t)info.dli_fbase);
}
