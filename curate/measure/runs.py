"""What follows on what in a course over time: its phases as one whole number a draw, so that draws can be counted.

A code has the first phase in its lowest base-4 digit, label + 1 each; 0 is a course without phases.
"""

from __future__ import annotations

import numpy as np

BASE = 4  # labels 0, 1, 2, and 0 for no more


def decode(code: int) -> tuple[int, ...]:
    """The labels of a code, in order.

    >>> decode(1 + 4 * 3)
    (0, 2)
    """
    out = []
    while code:
        code, digit = divmod(code, BASE)
        out.append(digit - 1)
    return tuple(out)


def phases(labels: np.ndarray, time_s: np.ndarray, shortest_s: float) -> np.ndarray:
    """Codes [S] of labels [S, m] (0, 1, 2) that hold from time_s[k] to time_s[k + 1]: successive equal ones are one
    phase, phases shorter than `shortest_s` are left out, and then what is equal and meets is one again."""
    num, length = labels.shape
    change = np.ones(labels.shape, bool)
    change[:, 1:] = labels[:, 1:] != labels[:, :-1]
    row, start = np.nonzero(change)
    stop = np.append(start[1:], 0)
    stop[np.append(row[1:] != row[:-1], True)] = length
    keep = time_s[stop] - time_s[start] >= shortest_s - 1e-9
    row, kept = row[keep], labels[row[keep], start[keep]]
    new = np.ones(len(row), bool)
    new[1:] = (row[1:] != row[:-1]) | (kept[1:] != kept[:-1])
    return _codes(num, row[new], kept[new])


def swings(values: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Codes [S] of the ups (label 0) and downs (label 1) of values [S, n] that come to at least `least` [S] each."""
    high = low = values[:, 0]
    way = np.zeros(len(values), int)  # 1 up, -1 down, 0 neither yet
    rows, labels = [], []
    for value in values.T[1:]:
        high, low = np.maximum(high, value), np.minimum(low, value)
        up = (way != 1) & (value - low >= least)
        down = (way != -1) & (high - value >= least) & ~up
        for label, begins in ((0, up), (1, down)):
            rows.append(np.flatnonzero(begins))
            labels.append(np.full(len(rows[-1]), label))
        way = np.where(up, 1, np.where(down, -1, way))
        high, low = np.where(up, value, high), np.where(down, value, low)
    row, label = np.concatenate(rows), np.concatenate(labels)
    order = np.argsort(row, kind="stable")
    return _codes(len(values), row[order], label[order])


def _codes(num: int, row: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Of labels in order, each of a row (ascending); the first fifteen of a row count."""
    first = np.searchsorted(row, row)
    place = np.arange(len(row)) - first
    weight = np.where(place < 15, (label + 1) * BASE ** np.minimum(place, 15), 0)
    codes = np.zeros(num, np.int64)
    np.add.at(codes, row, weight)
    return codes


def likeliest(nominal: np.ndarray, others: list[np.ndarray]) -> tuple[int, float]:
    """The most frequent of the codes [S], and the share of draws that have it there and in all of `others`."""
    found, count = np.unique(nominal, return_counts=True)
    best = int(found[count.argmax()])
    same = nominal == best
    for codes in others:
        same = same & (codes == best)
    return best, float(same.mean())
