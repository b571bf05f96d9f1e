/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as a scenario file: parsed or refused with a message that names the file. What was
 * parsed must keep every bound that the engine relies on.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "terminal-sim/attack/field.h"
#include "terminal-sim/attack/scenario.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static void check_rule(const struct kl_sc_rule *rule, size_t session)
{
    require(rule->at < KL_MSG_TYPE_COUNT && rule->act <= KL_SC_SWEEP);
    require(rule->value.len <= KL_SC_VALUE_MAX);
    require(!rule->field[0] || kl_field_known(rule->at, rule->field));
    require(rule->ref.session <= session && rule->ref.message < KL_MSG_TYPE_COUNT);
    require(rule->act != KL_SC_FLIP || rule->mask != 0);
    require(memchr(rule->ref.path, '\0', sizeof(rule->ref.path)) != NULL);
}

static void check_session(const struct kl_sc_session *s, size_t i)
{
    require(s->name[0] && s->rule_count <= KL_SC_RULES_MAX && s->suite_count <= KL_OFFER_MAX);
    require(s->pad <= i && (s->kind == KL_SC_LOAD || s->of < i));
    require(!s->differs || s->differs_of < i);
    require(s->seconds <= KL_SC_SECONDS_MAX && s->breaks < KL_MSG_TYPE_COUNT);
    require(s->expect <= KL_SC_EXPECT_SILENCE);
    for (size_t r = 0; r < s->rule_count; r++) {
        check_rule(&s->rules[r], i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kl_scenario scenario;
    struct kl_err err = KL_ERR_INIT;
    char expects[KL_SC_TEXT_MAX];

    if (kl_scenario_parse("fuzz.ini", (const char *)data, size, &scenario, &err)) {
        require((err.rc == KL_ERR_CONFIG || err.rc == KL_ERR_MEMORY) &&
                strncmp(err.text, "fuzz.ini", 8) == 0);
        return 0;
    }
    require(scenario.session_count > 0 && scenario.session_count <= KL_SC_SESSIONS_MAX);
    for (size_t i = 0; i < scenario.session_count; i++) {
        check_session(&scenario.sessions[i], i);
    }
    kl_scenario_expects(&scenario, expects);
    require(strlen(expects) < sizeof(expects));
    return 0;
}
