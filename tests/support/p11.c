/* SPDX-License-Identifier: BSD-2-Clause */
/* The token of a unit test: see p11.h. */
#include "tests/support/p11.h"

#include "pkcs11/keys.h"
#include "pkcs11/ops.h"
#include "pkcs11/tmpl.h"
#include "tests/support/fake_p11.h"

struct test_token hsm;
const struct kl_loader_config p11_config = {.work_keys = {{"work", 0}},
                                            .work_key_count = 1,
                                            .storage_key = "storage",
                                            .binding_key = "binding",
                                            .strength_enforce = 1};

static struct kl_err err = KL_ERR_INIT;

void p11_open(void)
{
    test_secrets();
    test_token_open(&hsm, fake_p11(test_softhsm_path()));
}

void p11_close(void)
{
    test_token_close(&hsm);
}

void p11_make_store_keys(void)
{
    ck_ok(kl_storage_key_generate(hsm.session, p11_config.storage_key, &err));
    ck_ok(kl_binding_key_generate(hsm.session, p11_config.binding_key, &err));
}

void p11_bind(struct kl_stored_key *key, enum kl_binding_kind kind, const char *serial,
              uint32_t version)
{
    const struct kl_binding_of what = {kind, serial, version, key};
    CK_OBJECT_HANDLE binding;

    ck_ok(kl_binding_key_find(hsm.session, p11_config.binding_key, &binding, &err));
    ck_ok(kl_binding_compute(hsm.session, binding, &what, key->binding, &err));
}

struct kl_stored_key p11_stored_key(enum kl_alg alg, const uint8_t *value,
                                    enum kl_binding_kind kind, const char *serial, uint32_t version)
{
    struct kl_stored_key key = {.alg = alg, .kcv_len = KL_KCV_LEN_MAX};
    CK_OBJECT_HANDLE storage, handle;

    ck_ok(kl_storage_key_find(hsm.session, p11_config.storage_key, &storage, &err));
    ck_ok(value ? kl_op_import_value(hsm.session, alg, value, KL_USE_KCV, &handle, &err)
                : kl_op_generate_tmk(hsm.session, alg, &handle, &err));
    ck_ok(kl_op_kcv(hsm.session, handle, alg, key.kcv_len, key.kcv, &err));
    ck_ok(kl_op_wrap(hsm.session, storage, handle, key.cryptogram, &key.cryptogram_len, &err));
    kl_op_destroy(hsm.session, &handle);
    p11_bind(&key, kind, serial, version);
    return key;
}

void p11_make_keys(unsigned bits)
{
    EVP_PKEY *key = NULL;

    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_WORK, p11_config.work_keys[0].label, KL_KEY_RSA,
                           bits, &key, &err));
    EVP_PKEY_free(key);
    p11_make_store_keys();
}

int p11_flag(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL value = 99;
    CK_ATTRIBUTE attr = {type, &value, 1};
    CK_RV rv = hsm.f->C_GetAttributeValue(hsm.s, object, &attr, 1);

    ck_assert_msg(rv == CKR_OK, "attribute 0x%lx: 0x%lx", type, rv);
    return value;
}

unsigned p11_uses(CK_OBJECT_HANDLE object)
{
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        unsigned can;
    } uses[] = {{CKA_ENCRYPT, KL_CAN_ENCRYPT}, {CKA_DECRYPT, KL_CAN_DECRYPT},
                {CKA_SIGN, KL_CAN_SIGN},       {CKA_VERIFY, KL_CAN_VERIFY},
                {CKA_WRAP, KL_CAN_WRAP},       {CKA_UNWRAP, KL_CAN_UNWRAP},
                {CKA_DERIVE, KL_CAN_DERIVE}};
    unsigned set = 0;

    for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
        set |= p11_flag(object, uses[i].type) ? uses[i].can : 0;
    }
    return set;
}

void p11_check_sealed(CK_OBJECT_HANDLE object)
{
    static const CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE changes[] = {{CKA_LABEL, (char[]){"x"}, 1}, {CKA_SIGN, (void *)&yes, 1}};
    CK_OBJECT_HANDLE copy;

    ck_assert(!p11_flag(object, CKA_COPYABLE) && !p11_flag(object, CKA_MODIFIABLE));
    ck_assert_uint_ne(hsm.f->C_CopyObject(hsm.s, object, NULL, 0, &copy), CKR_OK);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_ne(hsm.f->C_SetAttributeValue(hsm.s, object, &changes[i], 1), CKR_OK);
    }
}
