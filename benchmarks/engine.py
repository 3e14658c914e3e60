"""What the engine costs: against bare loops, against Ray Data, at the start, at a million clips, in the write pass.

    python -m benchmarks.engine --out FILE [--pairs 5] [--only NAME ...]

Ratios are of one run, medians of pairs in turns. Parts: inline, item, start, ray, journal, write.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from benchmarks.table import Row, at_most, report, row, skipped

INLINE_LIMIT, START_LIMIT_S = 1.05, 3.0
CLIPS = 4


def inline_rows(pairs: int) -> list[Row]:
    """One inline worker, staging and ledger included, against the bare loop; both warm."""
    from benchmarks.ray_engine import Bare, _bare_seconds, _ray_seconds, write_recipe
    from curate.engine.pools import inline_pool
    from curate.recipe import load_recipe
    from curate.sources import make_source

    with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder:
        root = Path(folder)
        path = write_recipe(root, CLIPS)
        recipe = load_recipe(path)
        clips = [c for c in make_source(recipe.source, recipe.clip).plan() if not isinstance(c, tuple)]
        loop, pool = Bare(path, 0, 1), inline_pool(recipe, str(root / "ray"))
        try:
            assert loop.clips == len(clips)
            _ray_seconds(root, pool, clips[:2])  # warm
            taken: dict[str, list[float]] = {"bare": [], "inline": []}
            used: dict[str, list[float]] = {"bare": [], "inline": []}
            for index in range(pairs):
                for what in (("bare", "inline"), ("inline", "bare"))[index % 2]:
                    before = cpu_seconds()
                    taken[what].append(_bare_seconds([loop]) if what == "bare" else _ray_seconds(root, pool, clips))
                    used[what].append(cpu_seconds() - before)
        finally:
            loop.close()
            pool.close()
    ratio, cpu = (statistics.median(i / b for i, b in zip(t["inline"], t["bare"])) for t in (taken, used))
    return [row("bare loop, one process", len(clips) / statistics.median(taken["bare"]), "clips/s"),
            row("one inline worker", len(clips) / statistics.median(taken["inline"]), "clips/s"),
            at_most(f"time of one inline worker to the bare loop's (median of {pairs} pairs)", ratio, "",
                    INLINE_LIMIT),
            row("  the same of CPU time, driver included, which a busy machine does not change", cpu, "")]


def cpu_seconds() -> float:
    """CPU time of this process and its children so far."""
    total = time.process_time()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == os.getpid():
                total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def start_rows() -> list[Row]:
    """From the start of `curate run --inline` to the first staged scene: 16 frames of 320x240."""
    from benchmarks.ray_engine import installed, seconds_to_first_clip, write_recipe

    with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder:
        root = Path(folder)
        recipe, environment = write_recipe(root, 1), installed(root)
        times = [seconds_to_first_clip(recipe, root / f"out{index}", ["--inline"], environment) for index in range(4)]
    return [at_most("inline, start to first clip done (best of 3, after one that writes byte code)",
                    min(times[1:]), "s", START_LIMIT_S)]


def others(module: str, *names: str) -> Callable[[], list[Row]]:
    """Rows that another benchmark measures."""
    def rows() -> list[Row]:
        try:
            made = import_module(f"benchmarks.{module}")
        except ModuleNotFoundError as error:
            return [skipped(module, f"{error.name} is not there")]
        return [r for name in names for r in (getattr(made, name)() if hasattr(made, name)
                                              else [skipped(module, f"it has no {name}")])]
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="write the rows as JSON here")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these parts alone")
    args = parser.parse_args()
    from benchmarks.engine_work import item_rows

    parts: dict[str, Callable[[], list[Row]]] = {
        "inline": lambda: inline_rows(args.pairs), "item": item_rows, "start": start_rows,
        "ray": others("ray_engine", "speed_up", "first_clip"), "journal": others("journal", "journal_rows"),
        "write": others("write_pass", "write_rows")}
    if unknown := set(args.only or ()) - set(parts):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    names = [name for name in parts if name in (args.only or parts)]
    rows = parts[names[0]]() if len(names) == 1 else [r for name in names for r in in_own_process(name, args.pairs)]
    if hasattr(os, "getloadavg"):
        rows.append(row("load of the machine at the end", os.getloadavg()[0] / (os.cpu_count() or 1), "a CPU"))
    return report("Engine", rows, args.out)


def in_own_process(name: str, pairs: int) -> list[Row]:
    """One part by itself: what it leaves in memory, and its crash, are no other's."""
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder:
        out = Path(folder) / "rows.json"
        done = subprocess.run([sys.executable, "-m", "benchmarks.engine", "--only", name, "--pairs", str(pairs),
                               "--out", str(out)], capture_output=True, text=True)
        if out.is_file():
            return json.loads(out.read_text())["rows"]
        why = " ".join(done.stderr.strip().splitlines()[-1:]) or f"exit code {done.returncode}"
        return [{**skipped(name, why[:200]), "ok": False}]


if __name__ == "__main__":
    sys.exit(main())
