/* SPDX-License-Identifier: MIT
 *
 * notes - a JSON REST service over SQLite.
 *
 *   gcorn --env NOTES_DB=/var/lib/notes.db notes.so:handler
 *   curl -d '{"text": "buy milk"}' http://127.0.0.1:8000/notes
 *
 *   GET    /notes        all of them: [{"id": 1, "text": "..."}, ...]
 *   POST   /notes        one more, {"text": "..."}, or several, [{...}, ...]: all or none
 *   GET    /notes/ID     PUT /notes/ID {"text": "..."}     DELETE /notes/ID
 *
 * What it shows: a worker is a process, so it opens one database connection, in
 * gcorn_on_worker_init, and prepares its statements once; handlers use them without a lock. What a
 * request makes is deferred to its end, so that every early return is right: objects of jansson,
 * and the reset of a statement. What a client got wrong is told apart: 404, 405, 422.
 */
#include <jansson.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gcorn.h>

enum { LIST, GET, INSERT, UPDATE, DELETE, BEGIN, COMMIT, ROLLBACK, STATEMENTS };

static sqlite3 *db;
static sqlite3_stmt *statements[STATEMENTS];

static const char *const texts[STATEMENTS] = {
    [LIST] = "SELECT id, text FROM notes ORDER BY id",
    [GET] = "SELECT id, text FROM notes WHERE id = ?1",
    [INSERT] = "INSERT INTO notes (text) VALUES (?1) RETURNING id, text",
    [UPDATE] = "UPDATE notes SET text = ?2 WHERE id = ?1 RETURNING id, text",
    [DELETE] = "DELETE FROM notes WHERE id = ?1 RETURNING id, text",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
};

/* ---- the worker ---------------------------------------------------------------------------- */

static int fail_boot(const char *what)
{
    gcorn_log(NULL, GCORN_ERROR, "%s: %s", what, db ? sqlite3_errmsg(db) : "out of memory");
    return -1;
}

static int set_up(void)
{
    return sqlite3_exec(db,
                        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                        "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY AUTOINCREMENT,"
                        "                                  text TEXT NOT NULL)",
                        NULL, NULL, NULL);
}

GCORN_EXPORT int gcorn_on_worker_init(void)
{
    const char *path = getenv("NOTES_DB");

    if (gcorn_threads() > 1)
        return fail_boot("one connection a worker: --threads 1");
    if (sqlite3_open(path ? path : "notes.db", &db) != SQLITE_OK)
        return fail_boot(path ? path : "notes.db");
    sqlite3_busy_timeout(db, 5000); /* other workers write, too */
    /* the switch to WAL does not wait for another worker's as all else does */
    for (int tries = 0; set_up() != SQLITE_OK; tries++) {
        if (tries == 100 || sqlite3_errcode(db) != SQLITE_BUSY)
            return fail_boot("the table cannot be made");
        sqlite3_sleep(20);
    }
    for (int i = 0; i < STATEMENTS; i++) {
        if (sqlite3_prepare_v3(db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &statements[i], NULL) !=
            SQLITE_OK)
            return fail_boot(texts[i]);
    }
    return 0;
}

GCORN_EXPORT void gcorn_on_worker_exit(void)
{
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(statements[i]);
    sqlite3_close(db);
}

/* ---- answers ------------------------------------------------------------------------------- */

/* One request's. */
struct notes {
    struct gcorn_environ *env;
    struct gcorn_start_response *start;
};

static void free_json(void *json)
{
    json_decref(json);
}

static struct gcorn_body *answer(struct notes *n, const char *status, json_t *json)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "application/json"},
                                                  {NULL, NULL}};
    char *text = json_dumps(json, JSON_COMPACT);

    gcorn_defer(n->env, free_json, json);
    gcorn_defer(n->env, free, text);
    gcorn_start(n->start, status, headers);
    return gcorn_body_text(n->env, text); /* copied; NULL, and so 500, when memory was out */
}

static struct gcorn_body *refuse(struct notes *n, const char *status, const char *why)
{
    return answer(n, status, json_pack("{s:s}", "error", why));
}

static struct gcorn_body *not_allowed(struct notes *n, const char *allowed)
{
    const struct gcorn_header headers[] = {{"Allow", allowed}, {NULL, NULL}};

    gcorn_start(n->start, "405 Method Not Allowed", headers);
    return gcorn_body_text(n->env, "");
}

static struct gcorn_body *database_failed(struct notes *n)
{
    gcorn_log(n->env, GCORN_ERROR, "sqlite: %s", sqlite3_errmsg(db));
    if (!sqlite3_get_autocommit(db)) {
        sqlite3_step(statements[ROLLBACK]);
        sqlite3_reset(statements[ROLLBACK]);
    }
    return NULL;
}

/* ---- statements ---------------------------------------------------------------------------- */

static void reset_statement(void *statement)
{
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
}

/* Ready to be bound and stepped; reset when the request is over, whatever becomes of it. That may be
 * long after the handler has returned, when a client reads slowly: a request before may still hold
 * the statement, but needs it no more. */
static sqlite3_stmt *use(struct notes *n, int which)
{
    reset_statement(statements[which]);
    gcorn_defer(n->env, reset_statement, statements[which]);
    return statements[which];
}

static json_t *row(sqlite3_stmt *s)
{
    return json_pack("{s:I, s:s%}", "id", (json_int_t)sqlite3_column_int64(s, 0), "text",
                     (const char *)sqlite3_column_text(s, 1), (size_t)sqlite3_column_bytes(s, 1));
}

static bool run(int which)
{
    bool done = sqlite3_step(statements[which]) == SQLITE_DONE;

    sqlite3_reset(statements[which]);
    return done;
}

/* ---- what a client sends ------------------------------------------------------------------- */

static const char *text_of(const json_t *note)
{
    const char *text = json_string_value(json_object_get(note, "text"));

    return text && *text != '\0' ? text : NULL;
}

/* The request's body; NULL: it is not JSON. */
static json_t *input(struct notes *n)
{
    size_t len;
    const char *text = gcorn_input_all(n->env, &len);
    json_t *json = text ? json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL) : NULL;

    if (json)
        gcorn_defer(n->env, free_json, json);
    return json;
}

/* ---- what it asks for ---------------------------------------------------------------------- */

static struct gcorn_body *list(struct notes *n)
{
    sqlite3_stmt *s = use(n, LIST);
    json_t *all = json_array();
    int result;

    while ((result = sqlite3_step(s)) == SQLITE_ROW)
        json_array_append_new(all, row(s));
    if (result == SQLITE_DONE)
        return answer(n, "200 OK", all);
    json_decref(all);
    return database_failed(n);
}

/* NULL: the database has failed. */
static json_t *insert(sqlite3_stmt *s, const json_t *note)
{
    json_t *made = NULL;

    sqlite3_bind_text(s, 1, text_of(note), -1, SQLITE_STATIC);
    if (sqlite3_step(s) == SQLITE_ROW) {
        made = row(s);
        if (sqlite3_step(s) != SQLITE_DONE) {
            json_decref(made);
            made = NULL;
        }
    }
    sqlite3_reset(s);
    return made;
}

static struct gcorn_body *add(struct notes *n)
{
    json_t *given = input(n), *note;
    size_t i;

    if (!given)
        return refuse(n, "422 Unprocessable Content", "not JSON");
    if (!json_is_array(given)) {
        if (!text_of(given))
            return refuse(n, "422 Unprocessable Content", "a note has a text");
        note = insert(use(n, INSERT), given);
        return note ? answer(n, "201 Created", note) : database_failed(n);
    }
    json_array_foreach(given, i, note)
    {
        if (!text_of(note))
            return refuse(n, "422 Unprocessable Content", "each note has a text");
    }
    if (!run(BEGIN))
        return database_failed(n);
    json_t *all = json_array();
    gcorn_defer(n->env, free_json, json_incref(all));
    json_array_foreach(given, i, note)
    {
        json_t *made = insert(use(n, INSERT), note);

        if (!made || json_array_append_new(all, made) < 0)
            return database_failed(n); /* and rolled back */
    }
    return run(COMMIT) ? answer(n, "201 Created", all) : database_failed(n);
}

/* One row by its id, with a statement that gives it back. */
static struct gcorn_body *one(struct notes *n, int which, sqlite3_int64 id, const char *text)
{
    sqlite3_stmt *s = use(n, which);

    sqlite3_bind_int64(s, 1, id);
    if (text)
        sqlite3_bind_text(s, 2, text, -1, SQLITE_STATIC);
    int result = sqlite3_step(s);
    if (result == SQLITE_DONE)
        return refuse(n, "404 Not Found", "no such note");
    if (result != SQLITE_ROW)
        return database_failed(n);
    json_t *note = row(s);
    if (sqlite3_step(s) == SQLITE_DONE) /* only then it is written */
        return answer(n, "200 OK", note);
    json_decref(note);
    return database_failed(n);
}

static struct gcorn_body *change(struct notes *n, sqlite3_int64 id)
{
    const json_t *given = input(n);

    if (!given || !text_of(given))
        return refuse(n, "422 Unprocessable Content", "a note has a text");
    return one(n, UPDATE, id, text_of(given));
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    struct notes n = {env, start_response};
    const char *method = gcorn_get(env, "REQUEST_METHOD");
    const char *path = gcorn_get(env, "PATH_INFO");
    bool is_get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    char *end;

    if (strcmp(path, "/notes") == 0) {
        if (is_get)
            return list(&n);
        return strcmp(method, "POST") == 0 ? add(&n) : not_allowed(&n, "GET, HEAD, POST");
    }
    if (strncmp(path, "/notes/", 7) != 0 || path[7] < '0' || path[7] > '9')
        return refuse(&n, "404 Not Found", "no such path");
    sqlite3_int64 id = strtoll(path + 7, &end, 10);
    if (*end != '\0')
        return refuse(&n, "404 Not Found", "no such path");
    if (is_get)
        return one(&n, GET, id, NULL);
    if (strcmp(method, "PUT") == 0)
        return change(&n, id);
    if (strcmp(method, "DELETE") == 0)
        return one(&n, DELETE, id, NULL);
    return not_allowed(&n, "GET, HEAD, PUT, DELETE");
}
