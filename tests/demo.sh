#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# S1 to S9 with one suite on a scratch folder, with the real programs and SoftHSM: the ceremony,
# a TMK for each kind of work key, working keys under it, a second work key while the daemon
# serves, then attacks that must fail. Status 0 only if everything went as it must.
#
#   tests/demo.sh [BUILD [SUITE]]    SUITE: hardened-rsa (default), classic or hardened-ec;
#                                    KEEP=1 leaves the folder
set -euo pipefail

build=$(realpath "${1:-build}")
suite=${2:-hardened-rsa}
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

# What a suite is shown with: the root's key; work key, TMK and terminal of each load; S6.
policy="suites = $suite"
recovered="unwrapped Rnd1' and decrypted Rnd2'"
case $suite in
hardened-rsa)
    root_key=rsa-3072
    loads=("rsa-2048 tdes2 T-1001" "rsa-3072 aes128 T-2001")
    ;;
classic)
    root_key=rsa-3072
    loads=("rsa-2048 tdes2 T-1001")
    recovered="decrypted Rnd1' and Rnd2', into a worker's locked memory,"
    ;;
hardened-ec)
    root_key=p-521
    loads=("p-256 aes128 T-1001" "p-521 aes256 T-2001")
    policy+=$'\nterminal-auth = certificate'
    ;;
*) fail "no such suite: $suite (hardened-rsa, classic, hardened-ec)" ;;
esac
[[ ${loads[*]} != *tdes* ]] || policy+=$'\nhost-fallback = yes'

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
    make_pin "$1.pin"
    make_pin "$1-so.pin"
}
in_hsm() { # DIR COMMAND...: with that SoftHSM
    SOFTHSM2_CONF=$1/softhsm2.conf "${@:2}"
}
ca() { in_hsm "$dir/ca" acquire-ca "$1" --dir "$dir/ca/home" "${@:2}" >> "$dir/ca.out"; }
ctl() { in_hsm "$dir/loader" keyloaderctl -c "$dir/loader.conf" "$@"; }

# ---- Ceremony ----

found_ca() { # NAME SUBJECT
    local ca=$dir/$1
    make_softhsm "$ca"
    in_hsm "$ca" acquire-ca token-init --module "$module" --label "$1" \
        --so-pin-source "file:$ca-so.pin" --pin-source "file:$ca.pin" > /dev/null
    in_hsm "$ca" acquire-ca init --dir "$ca/home" --subject "$2" --days 3650 --key "$root_key" \
        --token "pkcs11:token=$1" --module "$module" --pin-source "file:$ca.pin" > "$ca.out"
    step S2 "CA centre: AcquireRCRT \"$2\", $root_key, $(size_of "$ca/home/root.pem") bytes of PEM"
    note "AcquireRCRT_Prk stays in token \"$1\""
}

renew_crl() { # SCOPE
    ca crl --scope "$1" --out "$dir/$1.crl" --force
    ctl crl install --scope "$1" "$dir/$1.crl" > "$dir/crl.out" 2> "$dir/ctl.log"
}

found_loader() {
    make_softhsm "$dir/loader"
    mkdir "$dir/work"
    cat > "$dir/loader.conf" << END
[listen]
port = 0
[hsm]
module = $module
token = pkcs11:token=loader
pin-source = file:$dir/loader.pin
[certificates]
root = $dir/ca/home/root.pem
work = $dir/work
crl = $dir/crl.pem
terminal-root = $dir/ca/home/root.pem
terminal-crl = $dir/terminal-crl.pem
[store]
path = $dir/loader.db
[policy]
$policy
END
    ctl token init --so-pin-source "file:$dir/loader-so.pin" > "$dir/loader.out"
}

found_key() { # KIND: also the label
    ctl key generate --label "$1" --suite "$suite" --key "$1" >> "$dir/loader.out"
    ctl key csr --label "$1" --subject "/O=Demo Bank/CN=Loader $1" --out "$dir/$1.csr" >> "$dir/loader.out"
    step S1 "loader: AcquireWCRT_Prk/AcquireWCRT_Pu, $1, for $suite; request of $(size_of "$dir/$1.csr") bytes"
    ca sign --csr "$dir/$1.csr" --out "$dir/$1.pem" --days 365
    ctl cert install "$dir/$1.pem" >> "$dir/loader.out" 2> "$dir/ctl.log"
    step S2 "CA signed AcquireWCRT \"/O=Demo Bank/CN=Loader $1\", $(size_of "$dir/work/$1.pem") bytes of PEM; installed"
}

wait_for() { # FILE PATTERN: prints what the pattern's group is, once it is there
    local found
    for _ in {1..200}; do
        found=$(sed -nE "s/.*$2.*/\\1/p" "$1" 2> /dev/null | tail -n 1)
        if [[ -n $found ]]; then
            echo "$found"
            return
        fi
        sleep 0.05
    done
    fail "no '$2' in $1"
}

start_loader() { # sets port
    SOFTHSM2_CONF=$dir/loader/softhsm2.conf keyloaderd -c "$dir/loader.conf" \
        > "$dir/loader.log" 2>&1 &
    daemon=$!
    children+=("$daemon")
    port=$(wait_for "$dir/loader.log" 'event=listening .*port=([0-9]+)')
    note "keyloaderd listens on 127.0.0.1:$port"
}

reload() { # prints what the log says then
    local before line
    before=$(wc -l < "$dir/loader.log")
    kill -HUP "$daemon"
    for _ in {1..200}; do
        tail -n +$((before + 1)) "$dir/loader.log" > "$dir/reload.log"
        ! grep -qE 'event=reload(ed|-failed)' "$dir/reload.log" || break
        sleep 0.05
    done
    line=$(grep -oE 'event=(reload(ed|-failed)|certificate-left-out)( [a-z]+=[^ ]*)?' \
        "$dir/reload.log") || fail "SIGHUP did nothing"
    note "SIGHUP: ${line//$'\n'/, }"
}

# ---- A terminal and its loads ----

make_terminal() { # FOLDER SERIAL ROOT
    make_softhsm "$dir/$1"
    in_hsm "$dir/$1" terminal-sim init --dir "$dir/$1/terminal" --serial "$2" \
        --pinpad-serial "PP-$2" --root "$3" --pinpad token --module "$module" \
        --pin-source "file:$dir/$1.pin" --so-pin-source "file:$dir/$1-so.pin" > "$dir/$1.out"
}

certify() { # SERIAL
    in_hsm "$dir/$1" terminal-sim device-key generate --dir "$dir/$1/terminal" >> "$dir/$1.out"
    in_hsm "$dir/$1" terminal-sim device-key csr --dir "$dir/$1/terminal" --out "$dir/$1.csr" \
        >> "$dir/$1.out"
    in_hsm "$dir/ca" acquire-ca terminal sign --dir "$dir/ca/home" --serial "$1" \
        --out "$dir/$1.pem" "$dir/$1.csr" >> "$dir/ca.out"
    in_hsm "$dir/$1" terminal-sim device-key install --dir "$dir/$1/terminal" "$dir/$1.pem" \
        >> "$dir/$1.out"
    note "device key, p-256, in its PIN pad's token; the CA signed its certificate"
}

arm() { ctl terminal arm "$1" --for 1h --attempts 2 > /dev/null; } # SERIAL

load() { # FOLDER PORT [OPTION...]: output in FOLDER.load
    in_hsm "$dir/$1" terminal-sim load --dir "$dir/$1/terminal" --connect "127.0.0.1:$2" --verbose \
        --suites "$suite" "${@:3}" > "$dir/$1.load" 2>&1
}

message() { # SESSION INDEX: that message of a recording, framed as on the wire
    local at=0 high low
    for ((i = 0; ; i++)); do
        read -r high low < <(od -An -tu1 -j $((at + 1)) -N 2 "$1")
        [[ $i -ne $2 ]] || break
        at=$((at + 3 + high * 256 + low))
    done
    tail -c +$((at + 2)) "$1" | head -c $((2 + high * 256 + low))
}
message_size() { # SESSION INDEX: its bytes of DER
    echo $(($(message "$@" | wc -c) - 2))
}

audited() { # SERIAL EVENT: the loader's own record of it
    ctl audit list | sed -nE "s/.* $2 +$1 +//p" | tail -n 1
}

show_load() { # SERIAL: S3 to S9, as the terminal, the wire and the loader's audit tell them
    local session=$dir/$1.session
    step S3 "the loader sent AcquireWCRT: Certificate message of $(message_size "$session" 1) bytes"
    grep -oE '(S4|S5|S8|S9) .*|Done .*' "$dir/$1.load" | while read -r number rest; do
        [[ $number != S8 ]] || {
            step S6 "the loader's HSM $recovered from Randoms ($(message_size "$session" 2) bytes)"
            step S7 "the loader's HSM drew the TMK: $(audited "$1" tmk-pending); MasterKey of $(message_size "$session" 3) bytes"
        }
        step "$number" "$rest"
    done
    note "the loader's audit: tmk-active $(audited "$1" tmk-active)"
}

# The one active TMK: "VERSION KCV". From a report in JSON, whose objects are flat.
active_of() {
    tr -d ' "\n\t' | awk -v RS='{' -F '[],}]' '/state:active/ && /(^|,)version:/ {
        for (i = 1; i <= NF; i++) {
            if (sub(/^version:/, "", $i)) v = $i
            if (sub(/^kcv:/, "", $i)) k = $i
        }
        print v, k
    }'
}
in_store() { ctl --json tmk list --serial "$1" | active_of; } # SERIAL

in_pinpad() { # SERIAL
    in_hsm "$dir/$1" terminal-sim pinpad show --dir "$dir/$1/terminal" --json | active_of
}

whole_load() { # SERIAL ALGORITHM
    ctl terminal add "$1" --algorithm "$2" > /dev/null
    make_terminal "$1" "$1" "$dir/ca/home/root.pem"
    [[ $policy != *terminal-auth* ]] || certify "$1"
    arm "$1"
    note "terminal $1: registered for $2, PIN pad PP-$1, armed for one hour"
    load "$1" "$port" --record "$dir/$1.session" ||
        fail "terminal $1 could not load: $(cat "$dir/$1.load")"
    show_load "$1"
}

# ---- Working keys ----

sign_in() { # SERIAL ALGORITHM
    local terminal=(in_hsm "$dir/$1" terminal-sim) at=(--dir "$dir/$1/terminal") format=4
    "${terminal[@]}" sign-in "${at[@]}" --connect "127.0.0.1:$port" --verbose > "$dir/$1.signin" \
        2>&1 || fail "terminal $1 could not sign in: $(cat "$dir/$1.signin")"
    step sign-in "$(sed -n 's/^WorkingKeys //p' "$dir/$1.signin")"
    if [[ $2 == tdes* ]]; then
        format=0
        note "host-fallback = yes: SoftHSM wraps no TDES key under a TDES key, so PIK and MAK pass"
        note "through a worker's locked memory; the TMK never does"
    fi
    printf 1234 > "$dir/$1.customer"
    printf '0200 a purchase of 12.50' > "$dir/$1.message"
    step PIK "PIN block, ISO 9564-1 format $format: $("${terminal[@]}" pin-block "${at[@]}" \
        --pan 4000001234567899 --format $format --pin-source "file:$dir/$1.customer")"
    step MAK "MAC of a message: $("${terminal[@]}" mac "${at[@]}" --in "$dir/$1.message")"
}

# ---- Attacks ----

must_fail() { # WHAT REASON FILE SERIAL COMMAND...
    # The command, whose output is FILE, fails for that reason, and the store stays as it is.
    local before after reason
    before=$(in_store "$4")
    if "${@:5}"; then fail "$1: SUCCEEDED"; fi
    after=$(in_store "$4")
    [[ $before == "$after" ]] || fail "$1: the store changed from '$before' to '$after'"
    reason=$(grep -m 1 -E "$2" "$3") || fail "$1: refused, but not because of '$2': $(cat "$3")"
    step "${good}refused" "$1"
    note "${reason#*level=warn }"
}

replay() { # SERIAL
    # Its status is 0 when the loader refused.
    ! terminal-sim replay --connect "127.0.0.1:$port" "$dir/$1.session" \
        > "$dir/replay.out" 2>&1
}

start_relay() { # OPTION...: sets relayed
    rm -f "$dir/relay.out" # of the one before: its port must not be read again
    relay --connect "$port" "$@" > "$dir/relay.out" &
    children+=($!)
    relayed=$(wait_for "$dir/relay.out" 'port ([0-9]+)')
}

length_of() { # FILE: in two bytes
    # shellcheck disable=SC2059 # escapes
    printf "$(printf '\\x%02x' $(($(size_of "$1") >> 8)) $(($(size_of "$1") & 255)))"
}
staple() { # SESSION CRL OUT: the Certificate of a recording, with that CRL in place of its own
    local crl_at
    message "$1" 1 | tail -c +3 > "$3.old"
    openssl crl -in "$2" -outform DER -out "$3.crl"
    crl_at=$(openssl asn1parse -inform DER -in "$3.old" |
        sed -nE 's/^ *([0-9]+):d=1 .*cont \[ 0 \].*/\1/p')
    { # tag, 82 and a length of two bytes begin whatever is as long as these
        head -c "$crl_at" "$3.old" | tail -c +5
        printf '\xa0\x82' && length_of "$3.crl" && cat "$3.crl"
    } > "$3.fields"
    { head -c 2 "$3.old" && length_of "$3.fields" && cat "$3.fields"; } > "$3.der"
    { length_of "$3.der" && cat "$3.der"; } > "$3"
}

# ---- The demonstration ----

title "Ceremony"
found_ca ca "/O=Demo Bank/CN=AcquireRCRT"
found_loader
renew_crl loader
renew_crl terminal
step CRL "CA signed what is revoked, nothing yet: $(size_of "$dir/loader.crl") bytes for terminals to check loaders by, $(size_of "$dir/terminal.crl") the other way"

for i in "${!loads[@]}"; do
    read -r kind algorithm serial <<< "${loads[i]}"
    if [[ $i -eq 0 ]]; then
        found_key "$kind"
        title "A TMK of algorithm $algorithm under $kind"
        start_loader
    else
        title "A second work key while the loader serves, and a TMK of algorithm $algorithm under it"
        found_key "$kind"
        reload
    fi
    whole_load "$serial" "$algorithm"
    sign_in "$serial" "$algorithm"
done

title "Attacks"
found_ca other "/O=Other Bank/CN=AcquireRCRT"
read -r _ algorithm _ <<< "${loads[0]}"
ctl terminal add T-1002 --algorithm "$algorithm" > /dev/null
make_terminal T-1002 T-1002 "$dir/other/home/root.pem"
[[ $policy != *terminal-auth* ]] || certify T-1002
arm T-1002
message "$dir/T-1001.session" 1 > "$dir/foreign.frame"
start_relay --replace "1:$dir/foreign.frame"
must_fail "a terminal that trusts another acquirer's AcquireRCRT is shown this AcquireWCRT" \
    'terminal-sim: .*certificate' "$dir/T-1002.load" T-1002 load T-1002 "$relayed"

read -r kind _ serial <<< "${loads[-1]}"
arm "$serial"
must_fail "a recorded session of $serial is played to the loader again" 'rc=verify' \
    "$dir/loader.log" "$serial" replay "$serial"

start_relay --flip 3:100:0
must_fail "one bit of C_ctmk_rnd2 is changed on its way to $serial" 'terminal-sim: S8' \
    "$dir/$serial.load" "$serial" load "$serial" "$relayed"

if [[ $policy == *terminal-auth* ]]; then
    make_terminal impostor "$serial" "$dir/ca/home/root.pem"
    arm "$serial"
    must_fail "another device, without a certificate, says that it is $serial" 'rc=certificate' \
        "$dir/loader.log" "$serial" load impostor "$port"
fi

ca revoke --reason keyCompromise \
    "$(openssl x509 -in "$dir/$kind.pem" -noout -serial | cut -d = -f 2)" 2> "$dir/ctl.log"
renew_crl loader
note "CA revoked AcquireWCRT \"/O=Demo Bank/CN=Loader $kind\"; the loader has the new CRL"
[[ ${#loads[@]} -eq 1 ]] || reload # else no certificate is left, and those of before stay
staple "$dir/$serial.session" "$dir/loader.crl" "$dir/revoked.frame"
start_relay --replace "1:$dir/revoked.frame"
arm "$serial"
must_fail "whoever has its key now serves $serial with that AcquireWCRT" 'terminal-sim: .*revoked' \
    "$dir/$serial.load" "$serial" load "$serial" "$relayed"

title "What store and PIN pad hold"
printf '%-10s %-22s %-22s\n' terminal 'store (version KCV)' 'PIN pad (version KCV)'
for row in "${loads[@]}"; do
    serial=${row##* }
    store=$(in_store "$serial")
    pinpad=$(in_pinpad "$serial")
    printf '%-10s %-22s %-22s\n' "$serial" "$store" "$pinpad"
    [[ -n ${store% *} && $store == "$pinpad" && $store == "1 "?* ]] || fail "$serial: they differ"
done
[[ -z $(in_pinpad T-1002 | tr -d ' ') ]] || fail "T-1002 has a TMK"
title "${good}Everything went as it must.${plain}"
