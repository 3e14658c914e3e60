"""What is learned from a family's own items, each item judged by what its source recording had no part in: the prior of
its answers, and guessers that find out for themselves how wrong options differ from true ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

FOLDS = 4
MOST_CATEGORIES = 64  # of a family; of more it is not learned which stand together
BIN = 0.04  # of sizes, in natural logarithms
LOWEST, NUM_BINS = -7.0, 460  # from 0.9 mm to 89 km
WIDTHS = (0.0, 0.08, 0.16, 0.32, 0.64, 1.28)  # of the kernel, tried on recordings held out
ELSEWHERE = 0.01  # share of the prior that is anywhere
RATIO_BIN, NUM_RATIOS = 0.1, 100  # wrong over true, from exp(-5) to exp(5); one more for another sign
LEAST_OF_CONTEXT = 40  # items that are written in one way; fewer share the prior of all
MOST_WHOLE = 64  # a family whose options are all whole numbers below this is one of counts

PRIOR = "prior"  # the guess of the commonest answer
LEARNED = ("learned ratios", "learned unit", "learned writing", "learned last digit", "learned company")
COLUMNS = {"learned unit": "unit", "learned writing": "written", "learned last digit": "digit"}


def fold_of(items: np.ndarray) -> np.ndarray:
    return (items["recording"] % np.uint64(FOLDS)).astype(int)


def size_bins(values: np.ndarray) -> np.ndarray:
    logs = np.log(np.maximum(np.abs(values), 1e-9))
    return np.clip(np.floor((logs - LOWEST) / BIN), 0, NUM_BINS - 1).astype(int)


def ratio_bins(values: np.ndarray) -> np.ndarray:
    """[N, k, k] class of values[:, j] / values[:, i] at [:, i, j]."""
    logs = np.log(np.maximum(np.abs(values), 1e-9))
    over = np.round(logs[:, None, :] - logs[:, :, None], 9)
    bins = np.clip(np.floor(over / RATIO_BIN + NUM_RATIOS / 2), 0, NUM_RATIOS - 1).astype(int)
    negative = values < 0
    return np.where(negative[:, None, :] != negative[:, :, None], NUM_RATIOS, bins)


def pick(scores: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """[N] index of the highest score [N, k] to nine decimals; which of equals, the hash `tie` [N] says."""
    scores = np.round(scores, 9)
    best = scores == scores.max(1, keepdims=True)
    nth = (tie % best.sum(1).astype(np.uint64)).astype(int)
    return (np.cumsum(best, 1) == (nth + 1)[:, None]).argmax(1)


def smooth(counts: np.ndarray, width: float) -> np.ndarray:
    """Counts of sizes to a density over the bins: a Gaussian kernel, and a little anywhere."""
    if width:
        at = np.arange(-int(3 * width / BIN) - 1, int(3 * width / BIN) + 2) * BIN
        kernel = np.exp(-0.5 * (at / width) ** 2)
        full = np.convolve(counts, kernel / kernel.sum())  # longer than `counts` by what the kernel reaches over
        counts = full[len(at) // 2:len(at) // 2 + NUM_BINS]
    total = counts.sum()
    if not total:
        return np.full(NUM_BINS, 1 / NUM_BINS)
    return (1 - ELSEWHERE) * counts / total + ELSEWHERE / NUM_BINS


def best_width(sizes: np.ndarray) -> float:
    """The kernel's width that makes sizes [FOLDS, NUM_BINS] of recordings held out likeliest; where there are none to
    hold out, the largest within Silverman's rule."""
    total = sizes.sum(0)
    if np.count_nonzero(sizes.sum(1)) < 2:
        at = np.arange(NUM_BINS) * BIN
        spread = np.sqrt(np.average((at - np.average(at, weights=total)) ** 2, weights=total))
        return max(w for w in WIDTHS if w <= 1.06 * spread * total.sum() ** -0.2)
    likely = [sum(float(own @ np.log(smooth(total - own, width))) for own in sizes) for width in WIDTHS]
    return WIDTHS[int(np.argmax(np.round(likely, 6)))]


class Learner:
    """One family's items while they are gone through: `count` all, `settle`, then ask."""

    def __init__(self) -> None:
        self.classes: dict[int, int] = {}  # code of a category -> place in `company`
        self.kinds: Counter = Counter()  # (numeric, number of options) -> items
        self.answers: list[Counter] = [Counter() for _ in range(FOLDS)]  # code of a category -> items
        self.whole = np.zeros((FOLDS, MOST_WHOLE), np.int64)
        self.all_whole = True
        self.sizes: dict[int, np.ndarray] = {}  # by context: [FOLDS, NUM_BINS]
        self.ratios = np.zeros((FOLDS, NUM_RATIOS + 1), np.int64)
        self.writing = np.zeros((len(COLUMNS), FOLDS, 2, 256), np.int64)  # of wrong options, of true ones
        self.company = np.zeros((FOLDS, MOST_CATEGORIES, MOST_CATEGORIES), np.int64)  # truth, option beside it

    @property
    def num_items(self) -> int:
        return sum(self.kinds.values())

    @property
    def kind(self) -> str:
        """"number", "count" (whole numbers alone), "category", or "mixed"."""
        numeric = {numeric for numeric, _ in self.kinds}
        if numeric == {True}:
            return "count" if self.all_whole else "number"
        return "category" if numeric == {False} else "mixed"

    def count(self, items: np.ndarray) -> None:
        self.kinds.update(zip(items["numeric"].tolist(), items["num"].tolist()))
        for numeric, k in {(bool(n), int(k)) for n, k in zip(items["numeric"], items["num"])}:
            own = items[(items["numeric"] == numeric) & (items["num"] == k)]
            (self._count_numbers if numeric else self._count_categories)(own, own["values"][:, :k], fold_of(own))

    def _count_numbers(self, items: np.ndarray, values: np.ndarray, fold: np.ndarray) -> None:
        rows, truth, k = np.arange(len(items)), items["truth"], values.shape[1]
        true = values[rows, truth]
        for context in np.unique(items["context"]).tolist():
            own = items["context"] == context
            sizes = self.sizes.setdefault(context, np.zeros((FOLDS, NUM_BINS), np.int64))
            np.add.at(sizes, (fold[own], size_bins(true[own])), 1)
        wrong = np.arange(k) != truth[:, None]
        np.add.at(self.ratios, (np.broadcast_to(fold[:, None], wrong.shape)[wrong],
                                ratio_bins(values)[rows, truth][wrong]), 1)
        if self.all_whole and (self._whole(values) >= 0).all():
            np.add.at(self.whole, (fold, true.astype(int)), 1)
        else:
            self.all_whole = False
        folds = np.broadcast_to(fold[:, None], (len(items), k))
        for table, column in zip(self.writing, COLUMNS.values()):
            np.add.at(table, (folds, (~wrong).astype(int), items[column][:, :k]), 1)

    def _count_categories(self, items: np.ndarray, values: np.ndarray, fold: np.ndarray) -> None:
        codes = values.astype(int)
        true = codes[np.arange(len(items)), items["truth"]]
        for f in range(FOLDS):
            self.answers[f].update(true[fold == f].tolist())
        for code in np.unique(codes).tolist():
            self.classes.setdefault(code, len(self.classes))
        if len(self.classes) > MOST_CATEGORIES:
            return
        classes = self._places(codes)
        others = np.arange(codes.shape[1]) != items["truth"][:, None]
        first = np.broadcast_to(classes[np.arange(len(items)), items["truth"]][:, None], classes.shape)
        np.add.at(self.company, (np.broadcast_to(fold[:, None], classes.shape)[others], first[others],
                                 classes[others]), 1)

    def _places(self, codes: np.ndarray) -> np.ndarray:
        known, index = np.unique(codes, return_inverse=True)
        return np.array([self.classes[code] for code in known.tolist()])[index].reshape(codes.shape)

    @staticmethod
    def _whole(values: np.ndarray) -> np.ndarray:
        """Whole numbers below MOST_WHOLE, -1 for all others."""
        fit = (values == np.round(values)) & (values >= 0) & (values < MOST_WHOLE)
        return np.where(fit, np.nan_to_num(values), -1).astype(int)

    def settle(self) -> None:
        """Tables of what the other folds have seen, and the prior of all."""
        kind = self.kind
        everything = sum(self.sizes.values(), np.zeros((FOLDS, NUM_BINS), np.int64))
        folds = sum(bool(own.sum() or c) for own, c in zip(everything, self.answers))
        alone = folds < 2  # nothing to learn a prior from but the items themselves
        self.guessers: tuple[str, ...] = ()
        if kind in ("number", "count"):
            ratios = self.ratios.sum(0) - self.ratios + 0.5
            self._ratios = np.log(ratios / ratios.sum(1, keepdims=True))
            seen = self.writing.sum(1, keepdims=True) - self.writing + 0.5
            self._writing = np.log(seen[:, :, 1] / seen[:, :, 0])
            self.guessers = LEARNED[:4]
        if kind == "number":
            tables = [everything, *(t for _, t in sorted(self.sizes.items()) if t.sum() >= LEAST_OF_CONTEXT)]
            known = [context for context, t in sorted(self.sizes.items()) if t.sum() >= LEAST_OF_CONTEXT]
            self._context = np.zeros(256, int)  # place in the tables; 0 for those of all
            self._context[known] = np.arange(1, len(tables))
            priors, others = [], []
            for sizes in tables:
                width, total = best_width(sizes), sizes.sum(0)
                priors.append(smooth(total, width))
                others.append([smooth(total - own * (not alone), width) for own in sizes])
            self._prior, self._others = np.array(priors), np.array(others)
        elif kind == "count":
            self._prior = self.whole.sum(0) + 0.5
            self._others = (self.whole.sum(0) - self.whole * (not alone)).astype(float)
        elif kind == "category":
            self._total = sum(self.answers, Counter())
            self._seen = [self._total - (Counter() if alone else own) for own in self.answers]
            company = self.company.sum(0) - self.company
            offered = company.sum(1, keepdims=True)
            offered = offered / np.maximum(offered.sum(2, keepdims=True), 1)
            num = max(k for _, k in self.kinds) - 1
            self._company = np.log((company + 5 * num * offered + 1e-3)
                                   / (company.sum(2, keepdims=True) / max(num, 1) + 5))
            self.guessers = LEARNED[4:] if len(self.classes) <= MOST_CATEGORIES else ()

    def guesses(self, items: np.ndarray) -> dict[str, np.ndarray]:
        """[N] index guessed, by guesser of `guessers` and PRIOR; all items have one number of options."""
        values, fold, kind = items["values"][:, :int(items["num"][0])], fold_of(items), self.kind
        if kind == "mixed":
            return {}
        k = values.shape[1]
        others = ~np.eye(k, dtype=bool)
        if kind == "category":
            codes = values.astype(int)
            prior = np.array([[self._seen[f][c] for c in row] for f, row in zip(fold.tolist(), codes.tolist())])
            scores = {}
            if self.guessers:
                classes = self._places(codes)
                beside = self._company[fold[:, None, None], classes[:, :, None], classes[:, None, :]]
                scores["learned company"] = (beside * others).sum(2)
        else:
            if kind == "number":
                prior = self._others[self._context[items["context"]][:, None], fold[:, None], size_bins(values)]
            else:
                prior = self._others[fold[:, None], values.astype(int)]
            scores = {"learned ratios": (self._ratios[fold[:, None, None], ratio_bins(values)] * others).sum(2)}
            for table, (name, column) in zip(self._writing, COLUMNS.items()):
                scores[name] = table[fold[:, None], items[column][:, :k]]
        return {name: pick(score, items["tie"]) for name, score in (scores | {PRIOR: prior}).items()}

    def weights(self, items: np.ndarray) -> np.ndarray:
        """[N, k] chance of each option, given how often answers like it are true in this family; sums to 1."""
        values = items["values"][:, :int(items["num"][0])]
        if self.kind == "mixed":
            return np.full(values.shape, 1 / values.shape[1])
        if self.kind == "category":
            weight = np.array([[self._total[c] + 0.5 for c in row] for row in values.astype(int).tolist()])
        elif self.kind == "number":
            weight = self._prior[self._context[items["context"]][:, None], size_bins(values)]
        else:
            weight = self._prior[values.astype(int)]
        return weight / weight.sum(1, keepdims=True)

    def commonest(self, names: list[str]) -> str:
        """The answer that is true most often, or the middle of the sizes, as text."""
        if self.kind == "number":
            sizes = sum(table.sum(0) for table in self.sizes.values())
            middle = int(np.searchsorted(np.cumsum(sizes), (self.num_items + 1) // 2))
            return f"{np.exp(LOWEST + (middle + 0.5) * BIN):.2g}"
        if self.kind == "count":
            return str(int(self.whole.sum(0).argmax()))
        counts = self.named(names)
        return max(sorted(counts), key=counts.__getitem__) if counts else ""

    def named(self, names: list[str]) -> Mapping[str, int]:
        """Categories by name -> items where it is true."""
        return {names[code]: count for code, count in sum(self.answers, Counter()).items()}
