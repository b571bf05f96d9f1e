#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Seeds from real sessions: runs the demonstration with each suite and takes apart what it leaves,
# recordings of terminals, certificates, requests, CRLs and configuration, into FUZZ/seeds/NAME;
# then each target keeps of them, beyond those in the tree, what reaches something new.
#
#   tests/fuzz/seeds.sh BUILD FUZZ    programs under BUILD; fuzz targets under FUZZ (make fuzz)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath "$1")
fuzz=$(realpath "$2")
all=$(mktemp -d "${TMPDIR:-/tmp}/kl-seeds.XXXXXX")
trap 'rm -rf "$all"' EXIT
mkdir -p "$all"/fuzz_{message,chain,cert,crl,pkcs8,config,small}

split() { # RECORDING NAME: '>' or '<', a length of two bytes and a message, as often as there are
    local at=0 size length number=0
    size=$(stat -c %s "$1")
    while ((at < size)); do
        length=$((0x$(od -An -v -tx1 -j $((at + 1)) -N 2 "$1" | tr -d ' ')))
        tail -c +$((at + 4)) "$1" | head -c "$length" > "$all/fuzz_message/$2-$number"
        [[ $number -ne 1 ]] || cp "$all/fuzz_message/$2-$number" "$all/fuzz_chain/$2"
        at=$((at + 3 + length))
        number=$((number + 1))
    done
    { printf 8 && cat "$1"; } > "$all/fuzz_small/$2"
}

for suite in hardened-rsa classic hardened-ec; do
    left=$(TMPDIR=$all KEEP=1 "$here/../demo.sh" "$build" "$suite" | sed -n 's/^left in //p')
    for file in "$left"/*.session; do split "$file" "$suite-$(basename "$file" .session)"; done
    for file in "$left"/*.pem; do
        openssl x509 -in "$file" -outform DER -out "$all/fuzz_cert/$suite-$(basename "$file")" \
            2> /dev/null || true
    done
    for file in "$left"/*.csr; do cp "$file" "$all/fuzz_pkcs8/$suite-$(basename "$file")"; done
    for file in "$left"/{loader,terminal}.crl; do
        openssl crl -in "$file" -outform DER -out "$all/fuzz_crl/$suite-$(basename "$file")"
    done
    sed "s|$left|/x|g" "$left/loader.conf" > "$all/fuzz_config/$suite"
    rm -rf "$left"
done
for dir in "$all"/fuzz_*; do
    name=$(basename "$dir")
    rm -rf "$fuzz/seeds/$name"
    mkdir -p "$fuzz/seeds/$name"
    known=()
    [[ -d $here/seeds/$name ]] && known=("$here/seeds/$name")
    KL_SUPPORT=$here/../support "$fuzz/tests/fuzz/$name" -merge=1 "$fuzz/seeds/$name" "$dir" \
        "${known[@]}" > "$all/log" 2>&1 || { cat "$all/log"; exit 1; }
    # What the tree has is read from there.
    for file in "$fuzz/seeds/$name"/*; do
        for seed in "${known[@]/%//*}"; do
            # shellcheck disable=SC2086 # the glob
            for one in $seed; do ! cmp -s "$one" "$file" || rm -f "$file"; done
        done
    done
    echo "$name: $(find "$dir" -type f | wc -l) inputs, of which $(find "$fuzz/seeds/$name" -type f | wc -l) reach something new"
done
