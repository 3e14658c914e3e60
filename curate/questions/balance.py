"""Which candidates are written: a global selection by stable hash, the same in every order of arrival."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from curate.questions.config import QuestionsConfig
from curate.questions.draw import stable_hash
from curate.questions.question import Question

OVER_CLIP = "more than max_per_clip"
OVER_ANSWER = "answer over its share"
OVER_WEIGHT = "over the family's weight"


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
    return Row(q["id"], q["family"], q["form"], answer if isinstance(answer, str) else "", q["extra"]["clip"])


@dataclass
class Selection:
    """Kept ids, and how many were left out by (family, reason). Together they are all candidates."""

    ids: set[str] = field(default_factory=set)
    left_out: Counter = field(default_factory=Counter)


def thin(rows: Iterable[Row], config: QuestionsConfig, left_out: Counter) -> list[tuple[int, Row]]:
    """What one clip keeps, each with its rank: weights thin a family, then the clip keeps `max_per_clip`, its families
    in turn. Depends on nothing but the clip.

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
    if not ranked or len(ranked) <= (config.max_per_clip or len(ranked)):
        return ranked
    turn = _in_turn(ranked, ranked[0][1].clip, config.seed)
    left_out.update((row.family, OVER_CLIP) for _, row in turn[config.max_per_clip:])
    return turn[:config.max_per_clip]


def answer_limits(counts: Mapping[tuple[str, str, str], int], config: QuestionsConfig,
                  ranks: Callable[[dict[tuple[str, str, str], int]], Mapping[tuple[str, str, str], int]],
                  left_out: Counter) -> dict[tuple[str, str, str], int]:
    """The largest rank kept of every answer that is over its share; answers that are not in it are kept whole.

    Args:
        counts: (family, form, answer) -> how many `thin` kept of it, over all clips.
        ranks: (family, form, answer) -> k to the k-th smallest rank of each; asked once, for those over their share.
        left_out: counted into.
    """
    shares: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for (family, form, answer), count in counts.items():
        if answer:
            shares[family, form][answer] = count
    caps = {}
    for (family, form), answers in shares.items():
        cap = answer_cap(list(answers.values()), config.balance.max_answer_share, config.balance.answer_floor)
        for answer, count in answers.items():
            if count > cap:
                caps[family, form, answer] = cap
                left_out[family, OVER_ANSWER] += count - cap
    limits = {name: -1 for name, cap in caps.items() if not cap}
    return limits | dict(ranks({name: cap for name, cap in caps.items() if cap}) if len(limits) < len(caps) else {})


def select(rows: Iterable[Row], config: QuestionsConfig) -> Selection:
    """
    Weights thin a family, then a clip keeps `max_per_clip` (its families in turn), then no answer of a family's
    choices keeps more than `max_answer_share`, or `answer_floor` items where that is more. Holds all rows; the write
    pass does the same steps clip by clip.

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
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for rank, candidate in kept:
        groups[candidate.family, candidate.form, candidate.answer].append(rank)
    limits = answer_limits({name: len(ranks) for name, ranks in groups.items()}, config,
                           lambda caps: {name: sorted(groups[name])[cap - 1] for name, cap in caps.items()},
                           selection.left_out)
    selection.ids = {row.id for rank, row in kept
                     if (limit := limits.get((row.family, row.form, row.answer))) is None or rank <= limit}
    return selection


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
