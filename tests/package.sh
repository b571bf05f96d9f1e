#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The Debian packages in a bare Debian 12: lintian, install, a ceremony, a load and a sign-in as the
# account that the package makes, upgrade with a store in place, remove, install again, purge. Needs
# root, mount namespaces and a Debian mirror.
#
#   tests/package.sh BUILD VERSION     after make deb; ends with "N passed, N failed"
# shellcheck disable=SC2016,SC2317 # scripts for inside the chroot; functions that must() calls
set -u
build=$(realpath "$1")
version=$2

if [[ $EUID -ne 0 ]]; then
    echo "skipped: installing packages into a chroot needs root"
    exit 0
fi
# In namespaces of its own: with the last process of this script everything that was mounted or
# started goes, however the script ends.
if [[ -z ${KL_PACKAGE_INSIDE:-} ]]; then
    if ! unshare --mount --pid --fork true 2> /dev/null; then
        echo "skipped: this container may not make mount and process namespaces"
        exit 0
    fi
    KL_PACKAGE_INSIDE=1 exec unshare --mount --propagation private --pid --fork \
        --kill-child=KILL "$0" "$@"
fi

work=$build/package
root=$work/root
log=$work/log
passed=0
failed=0
rm -rf "$work"
mkdir -p "$work"
: > "$log"
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
trap 'umount "$root/proc" 2> /dev/null; rm -rf "$work/root" "$work/old"' EXIT

finish() {
    echo "$passed passed, $failed failed"
    [[ $failed -eq 0 ]]
    exit
}
# A step that others rest on ends the test when it fails.
must() { # WHAT COMMAND...
    local status=0
    echo "-- $1" >> "$log"
    "${@:2}" >> "$log" 2>&1 || status=$?
    if [[ $status -eq 0 ]]; then
        passed=$((passed + 1))
        echo "ok: $1"
    else
        failed=$((failed + 1))
        echo "FAILED: $1 (status $status)"
        tac "$log" | sed '/^-- /q' | head -n 40 | tac | sed 's/^/    /'
        finish
    fi
}
inside=(env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive
    ${http_proxy:+http_proxy="$http_proxy"} chroot "$root")
# As the package's account, with a SoftHSM of its own.
keyloader=("${inside[@]}" setpriv --reuid keyloader --regid keyloader --init-groups
    env HOME=/var/lib/keyloader SOFTHSM2_CONF=/var/lib/keyloader/softhsm2.conf)
script() { "${inside[@]}" bash -euc "$1"; }                                 # SCRIPT: as root
as_keyloader() { "${keyloader[@]}" bash -euc "cd /var/lib/keyloader; $1"; } # SCRIPT
install() { # DEB...: by apt, with what they depend on
    rm -rf "$root/debs"
    mkdir "$root/debs"
    cp "$@" "$root/debs/"
    # shellcheck disable=SC2016 # expanded inside
    script 'apt-get -qy --no-install-recommends -o Dpkg::Options::=--force-confold install /debs/*.deb'
}

# ---- The packages ----

arch=$(dpkg --print-architecture)
names=(keyloader keyloader-ca keyloader-terminal-sim)
new=()
old=()
for name in "${names[@]}"; do
    new+=("$build/deb/${name}_${version}_$arch.deb")
    old+=("$work/old/${name}_0.0.1_$arch.deb")
done

lower() { # DEB OUT: the same package of a lower version
    local tree=$work/old/tree
    rm -rf "$tree"
    dpkg-deb -R "$1" "$tree" && sed -i 's/^Version: .*/Version: 0.0.1/' "$tree/DEBIAN/control" &&
        dpkg-deb --root-owner-group -b "$tree" "$2" && rm -rf "$tree"
}

must "lintian finds nothing" lintian --allow-root --fail-on error,warning \
    "$build/deb/keyloader_${version}_$arch.changes"
# Where there is no systemd to ask, as in the chroot: what the package would have it do.
restarts() {
    local script
    script=$(dpkg-deb --ctrl-tarfile "${new[0]}" | tar -xO ./postinst)
    grep -q "deb-systemd-invoke try-restart 'keyloaderd.service'" <<< "$script" &&
        ! grep -qE 'invoke .*restart.*socket' <<< "$script"
}
must "an upgrade restarts a daemon that runs, and no socket" restarts
mkdir -p "$work/old"
for i in "${!names[@]}"; do
    must "${names[i]} of a lower version" lower "${new[i]}" "${old[i]}"
done

# ---- A bare system ----

must "debootstrap" debootstrap --variant=minbase bookworm "$root"
must "/proc in the chroot" mount -t proc proc "$root/proc"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
must "apt-get update" script 'apt-get -q update'

# ---- Install ----

must "install" install "${old[@]}"
must "a token and openssl" script 'apt-get -qy --no-install-recommends install softhsm2 openssl'
must "programs run" script 'keyloaderd --version && keyloaderctl --version &&
    acquire-ca --version && terminal-sim --version'
must "account without a login" script '[[ $(getent passwd keyloader) == *:/usr/sbin/nologin ]]'
owned() { # PATH "OWNER:GROUP MODE"
    [[ $("${inside[@]}" stat -c '%U:%G %a' "$1") == "$2" ]]
}
must "configuration is root's, readable to the account" owned /etc/keyloader/keyloaderd.conf \
    "root:keyloader 644"
must "configuration cannot be replaced by the account" owned /etc/keyloader "root:keyloader 1775"
must "the store's folder is the account's alone" owned /var/lib/keyloader "keyloader:keyloader 700"
not_started() {
    ! grep -qsx keyloaderd "$root"/proc/[0-9]*/comm && ! compgen -G "$root/etc/systemd/system/*.wants/keyloader*"
}
must "nothing is started or enabled" not_started
must "not configured yet: status 78" as_keyloader 'keyloaderd -t || [[ $? -eq 78 ]]'

# ---- Ceremony, load, sign-in ----

must "configuration" script 'M=$(ls /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so \
        2> /dev/null | head -n 1)
    cat > /etc/keyloader/keyloaderd.conf << END
[listen]
port = 4771
[hsm]
module = $M
token = pkcs11:token=loader
pin-source = file:/var/lib/keyloader/pins/hsm
END'
must "configuration keeps its owner" owned /etc/keyloader/keyloaderd.conf "root:keyloader 644"
must "ceremony" as_keyloader 'umask 077
    mkdir tokens pins
    echo "directories.tokendir = $PWD/tokens" > softhsm2.conf
    for p in so hsm ca pad; do openssl rand -hex 8 > pins/$p; done
    M=$(sed -n "s/^module = //p" /etc/keyloader/keyloaderd.conf)
    acquire-ca token-init --module $M --label ca --so-pin-source file:$PWD/pins/so --pin-source file:$PWD/pins/ca
    acquire-ca init --dir ca --subject "/O=Bank/CN=Root" --days 30 --key p-256 --token pkcs11:token=ca \
        --module $M --pin-source file:$PWD/pins/ca
    acquire-ca crl --dir ca --scope loader --out loader.crl
    cp ca/root.pem /etc/keyloader/root.pem
    keyloaderctl token init --so-pin-source file:$PWD/pins/so
    keyloaderctl key generate --label ec --suite hardened-ec
    keyloaderctl key csr --label ec --subject "/O=Bank/CN=Loader" --out ec.csr
    acquire-ca sign --dir ca --csr ec.csr --out ec.pem --days 20
    keyloaderctl crl install loader.crl
    keyloaderctl cert install ec.pem
    keyloaderctl terminal add T0001 --algorithm aes128
    terminal-sim init --dir t1 --serial T0001 --pinpad-serial P0001 --root ca/root.pem --pinpad token \
        --module $M --so-pin-source file:$PWD/pins/so --pin-source file:$PWD/pins/pad
    keyloaderd -t'
start() {
    "${keyloader[@]}" keyloaderd < /dev/null > "$work/daemon.log" 2>&1 &
    daemon=$!
    for _ in {1..200}; do
        ! grep -q event=listening "$work/daemon.log" || return 0
        kill -0 "$daemon" 2> /dev/null || break
        sleep 0.1
    done
    cat "$work/daemon.log"
    return 1
}
stop() { kill "$daemon" && wait "$daemon"; }
load() {
    as_keyloader 'keyloaderctl terminal arm T0001 --for 10m
        terminal-sim load --dir t1 --connect 127.0.0.1:4771
        terminal-sim sign-in --dir t1 --connect 127.0.0.1:4771'
}
must "the daemon starts" start
must "load and sign-in" load
must "drain" stop

# ---- Upgrade, remove, install again, purge ----

terminals() { as_keyloader 'keyloaderctl tmk list; keyloaderctl terminal list'; }
unchanged() { [[ -n $before && $(terminals 2>> "$log") == "$before" ]]; }
before=$(terminals 2>> "$log")
must "upgrade" install "${new[@]}"
must "the new version" script "[[ \$(keyloaderd --version) == 'keyloaderd $version'* ]]"
must "upgrade keeps the configuration" owned /etc/keyloader/keyloaderd.conf "root:keyloader 644"
must "upgrade keeps the store" unchanged
must "the daemon starts after the upgrade" start
must "another load after the upgrade" load
must "drain after the upgrade" stop
before=$(terminals 2>> "$log")

must "remove" script 'apt-get -qy remove keyloader keyloader-ca keyloader-terminal-sim
    [[ ! -e /usr/sbin/keyloaderd && -s /etc/keyloader/keyloaderd.conf && -s /var/lib/keyloader/store.db ]]'
must "install again" install "${new[@]}"
must "store and configuration are as before" unchanged
must "purge" script 'apt-get -qy purge keyloader keyloader-ca keyloader-terminal-sim | tee /purge.log
    [[ ! -e /etc/keyloader ]] && grep -q "/var/lib/keyloader is left" /purge.log'
must "a purge leaves the keys" script '[[ -s /var/lib/keyloader/store.db && -d /var/lib/keyloader/tokens ]]'
must "install after the purge" install "${new[@]}"
must "its configuration is the package's" script \
    'cmp /etc/keyloader/keyloaderd.conf /usr/share/doc/keyloader/examples/keyloaderd.conf'
must "the store's folder is the account's as before" owned /var/lib/keyloader "keyloader:keyloader 700"
finish
