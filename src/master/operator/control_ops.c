/* SPDX-License-Identifier: MIT
 *
 * See control_ops.h. An operation may answer and free its client before it returns, so no code uses
 * a client after calling one.
 */
#include "master/operator/control_ops.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/util.h"
#include "master/operator/control_client.h"

enum { WORD_SHOWN = 40 }; /* bytes of an unknown command that the answer shows */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void answer_ok(struct control_client *client)
{
    strbuf_addstr(&client->answer, "{\"ok\": true}\n");
    control_client_flush(client);
}

static void answer_status(struct control_client *client, const char *argument)
{
    struct control *c = client->control;

    (void)argument;
    c->ops->status(c->master, &client->answer);
    strbuf_addch(&client->answer, '\n');
    control_client_flush(client);
}

static void answer_config(struct control_client *client, const char *argument)
{
    struct control *c = client->control;

    (void)argument;
    c->ops->config(c->master, &client->answer);
    strbuf_addch(&client->answer, '\n');
    control_client_flush(client);
}

static void answer_reload(struct control_client *client, const char *argument)
{
    struct control *c = client->control;

    (void)argument;
    client->reload = c->ops->next_reload(c->master);
    if (client->reload == 0) {
        control_client_refuse(client, "the server is stopping");
        return;
    }
    control_client_wait(client, WAIT_RELOAD);
    c->ops->reload(c->master);
}

/* Stores the number of workers that "+N", "-N" or "set N" asks for, from `wanted`. False: the
 * argument is malformed. */
static bool parse_workers(const char *argument, unsigned wanted, int64_t *number)
{
    static const char set[] = "set";
    bool is_set = strncmp(argument, set, strlen(set)) == 0 && is_blank(argument[strlen(set)]);
    const char *digits = argument + 1;
    int64_t n;

    if (is_set) {
        digits = argument + strlen(set);
        while (is_blank(*digits))
            digits++;
    } else if (*argument != '+' && *argument != '-') {
        return false;
    }
    if (parse_int(digits, 0, INT_MAX, &n) < 0)
        return false;
    *number = is_set ? n : *argument == '+' ? (int64_t)wanted + n : (int64_t)wanted - n;
    return true;
}

static void answer_workers(struct control_client *client, const char *argument)
{
    struct control *c = client->control;
    struct error err;
    int64_t number;

    if (!parse_workers(argument, c->ops->workers_wanted(c->master), &number)) {
        control_client_refuse(client, "workers: needs +N, -N or set N");
    } else if (c->ops->set_workers(c->master, number, &client->answer, &err) < 0) {
        control_client_refuse(client, err.text);
    } else {
        strbuf_addch(&client->answer, '\n');
        control_client_flush(client);
    }
}

static void answer_reopen(struct control_client *client, const char *argument)
{
    struct control *c = client->control;
    struct error err;

    (void)argument;
    if (c->ops->reopen(c->master, &err) < 0)
        control_client_refuse(client, err.text);
    else
        answer_ok(client);
}

static void answer_stop(struct control_client *client, const char *argument)
{
    struct control *c = client->control;

    (void)argument;
    answer_ok(client); /* before the end begins */
    c->ops->stop(c->master);
}

static void answer_dump(struct control_client *client, const char *argument)
{
    struct control *c = client->control;
    const char *why;
    int64_t pid = 0;

    if (*argument != '\0' && parse_int(argument, 1, INT32_MAX, &pid) < 0) {
        control_client_refuse(client, "dump takes the pid of a worker");
        return;
    }
    client->dump = c->ops->dump(c->master, (pid_t)pid, &why);
    if (client->dump == 0)
        control_client_refuse(client, why);
    else
        control_client_wait(client, WAIT_DUMP);
}

static void answer_upgrade(struct control_client *client, const char *argument)
{
    struct control *c = client->control;
    struct error err;

    (void)argument;
    control_client_wait(client, WAIT_UPGRADE);
    if (c->ops->upgrade(c->master, &err) < 0)
        control_client_refuse(client, err.text);
}

static const struct command {
    const char *word;
    void (*answer)(struct control_client *client, const char *argument);
    bool has_argument; /* gets the text after the word, "" without one */
} commands[] = {
    {"status", answer_status, false}, {"config", answer_config, false},
    {"reload", answer_reload, false}, {"workers", answer_workers, true},
    {"reopen", answer_reopen, false}, {"stop", answer_stop, false},
    {"dump", answer_dump, true},      {"upgrade", answer_upgrade, false},
};

static void answer_unknown(struct control_client *client, const char *word, size_t word_len)
{
    struct strbuf why = {0};

    strbuf_addstr(&why, "no such command: ");
    strbuf_add(&why, word, word_len < WORD_SHOWN ? word_len : WORD_SHOWN);
    strbuf_addstr(&client->answer, "{\"ok\": false, \"error\": ");
    json_add_bytes(&client->answer, why.data, why.len); /* untrusted bytes */
    strbuf_addstr(&client->answer, "}\n");
    strbuf_release(&why);
    control_client_flush(client);
}

/* The line is len untrusted bytes; the byte after them may be overwritten. */
void control_run(struct control_client *client, size_t len)
{
    char *word = client->line, *end = client->line + len;
    size_t word_len = 0;

    while (end > word && is_blank(end[-1]))
        end--;
    *end = '\0';
    while (word < end && is_blank(*word))
        word++;
    while (word + word_len < end && !is_blank(word[word_len]))
        word_len++;
    const char *argument = word + word_len;
    while (argument < end && is_blank(*argument))
        argument++;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strlen(commands[i].word) != word_len || memcmp(commands[i].word, word, word_len) != 0)
            continue;
        if (argument < end && !commands[i].has_argument)
            control_client_refuse(client, "this command takes no further word");
        else if (strlen(argument) != (size_t)(end - argument))
            control_client_refuse(client, "a word has a NUL byte in it");
        else
            commands[i].answer(client, argument);
        return;
    }
    answer_unknown(client, word, word_len);
}
