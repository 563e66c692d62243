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

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# What the server has, so that requests reach more than what is unknown. Deletions get ids
# that schemathesis makes up: they must not take away what the others ask for. A grant is asked
# for by nothing else.
"$folder/bin/python" - "$url" "$token" > schemathesis.toml <<'PYTHON'
import json
import sys
import urllib.request

url, token = sys.argv[1:]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def items(path):
    request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {token}"})
    with opener.open(request, timeout=20) as answer:
        return json.load(answer)["items"]


def first(path, member):
    return next((item[member] for item in items(path)), None)


def told(which, known):
    pairs = [(name, value) for name, value in known.items() if value]
    if pairs:
        pairs = ", ".join(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in pairs)
        print(f"[[operations]]\n{which}\nparameters = {{ {pairs} }}\n")


questions = items("/v1/permissions")
question = next((question["id"] for question in questions), None)
known = {"path.a": first("/v1/agents", "name"), "path.q": question}
# To cancel the run that asks would take its question back.
asking = [question["session"] for question in questions]
session = next((item for item in items("/v1/sessions") if item["id"] not in asking), None)
if session:
    run = first(f"/v1/sessions/{session['id']}/runs", "run")
    known |= {"path.w": session["workspace"], "path.s": session["id"], "path.r": run}
    grant = first(f"/v1/workspaces/{session['workspace']}/grants", "id")
    told('include-method = "DELETE"\ninclude-path = "/v1/grants/{g}"', {"path.g": grant})
for method in ["GET", "POST", "PATCH"]:
    told(f'include-method = "{method}"', known)
PYTHON

# Streams go on for as long as they are wanted, so they are left to the suite. One worker: it parses
# Python as it goes, which CPython 3.11 does not take from two threads (SystemError, recursion depth).
"$folder/bin/schemathesis" --config-file schemathesis.toml \
    run "$url/v1/openapi.json" \
    --url "$url" \
    --header "Authorization: Bearer $token" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection \
    --exclude-path-regex '/events$' \
    --max-examples 30 \
    --seed 20261123 \
    --generation-deterministic \
    --workers 1 \
    --request-timeout 20 \
    --warnings off \
    --no-color \
    "$@"
