#!/usr/bin/env bash
# Compares lastword with its peers on this machine, one behind the other in one run, and prints a
# table in Markdown. With a file it also writes the chart of that table as SVG.
#
#   tests/tools/peers.sh [CHART.svg]
#
# The peers are Extism (plugins: a call, a cancel) and DBOS (durable workflows, on SQLite and on
# PostgreSQL). They are installed in pinned versions into
# ${XDG_CACHE_HOME:-$HOME/.cache}/lastword-tests; a second run installs nothing. PostgreSQL is that
# of the machine: a cluster in a temporary folder, on a socket, with its usual durability. Without
# its `initdb` those rows are left out. Needs an idle machine, and Python 3.11 with venv.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
chart=${1:-}
versions=$(cksum <"$here/peers/requirements.txt" | cut -d' ' -f1)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/lastword-tests/peers-$versions
if [[ ! -e $folder/installed ]]; then
    echo "installing the peers into $folder" >&2
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --requirement "$here/peers/requirements.txt" >&2
    touch "$folder/installed"
fi

scratch=$(mktemp -d)
clean_up() {
    if [[ -e $scratch/postgres/postmaster.pid ]]; then
        as_postgres "$postgres/pg_ctl" --pgdata "$scratch/postgres" --mode immediate stop >&2
    fi
    rm -rf "$scratch"
}
trap clean_up EXIT

# PostgreSQL refuses to run as root.
as_postgres() {
    if [[ $EUID -eq 0 ]]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi
}

url=
postgres=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1 || true)
postgres=${postgres:-$(dirname "$(command -v initdb || echo none/initdb)")}
if [[ -x $postgres/initdb ]]; then
    mkdir "$scratch/postgres"
    if [[ $EUID -eq 0 ]]; then
        chmod 711 "$scratch"
        chown postgres "$scratch/postgres"
    fi
    as_postgres "$postgres/initdb" --pgdata "$scratch/postgres" --auth trust --username postgres >&2
    as_postgres "$postgres/pg_ctl" --pgdata "$scratch/postgres" --wait --log "$scratch/postgres/log" \
        --options "-c listen_addresses= -c unix_socket_directories=$scratch/postgres -c max_connections=200" start >&2
    url="postgresql+psycopg://postgres@/postgres?host=$scratch/postgres"
fi

cd "$here/../.."
cargo bench --locked --bench figures -- load >"$scratch/load"
cargo bench --locked --bench figures -- runs >"$scratch/runs"
cargo bench --locked --bench figures -- cancel >"$scratch/cancel"
"$folder/bin/python" "$here/peers/peers.py" --figures "$scratch" --postgres "$url" \
    --data "$scratch" ${chart:+--chart "$chart"}
