"""Tables of a campaign: coverage, normal scores, sharpness and sources of error by kind of measurement."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.calibration_stats import summary, thirds
from curate.measure import KINDS

Items = Sequence[dict[str, Any]]


def by_kind(items: Items) -> dict[str, list[dict[str, Any]]]:
    """Kind -> its items, in the order of `KINDS`."""
    return {kind: [i for i in items if i["kind"] == kind] for kind in KINDS}


VECTORS = {name for name, kind in KINDS.items() if kind.vector}
PARTS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "all measured": lambda item: True,
    "asked": lambda item: item["asked"],
    "truth not zero": lambda item: not item["at_zero"],
}


def print_report(results: Sequence[dict[str, Any]], path: Path | None = None) -> None:
    """Prints, and writes beside the items, what `campaign` found."""
    from rich.console import Console

    items = [i for r in results for i in r.get("items", ())]
    console = Console(width=200, record=True)
    for error in (r for r in results if "error" in r):
        console.print(f"{error['name']}: {error['error']}", style="red", markup=False)
    for title, keep in PARTS.items():
        console.print(coverage_table(f"{title}: stated against observed", [i for i in items if keep(i)]))
    console.print(sources_table(items))
    unmatched = sum(r.get("unmatched", 0) for r in results)
    regions = sum(r.get("regions", 0) for r in results)
    console.print(f"{len(results)} clips, {regions} regions, {unmatched} on no one object")
    if path is not None:
        path.write_text(console.export_text())


def coverage_table(title: str, items: Items):
    from rich.table import Table

    table = Table(title=title)
    for name in ("kind", "n", "n eff", "in 50", "in 80", "in 95", "in 99", "low miss", "high miss", "z mean", "z sd",
                 "robust", "z sd by third of depth", "rel. error", "half-width", "rel. hw", "/ oracle"):
        table.add_column(name, justify="left" if name == "kind" else "right", no_wrap=True)
    for kind, own in [*by_kind(items).items(), ("all", list(items))]:
        s = summary(own)
        parts = [summary(third) for third in thirds([i for i in own if not i["at_zero"]])]
        table.add_row(kind, str(s["n"]), f"{s['n_eff']:.0f}", *(percent(s[f"in{p}"]) for p in (50, 80, 95, 99)),
                      percent(s["low_miss"]), percent(s["high_miss"]), number(s["z_mean"]),
                      f"{number(s['z_sd'])}±{number(s['z_sd_pm'])}", number(s["z_robust"]),
                      " ".join(number(p["z_sd"]) for p in parts), percent(s["relative_error"]),
                      number(s["half_width"], 3),
                      "–" if kind in VECTORS else percent(s["relative_half_width"]),
                      number(s["over_oracle"]))
    return table


def sources_table(items: Items):
    from rich.table import Table

    table = Table(title="mean share of the stated variance by source; share of items that became a question")
    for name in ("kind", "own", "pose", "rig", "scale", "asked", "most frequent reason not to"):
        table.add_column(name, justify="left" if name == "kind" else "right", no_wrap=True)
    for kind, own in by_kind(items).items():
        s = summary(own)
        reasons = [f["dropped"] for i in own for f in i["forms"].values() if "dropped" in f]
        common = max(sorted(set(reasons)), key=reasons.count) if reasons else ""
        table.add_row(kind, *(percent(s[f"share_{name}"]) for name in ("own", "pose", "rig", "scale")),
                      percent(sum(i["asked"] for i in own) / len(own) if own else math.nan), common)
    return table


def percent(value: float) -> str:
    return f"{100 * value:.1f}" if math.isfinite(value) else "–"


def number(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def load(path: Path) -> list[dict[str, Any]]:
    """Items of a campaign's `items.json`."""
    return json.loads(Path(path).read_text())
