/* SPDX-License-Identifier: BSD-2-Clause */
/* Who did something. */
#include "daemon/control/actor.h"

#include <ctype.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "conf/cli.h"

#define NAME_SHOWN 32
#define NO_LOGIN 4294967295u /* the kernel's (uid_t)-1 */

static int is_plain(const char *name)
{
    for (const char *c = name; *c; c++) {
        if (!isalnum((unsigned char)*c) && !strchr("._-@\\$+", *c)) {
            return 0;
        }
    }
    return *name != '\0';
}

void kl_actor_format(uid_t uid, char out[KL_AUDIT_ACTOR_MAX + 1])
{
    struct passwd entry, *found = NULL;
    char buf[4096];
    const char *name = "?";

    if (getpwuid_r(uid, &entry, buf, sizeof(buf), &found) == 0 && found &&
        is_plain(entry.pw_name)) {
        name = entry.pw_name;
    }
    snprintf(out, KL_AUDIT_ACTOR_MAX + 1, "%.*s(%lu)", NAME_SHOWN, name, (unsigned long)uid);
}

/* 0 if nobody has logged in, or the kernel does not say. */
static int login_uid(uid_t *out)
{
    char text[16] = "";
    struct kl_err err = KL_ERR_INIT;
    FILE *file = fopen("/proc/self/loginuid", "re");
    uint64_t uid;
    int got = file && fgets(text, sizeof(text), file) != NULL;

    if (file) {
        (void)fclose(file);
    }
    if (!got || kl_parse_number(text, 0, NO_LOGIN - 1, &uid, &err) != KL_OK) {
        return 0;
    }
    *out = (uid_t)uid;
    return 1;
}

void kl_actor_self(char out[KL_AUDIT_ACTOR_MAX + 1])
{
    char login[KL_AUDIT_ACTOR_MAX + 1];
    size_t len;
    uid_t uid;

    kl_actor_format(getuid(), out);
    if (login_uid(&uid) && uid != getuid()) {
        kl_actor_format(uid, login);
        len = strlen(out);
        snprintf(out + len, KL_AUDIT_ACTOR_MAX + 1 - len, " for %.*s",
                 (int)(KL_AUDIT_ACTOR_MAX - len - 5), login);
    }
}
