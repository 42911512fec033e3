/* SPDX-License-Identifier: MIT
 *
 * fuzz_config - any bytes as a settings file; what is taken must survive being printed and read.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "outcome.h"
#include "settings/config.h"
#include "settings/config_print.h"
#include "settings/config_yaml.h"

/* What the file says, as changes of the defaults: another setting changes no outcome. */
static void show_changes(struct strbuf *text, const struct config *c)
{
    struct config defaults;

    config_init(&defaults);
    strbuf_addstr(text, "taken\n");
    (void)config_print_diff(&defaults, c, text);
    config_release(&defaults);
}

void fuzz_outcome(const uint8_t *data, size_t len, struct strbuf *text)
{
    struct config c, again;
    struct error err;
    struct strbuf changes = {0};
    char *printed = NULL;
    size_t printed_len = 0;

    config_init(&c);
    if (config_yaml_parse(&c, "fuzz", (const char *)data, len, &err) == 0) {
        FILE *out = open_memstream(&printed, &printed_len);

        config_print(&c, out);
        (void)fclose(out);
        config_init(&again);
        if (config_yaml_parse(&again, "printed", printed, printed_len, &err) < 0 ||
            config_print_diff(&c, &again, &changes) != 0) {
            fprintf(stderr, "%s\n%s\n%s\n", printed, err.text, changes.data);
            abort();
        }
        config_release(&again);
        show_changes(text, &c);
    } else {
        strbuf_addf(text, "refused: %s\n", err.text);
    }
    config_release(&c);
    strbuf_release(&changes);
    free(printed);
}
