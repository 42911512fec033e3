/* SPDX-License-Identifier: MIT
 *
 * Loading applications: small shared objects are compiled here, one for each thing that can be
 * wrong with one, and the error must say what to do.
 */
#include <stdarg.h>
#include <stddef.h>
#include <link.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "system/code/image.h"
#include "worker/call/app.h"

static char dir[64], home[4096];

static void write_file(const char *name, const char *text, size_t len)
{
    FILE *f = fopen(name, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* Compiles source as the reader of gcorn.h would. */
static void build(const char *object, const char *source, const char *flags)
{
    char *command = xasprintf("cc %s -I%s/include -o %s x.c 2>cc.log || { cat cc.log >&2; false; }",
                              flags, home, object);

    write_file("x.c", source, strlen(source));
    assert_int_equal(system(command), 0);
    free(command);
}

#define SHARED "-shared -fPIC"
#define HANDLER(name, result)                                                                      \
    "#include <gcorn.h>\n"                                                                         \
    "GCORN_EXPORT struct gcorn_body *" name                                                        \
    "(struct gcorn_environ *e, struct gcorn_start_response "                                       \
    "*s) { (void)e; (void)s; return (void *)" #result "; }\n"

/* A worker loads one application, this process many: the images stay open to the end, because the
 * loader would take a descriptor that is used anew for what it has loaded already. */
static struct image images[64];
static size_t image_count;

/* As a worker comes to its application: the spec, the image, the symbols. */
static int load(struct app *app, const char *spec, struct error *err)
{
    struct image *image = &images[image_count++];
    const char *symbol;
    char *path;

    assert_true(image_count <= ARRAY_LEN(images));
    memset(app, 0xff, sizeof(*app));
    if (app_parse(spec, &path, &symbol, err) < 0)
        return -1;
    int result = image_open(image, path, NULL, err);
    if (result == 0)
        result = app_load(app, image, symbol, err);
    free(path);
    return result;
}

/* The handler that was found is the one that returns this. */
static void load_ok(struct app *app, const char *spec, int want)
{
    struct error err = {0};

    if (load(app, spec, &err) < 0)
        fail_msg("%s: %s", spec, err.text);
    assert_non_null(app->handler);
    assert_int_equal((intptr_t)app->handler(NULL, NULL), want);
}

/* The error is for exit status 3, is one line, and holds these parts. */
static void load_fails(const char *spec, const char *part, const char *hint)
{
    struct error err = {0};
    struct app app;

    assert_int_equal(load(&app, spec, &err), -1);
    assert_int_equal(err.status, EXIT_APP);
    if (!strstr(err.text, part) || !strstr(err.text, hint) || strchr(err.text, '\n'))
        fail_msg("%s: '%s' lacks '%s' or '%s'", spec, err.text, part, hint);
}

static void test_app_specs(void **state)
{
    struct app app;
    char *absolute;

    (void)state;
    build("good.so", HANDLER("handler", 1) HANDLER("other", 2), SHARED);
    load_ok(&app, "good.so", 1);
    load_ok(&app, "good.so:handler", 1);
    load_ok(&app, "./good.so:other", 2);
    absolute = xasprintf("%s/good.so:other", dir);
    load_ok(&app, absolute, 2);
    free(absolute);
    /* a colon that belongs to the path */
    assert_int_equal(mkdir("a:b", 0700), 0);
    build("a:b/c.so", HANDLER("handler", 1), SHARED);
    load_ok(&app, "a:b/c.so", 1);
    load_ok(&app, "a:b/c.so:handler", 1);
    build("d:e.so", HANDLER("handler", 1), SHARED);
    load_ok(&app, "d:e.so", 1);
    load_fails("", "names no application", "app.so:handler");
    load_fails(":handler", "names no application", "app.so:handler");
    load_fails("good.so:", "names no application", "app.so:handler");
    load_fails(":", "names no application", "app.so:handler");
}

static void test_app_hooks(void **state)
{
    struct app app;

    (void)state;
    build("none.so", HANDLER("handler", 1), SHARED);
    load_ok(&app, "none.so", 1);
    assert_true(!app.on_worker_init && !app.on_worker_exit && !app.on_worker_abort);
    assert_true(!app.on_pre_request && !app.on_post_request);
    build("hooks.so",
          HANDLER("handler",
                  1) "static int n;\n"
                     "int gcorn_on_worker_init(void) { return n; }\n"
                     "void gcorn_on_worker_exit(void) { n = 1; }\n"
                     "void gcorn_on_worker_abort(void) { n = 2; }\n"
                     "void gcorn_on_pre_request(struct gcorn_environ *e) { (void)e; n = 3; }\n"
                     "void gcorn_on_post_request(struct gcorn_environ *e) { (void)e; n = 4; }\n",
          SHARED " -fvisibility=hidden"); /* gcorn.h exports them all the same */
    load_ok(&app, "hooks.so", 1);
    assert_int_equal(app.on_worker_init(), 0);
    app.on_worker_exit();
    assert_int_equal(app.on_worker_init(), 1);
    app.on_worker_abort();
    assert_int_equal(app.on_worker_init(), 2);
    app.on_pre_request(NULL);
    assert_int_equal(app.on_worker_init(), 3);
    app.on_post_request(NULL);
    assert_int_equal(app.on_worker_init(), 4);
}

static void test_app_not_found(void **state)
{
    (void)state;
    load_fails("missing.so", "cannot open the application ./missing.so: No such file", dir);
    load_fails("missing.so:handler", "./missing.so", "working directory");
    load_fails("/nonexistent/x.so", "/nonexistent/x.so", "No such file");
    load_fails("good.so/x.so", "good.so/x.so", "Not a directory");
    /* a name without a slash is not looked for along the library path */
    load_fails("libc.so.6", "./libc.so.6", "No such file");
}

static void test_app_not_elf(void **state)
{
    char head[64] = "\177ELF", *whole;
    FILE *f;

    (void)state;
    write_file("text.so", "print('hello')\n", 15);
    load_fails("text.so", "is not a shared object", "cc -shared -fPIC");
    write_file("empty.so", "", 0);
    load_fails("empty.so", "is not a shared object", "cc -shared -fPIC");
    write_file("short.so", head, 20);
    load_fails("short.so", "is not a shared object", "cc -shared -fPIC");
    assert_int_equal(mkdir("dir.so", 0700), 0);
    load_fails("dir.so", "./dir.so", "application");
    write_file("zeros.so", head, sizeof(head));
    load_fails("zeros.so", "another machine", "ELF machine 0");

    build("object.so", HANDLER("handler", 1), "-c -fPIC");
    load_fails("object.so", "no shared object", "cc -shared -fPIC");

    /* the header is in order, the rest is not */
    whole = xmalloc(1 << 16);
    assert_non_null(f = fopen("good.so", "r"));
    size_t len = fread(whole, 1, 1 << 16, f);
    assert_int_equal(fclose(f), 0);
    write_file("cut.so", whole, 100);
    load_fails("cut.so", "cut.so", "not whole");
    whole[18] ^= 0x55; /* e_machine */
    write_file("alien.so", whole, len);
    load_fails("alien.so", "alien.so is built for another machine", "ELF machine");
    whole[18] ^= 0x55;
    whole[4] ^= 3; /* EI_CLASS */
    write_file("bits.so", whole, len);
    load_fails("bits.so", "bits.so is built for another machine", "ELF machine");
    whole[4] ^= 3;
    ElfW(Ehdr) *header = (ElfW(Ehdr) *)(void *)whole;
    header->e_phoff++;
    write_file("odd.so", whole, len);
    load_fails("odd.so", "odd.so", "not whole");
    header->e_phoff--;
    /* a build-id that says that it is longer than the file, by a length that wraps */
    static const char note[] = "\4\0\0\0\24\0\0\0\3\0\0\0GNU";
    char *at = memmem(whole, len, note, sizeof(note));
    if (at) {
        struct error err = {0};
        struct app app;

        memset(at + 4, 0xff, 4);
        write_file("long.so", whole, len);
        assert_int_equal(load(&app, "long.so", &err), 0);
        assert_string_equal(images[image_count - 1].build_id, "");
    }
    free(whole);
}

static void test_app_executable(void **state)
{
    (void)state;
    build("program", "int main(void) { return 0; }\n", "-pie -fPIE");
    load_fails("program", "cannot load", "program");
    build("program", "int main(void) { return 0; }\n", "-no-pie -fno-pie");
    load_fails("program", "no shared object", "cc -shared -fPIC");
}

static void test_app_wrong_symbol(void **state)
{
    (void)state;
    load_fails("good.so:handle", "./good.so exports no function handle", "GCORN_EXPORT");
    build("hidden.so",
          "static int handler(void) { return 0; }\nint f(void) { return handler(); }\n", SHARED);
    load_fails("hidden.so", "exports no function handler", "not static");
    /* a C++ compiler would have given it this name */
    build("mangled.so",
          "void *_Z7handlerP13gcorn_environP20gcorn_start_response(void *e, void *s)\n"
          "{ (void)e; return s; }\n",
          SHARED);
    load_fails("mangled.so", "C++ name", "put GCORN_EXPORT in front of it");
    load_fails("mangled.so:other", "exports no function other", "GCORN_EXPORT");
}

/* Whatever the loader misses, the line names it, and the file that needs it. */
static void test_app_missing_library(void **state)
{
    (void)state;
    build("libgone.so.1", "int gone(void) { return 1; }\n", SHARED " -Wl,-soname,libgone.so.1");
    build("libpart.so.1", "int gone(void);\nint part(void) { return gone(); }\n",
          SHARED " -Wl,-soname,libpart.so.1 -Wl,--no-as-needed -L. -l:libgone.so.1");
    build("direct.so", "int gone(void);\nint handler(void) { return gone(); }\n",
          SHARED " -Wl,--no-as-needed -L. -l:libgone.so.1");
    build(
        "private.so", "int part(void);\nint handler(void) { return part(); }\n",
        SHARED
        " -Wl,--no-as-needed -L. -l:libpart.so.1 -Wl,-rpath,'$ORIGIN' -Wl,--allow-shlib-undefined");
    assert_int_equal(unlink("libgone.so.1"), 0);
    load_fails("direct.so", "./direct.so needs the library libgone.so.1, which is not found",
               "LD_LIBRARY_PATH");
    load_fails("private.so", "libpart.so.1 needs the library libgone.so.1, which is not found",
               "install it");
}

static void test_app_data_is_no_function(void **state)
{
    struct app app;

    (void)state;
    build("data.so",
          HANDLER("handler", 1) "GCORN_EXPORT const char text[] = \"x\";\n"
                                "GCORN_EXPORT int number = 1;\n"
                                "GCORN_EXPORT __thread int each = 1;\n",
          SHARED " -Wl,-z,noseparate-code");
    load_ok(&app, "data.so", 1);
    load_fails("data.so:text", "exports text as data, not as a function", "name a function");
    load_fails("data.so:number", "exports number as data", "name a function");
    load_fails("data.so:each", "exports each as data", "name a function");
    build("hook.so", HANDLER("handler", 1) "int hook __asm__(\"gcorn_on_post_request\") = 1;\n",
          SHARED);
    load_fails("hook.so", "exports gcorn_on_post_request as data", "rename the data");
    /* what a resolver chooses at load time has no symbol of its own */
    build("ifunc.so",
          "static void *chosen(void *e, void *s) { (void)e; (void)s; return (void *)3; }\n"
          "static void *choose(void) { return (void *)chosen; }\n"
          "void *handler(void *e, void *s) __attribute__((ifunc(\"choose\")));\n",
          SHARED);
    load_ok(&app, "ifunc.so", 3);
}

static void test_app_unresolved(void **state)
{
    (void)state;
    build("needs.so",
          HANDLER("handler", 1) "int no_such_function(void);\n"
                                "int f(void) { return no_such_function(); }\n",
          SHARED);
    load_fails("needs.so", "needs no_such_function", "link it with that library");
}

static void test_app_abi(void **state)
{
    (void)state;
    build("abi.so",
          "extern const char gcorn_abi_7;\nconst char *const wanted = &gcorn_abi_7;\n"
          "int handler(void) { return 0; }\n",
          SHARED);
    load_fails("abi.so", "speaks ABI 7 of gcorn.h, this gcorn speaks ABI 2", "compile it against");
}

/* A real gcorn binary exports gcorn_abi_2; a test is linked without: a library stands in. */
static int make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/gcorn-app-XXXXXX");
    if (!getcwd(home, sizeof(home)) || !mkdtemp(dir) || chdir(dir) < 0)
        return -1;
    build("abi2.so", "const char gcorn_abi_2 = 2;\n", SHARED);
    return dlopen("./abi2.so", RTLD_NOW | RTLD_GLOBAL) ? 0 : -1;
}

static int remove_dir(void **state)
{
    char *command = xasprintf("rm -r %s", dir);

    (void)state;
    for (size_t i = 0; i < image_count; i++)
        image_close(&images[i]);
    int result = chdir(home) < 0 || system(command) != 0 ? -1 : 0;
    free(command);
    return result;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_app_specs),           cmocka_unit_test(test_app_hooks),
        cmocka_unit_test(test_app_not_found),       cmocka_unit_test(test_app_not_elf),
        cmocka_unit_test(test_app_executable),      cmocka_unit_test(test_app_wrong_symbol),
        cmocka_unit_test(test_app_unresolved),      cmocka_unit_test(test_app_data_is_no_function),
        cmocka_unit_test(test_app_missing_library), cmocka_unit_test(test_app_abi),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
