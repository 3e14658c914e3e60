"""Answers against truths: per family and column, with intervals clustered by recording, and strict letters beside."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from curate.bench.intervals import Mean, clustered_mean
from curate.bench.predictions import Predictions
from curate.bench.truths import Item
from curate.questions.columns import OTHER, TITLES, Scheme, column, columns
from curate.questions.verifier import read_choice, read_number, strict_letter
from curate.rewards import score
from curate.rewards.record import answer_of, as_text

SCHEMES: tuple[Scheme, ...] = ("r4d", "mllm4d")
HEADINGS = {"r4d": "R4D-Bench", "mllm4d": "MLLM-4D"}


@dataclass(frozen=True)
class Scored:
    """One question.

    Args:
        kind: its answer type. score: 0..1 by its metric; 0 where there is no answer.
        strict: of a choice, 1 where the text is the right letter and nothing else; nan of anything else.
        answered: there is an answer. read: it could be made sense of.
    """

    id: str
    family: str
    recording: str
    kind: str
    metric: str
    score: float
    strict: float
    answered: bool
    read: bool
    given: str


@dataclass(frozen=True)
class Row:
    """A line of the table. `strict` has the choices alone; `num_missing` have no answer and count as wrong."""

    name: str
    title: str
    score: Mean
    strict: Mean
    num_missing: int
    num_unread: int

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "title": self.title, "missing": self.num_missing, "unread": self.num_unread,
                "score": _numbers(self.score), "strict": _numbers(self.strict)}


def _numbers(mean: Mean) -> dict[str, Any]:
    return {"n": mean.num, "recordings": mean.num_clusters, "value": mean.value if mean.num else None,
            "low": mean.low, "high": mean.high}


@dataclass
class Report:
    """Every scored question and what the file of answers lacked.

    Args:
        missing: ids without an answer. unknown: ids of answers to no question. doubled, conflicting: as of
            `Predictions`. repeated: ids that the truth itself has twice.
        places: family -> column, by scheme, where it is not that of `curate.questions.columns`.
    """

    items: list[Scored]
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    conflicting: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    places: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def column_of(self, family: str, scheme: Scheme) -> str:
        """The column of a family; one that is called as a column is that column (benchmarks name their own)."""
        if family in self.places.get(scheme, {}):
            return self.places[scheme][family]
        if (found := column(family, scheme)) != OTHER:
            return found
        plain = family.lower().replace("_", " ")
        named = [name for name in columns(scheme)
                 if plain in (name.lower().replace("_", " "), TITLES.get(name, name).lower())]
        return named[0] if named else OTHER

    def families(self) -> list[Row]:
        """One row a family, by name."""
        return [self._row(name, name.replace("_", " "), lambda i, name=name: i.family == name)
                for name in sorted({item.family for item in self.items})]

    def by_column(self, scheme: Scheme) -> list[Row]:
        """One row a column that has questions, in the scheme's order, then the mean of these columns."""
        place = {family: self.column_of(family, scheme) for family in {item.family for item in self.items}}
        there = [name for name in columns(scheme) if name in place.values()]
        out = [self._row(name, TITLES.get(name, name.replace("_", " ")), lambda i, name=name: place[i.family] == name)
               for name in there]
        if len(there) > 1:
            out.append(self._row("mean", f"mean of {len(there)} of {len(columns(scheme))} columns",
                                 lambda i: place[i.family] in there, lambda i: place[i.family]))
        return out

    def total(self) -> Row:
        return self._row("all", "all questions", lambda i: True)

    def of_kind(self) -> list[Row]:
        """One row a kind of answer: choices, numbers, and the open ones by their metric."""
        kinds = sorted({(i.kind, i.metric) for i in self.items},
                       key=lambda k: (k[0] not in ("choice", "number"), k))
        return [self._row(f"{kind}/{metric}", f"{kind} ({metric})",
                          lambda i, k=kind, m=metric: (i.kind, i.metric) == (k, m)) for kind, metric in kinds]

    def _row(self, name: str, title: str, belongs: Callable[[Scored], bool],
             group: Callable[[Scored], str] | None = None) -> Row:
        items = [item for item in self.items if belongs(item)]
        strict = [item for item in items if not math.isnan(item.strict)]

        def mean(of: Sequence[Scored], value: Callable[[Scored], float]) -> Mean:
            groups = [group(i) for i in of] if group else None
            return clustered_mean([value(i) for i in of], [i.recording for i in of], groups)

        return Row(name, title, mean(items, lambda i: i.score), mean(strict, lambda i: i.strict),
                   sum(not i.answered for i in items), sum(i.answered and not i.read for i in items))

    def to_json(self) -> dict[str, Any]:
        return {"all": self.total().to_json(), "kinds": [row.to_json() for row in self.of_kind()],
                "families": [row.to_json() for row in self.families()],
                **{scheme: [row.to_json() for row in self.by_column(scheme)] for scheme in SCHEMES},
                "missing": self.missing, "unknown": self.unknown, "doubled": self.doubled,
                "conflicting": self.conflicting, "repeated": self.repeated,
                "items": [{name: None if value != value else value for name, value in asdict(i).items()}
                          for i in self.items]}


def scored(item: Item, text: str | None) -> Scored:
    """One answer against its question; None is no answer."""
    record = item.record
    said = answer_of(as_text(text), record)
    given, read = said[:80], bool(said)
    strict = math.nan
    if record["answer_type"] == "choice":
        given = read_choice(said, record["options"], record["unit"]) or ""
        strict, read = float(strict_letter(as_text(text), record["tags"]) == record["letter"]), bool(given)
    elif record["answer_type"] == "number":
        number = read_number(said, record["unit"])
        given, read = ("" if number is None else f"{number:.10g}"), number is not None
    return Scored(item.id, item.family, item.recording, record["answer_type"], record["metric"],
                  score(text, record) if text is not None else 0.0, strict, text is not None, read, given)


def score_items(items: Iterable[Item], predictions: Predictions | None = None,
                places: Mapping[str, Mapping[str, str]] | None = None) -> Report:
    """
    Args:
        items: questions with their truth; read once, so that a set of any size may be streamed.
        predictions: the answers; None takes each item's own `response`.
        places: as of `Report`.

    Raises:
        ValueError: where a question has no truth that its metric could compare with.
    """
    report = Report([], places=places or {})
    if predictions is not None:
        report.doubled, report.conflicting = list(predictions.doubled), list(predictions.conflicting)
    known: set[str] = set()
    for item in _once(items, known, report.repeated):
        text = item.response if predictions is None else predictions.texts.get(item.id)
        report.items.append(scored(item, text))
        if text is None:
            report.missing.append(item.id)
    if predictions is not None:
        report.unknown = [name for name in predictions.texts if name not in known]
    return report


def _once(items: Iterable[Item], known: set[str], repeated: list[str]) -> Iterator[Item]:
    for item in items:
        if item.id in known:
            repeated.append(item.id)
            continue
        known.add(item.id)
        yield item
