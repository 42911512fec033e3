/* SPDX-License-Identifier: MIT
 *
 * See image.h. The ELF file is read through a mapping of its copy, every offset checked against its
 * size: a file that somebody is still writing must be refused, not crash the master.
 *
 * How the loader finds a part: a worker opens the libraries first, in order, by their descriptors'
 * names. When the application then asks for "libfoo.so.1", the loader recognises the one that is
 * already there by its SONAME and looks no further.
 */
#include "system/code/image.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "system/file/memfile.h"

/* The machine that this binary is for, read off its own header. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

/* A mapped ELF file. */
struct elf {
    const char *data;
    size_t size;
    const ElfW(Ehdr) * header;
    const ElfW(Phdr) * segments;
    const ElfW(Dyn) * dynamic;
    size_t dynamic_count;
    const char *strings; /* of the dynamic section */
    size_t strings_size;
};

/* ---- copying ----------------------------------------------------------------------------- */

static int copy_bytes(int from, int to, off_t size)
{
    off_t at = 0;

    while (at < size) {
        char block[64 * 1024];
        ssize_t n = pread(from, block, sizeof(block), at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0) {
            errno = ETXTBSY; /* shorter than it was: somebody is writing it */
            return -1;
        }
        if (write_all(to, block, (size_t)n) < 0)
            return -1;
        at += n;
    }
    return 0;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* A name under which any process finds a descriptor of this one, as long as this one lives: the
 * pid is what /proc calls it, which in a pid namespace need not be getpid(). 0, or -1 with errno:
 * /proc does not show the descriptor. */
static int name_fd(int fd, char *name, size_t size)
{
    struct stat shown, st;
    char self[16];
    ssize_t len = readlink("/proc/self", self, sizeof(self) - 1);

    if (len < 0)
        return -1;
    self[len] = '\0';
    (void)snprintf(name, size, "/proc/%s/fd/%d", self, fd);
    if (stat(name, &shown) < 0 || fstat(fd, &st) < 0)
        return -1;
    if (shown.st_dev == st.st_dev && shown.st_ino == st.st_ino)
        return 0;
    errno = ENOENT;
    return -1;
}

/* The server works without private copies; this line is the only difference that an operator sees.
 * It is logged once in a process, whatever the number of reloads. errno says why. */
static void tell_from_disk(const char *what)
{
    static bool told;

    if (!told)
        log_warnx("%s: %s: the application is loaded from its file, not from a private copy; "
                  "replace the file by rename, do not overwrite it",
                  what, strerror(errno));
    told = true;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Copies size bytes of fd into a sealed file in memory. Its descriptor; -1 with errno, and
 * *is_refused when this system allows no such file. */
static int copy_to_memory(const char *path, int fd, off_t size, bool *is_refused)
{
    int copy = memfile_sealable(base_name(path));
    char name[IMAGE_NAME_SIZE];

    if (copy < 0) {
        *is_refused = errno == ENOSYS || errno == EPERM || errno == EACCES;
        if (*is_refused)
            tell_from_disk("memfd_create");
    } else if (name_fd(copy, name, sizeof(name)) < 0) {
        *is_refused = true;
        tell_from_disk("/proc/self/fd");
        fd_close(&copy);
    } else if (copy_bytes(fd, copy, size) < 0) {
        fd_close(&copy);
    } else { /* a wild write of one worker must not reach the others; refused: it can */
        (void)fcntl(copy, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    }
    return copy;
}

/* The same into a file of app_copy_dir, which *name is. */
static int copy_to_file(struct copies *copies, const char *path, int fd, off_t size, char **name)
{
    int copy = copies_make(copies, base_name(path), name);

    if (copy >= 0 && copy_bytes(fd, copy, size) < 0)
        fd_close(&copy);
    if (copy >= 0)
        (void)copies_finish(*name, &copy); /* failed: copy is -1 */
    return copy;
}

/* Opens the part's file and copies it. 0, or -1 with errno; ETXTBSY: the file changed meanwhile. */
static int copy_part(struct image *image, struct image_part *part)
{
    struct stat before, after;
    bool is_refused = false;
    /* no FIFO holds the master, which would wait for its writer */
    int fd = open(part->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0 || fstat(fd, &before) < 0)
        goto out;
    if (!S_ISREG(before.st_mode)) {
        errno = EINVAL;
        goto out;
    }
    if (image->copies.path)
        part->fd = copy_to_file(&image->copies, part->path, fd, before.st_size, &part->copy);
    else
        part->fd = copy_to_memory(part->path, fd, before.st_size, &is_refused);
    if (is_refused) {
        image->from_disk = true;
        part->fd = fd;
        return 0;
    }
    if (part->fd < 0)
        goto out;
    if (stat(part->path, &after) < 0) {
        fd_close(&part->fd);
    } else if (!same_file(&before, &after)) {
        fd_close(&part->fd);
        errno = ETXTBSY;
    }
out:
    fd_close(&fd);
    return part->fd < 0 ? -1 : 0;
}

/* ---- reading ELF ------------------------------------------------------------------------- */

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

static uint64_t dynamic_value(const struct elf *e, int64_t tag)
{
    for (size_t i = 0; i < e->dynamic_count; i++) {
        if (e->dynamic[i].d_tag == tag)
            return e->dynamic[i].d_un.d_val;
    }
    return 0;
}

/* A string of the dynamic section; NULL when it runs out of it. */
static const char *dynamic_string(const struct elf *e, uint64_t offset)
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
    e->strings = at_address(e, dynamic_value(e, DT_STRTAB), &room);
    uint64_t size = dynamic_value(e, DT_STRSZ);
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

static int elf_map(struct elf *e, int fd, const char *path, struct error *err)
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

static void elf_unmap(struct elf *e)
{
    if (e->data && e->data != MAP_FAILED)
        (void)munmap((void *)(uintptr_t)e->data, e->size); /* it is a mapping of ours */
}

static void read_build_id(const struct elf *e, char *out, size_t size)
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

/* ---- private libraries ------------------------------------------------------------------- */

/* The directory of a path, in memory of the caller's to free. */
static char *directory_of(const char *path)
{
    char *real = realpath(path, NULL);
    char *dir = real ? real : xstrdup(path);
    char *slash = strrchr(dir, '/');

    if (slash)
        slash[slash == dir] = '\0';
    else
        (void)strcpy(dir, "."); /* NOLINT: a path is never empty */
    return dir;
}

/* Does dir/name exist, dir being one entry of a RUNPATH with $ORIGIN in it? */
static char *find_in(const char *entry, size_t len, const char *origin, const char *name)
{
    static const char *const tokens[] = {"$ORIGIN", "${ORIGIN}"};
    char *path = NULL;

    for (size_t i = 0; i < ARRAY_LEN(tokens) && !path; i++) {
        size_t token = strlen(tokens[i]);

        if (len >= token && memcmp(entry, tokens[i], token) == 0)
            path = xasprintf("%s%.*s/%s", origin, (int)(len - token), entry + token, name);
    }
    if (!path)
        path = xasprintf("%.*s/%s", (int)len, entry, name);
    if (access(path, R_OK) == 0)
        return path;
    free(path);
    return NULL;
}

/* The file of a needed library, if the object itself says where it lies. */
static char *find_private(const char *search, const char *origin, const char *name)
{
    while (search && *search != '\0') {
        size_t len = strcspn(search, ":");
        char *path = len > 0 ? find_in(search, len, origin, name) : NULL;

        if (path)
            return path;
        search += len + (search[len] == ':');
    }
    return NULL;
}

/* The files whose libraries are being looked for, the application's last: libraries may need each
 * other in a circle. */
struct chain {
    const char *path;
    const struct chain *up;
};

static int add_part(struct image *image, const char *path, const struct chain *up,
                    struct error *err);

static bool is_in_chain(const struct chain *chain, const char *path)
{
    while (chain && strcmp(chain->path, path) != 0)
        chain = chain->up;
    return chain != NULL;
}

static bool has_part(const struct image *image, const char *path)
{
    for (size_t i = 0; i < image->count; i++) {
        if (strcmp(image->parts[i].path, path) == 0)
            return true;
    }
    return false;
}

static int add_libraries(struct image *image, const struct elf *e, const struct chain *chain,
                         struct error *err)
{
    uint64_t runpath = dynamic_value(e, DT_RUNPATH), rpath = dynamic_value(e, DT_RPATH);
    const char *search = runpath || rpath ? dynamic_string(e, runpath ? runpath : rpath) : NULL;
    int result = 0;

    if (!search)
        return 0;
    char *origin = directory_of(chain->path);
    for (size_t i = 0; i < e->dynamic_count && result == 0; i++) {
        const char *name =
            e->dynamic[i].d_tag == DT_NEEDED ? dynamic_string(e, e->dynamic[i].d_un.d_val) : NULL;
        char *library = name && !strchr(name, '/') ? find_private(search, origin, name) : NULL;

        if (library && !has_part(image, library) && !is_in_chain(chain, library))
            result = add_part(image, library, chain, err);
        free(library);
    }
    free(origin);
    return result;
}

static void part_close(struct image_part *part)
{
    fd_close(&part->fd);
    free(part->path);
    free(part->copy);
}

static int explain_copy(const struct image *image, const char *path, const char *kind, int reason,
                        struct error *err)
{
    char cwd[1024];

    if (reason == ETXTBSY)
        return error_set(err, EXIT_APP, "%s changed while it was read: is it being written?", path);
    if (image->copies.path && access(path, R_OK) == 0)
        return error_set(err, EXIT_FAILED, "app_copy_dir: cannot copy %s to %s: %s", path,
                         image->copies.path, strerror(reason));
    return error_set(err, EXIT_APP, "cannot open the %s %s: %s (working directory %s)", kind, path,
                     strerror(reason), getcwd(cwd, sizeof(cwd)) ? cwd : "unknown");
}

/* Copies the file, behind the libraries that it needs. */
static int add_part(struct image *image, const char *path, const struct chain *up,
                    struct error *err)
{
    struct image_part part = {.path = xstrdup(path), .fd = -1};
    const struct chain chain = {path, up};
    struct elf e = {0};
    int result = -1;

    if (copy_part(image, &part) < 0) {
        (void)explain_copy(image, path, up ? "library" : "application", errno, err);
        goto out;
    }
    if (elf_map(&e, part.fd, path, err) < 0 || add_libraries(image, &e, &chain, err) < 0)
        goto out;
    if (image->count == IMAGE_PARTS_MAX) {
        (void)error_set(err, EXIT_APP, "%s: more than %d private libraries", path,
                        IMAGE_PARTS_MAX - 1);
        goto out;
    }
    if (!up) {
        read_build_id(&e, image->build_id, sizeof(image->build_id));
    } else if (dynamic_value(&e, DT_SONAME) == 0 && !image->from_disk) {
        log_warnx("%s has no SONAME (-Wl,-soname): the application is loaded from disk, not from a "
                  "private copy; do not overwrite it",
                  path);
        image->from_disk = true;
    }
    image->parts[image->count++] = part;
    part = (struct image_part){.fd = -1};
    result = 0;
out:
    elf_unmap(&e);
    part_close(&part);
    return result;
}

int image_open(struct image *image, const char *path, const struct copies_home *home,
               struct error *err)
{
    *image = (struct image){0};
    if (home && copies_open(&image->copies, home, err) < 0)
        return -1;
    if (add_part(image, path, NULL, err) == 0)
        return 0;
    image_close(image);
    return -1;
}

void image_close(struct image *image)
{
    for (size_t i = 0; i < image->count; i++)
        part_close(&image->parts[i]);
    image->count = 0;
    copies_close(&image->copies);
}

int image_part_name(const struct image_part *part, char *name, size_t size)
{
    if (part->copy) {
        int len = snprintf(name, size, "%s", part->copy);

        errno = ENAMETOOLONG;
        return len < 0 || (size_t)len >= size ? -1 : 0;
    }
    if (name_fd(part->fd, name, size) == 0)
        return 0;
    tell_from_disk("/proc/self/fd");
    return -1;
}
