/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ceremonies: PINs that people choose and the tokens they are for, and components of keys.
 */
#include "pkcs11/ceremony.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pkcs11/module.h"
#include "pkcs11/pin.h"
#include "pkcs11/token.h"

/* ---- PINs and tokens ---- */

static int same(struct kl_secret *a, struct kl_secret *b)
{
    return kl_secret_len(a) == kl_secret_len(b) &&
           CRYPTO_memcmp(kl_secret_data(a), kl_secret_data(b), kl_secret_len(a)) == 0;
}

enum kl_rc kl_pin_choose(const char *source, const char *prompt, struct kl_secret **out,
                         struct kl_err *err)
{
    struct kl_secret *first = NULL, *again = NULL;
    enum kl_rc rc = kl_pin_read(source, prompt, &first, err);

    if (rc == KL_OK && kl_pin_is_prompt(source)) {
        rc = kl_pin_read(source, "Once more", &again, err);
        if (rc == KL_OK && !same(first, again)) {
            rc = kl_err_set(err, KL_ERR_INPUT, "%s: the two entries differ; nothing was done",
                            prompt);
        }
    }
    if (rc == KL_OK) {
        *out = first;
        first = NULL;
    }
    kl_secret_free(again);
    kl_secret_free(first);
    return rc;
}

enum kl_rc kl_ceremony_init_token(const char *module_path, const char *init_reserved,
                                  const char *label, const char *so_pin_source,
                                  const char *pin_source, struct kl_err *err)
{
    struct kl_secret *so_pin = NULL, *pin = NULL;
    struct kl_module *module = NULL;
    enum kl_rc rc = kl_pin_choose(so_pin_source, "Security officer's PIN", &so_pin, err);

    if (rc == KL_OK) {
        rc = kl_pin_choose(pin_source, "User PIN", &pin, err);
    }
    if (rc == KL_OK) {
        rc = kl_module_load(module_path, init_reserved, &module, err);
    }
    if (rc == KL_OK) {
        rc = kl_token_init(module, label, so_pin, pin, err);
    }
    kl_module_free(module);
    kl_secret_free(pin);
    kl_secret_free(so_pin);
    return rc;
}

enum kl_rc kl_ceremony_lock(struct kl_err *err)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        kl_err_errno(err, "mlockall", "memory cannot be locked (raise RLIMIT_MEMLOCK)");
        return err->rc = KL_ERR_SYSTEM;
    }
    return KL_OK;
}

/* ---- Questions ---- */

static enum kl_rc read_line(int fd, const char *prompt, char *out, size_t capacity,
                            struct kl_err *err)
{
    char line[128];
    size_t len = 0;

    for (;;) {
        ssize_t got = read(fd, line + len, 1);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return kl_err_errno(err, "read", "%s", prompt);
        }
        if (got == 0) {
            return kl_err_set(err, KL_ERR_INPUT, "%s: nothing was typed", prompt);
        }
        if (line[len] == '\n') {
            break;
        }
        if (++len == sizeof(line) || len == capacity) {
            return kl_err_set(err, KL_ERR_INPUT, "%s: too long", prompt);
        }
    }
    line[len] = '\0';
    memcpy(out, line, len + 1);
    return KL_OK;
}

/* Asks "PROMPT: " on the terminal and reads one line, with echo: nothing secret. KL_ERR_CONFIG if
 * there is no terminal; KL_ERR_INPUT if the line ends early or has capacity bytes or more. */
static enum kl_rc ask(const char *prompt, char *out, size_t capacity, struct kl_err *err)
{
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    enum kl_rc rc;

    if (fd < 0) {
        return kl_err_set(err, KL_ERR_CONFIG, "%s: there is no terminal to ask on", prompt);
    }
    if (dprintf(fd, "%s: ", prompt) < 0) {
        rc = kl_err_errno(err, "write", "%s", prompt);
    } else {
        rc = read_line(fd, prompt, out, capacity, err);
    }
    close(fd);
    return rc;
}

/* ---- Components ---- */

#define TRIES 3
#define ANSWER_MAX 16 /* bytes */

/* Compares the value's KCV with the one in text, hex. */
static enum kl_rc check_kcv(struct kl_session *session, const struct kl_alg_info *info,
                            struct kl_secret *value, const char *text, uint8_t *kcv, size_t *len,
                            struct kl_err *err)
{
    uint8_t wanted[KL_KCV_LEN_MAX], got[KL_KCV_LEN_MAX];
    char shown[KL_KCV_TEXT];
    enum kl_rc rc = kl_kcv_parse(text, wanted, len, err);

    if (rc == KL_OK) {
        rc = kl_component_kcv(session, info, value, *len, got, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    if (CRYPTO_memcmp(wanted, got, *len) != 0) {
        kl_kcv_format(got, *len, shown);
        return kl_err_set(err, KL_ERR_VERIFY, "has KCV %s, not %.8s", shown, text);
    }
    memcpy(kcv, got, *len);
    return KL_OK;
}

static enum kl_rc read_component(struct kl_session *session, const struct kl_components_wish *wish,
                                 size_t i, struct kl_secret **out, struct kl_err *err)
{
    struct kl_secret *text = NULL, *value = NULL;
    char prompt[64], answer[ANSWER_MAX];
    const char *kcv_text = wish->kcvs[i];
    uint8_t kcv[KL_KCV_LEN_MAX];
    size_t kcv_len;
    enum kl_rc rc;

    (void)snprintf(prompt, sizeof(prompt), "Component %zu of %zu, %zu hex digits", i + 1,
                   wish->count, 2 * wish->info->key_len);
    rc = kl_typed_read(KL_TYPED_COMPONENT, wish->sources[i], prompt, &text, err);
    if (rc == KL_OK) {
        rc = kl_component_parse(wish->info, wish->parity, text, &value, err);
    }
    if (rc == KL_OK && !kcv_text) {
        (void)snprintf(prompt, sizeof(prompt), "KCV of component %zu", i + 1);
        rc = ask(prompt, answer, sizeof(answer), err);
        kcv_text = answer;
    }
    if (rc == KL_OK) {
        rc = check_kcv(session, wish->info, value, kcv_text, kcv, &kcv_len, err);
    }
    kl_secret_free(text);
    if (rc != KL_OK) {
        kl_secret_free(value);
        return kl_err_context(err, "component %zu", i + 1);
    }
    *out = value;
    return KL_OK;
}

/* Again, when a person has mistyped. */
static enum kl_rc ask_component(struct kl_session *session, const struct kl_components_wish *wish,
                                size_t i, struct kl_secret **out, struct kl_err *err)
{
    enum kl_rc rc = read_component(session, wish, i, out, err);

    for (int tried = 1; tried < TRIES && kl_pin_is_prompt(wish->sources[i]) &&
                        (rc == KL_ERR_INPUT || rc == KL_ERR_VERIFY);
         tried++) {
        fprintf(stderr, "%s; once more\n", err->text);
        rc = read_component(session, wish, i, out, err);
    }
    return rc;
}

/* The key's KCV, as it was foretold, or as somebody confirms it. */
static enum kl_rc confirm_key(struct kl_session *session, const struct kl_components_wish *wish,
                              struct kl_secret *key, uint8_t *kcv, size_t *kcv_len,
                              struct kl_err *err)
{
    uint8_t got[KL_KCV_LEN_MAX];
    char shown[KL_KCV_TEXT], prompt[64], answer[ANSWER_MAX];
    enum kl_rc rc;

    if (wish->kcv) {
        rc = check_kcv(session, wish->info, key, wish->kcv, kcv, kcv_len, err);
        return rc == KL_OK ? KL_OK : kl_err_context(err, "the key");
    }
    rc = kl_component_kcv(session, wish->info, key, sizeof(got), got, err);
    if (rc != KL_OK) {
        return rc;
    }
    kl_kcv_format(got, sizeof(got), shown);
    (void)snprintf(prompt, sizeof(prompt), "The key's KCV is %s. Is that right? (yes/no)", shown);
    if ((rc = ask(prompt, answer, sizeof(answer), err)) != KL_OK) {
        return rc;
    }
    if (strcmp(answer, "yes") != 0) {
        return kl_err_set(err, KL_ERR_REFUSED, "the key's KCV was not confirmed; nothing was done");
    }
    memcpy(kcv, got, sizeof(got));
    *kcv_len = sizeof(got);
    return KL_OK;
}

enum kl_rc kl_ceremony_components(struct kl_session *session, const struct kl_components_wish *wish,
                                  struct kl_secret **key, uint8_t kcv[KL_KCV_LEN_MAX],
                                  size_t *kcv_len, struct kl_err *err)
{
    struct kl_secret *components[KL_COMPONENTS_MAX] = {NULL}, *sum = NULL;
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; rc == KL_OK && i < wish->count; i++) {
        rc = ask_component(session, wish, i, &components[i], err);
    }
    if (rc == KL_OK) {
        rc = kl_components_sum(wish->info, components, wish->count, &sum, err);
    }
    if (rc == KL_OK) {
        rc = confirm_key(session, wish, sum, kcv, kcv_len, err);
    }
    if (rc == KL_OK) {
        *key = sum;
        sum = NULL;
    }
    kl_secret_free(sum);
    for (size_t i = 0; i < KL_COMPONENTS_MAX; i++) {
        kl_secret_free(components[i]);
    }
    return rc;
}
