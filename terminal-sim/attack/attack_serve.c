/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An attack on a socket, for terminals that are not ours: the rogue loader, or the man in the
 * middle before the loader under test.
 */
#include <openssl/pem.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "conf/cli.h"
#include "proto/clock.h"
#include "terminal-sim/attack/attack_impl.h"

enum kl_rc kl_attack_write_root(struct kl_attack *attack, const char *path, struct kl_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    long len;
    enum kl_rc rc;

    if (!bio || PEM_write_bio_X509(bio, attack->pki.root) != 1 ||
        (len = BIO_get_mem_data(bio, &text)) <= 0) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "PEM_write_bio_X509", "the rogue root");
    } else {
        rc = kl_file_write(path, text, (size_t)len, 0644, 0, err);
    }
    BIO_free(bio);
    return rc;
}

static enum kl_rc accept_one(int fd, unsigned seconds, struct kl_party **out, struct kl_err *err)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    struct kl_transceiver *transceiver;
    int client;
    enum kl_rc rc;

    if (poll(&pfd, 1, (int)seconds * 1000) <= 0) {
        return kl_err_set(err, KL_ERR_TIMEOUT, "no terminal came within %u s", seconds);
    }
    client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0) {
        return kl_err_errno(err, "accept", "a terminal's connection");
    }
    rc = kl_transceiver_adopt(client, seconds, &transceiver, err);
    return rc ? rc : kl_party_remote(transceiver, out, err);
}

/* What an earlier session would have had to do, nobody does here. */
static enum kl_rc check_served(const struct kl_attack *attack, const struct kl_scenario *scenario,
                               struct kl_err *err)
{
    if (scenario->session_count != 1) {
        return kl_err_set(err, KL_ERR_INPUT, "only a scenario of one session can be served");
    }
    if (scenario->sessions[0].loader == KL_SC_REAL && !attack->target->loader) {
        return kl_err_set(err, KL_ERR_INPUT,
                          "it needs --loader, to stand between that and the terminal");
    }
    return KL_OK;
}

void kl_attack_serve(struct kl_attack *attack, const struct kl_scenario *scenario, int fd,
                     struct kl_attack_result *out)
{
    const struct kl_sc_session *s = &scenario->sessions[0];
    struct kl_kept *kept = calloc(1, sizeof(*kept));
    struct kl_run run = {.session = s, .kept = kept, .remote_terminal = 1}, *all[] = {&run};
    struct kl_party *terminal = NULL, *loader = NULL;
    struct kl_err err = KL_ERR_INIT;
    int64_t began = kl_clock_ms();
    enum kl_rc rc = check_served(attack, scenario, &err);

    kl_attack_begin(out, scenario->name, scenario->tries);
    run.all = all;
    run.tampering = (struct kl_tampering){.session = s, .kept = &run.kept};
    if (!rc && !kept) {
        rc = kl_err_set(&err, KL_ERR_MEMORY, "no memory for a session");
    }
    if (!rc) {
        rc = accept_one(fd, attack->target->seconds, &terminal, &err);
    }
    if (!rc) {
        rc = kl_attack_open_loader(attack, &run, &loader, &err);
    }
    if (rc) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE, "not made: %s", err.text);
    } else {
        kl_attack_converse(&run, terminal, loader);
        kl_attack_judge(&run, out);
    }
    kl_party_free(loader);
    kl_party_free(terminal);
    kl_rogue_drop(&run.rogue);
    free(kept);
    out->seconds = (double)(kl_clock_ms() - began) / 1000;
}
