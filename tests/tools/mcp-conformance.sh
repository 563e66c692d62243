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
# Its example follows where a person's browser would be sent, and takes the client ids and
# secrets of a scenario from MCP_CONFORMANCE_CONTEXT. Of all that `conformance list --client`
# names, these are left out:
#
#   auth/client-credentials-jwt         an extension: a key instead of a secret. The signing that
#                                       rmcp has for it brings a second cryptographic library
#                                       (aws-lc) beside ring; the same grant by a secret is run
#   auth/enterprise-managed-authorization, auth/cross-app-access-complete-flow (its name before)
#                                       an extension: a company's sign-in speaks for the person
#   auth/wif-jwt-bearer                 an extension: tokens of a cloud's own workloads
#   auth/dpop, auth/dpop-nonce          an extension: tokens that are bound to a key
#   sep-2640-client-*                   an extension: skills
#   auth/2025-03-26-oauth-metadata-backcompat of 0.1.16
#                                       its server says that it is another issuer than the one
#                                       whose address was asked, which has to be refused; later
#                                       releases of the suite have mended that, and it is run there
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

# The scenarios of one release, for one revision of the protocol; `-` for those that belong to
# none.
scenarios() {
    release=$1
    revision=$2
    shift 2
    folder=$("$here/mcp-npm.sh" "@modelcontextprotocol/conformance@$release" node@22.23.3)
    [ "$revision" = - ] && spec= || spec="--spec-version $revision"
    for scenario in "$@"; do
        output=$results/output
        code=0
        # shellcheck disable=SC2086 # `spec` is two words, or none.
        PATH="$folder/node_modules/node/bin:$PATH" timeout 120 \
            "$folder/node_modules/.bin/conformance" client --command "$client" \
            --scenario "$scenario" $spec >"$output" 2>&1 || code=$?
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

# What both releases and all revisions since 2025-11-25 know of authorization.
auth="auth/metadata-default auth/metadata-var1 auth/metadata-var2 auth/metadata-var3
    auth/basic-cimd auth/scope-from-www-authenticate auth/scope-from-scopes-supported
    auth/scope-omitted-when-undefined auth/scope-step-up auth/scope-retry-limit
    auth/token-endpoint-auth-basic auth/token-endpoint-auth-post auth/token-endpoint-auth-none
    auth/pre-registration"
# What came with 2026-07-28; the earlier release knows some of it as a draft.
draft="auth/resource-mismatch auth/offline-access-scope auth/offline-access-not-supported"
old="auth/2025-03-26-oauth-endpoint-fallback"

# shellcheck disable=SC2086 # Each of these is a list of words.
{
    scenarios 0.1.16 2025-11-25 \
        initialize tools_call elicitation-sep1034-client-defaults sse-retry \
        $auth $draft $old auth/client-credentials-basic
    scenarios 0.2.0-alpha.12 2025-03-26 $old auth/2025-03-26-oauth-metadata-backcompat
    scenarios 0.2.0-alpha.12 2025-11-25 \
        initialize tools_call elicitation-sep1034-client-defaults sse-retry \
        json-schema-2020-12-preservation $auth
    scenarios 0.2.0-alpha.12 2026-07-28 \
        tools_call request-metadata sep-2322-client-request-state http-standard-headers \
        http-custom-headers http-invalid-tool-headers json-schema-ref-no-deref \
        json-schema-2020-12-preservation $auth $draft auth/authorization-server-migration \
        auth/iss-supported auth/iss-not-advertised auth/iss-supported-missing \
        auth/iss-wrong-issuer auth/iss-unexpected auth/iss-normalized \
        auth/metadata-issuer-mismatch
    scenarios 0.2.0-alpha.12 - auth/client-credentials-basic
}

[ -z "$failed" ] || {
    echo "failed:$failed" >&2
    exit 1
}
