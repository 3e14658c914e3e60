"""One question as the page shows it: the answer, how sure it is and why, and the truth where it is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from curate.measure.quantity import LEVELS
from curate.questions.units import UNITS
from curate.report.coverage import DEVIATES

SOURCES = {"own": "region", "pose": "camera path", "rig": "rig", "scale": "scale"}
LEAST_SHARE = 0.005  # of the variance; less is not drawn
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
OUTER = (0, 8)  # quantiles of the 99 % interval


def answer(qa: Mapping[str, Any], judged: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the template draws of one question.

    Args:
        qa: a question of a shard. judged: what `curate score` says of it.
    """
    text = qa["question"]
    if qa["options"]:  # they are listed below the text
        text = text.split("\nAnswer with")[0].split("\nA. ")[0]
    quantity = (qa.get("quantities") or [{}])[0]
    return {"text": text, "qa": qa, "bar": interval(qa, quantity, judged), "split": error_split(quantity),
            "sure": certainty(quantity), "verdict": verdict(qa, judged),
            "options": [(LETTERS[i], o) for i, o in enumerate(qa["options"])]}


def interval(qa: Mapping[str, Any], quantity: Mapping[str, Any] | None = None,
             judged: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """Where value, 95 and 99 % interval and truth lie on a bar from the origin, in percent of it; None without number.

    `outer` (99 %) and `truth` are None where they are not known; `relative` is half the 95 % interval over the value.
    """
    value, low, high = qa["value"], qa["low"], qa["high"]
    if not _finite(value, low, high):
        return None
    factor = UNITS[qa["unit"]].factor if qa.get("unit") in UNITS else 1.0
    quantiles = (quantity or {}).get("quantiles", ())
    outer = [factor * quantiles[i] for i in OUTER] if len(quantiles) == len(LEVELS) and _finite(*quantiles) else None
    truth = factor * judged["true"] if judged and not judged["one_sided"] and judged["true"] is not None else None
    every = [0.0, value, low, high, *(outer or ()), *([] if truth is None else [truth])]
    left, right = min(every), max(every)
    span = right - left or 1.0
    left -= 0.04 * span if left < 0 else 0.0
    right += 0.04 * span

    def at(x: float) -> float:
        return round(100 * (x - left) / (right - left), 2)

    def piece(a: float, b: float) -> dict[str, float]:
        return {"at": at(a), "width": max(round(at(b) - at(a), 2), 0.6)}

    return {"zero": at(0.0), "value": at(value), "inner": piece(low, high), "outer": piece(*outer) if outer else None,
            "truth": None if truth is None else at(truth), "true_value": truth,
            "relative": (high - low) / 2 / abs(value) if value else None}


def error_split(quantity: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where the error comes from: {"name", "source", "share" of the variance, "at"}, percent; empty if unknown."""
    error = {s: quantity.get("error", {}).get(s, 0.0) for s in SOURCES}
    total = sum(error.values())
    if not (_finite(total) and total > 0):
        return []
    parts, at = [], 0.0
    for source, variance in error.items():
        share = variance / total
        if share >= LEAST_SHARE:
            name = "path noise" if source == "own" and not quantity.get("subjects") else SOURCES[source]
            parts.append({"source": source, "name": name, "share": round(100 * share, 1),
                          "at": round(100 * at, 1)})
        at += share
    return parts


def certainty(quantity: Mapping[str, Any]) -> str:
    """Of a direction: its error's 95 % bound and the categories' probabilities, in words; "" for a number."""
    if np.ndim(quantity.get("value", 0)) == 0:
        return ""
    said = []
    quantiles = quantity.get("quantiles", ())
    if len(quantiles) == len(LEVELS) and _finite(*quantiles):
        degrees = math.degrees(float(np.interp(1.645, DEVIATES, quantiles)))
        said.append(f"the direction is known within {degrees:.2g}° (95 %)")
    shares = quantity.get("extra", {}).get("probabilities", {})
    likely = sorted(((s, name) for name, s in shares.items() if s >= 5e-4), reverse=True)[:2]
    said += [", ".join(f"{name} {100 * s:.1f} %" for s, name in likely)] if likely else []
    return "; ".join(said)


def verdict(qa: Mapping[str, Any], judged: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """{"ok", "text"} of a judged answer."""
    if judged is None:
        return None
    ok = judged["right"] if judged["right"] is not None else judged["covered"]
    known = judged["true"] is not None and not judged["one_sided"] and qa["unit"] in UNITS
    truth = f"{judged['true'] * UNITS[qa['unit']].factor:.4g} {qa['unit']}" if known else judged["truth"]
    return {"ok": bool(ok), "text": judged["problem"] or f"truth {truth}"}


def _finite(*values: Any) -> bool:
    return all(isinstance(v, int | float) and math.isfinite(v) for v in values)
