#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# How many instructions a load costs each process, by callgrind: a real daemon with one HSM worker on
# SoftHSM, and a fleet that loads one terminal after the other. Two lengths of run are subtracted, so
# that start and end do not count. Unlike times these are the same on a busy machine.
#
#   tests/bench/instructions.sh BUILD [BASELINE]    prints the table; with the difference to BASELINE
#                                                   in percent if it is given
set -euo pipefail

build=$(realpath "${1:-build}")
baseline=${2:-}
short=${KL_INSTRUCTIONS_SHORT:-5}
long=${KL_INSTRUCTIONS_LONG:-25}
PATH=$build/bin:$PATH
umask 077
dir=$(mktemp -d "${TMPDIR:-/tmp}/kl-instructions.XXXXXX")
finish() {
    local status=$?
    [[ ! -s $dir/pid ]] || kill "$(cat "$dir/pid")" 2> /dev/null || true
    wait
    [[ $status -eq 0 ]] || tail -n 5 "$dir"/*/*.log >&2 || true
    rm -rf "$dir"
}
trap finish EXIT

for tool in valgrind callgrind_annotate softhsm2-util; do
    command -v "$tool" > /dev/null || { echo "$tool is not installed" >&2 && exit 69; }
done
for module in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so; do
    [[ ! -r $module ]] || break
done

# ---- A loader, a CA and terminals ----

make_softhsm() { # DIR
    mkdir -p "$1/tokens"
    printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' \
        "$1" > "$1/softhsm2.conf"
    printf 24681357 > "$1/pin"
    printf 13572468 > "$1/so-pin"
}
ca() { SOFTHSM2_CONF=$lab/ca/softhsm2.conf acquire-ca "$@"; }
ctl() { SOFTHSM2_CONF=$lab/hsm/softhsm2.conf keyloaderctl -c "$lab/loader.conf" "$@"; }

make_lab() { # SUITE KEY ALGORITHM: sets lab
    lab=$dir/$1
    mkdir -p "$lab/work"
    make_softhsm "$lab/ca"
    make_softhsm "$lab/hsm"
    cat > "$lab/loader.conf" << END
[listen]
port = 0
[hsm]
module = $module
token = pkcs11:token=loader
pin-source = file:$lab/hsm/pin
workers = 1
keep-alive = 0s
[certificates]
root = $lab/ca/home/root.pem
work = $lab/work
crl =
[store]
path = $lab/store.db
[policy]
suites = $1
[control]
dual-control = none
[audit]
checkpoint-every = 1000000
END
    {
        ca token-init --module "$module" --label ca --so-pin-source "file:$lab/ca/so-pin" \
            --pin-source "file:$lab/ca/pin"
        ca init --dir "$lab/ca/home" --subject "/CN=AcquireRCRT" --days 3650 --key "$4" \
            --token pkcs11:token=ca --module "$module" --pin-source "file:$lab/ca/pin"
        ctl token init --so-pin-source "file:$lab/hsm/so-pin"
        ctl key generate --label work --suite "$1" --key "$2"
        ctl key csr --label work --subject "/CN=Loader" --out "$lab/work.csr"
        ca sign --dir "$lab/ca/home" --csr "$lab/work.csr" --out "$lab/work.pem" --days 365 --no-crl
        ctl cert install "$lab/work.pem"
        terminal-sim fleet --write-csv "$lab/fleet.csv" --terminals "$long" --algorithm "$3"
        ctl terminal import "$lab/fleet.csv"
        ctl terminal arm-all --for 1h
    } > "$lab/lab.log" 2>&1
    mv "$lab/store.db" "$lab/store.clean" # the last to close it left no WAL
}

# ---- A run under callgrind ----

under_callgrind() { # OUT COMMAND...
    LD_PRELOAD=$build/tests/tools/callgrind_preload.so KL_CALLGRIND_EXE=$build/bin/keyloaderd \
        exec valgrind -q --tool=callgrind --trace-children=yes --callgrind-out-file="$1" "${@:2}"
}

run() { # SUITE ALGORITHM COUNT
    local out=$lab/$3 daemon worker port="" fleet_time
    mkdir "$out"
    : > "$out/daemon.log"
    cp "$lab/store.clean" "$lab/store.db"
    rm -f "$lab"/store.db-*
    SOFTHSM2_CONF=$lab/hsm/softhsm2.conf under_callgrind "$out/daemon.%p" \
        keyloaderd -c "$lab/loader.conf" > "$out/daemon.log" 2>&1 &
    daemon=$!
    echo "$daemon" > "$dir/pid" # for who ends this from outside its subshell
    for ((i = 0; i < 1200; i++)); do # two minutes
        port=$(sed -nE 's/.*event=listening .*port=([0-9]+).*/\1/p' "$out/daemon.log")
        [[ -z $port ]] || break
        kill -0 "$daemon" || exit 70
        sleep 0.1
    done
    worker=$(pgrep -P "$daemon")
    fleet_time=$(date +%s)
    (
        KL_CALLGRIND_TIME=$fleet_time under_callgrind "$out/fleet" \
            terminal-sim fleet --connect "127.0.0.1:$port" --root "$lab/ca/home/root.pem" \
            --terminals "$long" --suite "$1" --algorithm "$2" --concurrency 1 --count "$3"
    ) > "$out/fleet.log" 2>&1
    kill "$daemon"
    wait "$daemon" || exit 70
    : > "$dir/pid"
    mv "$out/daemon.$daemon" "$out/network"
    mv "$out/daemon.$worker" "$out/worker"
}

annotate() { callgrind_annotate --inclusive="$2" --threshold=100 --auto=no "$1" 2> /dev/null; }
total() { annotate "$1" no | awk '/PROGRAM TOTALS/ { gsub(",", "", $1); print $1 }'; }
in_network() { # without the walk of the audit trail, which comes by the clock
    annotate "$1" yes | awk -v total="$(total "$1")" '/:look_run \[/ { gsub(",", "", $1); total -= $1 }
                                                     END { print total }'
}
in_module() { # what the module's functions and all that they call took
    annotate "$1" yes | awk '/:C_[A-Z][A-Za-z]* \[.*softhsm/ { gsub(",", "", $1); sum += $1 }
                             END { print sum }'
}

per_load() { # FUNCTION FILE
    echo $((($("$1" "$lab/$long/$2") - $("$1" "$lab/$short/$2")) / (long - short)))
}

measure() { # SUITE KEY ALGORITHM ROOT-KEY
    local worker module_part
    make_lab "$@"
    run "$1" "$3" "$short"
    run "$1" "$3" "$long"
    worker=$(per_load total worker)
    module_part=$(per_load in_module worker)
    printf '%s %s terminal %s\n' "$1" "$2" "$(per_load total fleet)"
    printf '%s %s network-process %s\n' "$1" "$2" "$(per_load in_network network)"
    printf '%s %s worker-own %s\n' "$1" "$2" $((worker - module_part))
    printf '%s %s worker-module %s\n' "$1" "$2" "$module_part"
}

echo "# Instructions per load, by callgrind ($((long - short)) loads, one after the other); make instructions"
echo "# suite key part instructions"
{
    measure hardened-rsa rsa-2048 tdes2 rsa-3072
    measure hardened-ec p-256 aes128 p-384
} | if [[ -n $baseline ]]; then
    awk 'NR == FNR { if ($1 != "#") was[$1 " " $2 " " $3] = $4; next }
         { key = $1 " " $2 " " $3
           printf "%-12s %-8s %-16s %10d", $1, $2, $3, $4
           if (was[key]) printf "  %10d  %+6.2f %%", was[key], ($4 / was[key] - 1) * 100
           print "" }' "$baseline" -
else
    cat
fi
