#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Sees to it that the packages of the named groups (see packages.txt; default build) are there: installs what is missing when run as root or with sudo that asks no password, else says
# which command would, and ends with status 69.
set -u
cd "$(dirname "$0")" || exit 70
groups=" ${*:-build} "

wanted=() # packages, and beside each its probe
probes=()
while read -r group package probe; do
    case $group in '' | '#'*) continue ;; esac
    if [[ $groups == *" $group "* && " ${wanted[*]} " != *" $package "* ]]; then
        wanted+=("$package")
        probes+=("$probe")
    fi
done < packages.txt

present() { # PROBE: is what it names there, whoever installed it?
    case $1 in
    pc:*) command -v pkg-config > /dev/null && pkg-config --exists "${1#pc:}" ;;
    cmd:*) command -v "${1#cmd:}" > /dev/null ;;
    file:*) [[ -e ${1#file:} ]] ;;
    *) false ;;
    esac
}

# One call for all; without dpkg (another distribution) the probes alone decide.
installed=" $(dpkg-query -W -f '${Package}:${db:Status-Status} ' "${wanted[@]}" 2> /dev/null) "
missing=()
for i in "${!wanted[@]}"; do
    [[ $installed == *" ${wanted[i]}:installed "* ]] || present "${probes[i]}" ||
        missing+=("${wanted[i]}")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

install=(apt-get install -y --no-install-recommends "${missing[@]}")
if ! command -v apt-get > /dev/null; then
    echo "missing, by their Debian names: ${missing[*]}; install them and run make again" >&2
    exit 69
fi
if [[ $EUID -eq 0 ]]; then
    as_root=()
elif sudo -n true 2> /dev/null; then
    as_root=(sudo -n)
else
    echo "missing packages; run: sudo apt-get update && sudo ${install[*]}" >&2
    exit 69
fi
echo "installing: ${missing[*]}" >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q update >&2 ||
    echo "apt-get update failed; trying with the package lists that are here" >&2
if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}" >&2; then
    echo "apt-get failed; see above, then run: ${install[*]}" >&2
    exit 69
fi
