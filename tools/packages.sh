#!/usr/bin/env bash
# Install the Debian packages that the groups named need (packages/<release>/<group>.txt), and only those that are missing.
#
#   tools/packages.sh [--python PYTHON] GROUP...
#
# It leaves no service running or enabled that was not before: Debian starts a broker on port 1883 as soon as the
# package is there. Nothing below /etc/apt is touched. Exit 0: all there; 1: something is missing, and how to get it.
set -eEuo pipefail
trap 'echo "setup: tools/packages.sh failed unexpectedly at line $LINENO" >&2' ERR
cd "$(dirname "$0")/.."

readonly policy=/usr/sbin/policy-rc.d
readonly saved=$policy.before-sigillo
readonly state=/var/lib/sigillo-setup # there only while packages are being installed, or after a killed setup
readonly mark='# Sigillo setup: temporary'

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# $1 a package: is what it is for already there without it?
needless() {
    case $1 in
        python3) "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ;;
        python3-venv) "$python" -c 'import ensurepip, venv' 2>/dev/null ;;
        make) command -v make >/dev/null ;;
        git) command -v git >/dev/null ;;
        *) false ;;
    esac
}

# The services that the machine knew before: these go on as ever, also where apt upgrades one of them.
known_services() {
    { find /etc/init.d /etc/systemd/system /usr/lib/systemd/system /lib/systemd/system -maxdepth 1 2>/dev/null || true; } |
        sed 's|.*/||' | sort -u
}

# A policy of our own (invoke-rc.d's policy-rc.d): while this very process lives it denies what is new to the machine;
# everything else, and everything once this process is gone, is up to the policy that it stands before.
guard_text() {
    local start
    start=$(cut -d ' ' -f 22 /proc/$$/stat 2>/dev/null || true) # with the number it names one process, not its successor
    cat <<EOF
#!/bin/sh
$mark, safe to delete once no setup runs.
setup_lives() {
    kill -0 $$ 2>/dev/null || return 1
    case \$(cut -d ' ' -f 3,22 /proc/$$/stat 2>/dev/null) in Z*) return 1 ;; *"${start:+ $start}") return 0 ;; esac
    return 1
}
if setup_lives; then
    for word in "\$@"; do
        case \$word in -*) continue ;; esac
        grep -qxF -e "\$word" -e "\$word.service" "$state/known" 2>/dev/null || exit 101
        break
    done
fi
if [ -x $saved ]; then exec $saved "\$@"; fi
exit 0
EOF
}

# Undo a guard: ours, or one that a killed setup left. `mv` puts the very file back that was there before.
policy_restore() {
    if [ -e "$saved" ] || [ -L "$saved" ]; then
        mv -f "$saved" "$policy"
    elif grep -qsF "$mark" "$policy"; then
        rm -f "$policy"
    fi
}

policy_deny() {
    guard_text >"$policy.new-sigillo"
    chmod 755 "$policy.new-sigillo"
    if [ -e "$policy" ] || [ -L "$policy" ]; then ln -P "$policy" "$saved"; fi
    mv -f "$policy.new-sigillo" "$policy"
}

# What starts at boot: the symbolic links of systemd and of sysvinit.
enabled() {
    { find /etc/systemd/system /etc/systemd/user /etc/rc[S2345].d -type l \
        \( -path '*.wants/*' -o -path '*.requires/*' -o -path '/etc/rc?.d/S*' \) 2>/dev/null || true; } | sort
}

# Start at boot nothing that did not before: `rm` of the link is what `systemctl disable` does, and needs no systemd.
disable_new() {
    local link name
    comm -13 "$state/enabled" <(enabled) | while read -r link; do
        name=$(basename "$link")
        case $link in
            /etc/rc?.d/*) update-rc.d "${name#S[0-9][0-9]}" disable >/dev/null 2>&1 || rm -f "$link" ;;
            *) rm -f "$link" ;;
        esac
        printf '%s\n' "${name#S[0-9][0-9]}"
    done | sort -u | while read -r name; do say "not started at boot: $name"; done
}

# Leave the machine as it was but for the packages; also after a setup that was killed before it could.
tidy() {
    policy_restore
    if [ -f "$state/enabled" ]; then disable_new; fi
    rm -rf "$state"
}

install() {
    exec 8>/run/sigillo-setup.lock
    flock -n 8 || { say "another setup is installing packages; waiting"; flock 8; }
    tidy
    # A signal ends in the EXIT trap, once apt has ended: the shell waits for its child before it runs a trap.
    trap tidy EXIT
    trap 'exit 130' INT TERM HUP
    mkdir -m 700 "$state"
    known_services >"$state/known"
    enabled >"$state/enabled.new"
    mv "$state/enabled.new" "$state/enabled"
    policy_deny
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q >"$state/log" 2>&1 8>&- || say "apt-get update had problems; going on with the lists there are"
    if ! apt-get install -y -q --no-install-recommends "$@" >>"$state/log" 2>&1 </dev/null 8>&-; then
        tail -n 25 "$state/log" >&2
        fail "apt-get could not install: $*"
    fi
}

python=${PYTHON:-python3}
if [ "${1:-}" = --python ]; then python=$2; shift 2; fi
[ $# -gt 0 ] || fail "name a group: tools/packages.sh demo [test] [slow]"

release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null || true)
if [ ! -d "packages/$release" ]; then
    say "no package list for '${release:-this system}': taking that of trixie (Debian 13)"
    release=trixie
fi

wanted=()
for group in "$@"; do
    [ -f "packages/$release/$group.txt" ] || fail "no such group: packages/$release/$group.txt"
    while read -r package _; do
        case $package in '' | '#'*) continue ;; esac
        wanted+=("$package")
    done <"packages/$release/$group.txt"
done

command -v dpkg-query >/dev/null ||
    fail "this is no Debian. Install what corresponds to: ${wanted[*]}; then run again with SIGILLO_PACKAGES=installed"

missing=()
for package in "${wanted[@]}"; do
    installed "$package" || needless "$package" || missing+=("$package")
done
if [ "${#missing[@]}" -eq 0 ]; then
    if [ "$(id -u)" -eq 0 ] && { [ -e "$state" ] || [ -e "$saved" ] || grep -qsF "$mark" "$policy"; }; then
        exec 8>/run/sigillo-setup.lock
        flock 8
        tidy # what a killed setup left
    fi
    exit 0
fi

if [ "$(id -u)" -eq 0 ]; then
    say "installing with apt-get, no service started: ${missing[*]}"
    install "${missing[@]}"
elif command -v sudo >/dev/null; then
    say "needs these Debian packages, and asks sudo to install them: ${missing[*]}"
    ask=()
    [ -t 0 ] || ask=(-n)
    sudo "${ask[@]}" -- bash tools/packages.sh --python "$python" "$@" ||
        fail "not installed. As root, run: bash $PWD/tools/packages.sh $*"
else
    fail "these Debian packages are missing: ${missing[*]}
setup: neither root nor sudo here. As root, run: bash $PWD/tools/packages.sh $*"
fi
