#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# S1 to S9 on a scratch folder with the real programs and SoftHSM, twice (RSA-2048 with a 2-key
# TDES TMK, RSA-3072 with an AES-128 one), then three attacks that must fail. Status 0 only if
# everything went as it must.
#
#   tests/demo.sh [BUILD]        KEEP=1 leaves the folder
set -euo pipefail

build=$(realpath "${1:-build}")
PATH=$build/bin:$build/tests/tools:$PATH
umask 077
dir=$(mktemp -d "${TMPDIR:-/tmp}/keyloader-demo.XXXXXX")
children=()

bold='' dim='' good='' bad='' plain=''
if [[ -t 1 && ${TERM:-dumb} != dumb && -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' dim=$'\e[2m' good=$'\e[32m' bad=$'\e[31m' plain=$'\e[0m'
fi

finish() {
    local status=$?
    [[ ${#children[@]} -eq 0 ]] || kill "${children[@]}" 2> /dev/null || true
    wait || true
    if [[ $status -ne 0 ]]; then
        echo "${bad}The demonstration FAILED.${plain}" >&2
        tail -n 5 "$dir"/*.log >&2 2> /dev/null || true
    fi
    if [[ -n ${KEEP:-} ]]; then echo "left in $dir"; else rm -rf "$dir"; fi
}
trap finish EXIT

title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
step() { printf '%s%-8s%s %s\n' "$bold" "$1" "$plain" "$2"; }
note() { printf '%s         %s%s\n' "$dim" "$*" "$plain"; }
fail() {
    echo "${bad}$*${plain}" >&2
    exit 1
}
size_of() { stat -c %s "$1"; }

module=
for path in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so \
    /usr/lib64/pkcs11/libsofthsm2.so; do
    [[ -n $module || ! -r $path ]] || module=$path
done
[[ -n $module ]] || fail "SoftHSM is not installed (Debian: softhsm2)"

make_pin() { # FILE
    od -An -N6 -tu8 /dev/urandom | tr -dc 0-9 > "$1"
    printf '4711' >> "$1" # long enough whatever was drawn
}
make_softhsm() { # DIR: a token directory of its own
    mkdir -p "$1/tokens"
    printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' \
        "$1" > "$1/softhsm2.conf"
}
in_hsm() { # DIR COMMAND...: with that SoftHSM
    SOFTHSM2_CONF=$1/softhsm2.conf "${@:2}"
}

found_ca() { # NAME SUBJECT
    local ca=$dir/$1
    make_softhsm "$ca"
    make_pin "$ca.pin"
    make_pin "$ca-so.pin"
    in_hsm "$ca" acquire-ca token-init --module "$module" --label "$1" \
        --so-pin-source "file:$ca-so.pin" --pin-source "file:$ca.pin" > /dev/null
    in_hsm "$ca" acquire-ca init --dir "$ca/home" --subject "$2" --days 3650 --bits 3072 \
        --token "pkcs11:token=$1" --module "$module" --pin-source "file:$ca.pin" > "$ca.out"
    step S2 "CA centre: AcquireRCRT \"$2\", RSA-3072, $(size_of "$ca/home/root.pem") bytes of PEM"
    note "AcquireRCRT_Prk stays in token \"$1\""
}

write_conf() { # NAME: the loader's configuration
    cat > "$dir/$1.conf" << END
[listen]
port = 0
[hsm]
module = $module
token = pkcs11:token=$1
pin-source = file:$dir/$1.pin
[certificates]
root = $dir/ca/home/root.pem
work = $dir/$1.work.pem
[store]
path = $dir/$1.db
[log]
level = info
END
}

found_loader() { # NAME BITS
    local ctl=(in_hsm "$dir/$1" keyloaderctl -c "$dir/$1.conf")
    make_softhsm "$dir/$1"
    make_pin "$dir/$1.pin"
    make_pin "$dir/$1-so.pin"
    write_conf "$1"
    "${ctl[@]}" token init --so-pin-source "file:$dir/$1-so.pin" > "$dir/$1.out"
    "${ctl[@]}" key generate --bits "$2" >> "$dir/$1.out"
    "${ctl[@]}" key csr --subject "/O=Demo Bank/CN=$1" --out "$dir/$1.csr" >> "$dir/$1.out"
    step S1 "loader: AcquireWCRT_Prk/AcquireWCRT_Pu, RSA-$2, in token \"$1\"; request of $(size_of "$dir/$1.csr") bytes"
    in_hsm "$dir/ca" acquire-ca sign --dir "$dir/ca/home" --csr "$dir/$1.csr" \
        --out "$dir/$1.issued.pem" --days 365 --pin-source "file:$dir/ca.pin" >> "$dir/$1.out"
    "${ctl[@]}" cert install "$dir/$1.issued.pem" >> "$dir/$1.out"
    step S2 "CA signed AcquireWCRT \"/O=Demo Bank/CN=$1\", $(size_of "$dir/$1.work.pem") bytes of PEM; installed"
}

wait_for() { # FILE PATTERN: prints what the pattern's group is, once it is there
    local found
    for _ in {1..200}; do
        found=$(sed -nE "s/.*$2.*/\\1/p" "$1" 2> /dev/null | head -n 1)
        if [[ -n $found ]]; then
            echo "$found"
            return
        fi
        sleep 0.05
    done
    fail "no '$2' in $1"
}

start_loader() { # NAME: sets port
    SOFTHSM2_CONF=$dir/$1/softhsm2.conf keyloaderd -c "$dir/$1.conf" > "$dir/$1.log" 2>&1 &
    children+=($!)
    port=$(wait_for "$dir/$1.log" 'event=listening .*port=([0-9]+)')
    note "keyloaderd listens on 127.0.0.1:$port"
}

make_terminal() { # SERIAL ROOT
    make_softhsm "$dir/$1"
    make_pin "$dir/$1.pin"
    make_pin "$dir/$1-so.pin"
    in_hsm "$dir/$1" terminal-sim init --dir "$dir/$1/terminal" --serial "$1" \
        --pinpad-serial "PP-$1" --root "$2" --pinpad token --module "$module" \
        --pin-source "file:$dir/$1.pin" --so-pin-source "file:$dir/$1-so.pin" > "$dir/$1.out"
}

arm() { # LOADER SERIAL
    in_hsm "$dir/$1" keyloaderctl -c "$dir/$1.conf" terminal arm "$2" --for 1h --attempts 2 \
        > /dev/null
}

load() { # SERIAL PORT [OPTION...]: output in SERIAL.load
    in_hsm "$dir/$1" terminal-sim load --dir "$dir/$1/terminal" --connect "127.0.0.1:$2" --verbose \
        "${@:3}" > "$dir/$1.load" 2>&1
}

message_size() { # SESSION INDEX: bytes of DER of that message in a recording
    local at=0 high low
    for ((i = 0; ; i++)); do
        read -r high low < <(od -An -tu1 -j $((at + 1)) -N 2 "$1")
        [[ $i -ne $2 ]] || break
        at=$((at + 3 + high * 256 + low))
    done
    echo $((high * 256 + low))
}

audited() { # LOADER SERIAL EVENT: the loader's own record of it
    in_hsm "$dir/$1" keyloaderctl -c "$dir/$1.conf" audit list |
        sed -nE "s/.* $3 +$2 +//p" | tail -n 1
}

show_load() { # LOADER SERIAL: S3 to S9, as the terminal, the wire and the loader's audit tell them
    local session=$dir/$2.session
    step S3 "the loader sent AcquireWCRT: Certificate message of $(message_size "$session" 1) bytes"
    grep -oE '(S4|S5|S8|S9) .*|Done .*' "$dir/$2.load" | while read -r number rest; do
        [[ $number != S8 ]] || {
            step S6 "the loader's HSM unwrapped Rnd1' from Randoms ($(message_size "$session" 2) bytes) and decrypted Rnd2'"
            step S7 "the loader's HSM drew the TMK: $(audited "$1" "$2" tmk-pending); MasterKey of $(message_size "$session" 3) bytes"
        }
        step "$number" "$rest"
    done
    note "the loader's audit: tmk-active $(audited "$1" "$2" tmk-active)"
}

# The one active TMK: "VERSION KCV". From a report in JSON, whose objects are flat.
active_of() {
    tr -d ' "\n\t' | awk -v RS='{' -F '[],}]' '/state:active/ {
        for (i = 1; i <= NF; i++) {
            if (sub(/^version:/, "", $i)) v = $i
            if (sub(/^kcv:/, "", $i)) k = $i
        }
        print v, k
    }'
}
in_store() { # LOADER SERIAL
    in_hsm "$dir/$1" keyloaderctl -c "$dir/$1.conf" --json tmk list --serial "$2" | active_of
}
in_pinpad() { # SERIAL
    in_hsm "$dir/$1" terminal-sim pinpad show --dir "$dir/$1/terminal" --json | active_of
}

whole_load() { # LOADER SERIAL ALGORITHM
    in_hsm "$dir/$1" keyloaderctl -c "$dir/$1.conf" terminal add "$2" --algorithm "$3" > /dev/null
    make_terminal "$2" "$dir/ca/home/root.pem"
    arm "$1" "$2"
    note "terminal $2: registered for $3, PIN pad PP-$2, armed for one hour"
    load "$2" "$port" --record "$dir/$2.session" || fail "terminal $2 could not load: $(cat "$dir/$2.load")"
    show_load "$1" "$2"
}

must_fail() { # WHAT REASON FILE LOADER SERIAL COMMAND...
    # The command, whose output is FILE, fails for that reason, and the store stays as it is.
    local before after reason
    before=$(in_store "$4" "$5")
    if "${@:6}"; then fail "$1: SUCCEEDED"; fi
    after=$(in_store "$4" "$5")
    [[ $before == "$after" ]] || fail "$1: the store changed from '$before' to '$after'"
    reason=$(grep -m 1 -E "$2" "$3") || fail "$1: refused, but not because of '$2': $(cat "$3")"
    step "${good}refused" "$1"
    note "${reason#*level=warn }"
}

title "Ceremony"
found_ca ca "/O=Demo Bank/CN=AcquireRCRT"
found_loader rsa2048 2048
found_loader rsa3072 3072

title "A 2-key TDES TMK under RSA-2048"
start_loader rsa2048
port2048=$port
whole_load rsa2048 T-1001 tdes2

title "An AES-128 TMK under RSA-3072"
start_loader rsa3072
whole_load rsa3072 T-2001 aes128

title "Attacks"
found_ca other "/O=Other Bank/CN=AcquireRCRT"
in_hsm "$dir/rsa2048" keyloaderctl -c "$dir/rsa2048.conf" terminal add T-1002 --algorithm tdes2 \
    > /dev/null
make_terminal T-1002 "$dir/other/home/root.pem"
arm rsa2048 T-1002
must_fail "a terminal that trusts another acquirer's AcquireRCRT loads" 'terminal-sim: certificate' \
    "$dir/T-1002.load" rsa2048 T-1002 load T-1002 "$port2048"

replay() {
    # Its status is 0 when the loader refused.
    ! terminal-sim replay --connect "127.0.0.1:$port2048" "$dir/T-1001.session" \
        > "$dir/replay.out" 2>&1
}
arm rsa2048 T-1001
must_fail "a recorded session of T-1001 is played to the loader again" 'rc=verify' \
    "$dir/rsa2048.log" rsa2048 T-1001 replay

relay --connect "$port2048" --flip 3:100:0 > "$dir/relay.out" &
children+=($!)
tampered=$(wait_for "$dir/relay.out" 'port ([0-9]+)')
must_fail "one bit of C_ctmk_rnd2 is changed on its way to T-1001" 'terminal-sim: S8' \
    "$dir/T-1001.load" rsa2048 T-1001 load T-1001 "$tampered"

title "What store and PIN pad hold"
printf '%-10s %-22s %-22s\n' terminal 'store (version KCV)' 'PIN pad (version KCV)'
for pair in rsa2048:T-1001 rsa3072:T-2001; do
    loader=${pair%%:*} serial=${pair#*:}
    store=$(in_store "$loader" "$serial")
    pinpad=$(in_pinpad "$serial")
    printf '%-10s %-22s %-22s\n' "$serial" "$store" "$pinpad"
    [[ -n ${store% *} && $store == "$pinpad" && $store == "1 "?* ]] || fail "$serial: they differ"
done
[[ -z $(in_pinpad T-1002 | tr -d ' ') ]] || fail "T-1002 has a TMK"
title "${good}Everything went as it must.${plain}"
