"""A file of a model's answers: what was said to which question, and what is doubled."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from curate.bench.files import BadFile, first, rows
from curate.rewards.record import as_text

ID = ("id", "question_id", "qid", "key")
TEXT = ("text", "response", "prediction", "output", "completion", "generated", "vlm_model_output", "answer")


@dataclass
class Predictions:
    """
    Args:
        texts: id -> the first answer given to it.
        doubled: ids with more than one answer; `conflicting`: those of them whose answers differ.
        num_rows: of the file.
    """

    texts: dict[str, str] = field(default_factory=dict)
    doubled: list[str] = field(default_factory=list)
    conflicting: list[str] = field(default_factory=list)
    num_rows: int = 0

    def add(self, name: str, text: str) -> None:
        """The first answer to a question counts: a second one would be a second try."""
        self.num_rows += 1
        if name not in self.texts:
            self.texts[name] = text
            return
        if name not in self.doubled:
            self.doubled.append(name)
        if text != self.texts[name] and name not in self.conflicting:
            self.conflicting.append(name)


def read_predictions(path: Path) -> Predictions:
    """
    Args:
        path: JSON lines (or one JSON list) of objects with an id (`id`, `question_id`, `qid`, `key`) and a text
            (`text`, `response`, `prediction`, `output`, `completion`, `answer`: text, number, or chat messages); or one
            JSON object of texts by id.

    Raises:
        BadFile: names file and line.
    """
    out = Predictions()
    for where, row in rows(path):
        name = first(row, ID)
        if not isinstance(name, (str, int)):
            raise BadFile(f"{where}: no id; expected one of the fields {', '.join(ID)}")
        if not any(field in row for field in TEXT):
            raise BadFile(f"{where}: no answer; expected one of the fields {', '.join(TEXT)}")
        out.add(str(name), as_text(first(row, TEXT)))
    return out
