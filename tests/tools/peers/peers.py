"""Measures the peers of lastword, and prints their figures beside lastword's own, which `cargo bench`
wrote into files. See ../peers.sh."""

import argparse
import importlib.metadata
import math
import os
import re
import sqlite3
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import extism
from dbos import DBOS
from extism.extism import CompiledPlugin

ALONE = 400
TOGETHER = 64
ROUNDS = 20

# A module that exports `nothing`, which returns at once, and `spin`, which never does.
MODULE = bytes.fromhex(
    "0061736d01000000"  # magic, version
    "01050160" "00017f"  # a type: () -> i32
    "03030200" "00"  # two functions of it
    "0712" "02" "076e6f7468696e67" "0000" "047370696e" "0001"  # their exports
    "0a0f02" "0400" "4100" "0b" "0800" "0340" "0c00" "0b" "00" "0b"  # their bodies
)


def percentile(took, percent):
    took = sorted(took)
    return took[round((len(took) - 1) * percent / 100)]


def version(package):
    return importlib.metadata.version(package)


def extism_load():
    """A new plugin of a module that is compiled already, and one call of it."""
    compiled = CompiledPlugin(MODULE)
    took = []
    for _ in range(ALONE):
        began = time.perf_counter()
        extism.Plugin(compiled).call("nothing", b"")
        took.append(time.perf_counter() - began)
    return took


def extism_cancel():
    """From the cancel of a busy loop to the return of its call."""
    took = []
    for _ in range(ALONE):
        plugin = extism.Plugin(MODULE)
        handle = plugin.cancel_handle()
        returned = []

        def call(plugin=plugin, returned=returned):
            try:
                plugin.call("spin", b"")
            except extism.Error:
                returned.append(time.perf_counter())

        thread = threading.Thread(target=call)
        thread.start()
        time.sleep(0.02)  # it computes by then
        began = time.perf_counter()
        handle.cancel()
        thread.join()
        took.append(returned[0] - began)
    return took


@DBOS.step()
def nothing():
    return ""


@DBOS.workflow()
def run(prompt):
    """One durable step, as a run of an agent that says nothing."""
    return nothing()


def dbos(url):
    """One workflow at a time, and 64 at a time: from its start to its result. Returns the times
    of each, and the workflows per second of the latter."""
    DBOS(config={"name": "peers", "system_database_url": url, "log_level": "ERROR"})
    DBOS.launch()

    def one(_):
        began = time.perf_counter()
        DBOS.start_workflow(run, "nothing").get_result()
        return time.perf_counter() - began

    for _ in range(20):
        one(None)
    alone = [one(None) for _ in range(ALONE)]
    with ThreadPoolExecutor(TOGETHER) as pool:
        began = time.perf_counter()
        together = list(pool.map(one, range(TOGETHER * ROUNDS)))
        rate = len(together) / (time.perf_counter() - began)
    DBOS.destroy()
    return alone, together, rate


def figures(folder):
    """Lastword's figures, by the name of their line: p50 and p99 in seconds; and the rates."""
    lines, rates = {}, {}
    for name in ("load", "runs", "cancel"):
        with open(os.path.join(folder, name)) as file:
            for line in file:
                if found := re.match(r"  (.+?) +p50 +([\d.]+) µs +p99 +([\d.]+) µs", line):
                    lines[found[1]] = (float(found[2]) / 1e6, float(found[3]) / 1e6)
                if found := re.match(r"  (\d+) runs/s at 64 .*raw SQLite (\d+)/s", line):
                    rates = {"lastword": float(found[1]), "raw": float(found[2])}
    return lines, rates


def duration(seconds):
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.2f} ms"


class Table:
    def __init__(self):
        self.rows = []

    def add(self, what, who, p50, p99, rate=None):
        self.rows.append((what, who, p50, p99, rate))

    def measured(self, what, who, took, rate=None):
        self.add(what, who, statistics.median(took), percentile(took, 99), rate)

    def markdown(self):
        lines = ["| the same work | by | p50 | p99 | per second |", "|---|---|---|---|---|"]
        for what, who, p50, p99, rate in self.rows:
            each = "" if rate is None else f"{rate:,.0f}"
            lines.append(f"| {what} | {who} | {duration(p50)} | {duration(p99)} | {each} |")
        return "\n".join(lines)

    def chart(self):
        """Bars of the medians, on a logarithmic scale from 10 µs to 100 ms."""
        def width(seconds):
            return 110 * max(0.05, math.log10(seconds / 1e-5))

        parts, at, last = [], 10, None
        for what, who, p50, _, _ in self.rows:
            if what != last:
                at += 12
                parts.append(f'<text x="10" y="{at + 10}" font-weight="bold">{what}</text>')
                at, last = at + 20, what
            fill = "#2f6f4f" if who.startswith("lastword") else "#9aa0a6"
            parts.append(f'<text x="200" y="{at + 11}" text-anchor="end">{who}</text>')
            parts.append(f'<rect x="210" y="{at}" width="{width(p50):.0f}" height="14" fill="{fill}"/>')
            parts.append(f'<text x="{216 + width(p50):.0f}" y="{at + 11}">{duration(p50)}</text>')
            at += 19
        body = "\n".join(parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {at + 10}" '
            f'font-family="sans-serif" font-size="11">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
        )


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--figures", required=True)
    arguments.add_argument("--data", required=True)
    arguments.add_argument("--postgres", default="")
    arguments.add_argument("--chart")
    arguments = arguments.parse_args()

    lines, rates = figures(arguments.figures)
    table = Table()

    what = "a new guest and one call"
    table.add(what, "lastword", *lines["instantiate, run `nothing`, drop"])
    table.measured(what, f"Extism {version('extism-sys')}", extism_load())

    what = "cancel of a busy loop"
    table.add(what, "lastword", *lines["a busy loop, 1 busy"])
    table.measured(what, f"Extism {version('extism-sys')}", extism_cancel())

    what = "a durable run, one at a time"
    together = "the same, 64 at a time"
    table.add(what, "lastword", *lines["accept → ended, one at a time"])
    rows = [(together, "lastword", *lines["accept → ended, 64 at a time"], rates["lastword"])]
    table.add(what, "raw SQLite, the same rows", *lines["raw SQLite, accept + finish, one at a time"])
    stores = [(f"SQLite {sqlite3.sqlite_version}", f"sqlite:///{arguments.data}/dbos.db")]
    if arguments.postgres:
        stores.append(("PostgreSQL", arguments.postgres))
    for store, url in stores:
        who = f"DBOS {version('dbos')}, {store}"
        alone, many, rate = dbos(url)
        table.measured(what, who, alone)
        rows.append((together, who, statistics.median(many), percentile(many, 99), rate))
    for row in rows:
        table.add(*row)

    print(table.markdown())
    if arguments.chart:
        with open(arguments.chart, "w") as file:
            file.write(table.chart())


if __name__ == "__main__":
    main()
