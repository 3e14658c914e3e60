"""How many of the held-out questions a student answers, family by family, beside a guesser that sees no video."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from curate.bench import Item, Predictions, Scored, score_items
from curate.bench import Report as Scores
from curate.bench.intervals import Mean, clustered_mean
from curate.rewards import as_record

IGNORED = -100
LETTERS = "ABCDE"


def letters(batch: Any, logits: torch.Tensor, tokenizer: Any) -> list[str]:
    """The likeliest letter of each choice, by the logits where its answer begins.

    The batch has the answers; a causal model has not seen them at the place that is read.

    Args:
        batch: all of its questions are choices, answered by a letter alone.
        logits: [B, L, vocabulary], or those of the last places alone, from before the first answer on.

    Raises:
        ValueError: where a letter is more than one token, or the answers do not begin with it.
    """
    labels, out = batch.inputs["labels"], []
    first = labels.shape[1] - logits.shape[1]
    for row, record in enumerate(batch.records):
        begin = int((labels[row] != IGNORED).nonzero()[0, 0])
        tokens = _letter_tokens(tokenizer, labels[row, begin:begin + 2].tolist(), record["letter"])
        at, ids = begin + tokens[0], tokens[1][:len(record["options"])]
        out.append(LETTERS[int(logits[row, at - 1 - first, ids].argmax())])
    return out


def _letter_tokens(tokenizer: Any, first: list[int], letter: str) -> tuple[int, list[int]]:
    """(place, token of each of A to E there): a template may put white space before the letter."""
    for place, token in enumerate(first):
        text = tokenizer.decode([token])
        if text.strip() == letter:
            found = [tokenizer(text.replace(letter, other), add_special_tokens=False)["input_ids"] for other in LETTERS]
            if all(len(ids) == 1 for ids in found):
                return place, [ids[0] for ids in found]
    raise ValueError(f"the answer {letter!r} begins with {[tokenizer.decode([t]) for t in first]}, not with a letter "
                     "that is one token; set eval.method: generate")


@dataclass
class Said:
    """What was answered: records of the questions, texts by id, seconds that it took."""

    records: list[dict[str, Any]]
    texts: dict[str, str]
    seconds: float


def answered(batches: Iterable[Any], answer: Callable[[Any], list[str]]) -> Said:
    """
    Args:
        batches: with `ids` and `records`, each question once.
        answer: a batch to texts, one a question.
    """
    begin, out = time.perf_counter(), Said([], {}, 0.0)
    for batch in batches:
        out.records += batch.records
        out.texts.update(zip(batch.ids, answer(batch)))
    out.seconds = time.perf_counter() - begin
    return out


def judged(said: Said, blind: Mapping[str, str], step: int, method: str) -> Evaluation:
    """
    Args:
        blind: the blind guesser's answers by id.

    Raises:
        ValueError: where nothing was asked.
    """
    if not said.records:
        raise ValueError("eval: no question to evaluate on; the held-out split has none of data.families and of the "
                         "forms that eval.method can judge (rank: choices)")
    items = [Item(r["id"], r["family"], str(r.get("recording") or r["extra"].get("recording")), as_record(r))
             for r in said.records]
    scores = [score_items(items, Predictions({r["id"]: texts.get(r["id"], "") for r in said.records}))
              for texts in (said.texts, blind)]
    return Evaluation(step, method, said.seconds, *scores)


@dataclass
class Evaluation:
    """One evaluation.

    Args:
        step: of the run, 0 before it. method: "rank" or "generate". seconds: that answering took.
        student, blind: scores of the same questions.
    """

    step: int
    method: str
    seconds: float
    student: Scores
    blind: Scores

    def differences(self) -> dict[str, Mean]:
        """Student less blind guesser, question by question: "all" and every family, with the interval of paired
        differences clustered by recording."""
        other = {item.id: item.score for item in self.blind.items}
        rows = [(item.family, item.recording, item.score - other[item.id]) for item in self.student.items]
        families = sorted({family for family, _, _ in rows})
        return {"all": paired(rows), **{f: paired([row for row in rows if row[0] == f]) for f in families}}

    def to_json(self) -> dict[str, Any]:
        difference = {name: {"value": m.value, "low": m.low, "high": m.high, "n": m.num, "recordings": m.num_clusters}
                      for name, m in self.differences().items()}
        return {"step": self.step, "method": self.method, "seconds": round(self.seconds, 2),
                "student": self.student.to_json(), "blind": self.blind.to_json(), "student_less_blind": difference}

    def write(self, path: Path) -> None:
        temp = path.with_name(f".{path.name}.partial")
        temp.write_text(json.dumps(self.to_json(), ensure_ascii=False) + "\n", "utf-8")
        temp.rename(path)

    @staticmethod
    def read(path: Path) -> Evaluation:
        """What `write` wrote."""
        found = json.loads(path.read_text("utf-8"))
        scores = [Scores([Scored(**item | {"strict": math.nan if item["strict"] is None else item["strict"]})
                          for item in found[who]["items"]]) for who in ("student", "blind")]
        return Evaluation(found["step"], found["method"], found["seconds"], *scores)

    def shares(self) -> dict[str, float]:
        """Mean score by name: "all" and every family."""
        return {row.name: row.score.value for row in (self.student.total(), *self.student.families())}


def paired(rows: Sequence[tuple[str, str, float]]) -> Mean:
    """Mean of differences in -1..1 with its clustered 95 % interval; rows are (family, recording, difference)."""
    mean = clustered_mean([(1 + difference) / 2 for _, _, difference in rows], [recording for _, recording, _ in rows])
    return Mean(2 * mean.value - 1, 2 * mean.low - 1, 2 * mean.high - 1, mean.num, mean.num_clusters)


def table(evaluation: Evaluation, before: Evaluation | None = None) -> Any:
    """A rich table, a row a family: how many, what the student has right (before, now), the guesser, the difference."""
    from rich.table import Table

    out = Table(title=f"Held-out questions right, % (step {evaluation.step}, {evaluation.method})")
    out.add_column("", no_wrap=True)
    columns = ["n", "recordings", *(["before"] if before else []), "student", "95 % interval", "blind",
               "student - blind", "95 % interval"]
    for name in columns:
        out.add_column(name, justify="right", no_wrap=True)
    for cells in rows(evaluation, before):
        if cells[0] == "all":
            out.add_section()
        out.add_row(*cells)
    return out


def rows(evaluation: Evaluation, before: Evaluation | None = None) -> list[list[str]]:
    """Cells of the table, families by name and "all" at the end."""
    differences, earlier = evaluation.differences(), before.shares() if before else {}
    blind = {row.name: row.score for row in (evaluation.blind.total(), *evaluation.blind.families())}
    out = []
    for row in (*evaluation.student.families(), evaluation.student.total()):
        gap = differences[row.name]
        out.append([row.name, str(row.score.num), str(row.score.num_clusters),
                    *([f"{100 * earlier[row.name]:.1f}"] if before else []), f"{100 * row.score.value:.1f}",
                    _interval(row.score), f"{100 * blind[row.name].value:.1f}", f"{100 * gap.value:+.1f}",
                    _interval(gap)])
    return out


def _interval(mean: Mean) -> str:
    return f"{100 * mean.low:.1f} to {100 * mean.high:.1f}"
