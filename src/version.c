/* SPDX-License-Identifier: MIT
 *
 * See version.h. Libraries that are loaded tell their version themselves, since it need not be the
 * one that gcorn was compiled with.
 */
#include "version.h"

#include <ev.h>
#include <llhttp.h>
#include <stdio.h>
#include <yaml.h>

#ifdef HAVE_LIBDW
#include <elfutils/libdwfl.h>
#endif

#include "base/build_info.h"
#include "base/strbuf.h"
#include "worker/call/app.h"

void version_print(void)
{
    struct strbuf text = {0};

    strbuf_addstr(&text, "gcorn " GCORN_VERSION "\nABI of gcorn.h: " APP_ABI "\n");
    strbuf_addf(&text, "libraries: libev %d.%d, libyaml %s, llhttp %d.%d.%d%s", ev_version_major(),
                ev_version_minor(), yaml_get_version_string(), LLHTTP_VERSION_MAJOR,
                LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH, HAS_OWN_LLHTTP ? " (compiled in)" : "");
#ifdef HAVE_LIBDW
    strbuf_addf(&text, ", libdw %s\n", dwfl_version(NULL));
#else
    strbuf_addstr(&text, "\nleft out: libdw (gcornctl dump and slow_request show no stacks)\n");
#endif
    build_info_add(&text);
    (void)fputs(text.data, stdout);
    strbuf_release(&text);
}
