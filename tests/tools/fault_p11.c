/* SPDX-License-Identifier: BSD-2-Clause */
/* The fault-injecting PKCS#11 module: see fault_p11.h. */
#include "tests/tools/fault_p11.h"

#include <ctype.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/tools/p11_functions.h"
#include "tests/tools/real_p11.h"

enum when { WHEN_ALWAYS, WHEN_NTH, WHEN_FROM, WHEN_EVERY, WHEN_CHANCE };
enum what { DO_RV, DO_DELAY, DO_HANG, DO_CRASH, DO_ABSENT, DO_LOST, DO_LOG };

enum function {
#define NUMBER(name, params, args) FN_##name,
    P11_FUNCTIONS(NUMBER)
#undef NUMBER
        FN_COUNT,
    FN_ANY = FN_COUNT,
};

static const char *const names[FN_COUNT] = {
#define NAME(name, params, args) #name,
    P11_FUNCTIONS(NAME)
#undef NAME
};

/* What a rule may name; any other code by its number. */
#define CODES(X) \
    X(CKR_OK) \
    X(CKR_HOST_MEMORY) \
    X(CKR_SLOT_ID_INVALID) \
    X(CKR_GENERAL_ERROR) \
    X(CKR_FUNCTION_FAILED) \
    X(CKR_ARGUMENTS_BAD) \
    X(CKR_DATA_INVALID) \
    X(CKR_DEVICE_ERROR) \
    X(CKR_DEVICE_MEMORY) \
    X(CKR_DEVICE_REMOVED) \
    X(CKR_ENCRYPTED_DATA_INVALID) \
    X(CKR_FUNCTION_CANCELED) \
    X(CKR_FUNCTION_NOT_SUPPORTED) \
    X(CKR_KEY_HANDLE_INVALID) \
    X(CKR_MECHANISM_INVALID) \
    X(CKR_OBJECT_HANDLE_INVALID) \
    X(CKR_OPERATION_ACTIVE) \
    X(CKR_OPERATION_NOT_INITIALIZED) \
    X(CKR_PIN_INCORRECT) \
    X(CKR_PIN_EXPIRED) \
    X(CKR_PIN_LOCKED) \
    X(CKR_SESSION_CLOSED) \
    X(CKR_SESSION_COUNT) \
    X(CKR_SESSION_HANDLE_INVALID) \
    X(CKR_TOKEN_NOT_PRESENT) \
    X(CKR_TOKEN_NOT_RECOGNIZED) \
    X(CKR_USER_NOT_LOGGED_IN) \
    X(CKR_WRAPPED_KEY_INVALID) \
    X(CKR_BUFFER_TOO_SMALL) \
    X(CKR_CRYPTOKI_NOT_INITIALIZED)

static const struct {
    const char *name;
    CK_RV rv;
} codes[] = {
#define CODE(code) {#code, code},
    CODES(CODE)
#undef CODE
};

struct rule {
    unsigned function;
    enum when when;
    unsigned long number;
    enum what what;
    CK_RV rv;
    unsigned long ms, ms_max;
};

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST ours;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct rule rules[FAULT_RULES_MAX];
static size_t rule_count;
static struct stat seen;              /* the rules' file as it was read; zero: there was none */
static _Atomic unsigned long *counts; /* by function, FN_ANY last */
static _Atomic unsigned long own_counts[FN_COUNT + 1];

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *fmt, ...)
{
    va_list args;

    fputs("fault_p11: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    _exit(70);
}

/* ---- Rules ---- */

static int read_number(const char *text, unsigned long min, unsigned long max, unsigned long *out)
{
    char *end;

    if (!isdigit((unsigned char)*text)) {
        return 0;
    }
    *out = strtoul(text, &end, 0);
    return *end == '\0' && *out >= min && *out <= max;
}

static int read_function(const char *word, unsigned *out)
{
    for (unsigned i = 0; i < FN_COUNT; i++) {
        if (strcmp(names[i], word) == 0) {
            *out = i;
            return 1;
        }
    }
    *out = FN_ANY;
    return strcmp(word, "*") == 0;
}

static int read_when(const char *word, struct rule *rule)
{
    static const struct {
        const char *prefix;
        enum when when;
        unsigned long max;
    } forms[] = {{"nth:", WHEN_NTH, 1000000000},
                 {"from:", WHEN_FROM, 1000000000},
                 {"every:", WHEN_EVERY, 1000000000},
                 {"chance:", WHEN_CHANCE, 100}};

    rule->when = WHEN_ALWAYS;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        size_t len = strlen(forms[i].prefix);
        if (strncmp(word, forms[i].prefix, len) == 0) {
            rule->when = forms[i].when;
            return read_number(word + len, 1, forms[i].max, &rule->number);
        }
    }
    return strcmp(word, "always") == 0;
}

static int read_rv(const char *text, CK_RV *out)
{
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (strcmp(codes[i].name, text) == 0) {
            *out = codes[i].rv;
            return 1;
        }
    }
    return strncmp(text, "0x", 2) == 0 && read_number(text, 0, ~0UL, out);
}

static int read_delay(char *text, struct rule *rule)
{
    char *dash = strchr(text, '-');

    if (dash != NULL) {
        *dash++ = '\0';
    }
    return read_number(text, 0, 3600000, &rule->ms) &&
           read_number(dash != NULL ? dash : text, rule->ms, 3600000, &rule->ms_max);
}

static int read_what(char *word, struct rule *rule)
{
    static const struct {
        const char *word;
        enum what what;
    } simple[] = {{"hang", DO_HANG},
                  {"crash", DO_CRASH},
                  {"absent", DO_ABSENT},
                  {"lost", DO_LOST},
                  {"log", DO_LOG}};

    if (strncmp(word, "rv:", 3) == 0) {
        rule->what = DO_RV;
        return read_rv(word + 3, &rule->rv);
    }
    if (strncmp(word, "delay:", 6) == 0) {
        rule->what = DO_DELAY;
        return read_delay(word + 6, rule);
    }
    for (size_t i = 0; i < sizeof simple / sizeof simple[0]; i++) {
        if (strcmp(simple[i].word, word) == 0) {
            rule->what = simple[i].what;
            return rule->what != DO_ABSENT || rule->function == FN_ANY;
        }
    }
    return 0;
}

static void read_rule(const char *path, unsigned number, char *line)
{
    char *save = NULL, *words[4] = {NULL};
    struct rule *rule = &rules[rule_count];
    size_t count = 0;

    line[strcspn(line, "#\n")] = '\0';
    for (char *word = strtok_r(line, " \t", &save); word != NULL && count < 4;
         word = strtok_r(NULL, " \t", &save)) {
        words[count++] = word;
    }
    if (count == 0) {
        return;
    }
    if (rule_count == FAULT_RULES_MAX) {
        die("%s:%u: more than %d rules", path, number, FAULT_RULES_MAX);
    }
    if (count != 3 || !read_function(words[0], &rule->function)) {
        die("%s:%u: not FUNCTION WHEN WHAT", path, number);
    }
    if (!read_when(words[1], rule)) {
        die("%s:%u: '%s' is no WHEN", path, number, words[1]);
    }
    if (!read_what(words[2], rule)) {
        die("%s:%u: '%s' is no WHAT", path, number, words[2]);
    }
    rule_count++;
}

static int same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void refresh_rules(void)
{
    const char *path = getenv("KL_FAULT_RULES");
    struct stat now = {0};
    char line[256];
    FILE *file;

    if (path == NULL || (stat(path, &now) != 0 && seen.st_ino == 0)) {
        return;
    }
    if (same_file(&now, &seen)) {
        return;
    }
    seen = now;
    rule_count = 0;
    file = fopen(path, "re");
    for (unsigned number = 1; file != NULL && fgets(line, sizeof line, file) != NULL; number++) {
        read_rule(path, number, line);
    }
    if (file != NULL) {
        fclose(file);
    }
}

/* ---- Counting ---- */

static void open_counts(void)
{
    const char *path = getenv("KL_FAULT_COUNT");
    int fd = path != NULL ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    void *shared;

    counts = own_counts;
    if (path == NULL) {
        return;
    }
    if (fd < 0 || ftruncate(fd, sizeof own_counts) != 0) {
        die("%s: cannot count there", path);
    }
    shared = mmap(NULL, sizeof own_counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (shared == MAP_FAILED) {
        die("%s: cannot be mapped", path);
    }
    counts = shared;
}

/* ---- A call ---- */

static void write_log(unsigned function, const char *what)
{
    const char *path = getenv("KL_FAULT_LOG");
    char line[80];
    int len = snprintf(line, sizeof line, "%s %s\n", names[function], what);
    int fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

    if (fd >= 0) {
        if (write(fd, line, (size_t)len) != len) {
            die("%s: cannot be written", path);
        }
        close(fd);
    }
}

static int applies(const struct rule *rule, unsigned function, unsigned long nth,
                   unsigned long nth_of_all)
{
    unsigned long n = rule->function == FN_ANY ? nth_of_all : nth;

    if (rule->function != FN_ANY && rule->function != function) {
        return 0;
    }
    switch (rule->when) {
    case WHEN_NTH:
        return n == rule->number;
    case WHEN_FROM:
        return n >= rule->number;
    case WHEN_EVERY:
        return n % rule->number == 0;
    case WHEN_CHANCE:
        return (unsigned long)(random() % 100) < rule->number;
    default:
        return 1;
    }
}

static void wait_ms(const struct rule *rule)
{
    unsigned long span = rule->ms_max - rule->ms + 1;
    unsigned long ms = rule->ms + (unsigned long)random() % span;
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&left, &left) != 0) {
    }
}

static void lose_sessions(void)
{
    CK_SLOT_ID slots[16];
    CK_ULONG count = 16;

    if (real->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK) {
        for (CK_ULONG i = 0; i < count; i++) {
            (void)real->C_CloseAllSessions(slots[i]);
        }
    }
}

/* What a call gets of a token that is not there; CKR_OK: it is not about the token. */
static CK_RV gone(unsigned function)
{
    switch (function) {
    case FN_C_Initialize:
    case FN_C_Finalize:
    case FN_C_GetInfo:
    case FN_C_GetSlotInfo:
    case FN_C_GetSlotList:
        return CKR_OK;
    case FN_C_GetTokenInfo:
    case FN_C_OpenSession:
        return CKR_TOKEN_NOT_PRESENT;
    default:
        return CKR_DEVICE_REMOVED;
    }
}

/* How this call goes. */
struct fate {
    int decided; /* 1: it returns rv, and the real module is not asked */
    CK_RV rv;
    int absent, log;
};

static struct fate decide(unsigned function)
{
    struct fate fate = {0, CKR_OK, 0, 0};
    struct rule rule = {.when = WHEN_ALWAYS};
    unsigned long nth, nth_of_all;
    int found = 0;

    pthread_mutex_lock(&lock);
    refresh_rules();
    nth = ++counts[function];
    nth_of_all = ++counts[FN_ANY];
    for (size_t i = 0; i < rule_count && !found; i++) {
        if (applies(&rules[i], function, nth, nth_of_all)) {
            fate.log |= rules[i].what == DO_LOG;
            found = rules[i].what != DO_LOG;
            rule = rules[i];
        }
    }
    pthread_mutex_unlock(&lock);
    if (!found) {
        return fate;
    }
    if (fate.log && (rule.what == DO_DELAY || rule.what == DO_HANG)) {
        write_log(function, "begins");
    }
    switch (rule.what) {
    case DO_RV:
        fate.decided = 1;
        fate.rv = rule.rv;
        break;
    case DO_DELAY:
        wait_ms(&rule);
        break;
    case DO_HANG:
        for (;;) {
            pause();
        }
    case DO_CRASH:
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
        _exit(139);
    case DO_ABSENT:
        fate.absent = 1;
        fate.rv = gone(function);
        fate.decided = fate.rv != CKR_OK;
        break;
    case DO_LOST:
        lose_sessions();
        break;
    case DO_LOG:
        break;
    }
    return fate;
}

static CK_RV end(unsigned function, const struct fate *fate, CK_RV rv)
{
    char text[24];

    if (fate->log) {
        snprintf(text, sizeof text, "0x%lx", rv);
        write_log(function, text);
    }
    return rv;
}

#define WRAPPER(name, params, args) \
    static CK_RV fault_##name params \
    { \
        struct fate fate = decide(FN_##name); \
        return end(FN_##name, &fate, fate.decided ? fate.rv : real->name args); \
    }
P11_OTHER_FUNCTIONS(WRAPPER)
#undef WRAPPER

static CK_RV fault_C_GetSlotList(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count)
{
    struct fate fate = decide(FN_C_GetSlotList);

    if (fate.decided) {
        return end(FN_C_GetSlotList, &fate, fate.rv);
    }
    if (fate.absent && present) {
        *count = 0;
        return end(FN_C_GetSlotList, &fate, CKR_OK);
    }
    return end(FN_C_GetSlotList, &fate, real->C_GetSlotList(present, slots, count));
}

/* ---- What init-reserved says ---- */

/* Takes our words off its front. Returns what is left, for the real module; NULL if nothing is. */
static char *take_reserved(const char *reserved)
{
    static const char *const forms[][2] = {{"rules=", "KL_FAULT_RULES"},
                                           {"softhsm2=", "SOFTHSM2_CONF"}};
    static char text[2048];
    char *at = text;

    if (snprintf(text, sizeof text, "%s", reserved) >= (int)sizeof text) {
        die("init-reserved is too long");
    }
    for (size_t i = 0; i < 2;) {
        size_t prefix = strlen(forms[i][0]), len = strcspn(at, " ");
        if (strncmp(at, forms[i][0], prefix) != 0) {
            i++;
            continue;
        }
        char *next = at + len + strspn(at + len, " ");
        at[len] = '\0';
        if (setenv(forms[i][1], at + prefix, 1) != 0) {
            die("init-reserved: '%s' cannot be set", at);
        }
        at = next;
        i = 0;
    }
    return *at != '\0' ? at : NULL;
}

static CK_RV initialize(void *args)
{
    CK_C_INITIALIZE_ARGS own = {0};
    struct fate fate;

    if (args != NULL) {
        own = *(const CK_C_INITIALIZE_ARGS *)args;
    }
    if (own.pReserved != NULL) {
        own.pReserved = take_reserved(own.pReserved);
    }
    fate = decide(FN_C_Initialize);
    return end(FN_C_Initialize, &fate,
               fate.decided ? fate.rv : real->C_Initialize(args != NULL ? &own : NULL));
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    if (real == NULL) {
        real = real_p11("KL_FAULT_MODULE");
        if (real == NULL) {
            return CKR_GENERAL_ERROR;
        }
        srandom((unsigned)getpid() ^ (unsigned)time(NULL));
        open_counts();
        refresh_rules();
        ours.version = real->version;
        ours.C_GetFunctionList = C_GetFunctionList;
        ours.C_GetSlotList = fault_C_GetSlotList;
#define ENTRY(name, params, args) ours.name = fault_##name;
        P11_OTHER_FUNCTIONS(ENTRY)
#undef ENTRY
        ours.C_Initialize = initialize;
    }
    *list = &ours;
    return CKR_OK;
}
