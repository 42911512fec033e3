/* SPDX-License-Identifier: MIT
 *
 * msan_yaml - libyaml is not built with MemorySanitizer, which so takes all that libyaml writes for
 * never written. Linked with -Wl,--wrap=yaml_parser_parse, this marks the events as written.
 */
#include <sanitizer/msan_interface.h>
#include <string.h>
#include <yaml.h>

int __real_yaml_parser_parse(yaml_parser_t *parser, yaml_event_t *event);
int __wrap_yaml_parser_parse(yaml_parser_t *parser, yaml_event_t *event);

static void mark_text(const void *text)
{
    if (text)
        __msan_unpoison_string(text);
}

int __wrap_yaml_parser_parse(yaml_parser_t *parser, yaml_event_t *event)
{
    int result = __real_yaml_parser_parse(parser, event);

    __msan_unpoison(&result, sizeof(result));
    __msan_unpoison(parser, sizeof(*parser));
    __msan_unpoison(event, sizeof(*event));
    mark_text(parser->problem);
    mark_text(parser->context);
    if (!result)
        return result;
    if (event->type == YAML_SCALAR_EVENT) {
        mark_text(event->data.scalar.anchor);
        mark_text(event->data.scalar.tag);
        __msan_unpoison(event->data.scalar.value, event->data.scalar.length + 1);
    } else if (event->type == YAML_ALIAS_EVENT) {
        mark_text(event->data.alias.anchor);
    }
    return result;
}
