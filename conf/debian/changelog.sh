#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# debian/changelog for a version, from CHANGELOG.md: its entry there, or else the newest one.
#
#   changelog.sh VERSION CHANGELOG.md
set -eu
maintainer=$(sed -n 's/^Maintainer: //p' "$(dirname "$0")/control")
day=$(sed -nE "s/^## \[$1\] - ([0-9-]+)$/\1/p" "$2")
[ -n "$day" ] || day=$(sed -nE 's/^## \[[0-9.]+\] - ([0-9-]+)$/\1/p' "$2" | head -n 1)
printf 'keyloader (%s) unstable; urgency=medium\n\n' "$1"
printf '  * See /usr/share/doc/keyloader/docs/CHANGELOG.md.\n\n'
printf ' -- %s  %s\n' "$maintainer" "$(LC_ALL=C date -u -R -d "$day 12:00")"
