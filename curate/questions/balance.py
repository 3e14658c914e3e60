"""Which candidates are written: a global selection by stable hash, the same in every order of arrival."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
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


def select(rows: Iterable[Row], config: QuestionsConfig) -> Selection:
    """
    Weights thin a family, then a clip keeps `max_per_clip` (its families in turn), then no answer of a family's
    choices keeps more than `max_answer_share`, or `answer_floor` items where that is more.

    Raises:
        ValueError: where an id comes twice.
    """
    selection, weights = Selection(), config.weights()
    by_clip: dict[str, list[tuple[int, Row]]] = defaultdict(list)
    seen = set()
    for candidate in rows:
        if candidate.id in seen:
            raise ValueError(f"question id {candidate.id!r} comes twice; ids must be unique in a set")
        seen.add(candidate.id)
        rank = stable_hash("select", config.seed, candidate.id)
        if rank >= weights.get(candidate.family, 1.0) * 2**64:
            selection.left_out[candidate.family, OVER_WEIGHT] += 1
        else:
            by_clip[candidate.clip].append((rank, candidate))
    by_answer: dict[tuple[str, str], dict[str, list[tuple[int, Row]]]] = defaultdict(lambda: defaultdict(list))
    for clip in sorted(by_clip):
        turn = _in_turn(by_clip[clip], clip, config.seed)
        limit = config.max_per_clip or len(turn)
        for ranked in turn[:limit]:
            by_answer[ranked[1].family, ranked[1].form][ranked[1].answer].append(ranked)
        selection.left_out.update((ranked[1].family, OVER_CLIP) for ranked in turn[limit:])
    for (family, _), answers in by_answer.items():
        cap = answer_cap([len(items) for answer, items in answers.items() if answer], config.balance.max_answer_share,
                         config.balance.answer_floor)
        for answer, items in answers.items():
            kept = sorted(items)[:cap] if answer else items
            selection.ids.update(r.id for _, r in kept)
            if over := len(items) - len(kept):
                selection.left_out[family, OVER_ANSWER] += over
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
