/* SPDX-License-Identifier: BSD-2-Clause */
/* The token of a unit test: see p11.h. */
#include "tests/support/p11.h"

#include "pkcs11/keys.h"
#include "pkcs11/tmpl.h"
#include "tests/support/fake_p11.h"

struct test_token hsm;
const struct kl_loader_config p11_config = {.work_keys = {{"work", 0}},
                                            .work_key_count = 1,
                                            .storage_key = "storage",
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

void p11_make_keys(unsigned bits)
{
    EVP_PKEY *key = NULL;

    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_WORK, p11_config.work_keys[0].label, KL_KEY_RSA,
                           bits, &key, &err));
    EVP_PKEY_free(key);
    ck_ok(kl_storage_key_generate(hsm.session, p11_config.storage_key, &err));
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
