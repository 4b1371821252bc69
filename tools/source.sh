#!/usr/bin/env bash
# The plugin's source as a tar, for the recipes plugin-*.toml: the same bytes from the same files, whoever makes it.
#
#   tools/source.sh sigillo.tar
set -euo pipefail
[ $# = 1 ] || { echo "usage: tools/source.sh FILE" >&2; exit 2; }
file=$(realpath "$1")
cd "$(dirname "$0")/.."
LC_ALL=C tar --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
    --transform='s,^,sigillo/,' -cf "$file" plugin/Makefile plugin/*.[ch] plugin/core/*.[ch]
