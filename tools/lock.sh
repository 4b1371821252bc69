#!/usr/bin/env bash
# Write locks/*.txt anew from pyproject.toml and locks/*.in: every package, every file's hash, for every Python from 3.11.
#
#   tools/lock.sh [--upgrade]      without --upgrade the versions stay unless the inputs force another
#
# Needs `uv` (pip install uv). The files name no index: where packages come from is your pip's business, what they are is ours.
set -euo pipefail
cd "$(dirname "$0")/.."

uv=$(command -v uv || true)
[ -x .venv/bin/uv ] && uv=.venv/bin/uv
[ -n "$uv" ] || { echo 'lock: uv is missing: pip install uv' >&2; exit 1; }

compile() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-header --no-emit-index-url --no-emit-find-links --annotation-style line "$@"
}

compile "$@" --all-extras pyproject.toml -o locks/runtime.txt
for name in build dev oracle; do
    compile "$@" "locks/$name.in" -o "locks/$name.txt"
done
