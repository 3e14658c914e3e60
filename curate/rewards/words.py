"""Rewards of words: choices, directions, ordered runs, facts in a text."""

from __future__ import annotations

import math
import re

from curate.questions.verifier import judge, read_choice, spelled_numbers
from curate.rewards.formulas import cosine, mean_relative_accuracy, sequence_closeness
from curate.rewards.judged import reward
from curate.rewards.reading import items, vectors
from curate.rewards.record import Record

AXES = {"right": (1, 0, 0), "left": (-1, 0, 0), "down": (0, 1, 0), "up": (0, -1, 0), "forward": (0, 0, 1),
        "backward": (0, 0, -1)}  # of the camera
SPOKEN = {"rightward": "right", "leftward": "left", "rightwards": "right", "leftwards": "left", "downward": "down",
          "downwards": "down", "upward": "up", "upwards": "up", "below": "down", "above": "up", "forwards": "forward",
          "front": "forward", "ahead": "forward", "away": "forward", "farther": "forward", "backwards": "backward",
          "back": "backward", "behind": "backward", "closer": "backward"}
_TOWARDS = re.compile(r"\btowards?\s+(?:the\s+)?(?:camera|viewer|us|me)\b", re.IGNORECASE)
STILL = re.compile(r"\b(?:still|static|stationary|none|not moving|does not move|no motion|no movement)\b",
                   re.IGNORECASE)
_WORD = re.compile(r"\b[Rr]\d+\b|[^\W\d_]+(?:'[a-z]+)?")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
_NOT = frozenset(("not", "no", "never", "without", "isn't", "doesn't", "neither", "nor", "cannot"))
_EMPTY = frozenset(("a", "an", "the", "of", "to", "in", "on", "at", "by", "for", "from", "with", "and", "is", "are",
                    "was", "were", "be", "been", "it", "its", "this", "that", "then", "as", "which", "while", "there",
                    "has", "have", "had", "does", "do", "did", "s"))
_OR = re.compile(r"\bor\b|/", re.IGNORECASE)


@reward()
def choice(text: str, record: Record) -> float | None:
    """1 where the answer is the right option: by its letter, its text, or a number that equals it and no other."""
    if record["answer_type"] != "choice":
        return None
    return float(read_choice(text, record["options"], record["unit"]) == record["letter"])


@reward()
def accuracy(text: str, record: Record) -> float:
    """1 where the answer is right: a choice as `choice`, a number within its tolerance, a text word for word."""
    return float(judge(text, {**record, "tags": None}).correct)  # the text stands without them here


def direction_vector(text: str) -> tuple[float, ...] | None:
    """What a direction in words or numbers points to, in the camera's axes (right, down, forward); zeros for "still".

    >>> direction_vector("forward and to the right"), direction_vector("not moving"), direction_vector("blue")
    ((1, 0, 1), (0, 0, 0), None)
    >>> direction_vector("towards the camera"), direction_vector("towards the left")
    ((0, 0, -1), (-1, 0, 0))
    """
    given = [v for v in vectors(text) if v and len(v) in (2, 3)]
    if given:
        return tuple(given[-1]) + (0.0,) * (3 - len(given[-1]))
    words = [SPOKEN.get(w, w) for w in re.findall(r"[a-z]+", _TOWARDS.sub("backward", text).lower())]
    named = [AXES[w] for w in dict.fromkeys(words) if w in AXES]
    if named:
        total = tuple(map(sum, zip(*named)))
        return total if sum(map(abs, total)) == len(named) else None  # opposites name no direction
    return (0, 0, 0) if STILL.search(text) else None


@reward()
def direction(text: str, record: Record) -> float | None:
    """max(0, cosine) between the direction answered and the true one, by name or as a vector; a letter counts as its
    option's text. "Still" agrees with "still" alone. None where the truth is no direction."""
    truth = record["target"] if isinstance(record["target"], list) else None
    if truth is None or not all(isinstance(x, (int, float)) for x in truth):
        truth = direction_vector(record["answer"])
    if truth is None:
        return None
    if record["answer_type"] == "choice":
        letter = read_choice(text, record["options"], record["unit"])
        text = record["options"]["ABCDE".index(letter)] if letter else text
        if letter == record["letter"]:
            return 1.0
    # a text that names several directions is no answer between them
    given = None if _OR.search(text) else direction_vector(text)
    return 0.0 if given is None else cosine(given, (*truth, *(0.0,) * (3 - len(truth))))


def _words(text: str) -> list[str]:
    return [w.lower().strip("<>") for w in _WORD.findall(text)]


def _stem(word: str) -> str:
    """Enough to see "grows", "growing" and "grow" as one: endings off, never below three letters."""
    for ending in ("ing", "ed", "es", "ly", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[:-len(ending)]
            break
    return word.rstrip("e") if len(word) > 3 else word


def _amounts(text: str) -> tuple[str, list[tuple[float, str, float]]]:
    """A text without its numbers and their units, and those: (number, dimension, factor to the inside's unit)."""
    rest, at, found = [], 0, []
    for value, dimension, factor, start, end in spelled_numbers(text):
        rest.append(text[at:start])
        at = end
        found.append((value, dimension, factor))
    return " ".join((*rest, text[at:])), found


def _in_unit_of(given: tuple[float, str, float], truth: tuple[float, str, float]) -> float:
    """A number given, in the unit of the true one: a bare one as it stands, nan where the units do not fit."""
    if not given[1] or not truth[1]:
        return given[0]
    return given[0] * given[2] / truth[2] if given[1] == truth[1] else math.nan


def _content(text: str) -> list[str]:
    return [_stem(w) for w in _words(text) if w not in _EMPTY and w not in _NOT]


def _negations(text: str) -> int:
    return sum(w in _NOT for w in _words(text)) % 2


def run_cost(given: str, truth: str, tolerance: float = 0.0) -> float:
    """0 where a run is the true one, 1 where it is another; with numbers, 1 − their mean relative accuracy.

    The run's words must all be there, with at most four more, and without "or".

    Args:
        tolerance: a number this near to the true one is right, in its unit.
    """
    (said, numbers), (asked, true) = _amounts(given), _amounts(truth)
    wanted, there = _content(asked), _content(said)
    if wanted:
        more = len([w for w in there if w not in wanted])
        same = set(wanted) <= set(there) and more <= 4 and not _OR.search(given)
    else:
        same = bool(true)
    if not same or _negations(given) != _negations(truth):
        return 1.0
    if len(numbers) < len(true):
        return 1.0
    near = [1.0 if abs((p := _in_unit_of(n, y)) - y[0]) <= tolerance else mean_relative_accuracy(p, y[0], 0.05)
            for n, y in zip(numbers, true)]
    return 1 - sum(near) / len(near) if near else 0.0


def _runs(parts: list[str]) -> list[str]:
    """Without one that only repeats the one before it."""
    return [part for i, part in enumerate(parts) if i == 0 or part.lower() != parts[i - 1].lower()]


@reward()
def sequence(text: str, record: Record) -> float | None:
    """1 − edit distance / length over ordered runs: "(1) grows (2) constant", "grows, then constant", a JSON list.
    Numbers within `extra["tolerance"]` (one a run) are right."""
    truth = record["target"]
    if not isinstance(truth, list) or not all(isinstance(run, str) for run in truth):
        return None
    stated = record["extra"].get("tolerance")
    fits = isinstance(stated, list) and len(stated) == len(truth) and all(isinstance(t, (int, float)) for t in stated)
    tolerances = dict(zip(truth, stated)) if fits else {}
    return sequence_closeness(_runs(items(text)), _runs(truth),
                              lambda given, true: run_cost(given, true, tolerances.get(true, 0.0)))


_DIRECTIONS = {_stem(word) for word in (*AXES, *SPOKEN, "clockwise", "anticlockwise", "counterclockwise")}


def states(sentence: str, fact: str) -> bool:
    """Whether a sentence states a fact: its numbers within 10 %, its marks and directions, seven tenths of its other
    words, and the same "not"."""
    (said, numbers), (asked, true) = _amounts(sentence), _amounts(fact)
    wanted, there = set(_content(asked)), set(_content(said))
    marks = {w for w in wanted if re.fullmatch(r"r\d+", w)}
    if not marks <= there or _negations(fact) != _negations(sentence):
        return False
    if any(not any(abs(_in_unit_of(n, y) - y[0]) <= 0.1 * max(abs(y[0]), 0.05) + 1e-9 for n in numbers) for y in true):
        return False
    words = wanted - marks
    return words & _DIRECTIONS <= there and len(words & there) >= 0.7 * len(words) - 1e-9


@reward()
def facts(text: str, record: Record) -> float | None:
    """Share of the facts that a sentence of the answer states; less where the text is over four times as long as they
    are together, so that it does not pay to say everything."""
    truth = record["target"]
    if not isinstance(truth, list) or not truth or not all(isinstance(fact, str) for fact in truth):
        return None
    sentences = [s for s in _SENTENCE.split(text) if s.strip()][:500]
    found = sum(any(states(sentence, fact) for sentence in sentences) for fact in truth)
    allowed = 4 * max(sum(len(_words(fact)) for fact in truth), 10)
    return found / len(truth) * min(1.0, allowed / max(len(_words(text)), 1))
