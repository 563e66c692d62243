#!/bin/sh
# Runs the client scenarios of the MCP conformance suite against this host: its example
# `mcp-client` is what the suite starts, and it speaks to the suite's servers by `McpServers`.
#
#   tests/tools/mcp-conformance.sh [CLIENT]
#
#   CLIENT   the program; target/debug/examples/mcp-client unless given. Build it by
#            cargo build --example mcp-client
#
# The suite's latest release knows the protocol up to 2025-11-25; a pre-release of the next one
# knows 2026-07-28 too. Both are pinned, and so is the Node.js that they need (22).
#
# Left out are the scenarios of optional extensions (skills, tasks) that this host does not
# offer, and all of `auth/`: the host takes a token from its operator, by `headers`, and does
# not obtain one by OAuth.
#
# Without npm it says so and checks nothing, except in CI (CI=true), where that is a failure.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
client=${1:-$here/../../target/debug/examples/mcp-client}
client=$(cd "$(dirname "$client")" && pwd)/$(basename "$client")
[ -x "$client" ] || {
    echo "there is no $client: cargo build --example mcp-client" >&2
    exit 2
}

if ! command -v npm >/dev/null; then
    echo "SKIPPED: the conformance suite of MCP is not run, since npm is missing" >&2
    [ "${CI:-}" != true ]
    exit
fi

failed=
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
cd "$results"

# The scenarios of one release, for one revision of the protocol.
scenarios() {
    release=$1
    revision=$2
    shift 2
    folder=$("$here/mcp-npm.sh" "@modelcontextprotocol/conformance@$release" node@22.23.3)
    for scenario in "$@"; do
        output=$results/output
        code=0
        PATH="$folder/node_modules/node/bin:$PATH" timeout 120 \
            "$folder/node_modules/.bin/conformance" client --command "$client" \
            --scenario "$scenario" --spec-version "$revision" >"$output" 2>&1 || code=$?
        passed=$(grep -o 'Passed: .*' "$output" | tail -n 1)
        # Whatever was checked has passed, and something was checked.
        case "$code:$passed" in
        0:"Passed: 0/0"* | 0: | [!0]* | 1[0-9]*)
            failed="$failed $release/$revision/$scenario"
            cat "$output" >&2
            echo "FAILED $release $revision $scenario (ended with $code)"
            ;;
        *) echo "ok     $release $revision $scenario: $passed" ;;
        esac
    done
}

scenarios 0.1.16 2025-11-25 \
    initialize tools_call elicitation-sep1034-client-defaults sse-retry
scenarios 0.2.0-alpha.12 2025-11-25 \
    initialize tools_call elicitation-sep1034-client-defaults sse-retry \
    json-schema-2020-12-preservation
scenarios 0.2.0-alpha.12 2026-07-28 \
    tools_call request-metadata sep-2322-client-request-state http-standard-headers \
    http-custom-headers http-invalid-tool-headers json-schema-ref-no-deref \
    json-schema-2020-12-preservation

[ -z "$failed" ] || {
    echo "failed:$failed" >&2
    exit 1
}
