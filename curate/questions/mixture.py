"""A target mixture: how many of each column are kept so that what comes out has the shares that were asked for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from curate.questions.columns import OTHER, column
from curate.questions.config import MixtureConfig


def column_of(family: str, by: str) -> str:
    """What a mixture counts a family as."""
    return family if by == "family" else column(family, by)


def column_quotas(counts: Mapping[str, int], shares: Mapping[str, float], tolerance: float) -> dict[str, int]:
    """How many of each column are kept.

    Shares are taken over the columns that have candidates at all. Where some have too few, the others are kept as long
    as none exceeds its share by more than `tolerance`, relatively.

    Args:
        counts: column -> candidates. shares: column -> weight; others get nothing.

    Returns:
        column -> number, at most its candidates.

    >>> column_quotas({"a": 100, "b": 100, "c": 7}, {"a": 3, "b": 1}, 0.0)
    {'a': 99, 'b': 33, 'c': 0}
    """
    present = {name: shares[name] for name in sorted(counts) if counts[name] and shares.get(name, 0) > 0}
    total = sum(present.values())
    part = {name: weight / total for name, weight in present.items()}

    def kept(size: int) -> dict[str, int]:
        return {name: min(counts[name], math.floor(share * size + 1e-9)) for name, share in part.items()}

    def fits(size: int) -> bool:
        found = kept(size)
        most = (1 + tolerance) * sum(found.values())
        return all(found[name] <= share * most + 1e-6 for name, share in part.items())

    low = max(min((math.floor(counts[name] / share) for name, share in part.items()), default=0), 0)  # exact
    high = max((math.ceil(counts[name] / share) for name, share in part.items()), default=0)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return {name: 0 for name in counts} | kept(low)


def family_quotas(counts: Mapping[str, int], quota: int) -> dict[str, int]:
    """A column's number among its families: as even as their candidates allow; what is left over goes by name.

    >>> family_quotas({"a": 50, "b": 3, "c": 50}, 24)
    {'b': 3, 'a': 11, 'c': 10}
    """
    out, left = {}, quota
    for place, name in enumerate(sorted(counts, key=lambda n: (counts[n], n))):
        out[name] = min(counts[name], -(-left // (len(counts) - place)))
        left -= out[name]
    return out


def mixture_quotas(counts: Mapping[str, int], mixture: MixtureConfig) -> dict[str, int]:
    """Family -> how many are kept; `counts`: family -> candidates."""
    columns: dict[str, dict[str, int]] = {}
    for family, count in counts.items():
        columns.setdefault(column_of(family, mixture.by), {})[family] = count
    quotas = column_quotas({name: sum(own.values()) for name, own in columns.items()}, mixture.shares,
                           mixture.tolerance)
    return {family: most for name, own in columns.items() for family, most in family_quotas(own, quotas[name]).items()}


def mixture_report(mixture: MixtureConfig, candidates: Mapping[str, int], kept: Mapping[str, int]) -> dict[str, Any]:
    """What came out against the target.

    Args:
        candidates, kept: family -> questions, before and after the selection.

    Returns:
        {"by", "questions", "columns": [{"column", "target", "share", "questions", "candidates"}]}; shares sum to 1.
    """
    before, after = (_by_column(counts, mixture.by) for counts in (candidates, kept))
    total, weights = sum(after.values()), sum(mixture.shares.values())
    names = [*mixture.shares, *sorted(name for name in before if name not in mixture.shares and name != OTHER)]
    names += [OTHER] if OTHER in before and OTHER not in mixture.shares else []
    return {"by": mixture.by, "questions": total, "columns": [
        {"column": name, "target": mixture.shares.get(name, 0.0) / weights,
         "share": after[name] / total if total else 0.0, "questions": after[name], "candidates": before[name]}
        for name in names]}


def _by_column(counts: Mapping[str, int], by: str) -> Counter:
    out: Counter = Counter()
    for family, count in counts.items():
        out[column_of(family, by)] += count
    return out
