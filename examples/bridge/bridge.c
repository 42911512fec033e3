/* SPDX-License-Identifier: MIT
 *
 * bridge - an interpreter in the server: a calculator in reverse Polish notation.
 *
 *   gcorn --threads 4 --preload --timeout 5 bridge.so:handler
 *   curl 'http://127.0.0.1:8000/?run=3+square+4+square+add'      25
 *   curl 'http://127.0.0.1:8000/?run=1+again'                    for ever, but for the timeout
 *
 * What it shows: which hook does what for a language's runtime, however small this one is.
 *
 *   gcorn_on_load          makes what all workers share, once: here the compiled library of words.
 *                          With --preload its memory is the template's.
 *   gcorn_on_fork          nothing may be half done while a process is forked: the library's lock is
 *                          held over it.
 *   gcorn_on_thread_start  makes what each thread needs, and gcorn_on_thread_end frees it. In a sync
 *                          worker gcorn_on_worker_init and _exit do, for its only thread.
 *   gcorn_on_call_late     asks the program that runs for too long to end: the interpreter looks at
 *                          a flag before each word, as Python's does, so its client gets an answer
 *                          that says why, and the worker lives on.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <gcorn.h>

enum { STACK_MAX = 256, WORDS_MAX = 64, CODE_MAX = 128 };

/* ---- the runtime ------------------------------------------------------------------------------ */

enum op { OP_NUMBER, OP_ADD, OP_MULTIPLY, OP_DUP, OP_DROP, OP_AGAIN, OP_COUNT };

struct step {
    enum op op;
    double number;
};

struct code {
    struct step steps[CODE_MAX];
    size_t count;
};

/* The words of the library. Compiling adds none later, but takes the lock, as a larger runtime's
 * would. */
static struct {
    pthread_mutex_t lock;
    struct word {
        const char *name;
        struct code code;
    } words[WORDS_MAX];
    size_t count;
} library = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* A thread's state. */
struct machine {
    volatile sig_atomic_t is_late;
    size_t depth;
    double stack[STACK_MAX];
};

static _Thread_local struct machine *machine;

static bool add_step(struct code *code, enum op op, double number)
{
    if (code->count == CODE_MAX)
        return false;
    code->steps[code->count++] = (struct step){op, number};
    return true;
}

/* One word of the source. False: unknown, or the program is too long. */
static bool compile_word(struct code *code, const char *word)
{
    static const char *const names[OP_COUNT] = {[OP_ADD] = "add",
                                                [OP_MULTIPLY] = "mul",
                                                [OP_DUP] = "dup",
                                                [OP_DROP] = "drop",
                                                [OP_AGAIN] = "again"};
    char *end;
    double number = strtod(word, &end);

    if (end > word && *end == '\0')
        return add_step(code, OP_NUMBER, number);
    for (int op = OP_ADD; op < OP_COUNT; op++) {
        if (strcmp(word, names[op]) == 0)
            return add_step(code, (enum op)op, 0);
    }
    for (size_t i = 0; i < library.count; i++) {
        const struct code *known = &library.words[i].code;

        if (strcmp(word, library.words[i].name) != 0 || code->count + known->count > CODE_MAX)
            continue;
        memcpy(code->steps + code->count, known->steps, known->count * sizeof(known->steps[0]));
        code->count += known->count;
        return true;
    }
    return false;
}

static bool compile(struct code *code, char *source)
{
    char *rest = NULL;
    bool is_right = true;

    pthread_mutex_lock(&library.lock);
    for (char *word = strtok_r(source, " ", &rest); word && is_right;
         word = strtok_r(NULL, " ", &rest))
        is_right = compile_word(code, word);
    pthread_mutex_unlock(&library.lock);
    return is_right;
}

static bool push(struct machine *m, double number)
{
    if (m->depth == STACK_MAX)
        return false;
    m->stack[m->depth++] = number;
    return true;
}

/* One step; OP_AGAIN is the caller's. False: the stack is too short or too long. */
static bool run_step(struct machine *m, const struct step *step)
{
    size_t needed = step->op == OP_ADD || step->op == OP_MULTIPLY ? 2 : step->op != OP_NUMBER;

    if (m->depth < needed)
        return false;
    double top = m->depth > 0 ? m->stack[m->depth - 1] : 0;
    switch (step->op) {
    case OP_NUMBER: return push(m, step->number);
    case OP_DUP: return push(m, top);
    case OP_ADD: m->stack[--m->depth - 1] += top; break;
    case OP_MULTIPLY: m->stack[--m->depth - 1] *= top; break;
    default: m->depth--; break;
    }
    return true;
}

/* NULL, or why the program has failed. */
static const char *run(struct machine *m, const struct code *code)
{
    m->depth = 0;
    m->is_late = 0; /* what was left of the call before */
    for (size_t i = 0; i < code->count; i++) {
        if (m->is_late)
            return "interrupted: it took too long";
        if (code->steps[i].op == OP_AGAIN)
            i = (size_t)-1, m->depth = 0;
        else if (!run_step(m, &code->steps[i]))
            return "the stack is too short or too long";
    }
    return m->depth > 0 ? NULL : "no result";
}

/* ---- hooks ------------------------------------------------------------------------------------ */

static bool define(const char *name, const char *text)
{
    struct word *word = &library.words[library.count];
    char source[CODE_MAX];

    strncpy(source, text, sizeof(source) - 1);
    source[sizeof(source) - 1] = '\0';
    if (!compile(&word->code, source))
        return false;
    word->name = name;
    library.count++;
    return true;
}

GCORN_EXPORT int gcorn_on_load(void)
{
    if (define("square", "dup mul") && define("double", "2 mul") &&
        define("cube", "dup dup mul mul"))
        return 0;
    gcorn_log(NULL, GCORN_ERROR, "the library does not compile");
    return -1;
}

GCORN_EXPORT void gcorn_on_fork(enum gcorn_fork when)
{
    if (when == GCORN_FORK_BEFORE)
        pthread_mutex_lock(&library.lock);
    else
        pthread_mutex_unlock(&library.lock);
}

GCORN_EXPORT void gcorn_on_thread_start(unsigned number)
{
    machine = calloc(1, sizeof(*machine));
    if (!machine)
        abort();
    gcorn_log(NULL, GCORN_DEBUG, "machine %u is made", number);
}

GCORN_EXPORT void gcorn_on_thread_end(unsigned number)
{
    gcorn_log(NULL, GCORN_DEBUG, "machine %u is freed", number);
    free(machine);
    machine = NULL;
}

/* The loop's thread runs programs only in a sync worker; in a gthread one it has no use for its
 * machine, and the cost is small. */
GCORN_EXPORT int gcorn_on_worker_init(void)
{
    gcorn_on_thread_start(gcorn_threads());
    return 0;
}

GCORN_EXPORT void gcorn_on_worker_exit(void)
{
    gcorn_on_thread_end(gcorn_threads());
}

/* In a signal handler, on the thread that runs the program. */
GCORN_EXPORT void gcorn_on_call_late(void)
{
    if (machine)
        machine->is_late = 1;
}

/* ---- requests --------------------------------------------------------------------------------- */

static struct gcorn_body *answer(struct gcorn_environ *env,
                                 struct gcorn_start_response *start_response, const char *status,
                                 const char *text)
{
    static const struct gcorn_header plain[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};

    gcorn_start(start_response, status, plain);
    return gcorn_body_printf(env, "%s\n", text);
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *source = gcorn_query(env, "run");
    struct code code = {.count = 0};

    if (!source)
        return answer(env, start_response, "400 Bad Request", "ask for /?run=PROGRAM");
    if (!compile(&code, gcorn_printf(env, "%s", source)))
        return answer(env, start_response, "400 Bad Request", "the program does not compile");
    const char *failure = run(machine, &code);
    if (failure)
        return answer(env, start_response, "422 Unprocessable Content", failure);
    return answer(env, start_response, "200 OK",
                  gcorn_printf(env, "%g", machine->stack[machine->depth - 1]));
}
