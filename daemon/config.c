/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderd.conf: the table of its keys, what must hold between them, and the token that it
 * names.
 */
#include "daemon/config.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

#include "conf/ini.h"
#include "conf/log.h"
#include "pkcs11/pin.h"
#include "pkcs11/token.h"
#include "proto/message.h"

static const char *const strength_choices[] = {"warn", "enforce", NULL};
static const char *const level_choices[] = {
    [KL_LOG_DEBUG] = "debug", [KL_LOG_INFO] = "info",    [KL_LOG_WARN] = "warn",
    [KL_LOG_ERROR] = "error", [KL_LOG_ERROR + 1] = NULL,
};
static const char *const target_choices[] = {
    [KL_LOG_STDERR] = "stderr",
    [KL_LOG_SYSLOG] = "syslog",
    [KL_LOG_SYSLOG + 1] = NULL,
};

#define DAY (24 * 60 * 60)
#define AT(member) offsetof(struct kl_config, member)

static const struct kl_ini_key keys[] = {
    {"listen", "address", KL_INI_STRING, AT(address), 2, 45, "127.0.0.1", NULL,
     "Numeric IPv4 or IPv6 address to listen on"},
    {"listen", "port", KL_INI_NUMBER, AT(port), 0, 65535, "4770", NULL,
     "TCP port; 0 takes any free one and logs it"},

    {"hsm", "module", KL_INI_STRING, AT(module), 0, 900, "", NULL,
     "Absolute path of the PKCS#11 module; empty: the token URI's module-path"},
    {"hsm", "init-reserved", KL_INI_STRING, AT(init_reserved), 0, 900, "", NULL,
     "The module's own parameter string for C_Initialize; empty: none"},
    {"hsm", "token", KL_INI_STRING, AT(token), 8, 900, NULL, NULL,
     "RFC 7512 URI of the token, like pkcs11:token=keyloader"},
    {"hsm", "pin-source", KL_INI_STRING, AT(pin_source), 0, 900, "", NULL,
     "file:PATH, credential:NAME or prompt; empty: the token URI's pin-source, else prompt"},
    {"hsm", "work-key", KL_INI_STRING, AT(work_key), 1, 64, "acquire-work", NULL,
     "Label of AcquireWCRT_Prk"},
    {"hsm", "storage-key", KL_INI_STRING, AT(storage_key), 1, 64, "tmk-storage", NULL,
     "Label of the AES-256 key that wraps stored TMKs"},
    {"hsm", "workers", KL_INI_NUMBER, AT(workers), 1, 64, "2", NULL,
     "HSM worker processes; as many as cores suits a software token"},
    {"hsm", "recycle-after", KL_INI_NUMBER, AT(recycle_after), 1, 1000000000, "100000", NULL,
     "Loads after which a worker is replaced, which gives back what a module leaks"},
    {"hsm", "job-timeout", KL_INI_DURATION, AT(job_timeout), 1, 300, "10s", NULL,
     "A worker that is longer at one load is killed and replaced"},

    {"certificates", "root", KL_INI_PATH, AT(root), 0, 0, "/etc/keyloader/root.pem", NULL,
     "PEM of AcquireRCRT, whose work certificates this loader accepts"},
    {"certificates", "work", KL_INI_PATH, AT(work), 0, 0, "/etc/keyloader/work.pem", NULL,
     "PEM chain, AcquireWCRT first; written by keyloaderctl cert install"},

    {"store", "path", KL_INI_PATH, AT(store), 0, 0, "/var/lib/keyloader/store.db", NULL,
     "Database of terminals, wrapped TMKs and the audit trail"},
    {"store", "candidate-lifetime", KL_INI_DURATION, AT(candidate_lifetime), 60, 365 * DAY, "7d",
     NULL, "How long a TMK that was sent may wait for the terminal's Confirm"},

    {"policy", "strength-policy", KL_INI_CHOICE, AT(strength_enforce), 0, 0, "enforce",
     strength_choices, "What to do about a TMK stronger than the work key; warn is for test labs"},
    {"policy", "kcv-length", KL_INI_NUMBER, AT(kcv_length), KL_KCV_LEN_MIN, KL_KCV_LEN_MAX, "3",
     NULL, "Bytes of a key check value"},

    {"limits", "connections", KL_INI_NUMBER, AT(connections), 1, 100000, "1024", NULL,
     "Connections at once"},
    {"limits", "connections-per-address", KL_INI_NUMBER, AT(connections_per_address), 1, 100000,
     "64", NULL, "Connections at once from one address"},
    /* The lower bound holds every message of a terminal, with an RSA-4096 work key. */
    {"limits", "message-size", KL_INI_NUMBER, AT(message_size), 1024, KL_MSG_MAX, "4096", NULL,
     "Bytes that a terminal may send in one message"},
    {"limits", "handshake-timeout", KL_INI_DURATION, AT(handshake_timeout), 1, 3600, "30s", NULL,
     "Time for a whole load"},
    {"limits", "idle-timeout", KL_INI_DURATION, AT(idle_timeout), 1, 3600, "10s", NULL,
     "Time between two messages"},
    {"limits", "queue", KL_INI_NUMBER, AT(queue), 1, 100000, "256", NULL,
     "Loads waiting for an HSM worker; beyond it terminals are told to come again"},
    {"limits", "retry-after", KL_INI_DURATION, AT(retry_after), 1, KL_RETRY_AFTER_MAX, "5s", NULL,
     "When they are told to come again"},
    {"limits", "drain-timeout", KL_INI_DURATION, AT(drain_timeout), 0, 3600, "30s", NULL,
     "How long SIGTERM waits for loads under way"},

    {"log", "level", KL_INI_CHOICE, AT(log_level), 0, 0, "info", level_choices, "Least to log"},
    {"log", "target", KL_INI_CHOICE, AT(log_target), 0, 0, "stderr", target_choices,
     "Where to log"},
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

static int is_numeric_address(const char *text)
{
    unsigned char scratch[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, text, scratch) == 1 || inet_pton(AF_INET6, text, scratch) == 1;
}

/* What no single key can say. */
static enum kl_rc check(const struct kl_config *c, struct kl_err *err)
{
    struct kl_uri *uri = NULL;
    enum kl_rc rc;

    if (!is_numeric_address(c->address)) {
        return kl_err_set(err, KL_ERR_CONFIG, "[listen] address: '%s' is no numeric address",
                          c->address);
    }
    if (c->module[0] && c->module[0] != '/') {
        return kl_err_set(err, KL_ERR_CONFIG, "[hsm] module: '%.100s' must be an absolute path",
                          c->module);
    }
    if (strcmp(c->work_key, c->storage_key) == 0) {
        return kl_err_set(err, KL_ERR_CONFIG, "[hsm] work-key and storage-key must differ");
    }
    if (c->idle_timeout > c->handshake_timeout) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "[limits] idle-timeout must not exceed handshake-timeout");
    }
    if (kl_uri_parse(c->token, &uri, err) != KL_OK) {
        err->rc = KL_ERR_CONFIG;
        return kl_err_context(err, "[hsm] token");
    }
    rc = KL_OK;
    if (!c->module[0] && !kl_uri_module_path(uri)) {
        rc = kl_err_set(err, KL_ERR_CONFIG,
                        "[hsm] module must be set, or the token URI have a module-path");
    }
    kl_uri_free(uri);
    return rc;
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

void kl_config_print_help(FILE *out)
{
    fputs("# Configuration of keyloaderd and keyloaderctl. Lines that begin with # or ; are\n"
          "# comments; values that are commented out are the defaults.\n\n",
          out);
    kl_ini_print_help(keys, KEY_COUNT, out);
}

/* The PIN's source: the configuration's, else the URI's (which outlives it), else NULL. */
static const char *pin_source(const struct kl_config *config, const struct kl_uri *uri)
{
    return config->pin_source[0] != '\0' ? config->pin_source : kl_uri_pin_source(uri);
}

int kl_config_prompts(const struct kl_config *config)
{
    struct kl_err ignored = KL_ERR_INIT;
    struct kl_uri *uri = NULL;
    int prompts = 1;

    if (kl_uri_parse(config->token, &uri, &ignored) == KL_OK) {
        const char *source = pin_source(config, uri);
        prompts = source == NULL || strcmp(source, "prompt") == 0;
    }
    kl_uri_free(uri);
    return prompts;
}

enum kl_rc kl_config_open_token(const struct kl_config *config, int read_write,
                                struct kl_module **module, struct kl_token **token,
                                struct kl_err *err)
{
    struct kl_uri *uri = NULL;
    struct kl_secret *pin = NULL;
    struct kl_module *loaded = NULL;
    struct kl_token *opened = NULL;
    const char *path = config->module;
    char prompt[80];
    enum kl_rc rc;

    if ((rc = kl_uri_parse(config->token, &uri, err)) != KL_OK) {
        goto out;
    }
    if (!path[0] && !(path = kl_uri_module_path(uri))) {
        rc = kl_err_set(err, KL_ERR_CONFIG, "[hsm] module must be set");
        goto out;
    }
    snprintf(prompt, sizeof(prompt), "PIN of token %.*s", KL_TOKEN_LABEL_MAX,
             kl_uri_token(uri) ? kl_uri_token(uri) : "");
    /* The PIN first: nothing is loaded if there is none. */
    if ((rc = kl_pin_read(pin_source(config, uri), prompt, &pin, err)) != KL_OK) {
        goto out;
    }
    rc =
        kl_module_load(path, config->init_reserved[0] ? config->init_reserved : NULL, &loaded, err);
    if (rc != KL_OK) {
        goto out;
    }
    if ((rc = kl_token_open(loaded, uri, pin, read_write, &opened, err)) != KL_OK) {
        goto out;
    }
    *module = loaded;
    *token = opened;
    loaded = NULL;
out:
    kl_module_free(loaded);
    kl_secret_free(pin);
    kl_uri_free(uri);
    return rc;
}
