/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderd.conf: the table of its keys, what must hold between them, and the token that it
 * names.
 */
#include "daemon/config.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "conf/ini.h"
#include "conf/log.h"
#include "daemon/control/roles.h"
#include "daemon/monitor/monitor_where.h"
#include "pkcs11/weakness.h"
#include "proto/message.h"

static const char *const strength_choices[] = {"warn", "enforce", NULL};
/* Of enum kl_oaep_hash; 0: none is asked for. */
static const char *const oaep_choices[] = {
    "strongest",
    [KL_OAEP_SHA1] = "sha1",
    [KL_OAEP_SHA256] = "sha256",
    [KL_OAEP_SHA256 + 1] = NULL,
};
static const char *const auth_choices[] = {
    [KL_TERMINAL_REGISTERED] = "registered",
    [KL_TERMINAL_CERTIFICATE] = "certificate",
    [KL_TERMINAL_CERTIFICATE + 1] = NULL,
};
/* Of enum kl_suite, less one. */
static const char *const suite_choices[] = {
    [KL_SUITE_HARDENED_RSA - 1] = "hardened-rsa",
    [KL_SUITE_CLASSIC - 1] = "classic",
    [KL_SUITE_HARDENED_EC - 1] = "hardened-ec",
    [KL_SUITE_COUNT] = NULL,
};
static const char *const level_choices[] = {
    [KL_LOG_DEBUG] = "debug", [KL_LOG_INFO] = "info",    [KL_LOG_WARN] = "warn",
    [KL_LOG_ERROR] = "error", [KL_LOG_ERROR + 1] = NULL,
};
static const char *const lock_choices[] = {
    [KL_LOCK_MEMORY_NO] = "no",
    [KL_LOCK_MEMORY_TRY] = "try",
    [KL_LOCK_MEMORY_YES] = "yes",
    [KL_LOCK_MEMORY_YES + 1] = NULL,
};
static const char *const target_choices[] = {
    [KL_LOG_STDERR] = "stderr",
    [KL_LOG_SYSLOG] = "syslog",
    [KL_LOG_SYSLOG + 1] = NULL,
};
static const char *const dual_choices[] = {
    "none",
    [KL_DUAL_ARM_ALL + 1] = "arm-all",
    [KL_DUAL_EXPORT + 1] = "export",
    [KL_DUAL_REVOKE + 1] = "revoke",
    [KL_DUAL_KEY_DELETE + 1] = "key-delete",
    [KL_DUAL_COUNT + 1] = NULL,
};
/* Of enum kl_weakness, plus one. */
static const char *const accept_choices[] = {
    "none",
#define CHOICE(id, name) [KL_WEAK_##id + 1] = (name),
    KL_WEAKNESSES(CHOICE)
#undef CHOICE
        [KL_WEAK_COUNT + 1] = NULL,
};

#define DAY (24 * 60 * 60)
#define AT(member) offsetof(struct kl_config, member)

/* clang-format off */
#define HSM(name, n, token_min, token_fallback) \
    {name, "module", KL_INI_STRING, AT(hsm[n].module), 0, 900, "", NULL, \
     "Absolute path of the PKCS#11 module; empty: the token URI's module-path", .restart = 1}, \
    {name, "init-reserved", KL_INI_STRING, AT(hsm[n].init_reserved), 0, 900, "", NULL, \
     "The module's own parameter string for C_Initialize; empty: none", .restart = 1}, \
    {name, "token", KL_INI_STRING, AT(hsm[n].token), token_min, 900, token_fallback, NULL, \
     (n) == 0 ? "RFC 7512 URI of the token, like pkcs11:token=keyloader" \
              : "URI of a further token with the same keys; empty: there is none", .restart = 1}, \
    {name, "pin-source", KL_INI_STRING, AT(hsm[n].pin_source), 0, 900, "", NULL, \
     "file:PATH, credential:NAME or prompt; empty: the token URI's pin-source, else prompt"}, \
    {name, "accept", KL_INI_LIST, AT(hsm[n].accept), 0, 0, "none", accept_choices, \
     "What this module may fail to enforce (docs/modules.md); found and not named here: no start", \
     .restart = 1}, \
    {name, "session-copies", KL_INI_BOOL, AT(hsm[n].session_copies), 0, 0, "no", NULL, \
     "Workers copy their keys into their sessions: for modules that are slow with token keys", \
     .restart = 1}, \
    {name, "workers", KL_INI_NUMBER, AT(hsm[n].workers), 1, 64, "2", NULL, \
     "HSM worker processes; as many as cores suits a software token", .restart = 1}
/* clang-format on */

static const struct kl_ini_key keys[] = {
    {"listen", "address", KL_INI_STRING, AT(address), 2, 45, "127.0.0.1", NULL,
     "Numeric IPv4 or IPv6 address to listen on", .restart = 1},
    {"listen", "port", KL_INI_NUMBER, AT(port), 0, 65535, "4770", NULL,
     "TCP port; 0 takes any free one and logs it", .restart = 1},
    {"listen", "allow", KL_INI_STRING, AT(allow_text), 0, 900, "", NULL,
     "Networks that may connect, like 10.1.0.0/16, fd00::/8; up to 64; empty: all"},

    HSM("hsm", 0, 8, NULL),
    {"hsm", "work-key", KL_INI_STRING, AT(work_key), 1, 64, "acquire-work", NULL,
     "Label of the key pair that keyloaderctl works on where none is given"},
    {"hsm", "storage-key", KL_INI_STRING, AT(storage_key), 1, 64, "tmk-storage", NULL,
     "Label of the AES-256 key that wraps stored TMKs", .restart = 1},
    {"hsm", "binding-key", KL_INI_STRING, AT(binding_key), 1, 64, "tmk-binding", NULL,
     "Label of the AES-256 key whose MACs bind stored keys to their terminals", .restart = 1},
    {"hsm", "audit-key", KL_INI_STRING, AT(audit_key), 1, 64, "audit-checkpoint", NULL,
     "Label of the key pair that signs checkpoints of the audit trail", .restart = 1},
    {"hsm", "recycle-after", KL_INI_NUMBER, AT(recycle_after), 1, 1000000000, "100000", NULL,
     "Loads after which a worker is replaced, which gives back what a module leaks"},
    {"hsm", "job-timeout", KL_INI_DURATION, AT(job_timeout), 1, 300, "10s", NULL,
     "A worker that is longer at one load is killed and replaced"},
    {"hsm", "keep-alive", KL_INI_DURATION, AT(keep_alive), 0, 3600, "60s", NULL,
     "A worker that is idle for so long is asked whether its session still stands; 0s: never"},
    /* Further HSMs with the same keys; without a token there is none. */
    HSM("hsm-2", 1, 0, ""),
    HSM("hsm-3", 2, 0, ""),
    HSM("hsm-4", 3, 0, ""),

    {"certificates", "root", KL_INI_PATH, AT(root), 0, 0, "/etc/keyloader/root.pem", NULL,
     "PEM of AcquireRCRT, whose work certificates this loader accepts; up to 4 of them"},
    {"certificates", "work", KL_INI_PATH, AT(work), 0, 0, "/etc/keyloader/work", NULL,
     "Directory of LABEL.pem, AcquireWCRT first; written by keyloaderctl cert install"},
    {"certificates", "crl", KL_INI_FILE, AT(crl), 0, 0, "/etc/keyloader/crl.pem", NULL,
     "PEM of the roots' CRLs of work certificates; written by keyloaderctl crl install"},
    {"certificates", "terminal-root", KL_INI_FILE, AT(terminal_root), 0, 0, "", NULL,
     "PEM of the roots, up to 4, that sign terminals' certificates"},
    {"certificates", "terminal-crl", KL_INI_FILE, AT(terminal_crl), 0, 0, "", NULL,
     "PEM of these roots' CRLs; written by keyloaderctl crl install --scope terminal"},

    {"store", "path", KL_INI_PATH, AT(store), 0, 0, "/var/lib/keyloader/store.db", NULL,
     "Database of terminals, wrapped TMKs and the audit trail", .restart = 1},
    {"store", "candidate-lifetime", KL_INI_DURATION, AT(candidate_lifetime), 60, 365 * DAY, "7d",
     NULL, "How long a TMK that was sent may wait for the terminal's Confirm"},
    {"store", "superseded-grace", KL_INI_DURATION, AT(superseded_grace), 0, 3650 * DAY, "30d", NULL,
     "How long a TMK is kept after another has taken its place; then it is destroyed"},

    {"policy", "suites", KL_INI_LIST, AT(suites), 0, 0, "hardened-ec, hardened-rsa", suite_choices,
     "Suites this loader speaks, preferred first; classic is for terminals that have no other"},
    {"policy", "terminal-auth", KL_INI_CHOICE, AT(terminal_auth), 0, 0, "registered", auth_choices,
     "What a terminal must show: that it is registered and armed, or a certificate as well"},
    {"policy", "host-fallback", KL_INI_BOOL, AT(host_fallback), 0, 0, "no", NULL,
     "Working keys for TDES terminals may pass through a worker's memory if the token cannot wrap"},
    {"policy", "strength-policy", KL_INI_CHOICE, AT(strength_enforce), 0, 0, "enforce",
     strength_choices, "What to do about a TMK stronger than the work key; warn is for test labs"},
    {"policy", "oaep-hash", KL_INI_CHOICE, AT(oaep_hash), 0, 0, "strongest", oaep_choices,
     "Hash of RSA-OAEP that terminals are to use, of those that the token does; sha1: for PIN pads "
     "that have no other",
     .restart = 1},
    {"policy", "kcv-length", KL_INI_NUMBER, AT(kcv_length), KL_KCV_LEN_MIN, KL_KCV_LEN_MAX, "3",
     NULL, "Bytes of a key check value"},

    {"limits", "connections", KL_INI_NUMBER, AT(connections), 1, 100000, "1024", NULL,
     "Connections at once"},
    {"limits", "connections-per-address", KL_INI_NUMBER, AT(connections_per_address), 1, 100000,
     "64", NULL, "Connections at once from one address"},
    /* The lower bound holds every message of a terminal with RSA-4096 as work and device key, a
     * long chain of certificates aside. */
    {"limits", "message-size", KL_INI_NUMBER, AT(message_size), 4096, KL_MSG_MAX, "8192", NULL,
     "Bytes that a terminal may send in one message"},
    {"limits", "handshake-timeout", KL_INI_DURATION, AT(handshake_timeout), 1, 3600, "30s", NULL,
     "Time for a whole load"},
    {"limits", "idle-timeout", KL_INI_DURATION, AT(idle_timeout), 1, 3600, "10s", NULL,
     "Time between two messages"},
    {"limits", "queue", KL_INI_NUMBER, AT(queue), 1, 100000, "256", NULL,
     "Loads waiting for an HSM worker (sign-ins: half); beyond it terminals are to come again"},
    {"limits", "retry-after", KL_INI_DURATION, AT(retry_after), 1, KL_RETRY_AFTER_MAX, "5s", NULL,
     "When they are told to come again"},
    {"limits", "drain-timeout", KL_INI_DURATION, AT(drain_timeout), 0, 3600, "30s", NULL,
     "How long SIGTERM waits for loads under way"},

    {"control", "socket", KL_INI_FILE, AT(control_socket), 0, 0, "", NULL,
     "UNIX socket for keyloaderctl, like /run/keyloader/control; empty: none", .restart = 1},
    {"control", "operators", KL_INI_STRING, AT(control_operators), 0, 64, "", NULL,
     "Group, by name or number, whose members may do everything over the socket; empty: none"},
    {"control", "auditors", KL_INI_STRING, AT(control_auditors), 0, 64, "", NULL,
     "Group, by name or number, whose members may read everything over the socket; empty: none"},
    {"control", "dual-control", KL_INI_LIST, AT(control_dual), 0, 0,
     "arm-all, export, revoke, key-delete", dual_choices,
     "What one operator requests and a second one approves; or none"},
    {"control", "request-lifetime", KL_INI_DURATION, AT(request_lifetime), 60, 30 * DAY, "1h", NULL,
     "How long a request may wait to be approved and carried out"},

    {"process", "lock-memory", KL_INI_CHOICE, AT(lock_memory), 0, 0, "try", lock_choices,
     "Keep all memory out of swap; yes: or do not start", .restart = 1},

    {"monitor", "listen", KL_INI_STRING, AT(monitor_listen), 0, 112, "", NULL,
     "Metrics and status page: 127.0.0.1:PORT, [::1]:PORT or unix:/PATH; empty: none",
     .restart = 1},

    {"audit", "checkpoint-every", KL_INI_NUMBER, AT(checkpoint_every), 1, 1000000, "1000", NULL,
     "Records after which the HSM signs the audit trail"},
    {"audit", "checkpoint-interval", KL_INI_DURATION, AT(checkpoint_interval), 1, DAY, "1h", NULL,
     "Time after which it does so if there are new records, and always when the daemon ends"},
    {"audit", "syslog", KL_INI_BOOL, AT(audit_syslog), 0, 0, "no", NULL,
     "Send each record to syslog too (facility authpriv), with its id and hash"},
    {"audit", "syslog-socket", KL_INI_PATH, AT(syslog_socket), 0, 0, "/dev/log", NULL,
     "Socket of the syslog that gets them", .restart = 1},

    {"log", "level", KL_INI_CHOICE, AT(log_level), 0, 0, "info", level_choices, "Least to log"},
    {"log", "target", KL_INI_CHOICE, AT(log_target), 0, 0, "stderr", target_choices,
     "Where to log"},
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))
_Static_assert(KEY_COUNT <= KL_CONFIG_KEYS_MAX, "struct kl_config_kept has no room for all keys");

static int is_numeric_address(const char *text)
{
    unsigned char scratch[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, text, scratch) == 1 || inet_pton(AF_INET6, text, scratch) == 1;
}

size_t kl_config_hsm_count(const struct kl_config *config)
{
    size_t count = 0;

    while (count < KL_HSM_MAX && config->hsm[count].token[0]) {
        count++;
    }
    return count;
}

struct kl_hsm_where kl_config_hsm(const struct kl_config *config, size_t index)
{
    const struct kl_config_hsm *hsm = &config->hsm[index];

    return (struct kl_hsm_where){
        .module = hsm->module,
        .init_reserved = hsm->init_reserved,
        .token = hsm->token,
        .pin_source = hsm->pin_source,
    };
}

const char *kl_dual_name(enum kl_dual dual)
{
    return dual_choices[dual + 1];
}

int kl_config_dual(const struct kl_config *config, enum kl_dual dual)
{
    for (size_t i = 0; i < config->control_dual.count; i++) {
        if (config->control_dual.items[i] == (uint64_t)dual + 1) {
            return 1;
        }
    }
    return 0;
}

unsigned kl_config_accept(const struct kl_config *config, size_t index)
{
    const struct kl_ini_list *accept = &config->hsm[index].accept;
    unsigned bits = 0;

    for (size_t i = 0; i < accept->count; i++) {
        bits |= accept->items[i] > 0 ? KL_WEAK_BIT(accept->items[i] - 1) : 0;
    }
    return bits;
}

uint64_t kl_config_workers(const struct kl_config *config)
{
    uint64_t workers = 0;

    for (size_t i = 0; i < kl_config_hsm_count(config); i++) {
        workers += config->hsm[i].workers;
    }
    return workers;
}

const char *kl_config_hsm_name(size_t index)
{
    static const char *const names[KL_HSM_MAX] = {"hsm", "hsm-2", "hsm-3", "hsm-4"};

    return names[index];
}

enum kl_rc kl_config_choose_hsm(struct kl_config *config, unsigned number, struct kl_err *err)
{
    size_t count = kl_config_hsm_count(config);
    struct kl_config_hsm chosen;

    if (number < 1 || number > count) {
        return kl_err_set(err, KL_ERR_USAGE, "--hsm %u: the configuration has %zu", number, count);
    }
    chosen = config->hsm[number - 1];
    config->hsm[number - 1] = config->hsm[0];
    config->hsm[0] = chosen;
    return KL_OK;
}

/* ---- What no single key can say ---- */

/* A list that says "none" (its first choice) and something else. */
static int none_has_company(const struct kl_ini_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i] == 0 && list->count > 1) {
            return 1;
        }
    }
    return 0;
}

static enum kl_rc check_hsm(const struct kl_config *c, size_t index, struct kl_err *err)
{
    const struct kl_config_hsm *hsm = &c->hsm[index];
    const struct kl_hsm_where where = kl_config_hsm(c, index);
    const char *name = kl_config_hsm_name(index);

    if (hsm->module[0] && hsm->module[0] != '/') {
        return kl_err_set(err, KL_ERR_CONFIG, "[%s] module: '%.100s' must be an absolute path",
                          name, hsm->module);
    }
    if (kl_hsm_check(&where, err) != KL_OK) {
        return kl_err_context(err, "[%s] token", name);
    }
    if (none_has_company(&hsm->accept)) {
        return kl_err_set(err, KL_ERR_CONFIG, "[%s] accept: none stands alone", name);
    }
    for (size_t i = 0; i < index; i++) {
        if (strcmp(c->hsm[i].module, hsm->module) == 0 &&
            strcmp(c->hsm[i].init_reserved, hsm->init_reserved) == 0 &&
            strcmp(c->hsm[i].token, hsm->token) == 0) {
            return kl_err_set(err, KL_ERR_CONFIG,
                              "[%s] token: it is that of [%s] already; more work from one token "
                              "is a matter of its workers",
                              name, kl_config_hsm_name(i));
        }
    }
    return KL_OK;
}

/* Those that are configured come without a gap, and a section without a token has nothing else. */
static enum kl_rc check_hsms(const struct kl_config *c, struct kl_err *err)
{
    size_t count = kl_config_hsm_count(c);

    for (size_t i = 0; i < count; i++) {
        if (check_hsm(c, i, err) != KL_OK) {
            return err->rc;
        }
    }
    for (size_t i = count; i < KL_HSM_MAX; i++) {
        const struct kl_config_hsm *hsm = &c->hsm[i];
        if (hsm->token[0]) {
            return kl_err_set(err, KL_ERR_CONFIG, "[%s] is there, but no token in [%s]",
                              kl_config_hsm_name(i), kl_config_hsm_name(count));
        }
        if (hsm->module[0] || hsm->init_reserved[0] || hsm->pin_source[0]) {
            return kl_err_set(err, KL_ERR_CONFIG, "[%s] token: must be set", kl_config_hsm_name(i));
        }
    }
    return KL_OK;
}

/* All of it, and what is more than text. */
static enum kl_rc check(struct kl_config *c, struct kl_err *err)
{
    struct kl_monitor_where monitor;

    if (!is_numeric_address(c->address)) {
        return kl_err_set(err, KL_ERR_CONFIG, "[listen] address: '%s' is no numeric address",
                          c->address);
    }
    if (kl_allow_parse(c->allow_text, &c->allow, err) != KL_OK) {
        return kl_err_context(err, "[listen] allow");
    }
    if (kl_monitor_parse(c->monitor_listen, &monitor, err) != KL_OK) {
        return kl_err_context(err, "[monitor] listen");
    }
    if (strcmp(c->work_key, c->storage_key) == 0 || strcmp(c->work_key, c->binding_key) == 0 ||
        strcmp(c->storage_key, c->binding_key) == 0 || strcmp(c->work_key, c->audit_key) == 0 ||
        strcmp(c->storage_key, c->audit_key) == 0 || strcmp(c->binding_key, c->audit_key) == 0) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "[hsm] work-key, storage-key, binding-key and audit-key must differ");
    }
    if (c->terminal_auth == KL_TERMINAL_CERTIFICATE && !c->terminal_root[0]) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "[policy] terminal-auth = certificate needs [certificates] "
                          "terminal-root");
    }
    if (c->terminal_crl[0] && !c->terminal_root[0]) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "[certificates] terminal-crl is of no use without terminal-root");
    }
    if (c->idle_timeout > c->handshake_timeout) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "[limits] idle-timeout must not exceed handshake-timeout");
    }
    if (none_has_company(&c->control_dual)) {
        return kl_err_set(err, KL_ERR_CONFIG, "[control] dual-control: none stands alone");
    }
    return check_hsms(c, err);
}

enum kl_rc kl_config_load(const char *path, struct kl_config *out, struct kl_err *err)
{
    struct kl_config config = {0};
    enum kl_rc rc = kl_ini_load(path, keys, KEY_COUNT, &config, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (check(&config, err) != KL_OK) {
        kl_config_wipe(&config);
        return kl_err_context(err, "%s", path);
    }
    *out = config;
    return KL_OK;
}

void kl_config_wipe(struct kl_config *config)
{
    kl_ini_wipe(keys, KEY_COUNT, config);
}

enum kl_rc kl_config_servable(const struct kl_config *config, struct kl_err *err)
{
    struct kl_roles roles;

    for (size_t i = 0; i < kl_config_hsm_count(config); i++) {
        const struct kl_hsm_where where = kl_config_hsm(config, i);
        if (kl_hsm_prompts(&where)) {
            return kl_err_set(err, KL_ERR_CONFIG,
                              "[%s] pin-source: keyloaderd cannot ask for the PIN; set file:PATH "
                              "(mode 0600) or credential:NAME",
                              kl_config_hsm_name(i));
        }
    }
    return kl_roles_find(config, &roles, err);
}

/* ---- In use ---- */

struct held {
    struct kl_config config; /* first: what everybody has a pointer to */
    unsigned references;
};

static struct held *held_of(const struct kl_config *config)
{
    return (struct held *)(uintptr_t)config;
}

static enum kl_rc hold(const char *path, struct held **out, struct kl_err *err)
{
    struct held *held = calloc(1, sizeof(*held));

    if (held == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "configuration");
    }
    held->references = 1;
    if (kl_config_load(path, &held->config, err) != KL_OK) {
        free(held);
        return err->rc;
    }
    *out = held;
    return KL_OK;
}

enum kl_rc kl_config_new(const char *path, const struct kl_config **out, struct kl_err *err)
{
    struct held *held;
    enum kl_rc rc = hold(path, &held, err);

    if (rc == KL_OK) {
        *out = &held->config;
    }
    return rc;
}

enum kl_rc kl_config_again(const char *path, const struct kl_config *running,
                           const struct kl_config **out, struct kl_config_kept *kept,
                           struct kl_err *err)
{
    struct held *held;
    enum kl_rc rc = hold(path, &held, err);

    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_ini_keep(keys, KEY_COUNT, running, &held->config, kept->keys, &kept->count, err);
    if (rc == KL_OK && kept->count > 0) {
        rc = check(&held->config, err);
        if (rc != KL_OK) {
            rc = kl_err_context(err, "%s, with what only a restart changes as it was", path);
        }
    }
    if (rc != KL_OK) {
        kl_config_unref(&held->config);
        return rc;
    }
    *out = &held->config;
    return KL_OK;
}

const struct kl_config *kl_config_ref(const struct kl_config *config)
{
    held_of(config)->references++;
    return config;
}

void kl_config_unref(const struct kl_config *config)
{
    struct held *held = held_of(config);

    if (held == NULL || --held->references > 0) {
        return;
    }
    kl_config_wipe(&held->config);
    free(held);
}

void kl_config_print_help(FILE *out)
{
    fputs("# Configuration of keyloaderd and keyloaderctl. Lines that begin with # or ; are\n"
          "# comments; values that are commented out are the defaults.\n\n",
          out);
    kl_ini_print_help(keys, KEY_COUNT, out);
}
