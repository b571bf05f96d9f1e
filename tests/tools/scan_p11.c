/* SPDX-License-Identifier: BSD-2-Clause */
/* Looks through its process's memory around every PKCS#11 call: see scan_p11.h. */
#include "tests/tools/scan_p11.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/tools/p11_functions.h"
#include "tests/tools/real_p11.h"

/* ---- The module's memory ---- */

#define ARENA ((size_t)64 << 20)
#define CLASSES 28 /* of 32 bytes and up, each twice the last */
#define HEADER 16

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *data);

struct block { /* before each piece of the arena */
    size_t class, len;
};

static _Alignas(64) uint8_t arena[ARENA];
static size_t arena_used;
static void *arena_free[CLASSES];
static pthread_mutex_t arena_lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local int in_module;

static int is_arena(const void *data)
{
    return (const uint8_t *)data >= arena && (const uint8_t *)data < arena + ARENA;
}

static struct block *block_of(void *data)
{
    return (struct block *)((uint8_t *)data - HEADER);
}

static void *arena_take(size_t len)
{
    size_t class = 0;
    uint8_t *data = NULL;

    while (class < CLASSES && (size_t)32 << class < len) {
        class ++;
    }
    pthread_mutex_lock(&arena_lock);
    if (class < CLASSES && arena_free[class]) {
        data = arena_free[class];
        memcpy(&arena_free[class], data, sizeof(void *));
    } else if (class < CLASSES && ((size_t)32 << class) + HEADER <= ARENA - arena_used) {
        data = arena + arena_used + HEADER;
        arena_used += ((size_t)32 << class) + HEADER;
    }
    pthread_mutex_unlock(&arena_lock);
    if (!data) {
        errno = ENOMEM;
        return NULL;
    }
    *block_of(data) = (struct block){class, len};
    return data;
}

static void arena_give(void *data)
{
    size_t class = block_of(data)->class;

    pthread_mutex_lock(&arena_lock);
    memcpy(data, &arena_free[class], sizeof(void *)); /* the rest stays as it was left */
    arena_free[class] = data;
    pthread_mutex_unlock(&arena_lock);
}

void *malloc(size_t size)
{
    return in_module ? arena_take(size) : __libc_malloc(size);
}

void free(void *data)
{
    if (is_arena(data)) {
        arena_give(data);
    } else {
        __libc_free(data);
    }
}

void *calloc(size_t count, size_t size)
{
    size_t len;
    void *data;

    if (!in_module) {
        return __libc_calloc(count, size);
    }
    if (__builtin_mul_overflow(count, size, &len) || !(data = arena_take(len))) {
        errno = ENOMEM;
        return NULL;
    }
    return memset(data, 0, len);
}

void *realloc(void *old, size_t size)
{
    void *data;

    if (!is_arena(old) && !(in_module && !old)) {
        return __libc_realloc(old, size); /* ours stays ours */
    }
    data = arena_take(size);
    if (data && old) {
        size_t len = block_of(old)->len;
        memcpy(data, old, len < size ? len : size);
        arena_give(old);
    }
    return data;
}

int posix_memalign(void **out, size_t align, size_t size)
{
    /* The arena's pieces are aligned to 16; nothing in a module has asked for more so far. */
    void *data = in_module && align <= HEADER ? arena_take(size) : __libc_memalign(align, size);

    if (!data) {
        return ENOMEM;
    }
    *out = data;
    return 0;
}

void *aligned_alloc(size_t align, size_t size)
{
    void *data;

    return posix_memalign(&data, align, size) ? NULL : data;
}

/* ---- The module's thread ---- */

typedef CK_RV (*words_fn)(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t,
                          uintptr_t, uintptr_t);

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST ours;
static sem_t asked, answered;
static struct {
    words_fn fn;
    const uintptr_t *words;
    CK_RV rv;
    const uint8_t *stack;
    size_t stack_len;
} job;

static void *serve(void *arg)
{
    pthread_attr_t attr;
    void *stack;

    (void)arg;
    if (pthread_getattr_np(pthread_self(), &attr) == 0 &&
        pthread_attr_getstack(&attr, &stack, &job.stack_len) == 0) {
        job.stack = stack;
    }
    pthread_attr_destroy(&attr);
    in_module = 1;
    sem_post(&answered);
    for (;;) {
        while (sem_wait(&asked) != 0) {
            ;
        }
        const uintptr_t *w = job.words;
        job.rv = job.fn(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]);
        sem_post(&answered);
    }
    return NULL;
}

static void await(void)
{
    while (sem_wait(&answered) != 0) {
        ;
    }
}

/* ---- Looking ---- */

enum { FORM_BINARY, FORM_LOWER, FORM_UPPER, FORMS };

static struct scan_values values;
static uint8_t begins[65536 / 8];
static char report[512];

/* Byte number i of a form, masked as the value is: what is in clear is in a register only. */
static uint8_t masked_byte(const struct scan_value *value, int form, size_t i)
{
    uint8_t byte, digit;

    if (form == FORM_BINARY) {
        return value->masked[i];
    }
    byte = value->masked[i / 2] ^ SCAN_MASK;
    digit = i % 2 ? byte & 15 : byte >> 4;
    return (uint8_t)((digit < 10 ? '0' + digit : (form == FORM_LOWER ? 'a' : 'A') + digit - 10)) ^
           SCAN_MASK;
}

static size_t form_len(const struct scan_value *value, int form)
{
    return form == FORM_BINARY ? value->len : 2 * value->len;
}

static void load_values(void)
{
    const char *path = getenv("KL_SCAN_VALUES");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0 || read(fd, &values, sizeof(values)) != sizeof(values)) {
        fputs("scan_p11: no values to look for\n", stderr);
        _exit(70);
    }
    close(fd);
    for (uint32_t i = 0; i < values.count; i++) {
        for (int form = 0; form < FORMS; form++) {
            unsigned first = masked_byte(&values.all[i], form, 0) ^ SCAN_MASK;
            unsigned begin = first << 8 | (masked_byte(&values.all[i], form, 1) ^ SCAN_MASK);
            begins[begin / 8] |= (uint8_t)(1u << begin % 8);
        }
    }
}

static int stands_at(const uint8_t *at, size_t len, const struct scan_value *value, int form)
{
    size_t n = form_len(value, form), i = 0;

    while (n <= len && i < n && (at[i] ^ SCAN_MASK) == masked_byte(value, form, i)) {
        i++;
    }
    return i == n;
}

static int is_modules(const uint8_t *at)
{
    return is_arena(at) || (at >= job.stack && at < job.stack + job.stack_len);
}

struct seen {
    unsigned ours, modules; /* bit i: value i */
    char where[96];
};

static void look_at(const uint8_t *from, size_t len, const char *name, struct seen *seen)
{
    for (size_t at = 0; at + 1 < len; at++) {
        unsigned begin = (unsigned)from[at] << 8 | from[at + 1];
        if ((begins[begin / 8] >> begin % 8 & 1) == 0) {
            continue;
        }
        for (uint32_t i = 0; i < values.count; i++) {
            for (int form = 0; form < FORMS; form++) {
                if (!stands_at(from + at, len - at, &values.all[i], form)) {
                    continue;
                }
                if (is_modules(from + at)) {
                    seen->modules |= 1u << i;
                } else {
                    seen->ours |= 1u << i;
                    snprintf(seen->where, sizeof(seen->where), " %p %.60s",
                             (const void *)(from + at), name);
                }
            }
        }
    }
}

/* Every mapping that can be read, but for files that cannot be written to, and what of the arena
 * was never used. */
static void look(struct seen *seen)
{
    char line[PATH_MAX + 128];
    FILE *maps = fopen("/proc/self/maps", "re");

    while (maps && fgets(line, sizeof(line), maps)) {
        unsigned long begin, end;
        char mode[8] = "";
        int name = 0;
        if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %n", &begin, &end, mode, &name) < 3 ||
            mode[0] != 'r' || (mode[1] != 'w' && strchr(line + name, '/')) ||
            strstr(line + name, "[v")) {
            continue;
        }
        line[strcspn(line, "\n")] = '\0';
        uintptr_t unused = (uintptr_t)arena + arena_used;
        if (unused >= begin && unused < end) {
            look_at((const uint8_t *)begin, unused - begin, line + name, seen);
            begin = (uintptr_t)arena + ARENA < end ? (uintptr_t)arena + ARENA : end;
        }
        look_at((const uint8_t *)begin, end - begin, line + name, seen);
    }
    if (maps) {
        fclose(maps);
    }
}

static const char *names_of(unsigned bits, char out[160])
{
    size_t len = 0;

    strcpy(out, "-");
    for (uint32_t i = 0; i < values.count; i++) {
        if (bits >> i & 1) {
            len +=
                (size_t)snprintf(out + len, 160 - len, "%s%s", len ? "," : "", values.all[i].name);
        }
    }
    return out;
}

static void look_around(const char *function, const char *when)
{
    const char *on = getenv("KL_SCAN_ON"), *log = getenv("KL_SCAN_LOG");
    struct seen seen = {0, 0, ""};
    char a[160], b[160];

    if (strcmp(function, "C_Login") != 0 && (!on || access(on, F_OK) != 0)) {
        return;
    }
    look(&seen);
    int len = snprintf(report, sizeof(report), "%s %s ours=%s%s module=%s\n", function, when,
                       names_of(seen.ours, a), seen.where, names_of(seen.modules, b));
    int fd = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (fd < 0 || write(fd, report, (size_t)len) != len) {
        fputs("scan_p11: cannot write KL_SCAN_LOG\n", stderr);
        _exit(70);
    }
    close(fd);
}

static CK_RV around(const char *function, void (*fn)(void), const uintptr_t words[8])
{
    look_around(function, "entry");
    job.fn = (words_fn)fn;
    job.words = words;
    sem_post(&asked);
    await();
    CK_RV rv = job.rv;
    look_around(function, "exit");
    return rv;
}

/* ---- The functions ---- */

#define W1(x) (uintptr_t)(x)
#define W2(x, ...) (uintptr_t)(x), W1(__VA_ARGS__)
#define W3(x, ...) (uintptr_t)(x), W2(__VA_ARGS__)
#define W4(x, ...) (uintptr_t)(x), W3(__VA_ARGS__)
#define W5(x, ...) (uintptr_t)(x), W4(__VA_ARGS__)
#define W6(x, ...) (uintptr_t)(x), W5(__VA_ARGS__)
#define W7(x, ...) (uintptr_t)(x), W6(__VA_ARGS__)
#define W8(x, ...) (uintptr_t)(x), W7(__VA_ARGS__)
#define PICK(a, b, c, d, e, f, g, h, which, ...) which
#define WORDS(...) PICK(__VA_ARGS__, W8, W7, W6, W5, W4, W3, W2, W1, )(__VA_ARGS__)

#define WRAP(name, params, args) \
    static CK_RV scan_##name params \
    { \
        const uintptr_t words[8] = {WORDS args}; \
        return around(#name, (void (*)(void))real->name, words); \
    }

P11_FUNCTIONS(WRAP)

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    pthread_t thread;

    if (real == NULL) {
        load_values();
        real = real_p11("KL_SCAN_MODULE");
        if (real == NULL || sem_init(&asked, 0, 0) != 0 || sem_init(&answered, 0, 0) != 0 ||
            pthread_create(&thread, NULL, serve, NULL) != 0) {
            return CKR_GENERAL_ERROR;
        }
        await();
        ours = *real;
        ours.C_GetFunctionList = C_GetFunctionList;
#define SET(name, params, args) ours.name = scan_##name;
        P11_FUNCTIONS(SET)
#undef SET
    }
    *list = &ours;
    return CKR_OK;
}
