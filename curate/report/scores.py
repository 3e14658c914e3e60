"""What `curate score` found of a run whose truth is known, brought to the page: curves by family, and each answer."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curate.measure.quantity import LEVELS
from curate.report.coverage import Curve, curve_of_hits, inside, normal_scores

NAME = "score.json"
ALL = "all families"


@dataclass(frozen=True)
class Scores:
    """Judged answers by question id, a curve a family, the floor's rows, and each family's figures by name ("askable",
    "asked", "right", ...); `note` says why there are none."""

    judged: dict[str, dict[str, Any]] = field(default_factory=dict)
    curves: tuple[Curve, ...] = ()
    rows: tuple[dict[str, Any], ...] = ()
    families: dict[str, dict[str, float | None]] = field(default_factory=dict)
    note: str = ""


def load_scores(path: Path, digest: str) -> Scores:
    """
    Args:
        path: a file written by `curate score`.
        digest: of the published set it must be about.

    Raises:
        ValueError: where it is no such file. A file about an older set is no error: its note says so.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        items = content["judged"]
        judged = {item["id"]: item for item in items}
        curves = tuple(curves_of(items))
        rows = tuple(_said(row) for row in content["rows"] if row["target"])
        families: dict[str, dict[str, float | None]] = {}
        for row in content["rows"]:
            family, _, name = row["name"].partition(": ")
            if name and not row["target"]:
                families.setdefault(family, {})[name] = row["value"]
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); expected a file of `curate score`") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a file of `curate score` ({type(error).__name__}: {error}); "
                         f"`curate score OUT --truth DIR` writes one") from None
    if content.get("set") != digest:
        return Scores(note=f"{path.name} is about another set of questions than the one in shards/; "
                           f"`curate score` brings it up to date")
    return Scores(judged, curves, rows, families)


def _said(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the floor with its value and target as text; shares in percent."""
    sign, bound = row["target"].split()
    value, is_share = row["value"], "." in bound

    def text(number: float, digits: int) -> str:
        return f"{100 * number:.{digits}f} %" if is_share else f"{number}"

    wanted = text(float(bound), 0) if is_share else bound
    return row | {"said": "–" if value is None else text(value, 1),
                  "wanted": f"{'at least' if sign == '>=' else 'at most'} {wanted}"}


def quantity_of(question_id: str) -> str:
    """Questions that differ in their form alone rest on one quantity, and are one answer about it."""
    return question_id.rpartition("-")[0]


def curves_of(items: list[dict[str, Any]]) -> list[Curve]:
    """All families' curve, and one for each with stated distributions: each quantity once, clustered by scene.

    An answer about nothing that could be true (its region lies on no one object, or it does not move) is a miss.
    """
    once: dict[str, dict[str, dict[str, Any]]] = {}
    for item in items:
        if len(item["stated"]) == len(LEVELS):
            once.setdefault(item["family"], {}).setdefault(quantity_of(item["id"]), item)
    groups = {family: list(quantities.values()) for family, quantities in sorted(once.items())}
    if len(groups) > 1:
        groups = {ALL: [item for group in groups.values() for item in group], **groups}
    curves = []
    for family, group in groups.items():
        hits, scores, clusters = [], [], []
        for item in group:
            clusters.append(item["scene"])
            if item["true"] is None:
                hits.append(np.zeros(4, bool))
                continue
            truth, stated = np.array([item["true"]]), np.array([item["stated"]])
            hits.append(inside(truth, stated, item["one_sided"])[0])
            scores.append(float(normal_scores(truth, stated)[0]))
        curves.append(curve_of_hits(family, np.array(hits), clusters, [z for z in scores if not math.isnan(z)]))
    return curves
