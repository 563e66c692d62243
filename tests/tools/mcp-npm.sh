#!/bin/sh
# Installs npm packages into a folder of their own in the user's cache, once, and prints the
# folder.
#
#   tests/tools/mcp-npm.sh @modelcontextprotocol/server-everything@VERSION [PACKAGE@VERSION...]
#
# Versions are part of the folder's name, so that a new pin never meets an old install. Without
# npm it ends with 77.
set -eu

if ! command -v npm >/dev/null; then
    echo "npm is missing: install Node.js 20 or later" >&2
    exit 77
fi
versions=$(printf '%s\n' "$@" | cksum | cut -d' ' -f1)
folder="${XDG_CACHE_HOME:-$HOME/.cache}/lastword/mcp-$versions"
if [ ! -e "$folder/installed" ]; then
    mkdir -p "${folder%/*}"
    # Somebody else may be at it: whoever is first wins.
    work=$(mktemp -d "$folder.XXXXXX")
    echo "installing $* into $folder" >&2
    npm install --prefix "$work" --no-audit --no-fund --no-save --loglevel=error "$@" >&2
    touch "$work/installed"
    mv -T "$work" "$folder" 2>/dev/null || rm -rf "$work"
fi
echo "$folder"
