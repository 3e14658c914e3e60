"""Is a stated error true? Normal scores of truths from stated quantiles, shares inside intervals, clusters.

Every item is a dict (`benchmarks.compare`); what is needed here: "z", "inside" (level in percent -> bool), "miss"
(-1 truth below the 95 % interval, 1 above, 0 inside), "scene" (its cluster), "depth_m", "relative_error",
"half_width", "oracle" (the ideal estimator's, nan where it has none), "value", "error" and "at_zero" (a truth at the
end of what a quantity can be has no normal score).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import beta, norm

from curate.measure.quantity import LEVELS

PERCENTS = (50, 80, 95, 99)
SCORES = norm.ppf(LEVELS)
MAX_SCORE = 8.0
SOURCES = ("own", "pose", "rig", "scale")


def normal_score(truth: float, quantiles: Sequence[float]) -> float:
    """Where a truth lies in a stated distribution, as a standard normal number, clipped to ±8.

    Between stated levels linear in the normal score; beyond the last level with the slope between the last two, so
    that a normal distribution's own quantiles give back (truth − mean) / sigma exactly. Ties take their highest level.
    """
    q = np.asarray(quantiles, float)
    if truth < q[0] or truth > q[-1]:
        a, b, end = (0, 1, 0) if truth < q[0] else (-2, -1, -1)
        step = (q[b] - q[a]) / (SCORES[b] - SCORES[a])
        beyond = (truth - q[end]) / step if step > 0 else math.copysign(math.inf, truth - q[end])
        return float(np.clip(SCORES[end] + beyond, -MAX_SCORE, MAX_SCORE))
    last = int(np.searchsorted(q, truth, side="right")) - 1
    if last == len(q) - 1:
        return float(SCORES[-1])
    share = (truth - q[last]) / (q[last + 1] - q[last])
    return float(SCORES[last] + share * (SCORES[last + 1] - SCORES[last]))


def size_score(score: float) -> float:
    """Normal score of an error that has a size and no sign (an angle), from its place among stated sizes: an error of
    no size is 0, one at their 95 % level 1.96, and honest ones have a mean square of one."""
    return float(min(norm.isf(norm.sf(score) / 2), MAX_SCORE))


def inside(truth: float, quantiles: Sequence[float], one_sided: bool) -> dict[str, bool]:
    """Level in percent -> whether the truth is inside of the stated interval.

    Args:
        one_sided: the quantiles are of an error that is never negative (an angle): the interval starts at zero.
    """
    score = normal_score(truth, quantiles)
    out = {}
    for percent in PERCENTS:
        if one_sided:
            out[str(percent)] = bool(score <= norm.ppf(percent / 100) + 1e-9)
        else:
            at = LEVELS.index(round((1 - percent / 100) / 2, 4))
            low, high = quantiles[at], quantiles[len(LEVELS) - 1 - at]
            slack = 1e-9 * max(1.0, abs(truth))
            out[str(percent)] = bool(low - slack <= truth <= high + slack)
    return out


def summary(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures of some items; nan where there is nothing to count."""
    n = len(items)
    out: dict[str, Any] = {"n": n, "clips": len({i["scene"] for i in items})}
    for percent in PERCENTS:
        out[f"in{percent}"] = _mean([i["inside"][str(percent)] for i in items])
    out["low_miss"], out["high_miss"] = (_mean([i["miss"] == side for i in items]) for side in (-1, 1))
    z = np.array([i["z"] for i in items if not i["at_zero"]])
    out |= spread(z) | {"at_zero": n - len(z)}
    out["relative_error"] = _median([i["relative_error"] for i in items])
    out["half_width"] = _median([i["half_width"] for i in items])
    out["relative_half_width"] = _median([i["half_width"] / abs(i["truth"]) for i in items
                                          if i["truth"] and not i["at_zero"]])
    out["over_oracle"] = _median([i["half_width"] / i["oracle"] for i in items if i.get("oracle", 0) > 0])
    totals = [(i["error"], sum(i["error"].values())) for i in items]
    for source in SOURCES:
        out[f"share_{source}"] = _mean([e.get(source, 0) / t for e, t in totals if t > 0])
    out["n_eff"] = effective_number(items)
    return out


def spread(z: np.ndarray) -> dict[str, float]:
    """Mean, standard deviation (of scores clipped to ±4, that one gross error decides nothing), its 95 % uncertainty,
    and a robust one from the middle half."""
    if not len(z):
        return dict.fromkeys(("z_mean", "z_sd", "z_sd_pm", "z_robust"), math.nan)
    cut = np.clip(z, -4, 4)
    return {"z_mean": float(cut.mean()), "z_sd": float(np.sqrt(np.mean(cut**2))),
            "z_sd_pm": 1.96 / math.sqrt(2 * len(z)),
            "z_robust": float(np.subtract(*np.percentile(z, [75, 25])) / 1.349)}


def thirds(items: Sequence[dict[str, Any]], of: str = "depth_m") -> list[list[dict[str, Any]]]:
    """Items in three equal parts by depth, near first; those without a depth are left out."""
    known = sorted((i for i in items if i.get(of) is not None and math.isfinite(i[of])),
                   key=lambda i: (i[of], i["scene"]))
    cuts = [round(len(known) * k / 3) for k in range(4)]
    return [known[a:b] for a, b in pairwise(cuts)]


def effective_number(items: Sequence[dict[str, Any]], percent: int = 95) -> float:
    """Number of independent items that say as much as these, which come in clips.

    Design effect 1 + (m − 1) ρ (Kish 1965) with m the mean size met by an item, and ρ the correlation inside a clip
    by moments, under the hypothesis that `percent` hold; ρ is at least 0.
    """
    n = len(items)
    if not n:
        return 0.0
    p = percent / 100
    residual = np.array([float(i["inside"][str(percent)]) for i in items]) - p
    _, index = np.unique([i["scene"] for i in items], return_inverse=True)
    sizes, sums, squares = (np.bincount(index, weights=w) for w in (np.ones(n), residual, residual**2))
    pairs = (sizes * (sizes - 1)).sum()
    rho = float(np.clip((sums**2 - squares).sum() / max(pairs, 1) / (p * (1 - p)), 0, 1))
    return float(n / (1 + ((sizes**2).sum() / n - 1) * rho))


def binomial_interval(share: float, n: float, confidence: float = 0.99) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share of n (effective, need not be whole)."""
    if not n > 0:
        return 0.0, 1.0
    k, tail = share * n, (1 - confidence) / 2
    low = float(beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    high = float(beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return low, high


def _mean(values: list) -> float:
    return float(np.mean(values)) if values else math.nan


def _median(values: list) -> float:
    values = [v for v in values if math.isfinite(v)]
    return float(np.median(values)) if values else math.nan
