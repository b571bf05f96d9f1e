/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PIN pad in a token, as its files share it; only pinpad_token*.c include this. A token object
 * tells what it is by its CKA_LABEL:
 *
 *   tmk/VERSION/ALGORITHM/KCV
 *   pik/NUMBER/TMK-VERSION/ALGORITHM/KCV
 *   mak/NUMBER/TMK-VERSION/ALGORITHM/KCV
 *   chain/NUMBER/TMK-VERSION/tdes2/KCV      of a TDES MAK: K1 || K1
 *   device                                  the device key, both halves
 */
#ifndef KL_TERMINAL_SIM_PINPAD_PINPAD_TOKEN_H
#define KL_TERMINAL_SIM_PINPAD_PINPAD_TOKEN_H

#include <p11-kit/pkcs11.h>

#include "pkcs11/hsm.h"
#include "terminal-sim/pinpad/pinpad_backend.h"

#define KL_PAD_LABEL_MAX 64
#define KL_PAD_DEVICE_LABEL "device"

struct kl_token_pad {
    struct kl_pinpad base;
    struct kl_hsm *hsm;
    struct kl_session *session;              /* hsm's */
    CK_OBJECT_HANDLE keys[KL_PURPOSE_COUNT]; /* by enum kl_purpose; 0 = none */
    int tdes_known, tdes_unwraps;            /* kl_pad_tdes_unwraps, once asked */
};

struct kl_token_pad *kl_token_pad_of(struct kl_pinpad *pad);

/* What a label says. */
enum kl_pad_kind { KL_PAD_IS_TMK, KL_PAD_IS_PIK, KL_PAD_IS_MAK, KL_PAD_IS_CHAIN };
struct kl_pad_label {
    enum kl_pad_kind kind;
    uint32_t number;      /* of a working key; 0 for a TMK */
    uint32_t tmk_version; /* of the TMK, or of that under which the key came */
    enum kl_alg alg;
    size_t kcv_len;
    uint8_t kcv[KL_KCV_LEN_MAX];
};
void kl_pad_label_format(const struct kl_pad_label *label, char out[KL_PAD_LABEL_MAX]);
struct kl_pad_label kl_pad_label_of_tmk(const struct kl_pinpad_tmk *tmk);
struct kl_pad_label kl_pad_label_of_pair(const struct kl_pinpad_pair *pair, enum kl_pad_kind kind);

/* Every secret key of ours that the token keeps. */
struct kl_pad_object {
    CK_OBJECT_HANDLE handle;
    struct kl_pad_label label;
};
#define KL_PAD_OBJECTS_MAX 32
enum kl_rc kl_pad_objects(struct kl_token_pad *self, struct kl_pad_object out[KL_PAD_OBJECTS_MAX],
                          size_t *count, struct kl_err *err) KL_MUST_CHECK;

/* The one of exactly that label; KL_ERR_KEY if it has gone. */
enum kl_rc kl_pad_object_find(struct kl_token_pad *self, const struct kl_pad_label *label,
                              CK_OBJECT_HANDLE *out, struct kl_err *err) KL_MUST_CHECK;

/* C_DestroyObject of a token object: one that stays must be heard of. */
enum kl_rc kl_pad_object_destroy(struct kl_token_pad *self, const struct kl_pad_object *object,
                                 struct kl_err *err) KL_MUST_CHECK;

/* Whether the token unwraps by TDES-ECB; asked once. */
enum kl_rc kl_token_pad_tdes(struct kl_token_pad *self, int *unwraps,
                             struct kl_err *err) KL_MUST_CHECK;

/* The session keys of these purposes, derived from base by their labels, each for its one use. */
enum kl_rc kl_token_pad_derive(struct kl_token_pad *self, enum kl_purpose from, enum kl_purpose to,
                               CK_OBJECT_HANDLE base, const struct kl_pinpad_labels *labels,
                               struct kl_err *err) KL_MUST_CHECK;

/* pinpad_token_work.c's part of the table. */
enum kl_rc kl_token_start_session(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                                  const struct kl_pinpad_labels *labels, const uint8_t *c_session,
                                  size_t len, struct kl_err *err);
enum kl_rc kl_token_working_kcv(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                                enum kl_alg alg, const uint8_t *wrapped, size_t len, size_t kcv_len,
                                uint8_t *kcv, struct kl_err *err);
enum kl_rc kl_token_highest_pair(struct kl_pinpad *pad, uint32_t *number, struct kl_err *err);
enum kl_rc kl_token_keep_pair(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                              const struct kl_pinpad_pair *pair, const struct kl_bytes *pik,
                              const struct kl_bytes *mak, struct kl_err *err);
enum kl_rc kl_token_has_pair(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair, int *yes,
                             struct kl_err *err);
enum kl_rc kl_token_prune(struct kl_pinpad *pad, uint32_t keep, struct kl_err *err);
enum kl_rc kl_token_encrypt(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair, int mak,
                            const uint8_t *in, uint8_t *out, struct kl_err *err);
enum kl_rc kl_token_chain(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                          const uint8_t *in, size_t len, uint8_t *chain, struct kl_err *err);
enum kl_rc kl_token_cmac(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                         const uint8_t *in, size_t len, uint8_t *mac, struct kl_err *err);
enum kl_rc kl_token_device_generate(struct kl_pinpad *pad, enum kl_key_type type, unsigned bits,
                                    EVP_PKEY **out, struct kl_err *err);
enum kl_rc kl_token_device_destroy(struct kl_pinpad *pad, struct kl_err *err);
enum kl_rc kl_token_device_public(struct kl_pinpad *pad, EVP_PKEY **out, struct kl_err *err);
enum kl_rc kl_token_device_request(struct kl_pinpad *pad, X509_REQ *req, struct kl_err *err);
enum kl_rc kl_token_device_sign(struct kl_pinpad *pad, const uint8_t *in, size_t len, uint8_t *sig,
                                size_t *sig_len, struct kl_err *err);

#endif
