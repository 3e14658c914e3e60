"""Rows of the rendered campaign: do intervals hold, are they sharp, are answers right, is enough asked, by family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.calibration_stats import summary, thirds
from benchmarks.campaign_report import by_kind
from benchmarks.table import Row, at_least, at_most, row

COVERAGE = (93.0, 97.0)
Z_SD = (0.9, 1.1)
MAX_OVER_ORACLE = 2.5
MIN_RIGHT, MAX_RELATIVE_ERROR, MIN_ASKED = 99.0, 3.0, 60.0
ENOUGH = 1000
ANSWER_SCENES = 200
THIRDS = ("near", "middle", "far")

Results = Sequence[dict[str, Any]]


def between(name: str, value: float, unit: str, limits: tuple[float, float], give: float) -> Row:
    """`give`: 95 % uncertainty of the figure itself, from the number of items it rests on; kept in the row."""
    made = row(name, value, unit, f"{limits[0]:g} to {limits[1]:g}", bool(limits[0] <= value <= limits[1]))
    return made | {"give": give}


def share_give(n_eff: float) -> float:
    """Of a share of 95 % in percent."""
    return 100 * 1.96 * (0.95 * 0.05 / max(n_eff, 1)) ** 0.5


def interval_rows(results: Results) -> list[Row]:
    """Coverage among all measured and among the asked, normal scores, and sharpness: a block for each family."""
    items = [i for r in results for i in r.get("items", ())]
    rows = []
    for kind, own in by_kind(items).items():
        rows += family_rows(f"rendered {kind.replace('_', ' ')}", own)
    return rows


def family_rows(name: str, own: Sequence[dict[str, Any]]) -> list[Row]:
    """Rows of one family's items. Each number of items that a share rests on is in its name."""
    rows = []
    for which, items in (("measured", list(own)), ("asked", [i for i in own if i["asked"]])):
        if not items:
            rows.append(row(f"{name}: {which}: none", None, ""))
            continue
        s = summary(items)
        few = f"n {s['n']}, of {ENOUGH} wanted" if s["n"] < ENOUGH else f"n {s['n']}"
        rows.append(between(f"{name}: {which}, inside of 95 % ({few})", 100 * s["in95"], "%", COVERAGE,
                            share_give(s["n_eff"])))
        rows.append(row(f"{name}: {which}, truths below", 100 * s["low_miss"], "%"))
        rows.append(row(f"{name}: {which}, truths above", 100 * s["high_miss"], "%"))
    whole = summary(own)
    moving = [i for i in own if not i["at_zero"]]
    rows.append(between(f"{name}: z deviation (n {len(moving)})", whole["z_sd"], "", Z_SD,
                        whole["z_sd_pm"]))
    for which, part in zip(THIRDS, thirds(moving)):
        own = summary(part)
        rows.append(between(f"{name}: z deviation, {which} third", own["z_sd"], "", Z_SD, own["z_sd_pm"]))
    rows.append(at_most(f"{name}: half-width over the ideal estimator's, median", whole["over_oracle"], "times",
                        MAX_OVER_ORACLE))
    return rows


def answer_rows(results: Results) -> list[Row]:
    """Choices, numbers and how much of the askable is asked, of the first fresh seeds; all, then by family."""
    results = [r for r in results if "judged" in r][:ANSWER_SCENES]
    judged = [j for r in results for j in r["judged"]]
    possible = {(r["name"], a["family"], tuple(a["objects"])) for r in results for a in r["askable"]}
    asked = {(j["scene"], j["family"], tuple(j["objects"])) for j in judged}
    name = f"rendered, {len(results)} fresh seeds"
    rows = []
    for family in [None, *sorted({j["family"] for j in judged} | {p[1] for p in possible})]:
        own = [j for j in judged if family in (None, j["family"])]
        could = {p for p in possible if family in (None, p[1])}
        choices = [j["right"] for j in own if j["right"] is not None]
        errors = [j["relative_error"] for j in own if j["covered"] is not None and not np.isnan(j["relative_error"])]
        of = f"{name}: all" if family is None else f"{name}: {family.replace('_', ' ')}"
        if choices:
            rows.append(at_least(f"{of}: choices right (n {len(choices)})", 100 * float(np.mean(choices)), "%",
                                 MIN_RIGHT))
        if errors:
            rows.append(at_most(f"{of}: numbers, median relative error (n {len(errors)})",
                                100 * float(np.median(errors)), "%", MAX_RELATIVE_ERROR))
        if could:
            rows.append(at_least(f"{of}: of the askable asked (n {len(could)})",
                                 100 * len(could & asked) / len(could), "%", MIN_ASKED))
    return rows


def health_rows(results: Results) -> list[Row]:
    """Scenes that failed, and regions that are no one thing."""
    failed = [r for r in results if "error" in r]
    regions = sum(r.get("regions", 0) for r in results)
    unmatched = sum(r.get("unmatched", 0) for r in results)
    rows = [at_most(f"rendered: scenes that failed, of {len(results)}"
                    + (f" ({failed[0]['name']}: {failed[0]['error']})" if failed else ""), len(failed), "", 0)]
    if regions:
        rows.append(row("rendered: regions that lie on no one object", 100 * unmatched / regions, "%"))
    return rows
