#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The table of docs/modules.md against what modules answer (keyloaderctl hsm check), each on a
# fresh token of its own.
#
#   tests/modules.sh [BUILD]                     checks it with SoftHSM, and NSS if that is there
#   tests/modules.sh BUILD --update [NAME=PATH]...
#                                                writes it anew; NAME=PATH: with other columns (a
#                                                libsofthsm2.so or libsoftokn3.so elsewhere)
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath "${1:-$KL_BUILD}")
[[ $# -eq 0 ]] || shift
page=$here/../docs/modules.md
scratch=$(mktemp -d "${TMPDIR:-/tmp}/kl-modules.XXXXXX") || exit 70
trap 'rm -rf "$scratch"' EXIT
umask 077

find_module() { # NAME...: the first that is installed
    local dir name
    for name; do
        for dir in /usr/lib/softhsm /usr/lib/x86_64-linux-gnu /usr/lib/x86_64-linux-gnu/softhsm \
            /usr/lib/aarch64-linux-gnu /usr/lib/aarch64-linux-gnu/softhsm /usr/lib64/pkcs11 \
            /usr/lib64; do
            [[ -r $dir/$name ]] && echo "$dir/$name" && return
        done
    done
    return 1
}

called() { # NAME MODULE: with the version of the package that the module is from
    local package version
    package=$(dpkg-query -S "$2" 2> /dev/null || dpkg-query -S "$(realpath "$2")" 2> /dev/null)
    version=$(dpkg-query -W -f '${Version}' "${package%%:*}" 2> /dev/null)
    version=${version#*:}
    echo "$1${version:+ ${version%%-*}}"
}

ask() { # MODULE DIR: its answers into DIR/answers.json
    local module=$1 dir=$2 reserved=
    mkdir -p "$dir/tokens" "$dir/nss"
    echo 123456 > "$dir/pin"
    printf 'directories.tokendir = %s\nobjectstore.backend = file\n' "$dir/tokens" \
        > "$dir/softhsm2.conf"
    export SOFTHSM2_CONF=$dir/softhsm2.conf
    if [[ ${module##*/} == libsoftokn* ]]; then
        certutil -N -d "sql:$dir/nss" -f "$dir/pin" || return 1
        reserved="configdir='sql:$dir/nss' certPrefix='' keyPrefix='' secmod='secmod.db'"
        reserved+=" dbTokenDescription='check' flags="
    fi
    cat > "$dir/conf" << EOF
[hsm]
module = $module
init-reserved = $reserved
token = pkcs11:token=check
pin-source = file:$dir/pin
[store]
path = $dir/store.db
EOF
    if [[ -z $reserved ]]; then
        "$build/bin/keyloaderctl" -c "$dir/conf" token init --so-pin-source "file:$dir/pin" \
            > "$dir/init.log" || return 1
    fi
    "$build/bin/keyloaderctl" -c "$dir/conf" --json hsm check > "$dir/answers.json"
}

mode=--check
if [[ ${1:-} == --update ]]; then
    mode=--update
    shift
fi
names=()
paths=()
softhsm=$(find_module libsofthsm2.so) || { echo "SoftHSM is not installed" >&2 && exit 69; }
names+=("$(called SoftHSM "$softhsm")")
paths+=("$softhsm")
if nss=$(find_module libsoftokn3.so) && command -v certutil > /dev/null; then
    names+=("$(called NSS "$nss")")
    paths+=("$nss")
else
    echo "NSS softokn or certutil is not installed: its column is not looked at"
fi
for more; do
    names+=("${more%%=*}")
    paths+=("${more#*=}")
done
# NSS hardens its database's PIN by so many rounds, for each use of a token key: that is what --update
# measures, and what a check need not wait for.
[[ $mode == --update ]] || export NSS_MAX_MP_PBE_ITERATION_COUNT=100
columns=()
for i in "${!names[@]}"; do
    ask "${paths[i]}" "$scratch/$i" || { echo "${names[i]} (${paths[i]}) gives no answers" >&2 && exit 1; }
    columns+=("${names[i]}=$scratch/$i/answers.json")
done
"$build/tests/tools/modules" "$mode" "$page" "${columns[@]}"
