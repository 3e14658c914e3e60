"""Which candidates are written: a global selection by stable hash, the same in every order of arrival."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from curate.questions.config import QuestionsConfig
from curate.questions.draw import stable_hash
from curate.questions.guessers import known_answer
from curate.questions.mixture import column_of, mixture_quotas
from curate.questions.question import Question

OVER_CLIP = "more than max_per_clip"
OVER_CLIP_FAMILY = "more than max_per_clip_family"
OVER_FAMILY = "more than max_per_family"
OVER_ANSWER = "answer over its share"
OVER_WEIGHT = "over the family's weight"
OVER_MIXTURE = "over the mixture's share"
NOT_IN_MIXTURE = "not in the mixture"

Group = tuple[str, str, str]  # family, form, answer
NO_LIMIT = 2**64


class Row(NamedTuple):
    """What the selection needs to know of a candidate."""

    id: str
    family: str
    form: str
    answer: str  # the category of a choice among categories; "" where answers are numbers
    clip: str


def row(question: Question | Mapping[str, Any]) -> Row:
    """The compact row of a question or of its `to_json()`."""
    q = question if isinstance(question, Mapping) else vars(question)
    values = q["extra"].get("option_values") or []
    answer = values["ABCDE".index(q["letter"])] if q["letter"] and values else ""
    return Row(q["id"], q["family"], q["form"], known_answer(answer), q["extra"]["clip"])


@dataclass
class Limits:
    """The largest rank kept of what is not kept whole; -1 keeps none.

    Args:
        answers: by (family, form, answer). families: by family, in all its forms.
    """

    answers: dict[Group, int] = field(default_factory=dict)
    families: dict[str, int] = field(default_factory=dict)

    def of(self, family: str, form: str, answer: str) -> int:
        return min(self.answers.get((family, form, answer), NO_LIMIT), self.families.get(family, NO_LIMIT))


@dataclass
class Selection:
    """Kept ids, and how many were left out by (family, reason). Together they are all candidates."""

    ids: set[str] = field(default_factory=set)
    left_out: Counter = field(default_factory=Counter)


def thin(rows: Iterable[Row], config: QuestionsConfig, left_out: Counter) -> list[tuple[int, Row]]:
    """What one clip keeps, each with its rank: weights thin a family, then it keeps `max_per_clip_family`, then the
    clip keeps `max_per_clip`, its families in turn. Depends on nothing but the clip.

    Args:
        rows: every candidate of the clip.
        left_out: counted into, by (family, reason).

    Raises:
        ValueError: where an id comes twice.
    """
    weights, ranked, seen = config.weights(), [], set()
    for candidate in rows:
        if candidate.id in seen:
            raise ValueError(f"question id {candidate.id!r} comes twice; ids must be unique in a set")
        seen.add(candidate.id)
        rank = stable_hash("select", config.seed, candidate.id)
        if rank >= weights.get(candidate.family, 1.0) * 2**64:
            left_out[candidate.family, OVER_WEIGHT] += 1
        else:
            ranked.append((rank, candidate))
    if config.balance.max_per_clip_family:
        ranked = _first_of_families(ranked, config.balance.max_per_clip_family, left_out)
    if not ranked or len(ranked) <= (config.max_per_clip or len(ranked)):
        return ranked
    turn = _in_turn(ranked, ranked[0][1].clip, config.seed)
    left_out.update((row.family, OVER_CLIP) for _, row in turn[config.max_per_clip:])
    return turn[:config.max_per_clip]


def find_limits(counts: Mapping[Group, int], config: QuestionsConfig,
                kth_ranks: Callable[[dict[tuple[str, ...], int], Limits], Mapping[tuple[str, ...], int]],
                left_out: Counter) -> tuple[Limits, dict[str, int]]:
    """What of all candidates is kept: no answer over its share, then no family over its number, then the mixture.

    Args:
        counts: how many `thin` kept of each group, over all clips.
        kth_ranks: ({a group, or (family,): k}, limits so far) -> the k-th smallest rank of each within these limits.
        left_out: counted into, by (family, reason).

    Returns:
        the limits, and family -> questions kept.
    """
    caps = _answer_caps(counts, config)
    limits = Limits()
    limits.answers = _ranks(caps, limits, kth_ranks)
    for (family, _, _), (cap, count) in zip(caps, ((cap, counts[group]) for group, cap in caps.items())):
        left_out[family, OVER_ANSWER] += count - cap
    totals: Counter = Counter()
    for group, count in counts.items():
        totals[group[0]] += caps.get(group, count)
    kept = {family: min(count, config.balance.max_per_family or count) for family, count in sorted(totals.items())}
    for family, count in kept.items():
        left_out[family, OVER_FAMILY] += totals[family] - count
    if mixture := config.target():
        before, kept = kept, mixture_quotas(kept, mixture)
        for family, count in kept.items():
            inside = column_of(family, mixture.by) in mixture.shares
            left_out[family, OVER_MIXTURE if inside else NOT_IN_MIXTURE] += before[family] - count
    found = _ranks({(family,): count for family, count in kept.items() if count < totals[family]}, limits, kth_ranks)
    limits.families = {family: rank for (family,), rank in found.items()}
    for name in [name for name, count in left_out.items() if not count]:
        del left_out[name]
    return limits, dict(sorted(kept.items()))


def _answer_caps(counts: Mapping[Group, int], config: QuestionsConfig) -> dict[Group, int]:
    """How many are kept of every answer that is over its share."""
    shares: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for (family, form, answer), count in counts.items():
        if answer:
            shares[family, form][answer] = count
    caps = {}
    for (family, form), answers in shares.items():
        cap = answer_cap(list(answers.values()), config.balance.max_answer_share, config.balance.answer_floor)
        caps |= {(family, form, answer): cap for answer, count in answers.items() if count > cap}
    return caps


def _ranks(caps: Mapping[tuple[str, ...], int], limits: Limits, kth_ranks: Callable) -> dict[tuple[str, ...], int]:
    """The largest rank of as many as each may keep."""
    some = {name: cap for name, cap in caps.items() if cap}
    return {name: -1 for name, cap in caps.items() if not cap} | dict(kth_ranks(some, limits) if some else {})


def select(rows: Iterable[Row], config: QuestionsConfig) -> Selection:
    """
    First every clip by itself (`thin`), then the whole set (`find_limits`). Holds all rows; the write pass does the
    same steps clip by clip.

    Raises:
        ValueError: where an id comes twice.
    """
    selection = Selection()
    by_clip: dict[str, list[Row]] = defaultdict(list)
    seen = set()
    for candidate in rows:
        if candidate.id in seen:
            raise ValueError(f"question id {candidate.id!r} comes twice; ids must be unique in a set")
        seen.add(candidate.id)
        by_clip[candidate.clip].append(candidate)
    kept = [item for clip in by_clip.values() for item in thin(clip, config, selection.left_out)]

    def kth_ranks(wanted: dict[tuple[str, ...], int], limits: Limits) -> dict[tuple[str, ...], int]:
        return {name: sorted(rank for rank, row in kept if row[1:1 + len(name)] == name
                             and rank <= limits.of(row.family, row.form, row.answer))[k - 1]
                for name, k in wanted.items()}

    counts = Counter((row.family, row.form, row.answer) for _, row in kept)
    limits, _ = find_limits(counts, config, kth_ranks, selection.left_out)
    selection.ids = {row.id for rank, row in kept if rank <= limits.of(row.family, row.form, row.answer)}
    return selection


def _first_of_families(ranked: list[tuple[int, Row]], most: int, left_out: Counter) -> list[tuple[int, Row]]:
    """At most so many of each family, those of the lowest rank."""
    found: Counter = Counter()
    out = []
    for rank, candidate in sorted(ranked):
        found[candidate.family] += 1
        if found[candidate.family] <= most:
            out.append((rank, candidate))
        else:
            left_out[candidate.family, OVER_CLIP_FAMILY] += 1
    return out


def _in_turn(items: list[tuple[int, Row]], clip: str, seed: int) -> list[tuple[int, Row]]:
    """First the best of each family and form, then the second of each, and so on; which goes first, the clip's hash
    says.
    """
    groups: dict[tuple[str, str], list[tuple[int, Row]]] = defaultdict(list)
    for item in sorted(items):
        groups[item[1].family, item[1].form].append(item)
    first = {key: stable_hash("turn", seed, clip, *key) for key in groups}
    places = [(place, first[key], item) for key, group in groups.items() for place, item in enumerate(group)]
    return [item for _, _, item in sorted(places)]


def answer_cap(counts: list[int], max_share: float, floor: int) -> int:
    """Largest number kept of each answer, so that the most frequent one has at most `max_share`; at least `floor`.

    >>> answer_cap([90, 20, 10], 0.5, 0)
    30
    """
    if not counts:
        return 0
    low, high = 0, max(counts)
    while low < high:  # the largest share grows with the cap
        middle = (low + high + 1) // 2
        kept = [min(count, middle) for count in counts]
        if max(kept) <= max_share * sum(kept):
            low = middle
        else:
            high = middle - 1
    return max(low, floor)
