"""Reliability diagrams: the stated share of intervals against the observed, one small panel a family, as static SVG.

Both axes are stretched like normal deviates of a central interval, so that 95 and 99 % stand apart: on these axes an
error model whose sigma is wrong by a factor is a straight line through the origin with that factor's slope.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from statistics import NormalDist

from curate.report.coverage import CONFIDENCE, Curve, Point, clustered_interval, curve_of_hits, reliability_curve

__all__ = ["Curve", "Point", "clustered_interval", "curve_of_hits", "reliability_curve", "reliability_svg",
           "reliability_table"]

WIDTH, HEIGHT, HISTOGRAM = 240, 252, 58  # of a panel without histogram, and of that
LEFT, TOP, SIDE = 40, 44, 168  # of the plot in its panel
MAX_DEVIATE = 3.3  # 99.9 %: what holds more often is drawn here
TICKS = (0.5, 0.8, 0.95, 0.99)
LEAST_Z = 8  # fewer make no histogram
BIN, Z_RANGE = 0.5, 3.5

STYLE = """
.rel { font: 11px system-ui, -apple-system, "Segoe UI", sans-serif; --rel-ink: #1c1f23; --rel-dim: #6b7178;
 --rel-line: #dcdcd7; --rel-good: #1f6feb; --rel-bad: #c4312d; }
@media (prefers-color-scheme: dark) { .rel { --rel-ink: #e8e8e6; --rel-dim: #9aa0a8; --rel-line: #3a3f47;
 --rel-good: #6ea8ff; --rel-bad: #ff7b72; } }
.rel text { fill: var(--rel-dim); font: inherit; }
.rel .name { fill: var(--rel-ink); font-weight: 600; font-size: 13px; }
.rel .grid { stroke: var(--rel-line); fill: none; } .rel .ideal { stroke: var(--rel-dim); stroke-dasharray: 4 3; }
.rel .band { stroke: var(--c); stroke-width: 9; stroke-opacity: .25; }
.rel .dot { fill: var(--c); } .rel .curve { stroke: var(--rel-good); fill: none; stroke-width: 1.5; }
.rel .good { --c: var(--rel-good); } .rel .bad { --c: var(--rel-bad); }
.rel .bars { fill: var(--rel-good); fill-opacity: .35; } .rel .normal { stroke: var(--rel-dim); fill: none; }
"""


def _deviate(share: float) -> float:
    """Of a central interval that holds `share`: 1.96 for 0.95."""
    return min(NormalDist().inv_cdf((1 + share) / 2), MAX_DEVIATE) if share < 1 else MAX_DEVIATE


def _across(share: float) -> float:
    return round(LEFT + SIDE * _deviate(share) / MAX_DEVIATE, 1)


def _up(share: float) -> float:
    return round(TOP + SIDE * (1 - _deviate(share) / MAX_DEVIATE), 1)


def _title(family: str) -> str:
    return family.replace("_", " ")


def _in_words(curve: Curve) -> str:
    said = [f"of the {100 * p.level:.0f} % intervals {100 * p.share:.1f} % hold "
            f"({100 * p.low:.1f} to {100 * p.high:.1f} %)" for p in curve.points if p.n]
    return f"{_title(curve.family)}, n = {max((p.n for p in curve.points), default=0)}: " + (
        "; ".join(said) or "no answers")


def _n_eff(curve: Curve) -> float:
    return min(curve.points, key=lambda p: abs(p.level - 0.95)).n_eff if curve.points else 0.0


def _counts(curve: Curve) -> str:
    """n, and the effective n of the 95 % intervals."""
    if not curve.points or not curve.points[0].n:
        return "no answers"
    clips = f" in {curve.num_clusters} clip{'s' if curve.num_clusters != 1 else ''}" if curve.num_clusters else ""
    return f"n {curve.points[0].n}{clips}, effective {_n_eff(curve):.0f}"


def _histogram(z: Sequence[float], top: float) -> list[str]:
    """Normal scores of the truth under a standard normal of the same area; those beyond the ends count at the ends."""
    num_bins = round(2 * Z_RANGE / BIN)
    counts = [0] * num_bins
    for value in z:
        counts[min(max(math.floor((value + Z_RANGE) / BIN), 0), num_bins - 1) if math.isfinite(value) else
               (0 if value < 0 else num_bins - 1)] += 1
    peak = max(*counts, 0.42 * BIN * len(z))
    step, tall = SIDE / num_bins, HISTOGRAM - 22

    def y(height: float) -> float:
        return round(top + tall * (1 - height / peak), 1)

    bars = "".join(f"M{LEFT + i * step + 0.5:.1f} {top + tall}V{y(n)}h{step - 1:.1f}V{top + tall}z"
                   for i, n in enumerate(counts) if n)
    normal = NormalDist()
    curve = " ".join(f"{LEFT + SIDE * i / 56:.1f},{y(normal.pdf(-Z_RANGE + i / 8) * BIN * len(z))}" for i in range(57))
    ticks = "".join(f'<text x="{LEFT + SIDE * (t + Z_RANGE) / (2 * Z_RANGE):.1f}" y="{top + tall + 12}" '
                    f'text-anchor="middle">{f"{t:+d}" if t else "z 0"}</text>' for t in (-2, 0, 2))
    return [f'<path class="bars" d="{bars}"/>', f'<polyline class="normal" points="{curve}"/>', ticks]


def panel(curve: Curve, histogram: bool = True) -> str:
    """The drawing of one family, WIDTH wide, for placing in an svg element of class `rel`."""
    out = [f'<title>{escape(_in_words(curve))}</title>',
           f'<text class="name" x="4" y="15">{escape(_title(curve.family))}</text>',
           f'<text x="4" y="31">{_counts(curve)}</text>']
    bottom = TOP + SIDE
    out.append(f'<rect class="grid" x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}"/>')
    for tick in TICKS:
        x, y, text = _across(tick), _up(tick), f"{100 * tick:.0f}"
        out.append(f'<path class="grid" d="M{x} {bottom}V{TOP}M{LEFT} {y}H{LEFT + SIDE}"/>'
                   f'<text x="{x}" y="{bottom + 14}" text-anchor="middle">{text}</text>'
                   f'<text x="{LEFT - 5}" y="{y + 4}" text-anchor="end">{text}</text>')
    out.append(f'<text x="{LEFT - 5}" y="{bottom + 4}" text-anchor="end">0</text>'
               f'<text x="{LEFT - 5}" y="{TOP + 4}" text-anchor="end">100</text>'
               f'<text x="{LEFT + SIDE / 2}" y="{bottom + 28}" text-anchor="middle">stated %</text>'
               f'<text x="10" y="{TOP + SIDE / 2}" text-anchor="middle" '
               f'transform="rotate(-90 10 {TOP + SIDE / 2})">observed %</text>'
               f'<path class="ideal" d="M{LEFT} {bottom}L{LEFT + SIDE} {TOP}"/>')
    there = [p for p in curve.points if p.n]
    for p in there:
        x, kind = _across(p.level), "good" if p.honest else "bad"
        out.append(f'<g class="{kind}"><line class="band" x1="{x}" x2="{x}" y1="{_up(p.low)}" y2="{_up(p.high)}"/></g>')
    if len(there) > 1:
        points = " ".join(f"{_across(p.level)},{_up(p.share)}" for p in there)
        out.append(f'<polyline class="curve" points="{points}"/>')
    out += [f'<g class="{"good" if p.honest else "bad"}"><circle class="dot" r="3.5" cx="{_across(p.level)}" '
            f'cy="{_up(p.share)}"/></g>' for p in there]
    if histogram and len(curve.z) >= LEAST_Z:
        out += _histogram(curve.z, bottom + 38)
    return "\n".join(out)


def _height(curves: Sequence[Curve], histogram: bool) -> int:
    return HEIGHT + (HISTOGRAM if histogram and any(len(c.z) >= LEAST_Z for c in curves) else 0)


def reliability_svg(curves: Sequence[Curve], columns: int = 4, histogram: bool = True) -> str:
    """Small multiples in one picture that stands alone, in a page or as a file: readable on light and on dark.

    Args:
        curves: one a family (`reliability_curve`), or with points of one's own.
        columns: panels side by side. histogram: normal scores under each panel, where there are enough.

    Returns:
        an svg element with its own style, a title and a description in words for readers who do not see it.

    Raises:
        ValueError: where `columns` is below 1.
    """
    if columns < 1:
        raise ValueError(f"columns is {columns}; expected 1 or more")
    columns = min(columns, max(len(curves), 1))
    tall = _height(curves, histogram)
    width, height = columns * WIDTH, max(-(-len(curves) // columns), 1) * tall
    panels = "\n".join(f'<g transform="translate({i % columns * WIDTH} {i // columns * tall})">\n'
                       f'{panel(c, histogram)}\n</g>' for i, c in enumerate(curves))
    name = _title(curves[0].family) if len(curves) == 1 else "stated against observed share of intervals that hold"
    words = ". ".join(_in_words(c) for c in curves) or "no answers"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" class="rel" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img">\n'
            f'<title>Reliability: {escape(name)}</title>\n'
            f'<desc>{escape(words)}</desc>\n<style>{STYLE}</style>\n{panels}\n</svg>\n')


def reliability_table(curves: Sequence[Curve]) -> list[dict[str, object]]:
    """The numbers of the diagram, a row a family: {"family", "n", "n_eff" (of the 95 % intervals), "clips",
    "points": [Point], "z_mean", "z_std"}."""
    rows = []
    for curve in curves:
        z = [x for x in curve.z if math.isfinite(x)]
        mean = sum(z) / len(z) if z else math.nan
        spread = math.sqrt(sum((x - mean) ** 2 for x in z) / (len(z) - 1)) if len(z) > 1 else math.nan
        rows.append({"family": curve.family, "n": max((p.n for p in curve.points), default=0), "n_eff": _n_eff(curve),
                     "clips": curve.num_clusters, "points": list(curve.points), "z_mean": mean, "z_std": spread,
                     "confidence": CONFIDENCE})
    return rows
