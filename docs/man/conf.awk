# SPDX-License-Identifier: BSD-2-Clause
# keyloaderd.conf(5) from its frame and from what `keyloaderd --help-config` prints:
#
#   awk -f conf.awk HELP docs/man/keyloaderd.conf.5.in
#
# HELP: "[section]", "# meaning", then "key =" for one that must be set, "#key = default" otherwise.

# What stands in a macro's argument, or begins a line, as it is.
function plain(text) {
    gsub(/\\/, "\\e", text)
    sub(/^[.']/, "\\\\\\&&", text)
    return text
}

function section(name) {
    out = out (out == "" ? "" : ".El\n") ".Ss " plain(name) "\n.Bl -tag -width Ds\n"
}

function key(name, value, must) {
    out = out ".It Cm " plain(name) "\n"
    out = out plain(help) ".\n"
    if (!must)
        out = out (value == "" ? "Default: empty.\n" : "Default:\n.Ql " plain(value) " .\n")
    help = ""
}

FNR == 1 { file++ }
file == 2 && $0 == "@keys@" { print out ".El"; done = 1; next }
file == 2 { print; next }
/^\[.*\]$/ { section($0); sections++; help = ""; next }
/^# / { help = (help == "" ? "" : help " ") substr($0, 3); next }
/^#?[a-z0-9-]+ =/ {
    if (!sections || help == "") { print "conf.awk: no section or meaning: " $0 > "/dev/stderr"; exit 1 }
    must = !sub(/^#/, "")
    at = index($0, " =")
    value = substr($0, at + 2)
    sub(/^ /, "", value)
    key(substr($0, 1, at - 1), value, must)
    keys++
    next
}
/./ { print "conf.awk: not understood: " $0 > "/dev/stderr"; exit 1 }
END { if (!done || !keys) exit 1 }
