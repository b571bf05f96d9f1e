#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The status page in a browser: a daemon of its own in a scratch folder, real loads, refusals and a
# sign-in, and headless Chromium on the page: what it shows, that it complains of nothing and asks
# nobody else for anything, and what it says when the daemon is gone. And promtool on what the
# monitor gives out, and on the alert rules.
#
#   tests/page.sh [BUILD]      PAGE_SHOTS=DIR keeps screenshots (wide, narrow, dark)
set -u
cd "$(dirname "$0")/.." || exit 70
root=$PWD
build=$(realpath "${1:-${KL_BUILD:-build}}")
export PATH=$build/bin:$PATH
for program in chromium promtool curl; do
    command -v $program > /dev/null || { echo "$program is not installed: .ci/deps.sh page test"; exit 69; }
done
dir=$(mktemp -d "${TMPDIR:-/tmp}/kl-page.XXXXXX") || exit 70
daemon=
pid=
cleanup() {
    for one in $pid $daemon; do
        kill "$one" && wait "$one"
    done 2> /dev/null
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
cd "$dir" || exit 70
checks=0
bad=0

check() { # WHAT COMMAND...
    local what=$1
    shift
    checks=$((checks + 1))
    if "$@" > "$dir/check.out" 2>&1; then return; fi
    bad=$((bad + 1))
    echo "FAILED: $what ($*)"
    head -n 5 "$dir/check.out"
}
must() { "$@" > "$dir/must.out" 2>&1 || { echo "cannot go on: $*"; cat "$dir/must.out"; exit 1; }; }

# ---- A centre ----

umask 077
export SOFTHSM2_CONF=$dir/softhsm2.conf
module=$(find /usr/lib -path '*softhsm/libsofthsm2.so' | head -n 1)
mkdir tokens pins work
echo "directories.tokendir = $dir/tokens" > "$SOFTHSM2_CONF"
for p in so ca hsm pad; do openssl rand -hex 8 > "pins/$p"; done
cat > conf <<END
[listen]
port = 0
[hsm]
module = $module
token = pkcs11:token=loader
pin-source = file:$dir/pins/hsm
[certificates]
root = $dir/ca/root.pem
work = $dir/work
crl = $dir/crl.pem
[store]
path = $dir/store.db
[monitor]
listen = 127.0.0.1:0
END
ctl() { keyloaderctl -c conf "$@"; }
must acquire-ca token-init --module "$module" --label ca --so-pin-source "file:$dir/pins/so" \
    --pin-source "file:$dir/pins/ca"
must acquire-ca init --dir ca --subject "/O=Example Bank/CN=Root" --days 3650 --key p-256 \
    --token pkcs11:token=ca --module "$module" --pin-source "file:$dir/pins/ca"
must acquire-ca crl --dir ca --scope loader --days 20 --out loader.crl
must ctl token init --so-pin-source "file:$dir/pins/so"
must ctl key generate --label ec-2026 --suite hardened-ec --key p-256
must ctl key csr --label ec-2026 --subject "/O=Example Bank/CN=Loader 1" --out ec.csr
must acquire-ca sign --dir ca --csr ec.csr --out ec.pem --days 365
must ctl crl install loader.crl
must ctl cert install ec.pem
for serial in T0001 T0002 T0003; do
    must ctl terminal add $serial --algorithm aes128
    must ctl terminal arm $serial --for 1h --attempts 3
    must terminal-sim init --dir $serial --serial $serial --pinpad-serial P$serial \
        --root ca/root.pem --pinpad token --module "$module" \
        --so-pin-source "file:$dir/pins/so" --pin-source "file:$dir/pins/pad"
done
must ctl terminal add T0004 --algorithm aes128
must ctl terminal block T0004
keyloaderd -c conf 2> log &
daemon=$!
for _ in $(seq 150); do
    grep -q 'event=listening ' log && break
    kill -0 $daemon || { cat log; exit 1; }
    sleep 0.1
done
port=$(sed -n 's/.*event=listening .*port=//p' log)
page=http://127.0.0.1:$(sed -n 's/.*event=monitoring .*port=//p' log)

# ---- What there is to see: two loads, a sign-in, an unarmed load ----

must terminal-sim load --dir T0001 --connect "127.0.0.1:$port"
must terminal-sim load --dir T0002 --connect "127.0.0.1:$port"
must terminal-sim sign-in --dir T0001 --connect "127.0.0.1:$port"
terminal-sim load --dir T0001 --connect "127.0.0.1:$port" > /dev/null 2>&1 # it is armed no more

# ---- Prometheus ----

check "promtool takes the rules" promtool check rules "$root/conf/monitoring/keyloader.rules.yml"
curl -sf "$page/metrics" > metrics
check "promtool takes the metrics" bash -c "promtool check metrics < metrics"

# ---- A browser ----

browse() { # TO ARGUMENT...: one visit, its log in TO.log
    local to=$1
    shift
    rm -rf profile
    timeout 90 chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
        --disable-background-networking --disable-component-update --disable-sync \
        --disable-dev-shm-usage --host-resolver-rules="MAP * ~NOTFOUND, EXCLUDE 127.0.0.1" \
        --user-data-dir="$dir/profile" --enable-logging=stderr --v=0 \
        --log-net-log="$dir/$to.net" "$@" > "$to.html" 2> "$to.log"
}
shot() { # NAME WIDTH HEIGHT EXTRA...
    [[ -n ${PAGE_SHOTS:-} ]] || return 0
    browse "shot-$1" --window-size="$2,$3" --hide-scrollbars --virtual-time-budget=30000 \
        --screenshot="$PAGE_SHOTS/$1.png" "${@:4}" "$page/"
}
text_of() { # ID FILE: what an element without children says
    sed -nE "s/.* id=\"$1\"[^>]*>([^<]*)<.*/\1/p" "$2" | head -n 1
}
says() { [[ $(text_of "$1" "$3") == "$2" ]] || { text_of "$1" "$3"; return 1; }; }
row() { # FILE NAME NUMBER: a table row with both
    tr -d '\n' < "$1" | grep -qE "<th scope=\"row\">$2</th>(<td>([^t]|t[^d])*</div></div></td>|<td></td>)?<td class=\"n\">$3</td>"
}

sleep 12 # the census looks every ten seconds
browse first --virtual-time-budget=9000 --dump-dom "$page/"
check "it says that the daemon is ready" says ready ready first.html
check "two loads are counted" says loads "2 since the start" first.html
check "the store is well" says store ok first.html
check "the HSM is up" bash -c "grep -q '<h3>hsm<span class=\"badge good\">up</span></h3>' first.html"
check "nothing waits for it" says queue 0 first.html
check "the outcomes have them" row first.html "done" "2</td><td class=\"n\">1"
check "a refusal is counted" row first.html refused "1</td><td class=\"n\">0"
check "the refusal is listed" grep -q '>unarmed</td><td>T0001</td><td class="what">127.0.0.1' first.html
check "one terminal is armed" row first.html armed 1
check "one is blocked" row first.html blocked 1
check "two TMKs are active" row first.html active 2
check "the chain has its days" row first.html ec-2026 36[45]
check "a CRL that ends in 20 days is marked" grep -q '19 d: renew' first.html
check "no alert is shown" grep -q 'id="alert" role="alert"[^>]*hidden' first.html
check "no script error, no policy violation" bash -c "! grep -E 'CONSOLE|Refused to|Uncaught' first.log"
check "the version is the program's" grep -q "version $(keyloaderd --version | awk '{ print $2 }')," first.html

# Every request that the page made, from the browser's own log of its network; requests of the
# browser's own have no page as their initiator.
page_asked() { sed -nE 's/.*"initiator":"http:.*"url":"([^"]*)".*/\1/p' first.net | sort -u; }
page_asked > asked
check "the page asked for its status" grep -qx "$page/status.json" asked
check "and for the metrics" grep -qx "$page/metrics" asked
check "and for nothing else" bash -c "! grep -vxE '$page/(status.json|metrics)' asked"

shot wide 1280 1250
shot narrow 400 2600
shot dark 1280 1250 --force-dark-mode --blink-settings=preferredColorScheme=0

# ---- The daemon goes while the page is open ----

browse gone --virtual-time-budget=2400000 --dump-dom "$page/" &
pid=$!
sleep 4
kill -KILL $daemon
wait $daemon 2> /dev/null
daemon=
wait $pid
pid=
check "it says that nobody answers" grep -q 'id="ready" class="badge bad" role="status">no answer<' gone.html
check "and since when" grep -q 'keyloaderd has not answered since [0-9][0-9]:' gone.html
check "and keeps what it knew" says loads "2 since the start" gone.html

cd "$root" || exit 70
echo "$((checks - bad)) passed, $bad failed"
[[ $bad -eq 0 ]]
