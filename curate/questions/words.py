"""A classifier that reads words: question × option, in bags, cross-validated by source recording.

It sees what a model without the video sees, so what it gets right is answer prior: a category that is commoner for
some wordings, a size that goes with a unit. Numbers count as words of their size. The score of an option is bilinear,
q W o, with q the question's words (and one for none) and o the option's, over the commonest words of the family; W is
fitted as a conditional logit (McFadden 1974) with a ridge.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from curate.questions.draw import stable_hash

QUESTION_WORDS, OPTION_WORDS = 32, 6  # kept of a text
FOLDS = 4
MOST_ITEMS = 3000  # of a family, by hash
NUM_QUESTION, NUM_OPTION = 96, 64  # words of the classifier
STEPS, RATE, RIDGE = 40, 0.3, 2.0
_WORD = re.compile(r"[-+−]?\d[\d,]*(?:\.\d+)?|[^\W\d_]+|[°%²]")


@lru_cache(1 << 16)
def _code(word: str) -> int:
    return 1 + stable_hash("word", word) % 65535


def _word(text: str) -> str:
    """A number as its sign and size, three to a decade; a word as it is."""
    if not text[-1].isdigit():
        return text
    value = abs(float(text.replace(",", "").lstrip("-+−") or 0))
    sign = "-" if text[0] in "-−" else ""
    return f"{sign}~{round(3 * math.log10(value))}" if value else "~0"


@lru_cache(1 << 12)
def bag(text: str, most: int) -> tuple[int, ...]:
    """Codes 1 .. 65535 of the words of a text, each once, the first `most`, filled up with 0."""
    codes = list(dict.fromkeys(_code(_word(w)) for w in _WORD.findall(text.lower())))[:most]
    return (*codes, *[0] * (most - len(codes)))


def stem(question: str, options: Sequence[str]) -> str:
    """A question without the lines that list its options, and without a table before it (`text_alone`)."""
    question = question.rpartition("|\n\n")[2]
    return "\n".join(line for line in question.split("\n") if not line.rstrip().endswith(tuple(options)))


def _commonest(codes: np.ndarray, most: int, least: float, largest: float) -> np.ndarray:
    """Codes by how many rows have them, where that is between two shares; ties by code."""
    found, counts = np.unique(codes[codes > 0], return_counts=True)
    fit = (counts >= least) & (counts <= largest)
    found, counts = found[fit], counts[fit]
    return np.sort(found[np.lexsort((found, -counts))[:most]])


def _indicators(codes: np.ndarray, vocabulary: np.ndarray) -> np.ndarray:
    """[..., words] codes to [..., len(vocabulary)] float32 of 0 and 1."""
    at = np.minimum(np.searchsorted(vocabulary, codes), len(vocabulary) - 1)
    out = np.zeros((*codes.shape[:-1], len(vocabulary)), np.float32)
    known = vocabulary[at] == codes
    rows = np.nonzero(known)
    out[(*rows[:-1], at[rows])] = 1
    return out


def _fit(question: np.ndarray, option: np.ndarray, truth: np.ndarray, real: np.ndarray) -> np.ndarray:
    """W of the conditional logit. question [N, a]; option [N, k, b]; truth [N]; real [N, k] false for filled up."""
    weight = np.zeros((question.shape[1], option.shape[2]), np.float32)
    speed = np.full_like(weight, 1e-3)
    target = np.eye(option.shape[1], dtype=np.float32)[truth]
    for _ in range(STEPS):
        score = _scores(question, option, real, weight)
        chance = np.exp(score - score.max(1, keepdims=True))
        left = chance / chance.sum(1, keepdims=True) - target
        gradient = question.T @ np.einsum("nk,nkb->nb", left, option, optimize=True) + RIDGE * weight
        speed += gradient**2
        weight -= RATE * gradient / np.sqrt(speed)
    return weight


def _scores(question: np.ndarray, option: np.ndarray, real: np.ndarray, weight: np.ndarray) -> np.ndarray:
    score = np.einsum("nb,nkb->nk", question @ weight, option, optimize=True)
    return np.where(real, score, np.float32(-1e9))


def classify(questions: np.ndarray, options: np.ndarray, truth: np.ndarray, num: np.ndarray, recording: np.ndarray,
             tie: np.ndarray) -> np.ndarray:
    """Which items the classifier gets right, each judged by one fitted on other recordings.

    Args:
        questions: [N, QUESTION_WORDS] codes of `bag`. options: [N, k, OPTION_WORDS]. truth: [N] index.
        num: [N] options of the item, at most k. recording: [N] hashes. tie: [N] hashes, to break ties.

    Returns:
        [N] bool.
    """
    hits = np.zeros(len(truth), bool)
    fold = recording % np.uint64(FOLDS)
    words = _commonest(questions, NUM_QUESTION, 3, 0.95 * len(truth))
    chosen = _commonest(options.reshape(len(truth), -1), NUM_OPTION, 3, np.inf)
    if not len(chosen):
        chosen = np.zeros(1, options.dtype)
    real = np.arange(options.shape[1]) < num[:, None]
    question = np.ones((len(truth), 1 + len(words)), np.float32)
    if len(words):
        question[:, 1:] = _indicators(questions, words) / 2  # words together weigh a few times what none does
    option = _indicators(options, chosen) * real[..., None]
    for held in np.unique(fold):
        own = fold == held
        if own.all():
            weight = np.zeros((question.shape[1], option.shape[2]), np.float32)  # one recording teaches nothing
        else:
            weight = _fit(question[~own], option[~own], truth[~own], real[~own])
        score = np.round(_scores(question[own], option[own], real[own], weight), 4)
        best = score == score.max(1, keepdims=True)
        nth = (tie[own] % best.sum(1).astype(np.uint64)).astype(int)
        hits[own] = (np.cumsum(best, 1) == (nth + 1)[:, None]).argmax(1) == truth[own]
    return hits
