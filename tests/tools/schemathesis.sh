#!/bin/sh
# Asks a running server whatever its own OpenAPI document allows, and more, and checks that
# it answers as the document says.
#
#   tests/tools/schemathesis.sh http://127.0.0.1:8020 TOKEN [more arguments for schemathesis]
#
# The seed is fixed, so that a failure can be had again. Installs schemathesis into a folder
# of its own in the user's cache the first time. The server should be a fresh one: workspaces
# are opened, and whatever is found is deleted.
set -eu

if [ $# -lt 2 ]; then
    echo "usage: $0 URL TOKEN [arguments for schemathesis]" >&2
    exit 2
fi
url=$1
token=$2
shift 2

version=4.32.5
folder="${XDG_CACHE_HOME:-$HOME/.cache}/lastword/schemathesis-$version"
if [ ! -x "$folder/bin/schemathesis" ]; then
    rm -rf "$folder"
    python3 -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
        "schemathesis==$version"
fi

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# Streams go on as long as they are wanted, so they are left to the suite. A client that is
# retired stays so, which is no fault of the requests after it.
exec_status=0
SCHEMATHESIS_HOOKS="" "$folder/bin/schemathesis" --config-file "$here/schemathesis.toml" \
    run "$url/v1/openapi.json" \
    --url "$url" \
    --header "Authorization: Bearer $token" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection \
    --exclude-path-regex '/events$' \
    --max-examples 30 \
    --seed 20261123 \
    --generation-deterministic \
    --workers 2 \
    --request-timeout 20 \
    --no-color \
    "$@" || exec_status=$?
exit "$exec_status"
