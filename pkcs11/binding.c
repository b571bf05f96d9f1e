/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bindings of stored keys: one MAC each, computed inside the token and compared here.
 */
#include "pkcs11/binding.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <string.h>

#include "pkcs11/ops.h"

static int kind_ok(const struct kl_binding_of *what)
{
    switch (what->kind) {
    case KL_BINDING_TMK:
    case KL_BINDING_PIK:
    case KL_BINDING_MAK:
        return what->version >= 1 && what->version <= KL_VERSION_MAX;
    case KL_BINDING_IMPORT:
        return what->version == 0;
    }
    return 0;
}

static int key_ok(const struct kl_stored_key *key)
{
    return kl_alg_info(key->alg) && key->kcv_len >= KL_KCV_LEN_MIN &&
           key->kcv_len <= KL_KCV_LEN_MAX && key->cryptogram_len >= 1 &&
           key->cryptogram_len <= sizeof(key->cryptogram);
}

int kl_stored_key_whole(const struct kl_stored_key *key)
{
    const struct kl_alg_info *info = kl_alg_info(key->alg);

    return info && key->cryptogram_len == kl_alg_wrapped_len(info) &&
           key->kcv_len >= KL_KCV_LEN_MIN && key->kcv_len <= KL_KCV_LEN_MAX;
}

static uint8_t *put(uint8_t *to, const void *data, size_t len)
{
    memcpy(to, data, len);
    return to + len;
}

enum kl_rc kl_binding_input(const struct kl_binding_of *what, uint8_t out[KL_BINDING_INPUT_MAX],
                            size_t *len, struct kl_err *err)
{
    const struct kl_stored_key *key = what->key;
    uint8_t *to = out;

    if (!kind_ok(what) || !key_ok(key) || !kl_serial_ok(what->serial)) {
        return kl_err_set(err, KL_ERR_INTERNAL,
                          "binding of a stored key: kind %d, version %" PRIu32
                          ", serial or a length is out of bounds",
                          (int)what->kind, what->version);
    }
    to = put(to, KL_BINDING_PREFIX, sizeof(KL_BINDING_PREFIX));
    *to++ = (uint8_t)what->kind;
    for (int shift = 24; shift >= 0; shift -= 8) {
        *to++ = (uint8_t)(what->version >> shift);
    }
    *to++ = (uint8_t)key->alg;
    *to++ = (uint8_t)key->kcv_len;
    to = put(to, key->kcv, key->kcv_len);
    *to++ = (uint8_t)key->cryptogram_len;
    to = put(to, key->cryptogram, key->cryptogram_len);
    to = put(to, what->serial, strlen(what->serial));
    *len = (size_t)(to - out);
    return KL_OK;
}

enum kl_rc kl_binding_compute(struct kl_session *session, CK_OBJECT_HANDLE binding_key,
                              const struct kl_binding_of *what, uint8_t mac[KL_MAC_LEN],
                              struct kl_err *err)
{
    uint8_t input[KL_BINDING_INPUT_MAX];
    size_t len = 0;
    enum kl_rc rc = kl_binding_input(what, input, &len, err);

    return rc == KL_OK ? kl_op_cmac(session, binding_key, input, len, mac, err) : rc;
}

static enum kl_rc changed(const struct kl_binding_of *what, struct kl_err *err)
{
    if (what->kind == KL_BINDING_IMPORT) {
        return kl_err_set(err, KL_ERR_STORE,
                          "the imported key that waits for terminal %s is not as keyloader wrote "
                          "it: the store was changed from outside",
                          what->serial);
    }
    return kl_err_set(err, KL_ERR_STORE,
                      "the stored key of terminal %s, version %" PRIu32
                      ", is not as keyloader wrote it: the store was changed from outside",
                      what->serial, what->version);
}

enum kl_rc kl_binding_verify(struct kl_session *session, CK_OBJECT_HANDLE binding_key,
                             const struct kl_binding_of *what, struct kl_err *err)
{
    uint8_t mac[KL_MAC_LEN];
    enum kl_rc rc = kl_binding_compute(session, binding_key, what, mac, err);

    if (rc != KL_OK) {
        return rc;
    }
    return CRYPTO_memcmp(mac, what->key->binding, sizeof(mac)) == 0 ? KL_OK : changed(what, err);
}
