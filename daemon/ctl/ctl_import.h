/* SPDX-License-Identifier: BSD-2-Clause */
/* What importing one TMK and importing a file of them share. */
#ifndef KL_DAEMON_CTL_CTL_IMPORT_H
#define KL_DAEMON_CTL_CTL_IMPORT_H

#include "daemon/ctl/ctl.h"
#include "daemon/store/store.h"
#include "pkcs11/hsm.h"
#include "pkcs11/import.h"

/* Under what TMKs come: one of the labels. */
struct kl_ctl_under {
    const char *transport, *zmk;
    enum kl_wrap wrap; /* of a zone key */
};

/* The HSM, made ready for TMKs to come in. */
struct kl_ctl_importer {
    const struct kl_config *config;
    struct kl_hsm *hsm;
    CK_OBJECT_HANDLE storage_key, binding_key;
    size_t retired_count; /* earlier storage keys, by which destroyed keys are known */
    CK_OBJECT_HANDLE retired[KL_RETIRED_MAX];
    struct kl_carrier carrier;
    char origin[KL_ORIGIN_MAX + 1];
    int warned; /* bit set of algorithms that were weakly carried: once each is enough */
};

/* Opens the HSM and finds its keys; under NULL: no carrier, for components. */
enum kl_rc kl_ctl_importer_open(const struct kl_config *config, const struct kl_ctl_under *under,
                                struct kl_ctl_importer *out, struct kl_err *err) KL_MUST_CHECK;
void kl_ctl_importer_close(struct kl_ctl_importer *importer);

/* --algorithm, or its column. KL_ERR_INPUT. */
enum kl_rc kl_ctl_import_alg(const char *name, const struct kl_alg_info **out,
                             struct kl_err *err) KL_MUST_CHECK;

/* One TMK as it came, in hex, into what the store takes (kl_life_import). KL_ERR_INPUT,
 * KL_ERR_VERIFY, KL_ERR_STRENGTH: it is this TMK's fault. */
enum kl_rc kl_ctl_import_wrapped(struct kl_ctl_importer *importer, const char *serial,
                                 const struct kl_alg_info *info, const char *cryptogram,
                                 const char *kcv, struct kl_import *out,
                                 struct kl_err *err) KL_MUST_CHECK;

/* kl_life_import, if the store's keys are under the configured storage key; and *gated goes up by
 * one if the terminal cannot prove who it is and nobody has accepted that, so that the TMK will not
 * go out (life.h). */
enum kl_rc kl_ctl_import_put(const struct kl_config *config, struct kl_store *store,
                             const struct kl_import *import, int replace, int64_t now,
                             size_t *gated, struct kl_err *err) KL_MUST_CHECK;
/* Says so on stderr, and what to do, unless there are none. */
void kl_ctl_import_note(size_t gated);

/* tmk import --csv, in ctl_import_csv.c. */
struct kl_ctl_csv {
    const char *path;
    int keep_going, replace;
};
enum kl_rc kl_ctl_import_csv(const struct kl_ctl *ctl, const struct kl_ctl_under *under,
                             const struct kl_ctl_csv *csv, struct kl_err *err) KL_MUST_CHECK;

#endif
