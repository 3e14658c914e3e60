"""The questions that answers are scored against: those of a shard set, or of a benchmark's published file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.bench.files import BadFile, first, rows
from curate.questions.given import is_told
from curate.questions.verifier import LETTERS
from curate.rewards import Record, as_record
from curate.rewards.adapters.columns import WHOLE, record_from

CHOICES = ("choices", "options", "candidates")
ANSWER = ("answer", "solution", "ground_truth", "ground_truth_answer", "gt", "correct_answer")
RESPONSE = ("response", "prediction", "vlm_model_output", "output", "text")
FAMILY = ("family", "category", "task", "sub_task", "question_category", "problem_type", "question_type", "type")
CLIP = ("recording", "video", "video_path", "path", "video_id", "scene")
_LETTERED = re.compile(r"^\s*\(?([A-E])\)?\s*[.:)]\s+(.*)$", re.DOTALL)


@dataclass(frozen=True)
class Item:
    """One question with its truth. `recording`: what it shares errors with, the unit of clustered intervals.
    `response`: what stands beside it in a published file, None where the file has none."""

    id: str
    family: str
    recording: str
    record: Record
    response: Any = None


def shard_items(path: str | Path, split: str | None = None) -> Iterator[Item]:
    """Every question of a shard set, or of one split of it, whose answer can be judged.

    Args:
        path: a set, a run's output, one tar, or an address of a published set.

    Raises:
        ShardError: on a torn set, or a split that is not there.
    """
    from curate.shards import manifest, read
    from curate.shards.reader import find_root

    one_tar = "://" not in str(path) and Path(path).is_file()
    splits = [split or "train"] if one_tar or split else sorted(manifest.load(find_root(path))["splits"])
    for name in splits:
        for sample in read(path, name, flatten=False):
            for qa in sample["json"]["qa"]:
                if is_told(qa):  # someone's free words: nothing judges an answer by them
                    continue
                yield Item(qa["id"], qa["family"], sample["json"]["recording"], as_record(qa))


def published_items(path: Path) -> Iterator[Item]:
    """Questions of a published benchmark file, of a training file with records (`solution`, `ground_truth`), or records
    of `curate.questions` as JSON lines.

    A published question has its options in `choices`, `options` or `candidates` (an object by letter, or a list), its
    truth in `answer` or `solution` (option text, number, or letter), and may have a model's text in `response`.

    Raises:
        BadFile: names file and line.
    """
    for number, (where, row) in enumerate(rows(path)):
        name = first(row, ("id", "question_id", "qid", "key"))
        try:
            record = as_record(row) if "answer_type" in row or "form" in row else _exported(row) or _record(row)
        except ValueError as error:
            raise BadFile(f"{where}: {error}") from None
        yield Item(str(number if name is None else name), str(first(row, FAMILY) or record["family"] or "all"),
                   str(first(row, CLIP) or record["extra"].get("recording") or number), record, first(row, RESPONSE))


def has_truth(path: Path) -> bool:
    """Whether a file's first row is a question with its truth, and not only an answer."""
    _, row = next(rows(path))
    if "answer_type" in row or "form" in row:
        return True
    try:
        if _exported(row):
            return True
    except ValueError:  # which `published_items` will say with its place
        return True
    return first(row, CHOICES) is not None and first(row, ANSWER) is not None


def _exported(row: dict[str, Any]) -> Record | None:
    """Of a training file: the record in `solution`, `ground_truth` or `reward_model`; None where there is none."""
    for name in WHOLE:
        value = row.get(name)
        if isinstance(value, dict) or (isinstance(value, str) and value.lstrip().startswith("{")):
            return record_from(value)
    return None


def _record(row: dict[str, Any]) -> Record:
    choices, answer = first(row, CHOICES), first(row, ANSWER)
    if answer is None:
        raise ValueError(f"no truth; expected one of the fields {', '.join(ANSWER)}")
    answer = _untagged(answer)
    if not choices:
        number = answer if isinstance(answer, (int, float)) else None
        kind, metric = ("text", "accuracy") if number is None else ("number", "mra")
        return as_record({"answer_type": kind, "metric": metric, "answer": str(answer), "value": number})
    options = _options(choices)
    if not 2 <= len(options) <= len(LETTERS):
        raise ValueError(f"{len(options)} options; expected 2 to {len(LETTERS)}")
    return as_record({"answer_type": "choice", "answer": str(answer), "options": options, "unit": "",
                      "letter": _letter(str(answer), options)})


def _untagged(answer: Any) -> Any:
    """Video-R1 writes `<answer>B</answer>`."""
    found = re.fullmatch(r"\s*<answer>(.*?)</answer>\s*", answer, re.DOTALL) if isinstance(answer, str) else None
    return found[1].strip() if found else answer


def _options(choices: Any) -> list[str]:
    if isinstance(choices, dict):
        letters = sorted(choices)
        if [str(letter).upper() for letter in letters] != list(LETTERS[:len(letters)]):
            raise ValueError(f"options by {', '.join(map(str, letters))}; expected the letters A, B, ..")
        return [str(choices[letter]) for letter in letters]
    if not isinstance(choices, list):
        raise ValueError(f"options are a {type(choices).__name__}; expected an object by letter or a list")
    texts = [str(choice) for choice in choices]
    lettered = [_LETTERED.match(text) for text in texts]
    if all(m and m[1] == letter for m, letter in zip(lettered, LETTERS)):  # "A. left"
        return [m[2].strip() for m in lettered]
    return texts


def _letter(answer: str, options: list[str]) -> str:
    """Of the truth as published: an option's text first, since "A" may be one, then a letter, alone or before it."""
    def plain(text: str) -> str:
        return " ".join(text.lower().split()).rstrip(".")

    same = [letter for letter, option in zip(LETTERS, options) if plain(option) == plain(answer)]
    if len(same) == 1:
        return same[0]
    found = re.fullmatch(r"\s*\(?([A-E])\)?\s*(?:[.:)].*)?", answer, re.DOTALL)
    if not same and found and found[1] in LETTERS[:len(options)]:
        return found[1]
    raise ValueError(f"the truth {answer!r} is {'several' if same else 'none'} of the options {options}")
