/* SPDX-License-Identifier: BSD-2-Clause */
/* The certificates in force, in use: which chain for whom, whose keys, and how long they last. */
#include "daemon/loader/trust.h"

#include <string.h>

#include "conf/cli.h"
#include "conf/log.h"
#include "daemon/loader/trust_impl.h"

#define DAY_S (24 * 60 * 60)

size_t kl_trust_count(const struct kl_trust *trust)
{
    return trust->count;
}

const struct kl_trust_entry *kl_trust_at(const struct kl_trust *trust, size_t i)
{
    return &trust->entries[i];
}

/* ---- The keys in the HSM ---- */

static int suite_allowed(const struct kl_config *config, enum kl_suite suite)
{
    for (uint64_t i = 0; i < config->suites.count; i++) {
        if (config->suites.items[i] + 1 == (uint64_t)suite) {
            return 1;
        }
    }
    return 0;
}

static enum kl_rc bind_entry(struct kl_trust_entry *entry, const struct kl_config *config,
                             const struct kl_loader_key *keys, size_t count, struct kl_err *err)
{
    const EVP_PKEY *wanted = X509_get0_pubkey(sk_X509_value(entry->certs, 0));

    for (size_t i = 0; i < count; i++) {
        if (strcmp(keys[i].label, entry->label) != 0) {
            continue;
        }
        if (EVP_PKEY_eq(keys[i].public_key, wanted) != 1) {
            return kl_err_set(err, KL_ERR_CERT,
                              "%s/%s.pem is not the certificate of the HSM's key \"%s\": make a "
                              "request with `keyloaderctl key csr`, have it signed, `keyloaderctl "
                              "cert install` it",
                              config->work, entry->label, entry->label);
        }
        entry->suite = keys[i].suite;
        entry->oaep_hash = keys[i].oaep_hash;
        return KL_OK;
    }
    return kl_err_set(err, KL_ERR_KEY, "the HSM has no key \"%s\" for %s/%s.pem", entry->label,
                      config->work, entry->label);
}

enum kl_rc kl_trust_bind(struct kl_trust *trust, const struct kl_config *config,
                         const struct kl_loader_key *keys, size_t count, struct kl_err *err)
{
    size_t allowed = 0;

    for (size_t i = 0; i < trust->count; i++) {
        struct kl_trust_entry *entry = &trust->entries[i];
        int known = entry->suite != 0;

        if (bind_entry(entry, config, keys, count, err) != KL_OK) {
            return err->rc;
        }
        if (suite_allowed(config, entry->suite)) {
            allowed++;
        } else if (!known) {
            kl_log(KL_LOG_WARN, "suite-not-allowed", KL_STR("label", entry->label),
                   KL_STR("suite", kl_suite_name(entry->suite)),
                   KL_STR("detail", "[policy] suites leaves it out: this key serves nobody"));
        }
    }
    if (allowed == 0) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "no installed chain's key is of a suite that [policy] suites names");
    }
    return KL_OK;
}

/* ---- Which chain for a terminal ---- */

static int leads_to(const struct kl_trust_entry *entry, const struct kl_hello *hello)
{
    for (size_t i = 0; i < hello->anchor_count; i++) {
        if (memcmp(hello->anchors[i], entry->anchor, KL_HASH_LEN) == 0) {
            return 1;
        }
    }
    return hello->anchor_count == 0;
}

/* How near a chain came to serving; what is told is of the nearest. */
enum nearness { NO_SUITE, OUT_OF_DATE, NO_ROOT, TOO_WEAK, SERVES };

static enum nearness judge(const struct kl_trust_entry *entry, const struct kl_config *config,
                           const struct kl_hello *hello, enum kl_alg alg, time_t now,
                           struct kl_err *err)
{
    if (now < entry->from || now > entry->until) {
        return OUT_OF_DATE;
    }
    if (!leads_to(entry, hello)) {
        return NO_ROOT;
    }
    if (config->strength_enforce && kl_alg_strength(entry->type, entry->bits, alg, err) != KL_OK) {
        return TOO_WEAK;
    }
    return SERVES;
}

/* The best chain of one suite, NULL if none serves; *nearest and *err say why not. */
static const struct kl_trust_entry *best_of(const struct kl_trust *trust, enum kl_suite suite,
                                            const struct kl_config *config,
                                            const struct kl_hello *hello, enum kl_alg alg,
                                            time_t now, enum nearness *nearest, struct kl_err *err)
{
    const struct kl_trust_entry *best = NULL;
    time_t best_from = 0;

    for (size_t i = 0; i < trust->count; i++) {
        const struct kl_trust_entry *entry = &trust->entries[i];
        enum nearness nearness;
        time_t from;

        if (entry->suite != suite) {
            continue;
        }
        nearness = judge(entry, config, hello, alg, now, err);
        *nearest = nearness > *nearest ? nearness : *nearest;
        from = kl_trust_time(X509_get0_notBefore(sk_X509_value(entry->certs, 0)));
        if (nearness == SERVES && (best == NULL || from > best_from)) {
            best = entry;
            best_from = from;
        }
    }
    return best;
}

static enum kl_rc none_serves(enum nearness nearest, const struct kl_err *weak, struct kl_err *err)
{
    switch (nearest) {
    case TOO_WEAK:
        *err = *weak;
        return err->rc;
    case NO_ROOT:
        return kl_err_set(err, KL_ERR_UNSUPPORTED,
                          "the terminal trusts none of the roots of the work certificates");
    case OUT_OF_DATE:
        return kl_err_set(err, KL_ERR_UNAVAILABLE,
                          "the work certificates or their CRLs have expired");
    default:
        return kl_err_set(err, KL_ERR_UNSUPPORTED,
                          "no suite in common with the keys served and [policy] suites");
    }
}

enum kl_rc kl_trust_pick(const struct kl_trust *trust, const struct kl_config *config,
                         const struct kl_hello *hello, enum kl_alg alg, time_t now,
                         const struct kl_trust_entry **out, struct kl_err *err)
{
    const struct kl_trust_entry *entry = NULL;
    struct kl_err weak = KL_ERR_INIT;
    enum nearness nearest = NO_SUITE;

    for (uint64_t i = 0; i < config->suites.count && entry == NULL; i++) {
        enum kl_suite suite = (enum kl_suite)(config->suites.items[i] + 1);
        if (memchr(hello->suites, (int)suite, hello->suite_count) != NULL) {
            entry = best_of(trust, suite, config, hello, alg, now, &nearest, &weak);
        }
    }
    if (entry == NULL) {
        return none_serves(nearest, &weak, err);
    }
    *out = entry;
    return KL_OK;
}

void kl_trust_withdraw(struct kl_trust *trust)
{
    for (size_t i = 0; i < trust->count; i++) {
        trust->entries[i].until = 0;
    }
}

/* ---- Terminals' certificates ---- */

int kl_trust_knows_terminals(const struct kl_trust *trust)
{
    return trust->terminal_roots != NULL;
}

static enum kl_rc parse_chain(const struct kl_hello *hello, STACK_OF(X509) * chain,
                              struct kl_err *err)
{
    for (size_t i = 0; i < hello->chain_count; i++) {
        X509 *cert = NULL;
        if (kl_cert_from_der(hello->chain[i].data, hello->chain[i].len, &cert, err) != KL_OK) {
            return kl_err_context(err, "the terminal's certificate %zu", i + 1);
        }
        if (sk_X509_push(chain, cert) <= 0) {
            X509_free(cert);
            return kl_err_set(err, KL_ERR_MEMORY, "the terminal's certificates");
        }
    }
    return KL_OK;
}

enum kl_rc kl_trust_terminal(const struct kl_trust *trust, const struct kl_hello *hello, time_t now,
                             EVP_PKEY **key, struct kl_err *err)
{
    STACK_OF(X509) * chain;
    const X509 *issuer;
    EVP_PKEY *device;
    enum kl_rc rc;

    if (hello->chain_count == 0) {
        return kl_err_set(err, KL_ERR_CERT, "the terminal shows no certificate");
    }
    chain = sk_X509_new_null();
    if (chain == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "the terminal's certificates");
    }
    rc = parse_chain(hello, chain, err);
    if (rc != KL_OK) {
        goto out;
    }
    issuer = kl_trust_issuer(chain, trust->terminal_roots);
    rc = kl_cert_verify_terminal(chain, trust->terminal_roots,
                                 issuer != NULL ? kl_trust_crl_of(trust->terminal_crls, issuer)
                                                : NULL,
                                 now, hello->serial, err);
    if (rc != KL_OK) {
        (void)kl_err_context(err, "the terminal's certificate");
        goto out;
    }
    device = X509_get0_pubkey(sk_X509_value(chain, 0));
    EVP_PKEY_up_ref(device);
    *key = device;
out:
    sk_X509_pop_free(chain, X509_free);
    return rc;
}

/* ---- How long they last ---- */

static void end_certs(STACK_OF(X509) * certs, enum kl_trust_kind kind, const char *label,
                      kl_trust_end_fn fn, void *arg)
{
    struct kl_trust_end end = {.kind = kind, .label = label};
    char name[KL_NAME_MAX];

    end.name = name;
    for (int i = 0; i < sk_X509_num(certs); i++) {
        const X509 *cert = sk_X509_value(certs, i);
        kl_cert_subject(cert, name);
        end.until = kl_trust_time(X509_get0_notAfter(cert));
        fn(&end, arg);
    }
}

static void end_crls(STACK_OF(X509_CRL) * crls, const char *scope, kl_trust_end_fn fn, void *arg)
{
    struct kl_trust_end end = {.kind = KL_TRUST_CRL, .label = "", .name = scope};

    for (int i = 0; i < sk_X509_CRL_num(crls); i++) {
        end.until = kl_trust_time(X509_CRL_get0_nextUpdate(sk_X509_CRL_value(crls, i)));
        fn(&end, arg);
    }
}

void kl_trust_ends(const struct kl_trust *trust, kl_trust_end_fn fn, void *arg)
{
    for (size_t i = 0; i < trust->count; i++) {
        end_certs(trust->entries[i].certs, KL_TRUST_WORK, trust->entries[i].label, fn, arg);
    }
    end_certs(trust->roots, KL_TRUST_ROOT, "", fn, arg);
    end_certs(trust->terminal_roots, KL_TRUST_TERMINAL_ROOT, "", fn, arg);
    end_crls(trust->crls, "loader", fn, arg);
    end_crls(trust->terminal_crls, "terminal", fn, arg);
}

size_t kl_trust_in_force(const struct kl_trust *trust, time_t now)
{
    size_t count = 0;

    for (size_t i = 0; i < trust->count; i++) {
        count += now >= trust->entries[i].from && now <= trust->entries[i].until;
    }
    return count;
}

static void warn_of(const struct kl_trust_end *end, void *arg)
{
    time_t now = *(const time_t *)arg;
    int64_t left = (int64_t)end->until - (int64_t)now;
    char text[KL_TIME_TEXT];

    if (left >= (int64_t)KL_TRUST_WARN_DAYS * DAY_S) {
        return;
    }
    kl_time_format((int64_t)end->until, text);
    kl_log(left < 0 ? KL_LOG_ERROR : KL_LOG_WARN,
           end->kind == KL_TRUST_CRL ? "crl-expires" : "certificate-expires",
           KL_STR("name", end->name), KL_STR("until", text), KL_NUM("days", left / DAY_S),
           KL_STR("detail", left < 0 ? "has expired" : "expires soon"));
}

void kl_trust_warn(const struct kl_trust *trust, time_t now)
{
    kl_trust_ends(trust, warn_of, &now);
}
