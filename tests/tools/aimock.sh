#!/usr/bin/env bash
# Serves a mock of the services of OpenAI and Anthropic on loopback, in the foreground, and
# prints its address as its first line on stdout. The base URL is that address with /v1 for
# both. What it answers is in tests/tools/aimock/, whose README says which prompt leads where.
#
#   tests/tools/aimock.sh [PORT [FIXTURES]]
#
#   PORT       a free one unless given
#   FIXTURES   a JSON file; tests/tools/aimock/workbench.json unless given
#
#   curl ADDRESS/__aimock/journal     what it was asked
#
# It is the npm package @copilotkit/aimock, an implementation that knows nothing of lastword.
# It goes to ${XDG_CACHE_HOME:-$HOME/.cache}/lastword-tests, with the versions of the lock
# beside the fixtures; a second start installs nothing. Needs node 20 and npm.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
port=${1:-0}
fixtures=${2:-$here/aimock/workbench.json}

# The lock is part of the folder's name, so that a new pin never meets an old install.
versions=$(cksum <"$here/aimock/package-lock.json" | cut -d' ' -f1)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/lastword-tests/aimock-$versions
if [[ ! -e $folder/installed ]]; then
    echo "installing aimock into $folder" >&2
    mkdir -p "$folder"
    cp "$here/aimock/package.json" "$here/aimock/package-lock.json" "$folder/"
    (cd "$folder" && npm ci --silent --no-audit --no-fund --ignore-scripts >&2)
    touch "$folder/installed"
fi

# A place in a conversation counts exactly: only a request with the whole history gets on.
export AIMOCK_STRICT_TURN_INDEX=1
# Its own way of saying where it listens goes to stderr with the rest of its log.
exec node "$here/aimock/serve.mjs" \
    "$folder/node_modules/@copilotkit/aimock/dist/index.js" "$port" "$fixtures"
