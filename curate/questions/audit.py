"""Can an answer be had without the video? Two verdicts for every family of choices.

*Option leak*: a guesser that sees only the options is right more often than chance. It fails a run. Guessers of ratios
(rank, nearest to a mean, hub, cover) and letters are scored against the chance of the items they judge. Where a form
goes with the answer itself ("left" is shorter than "backward", a large number has fewer decimals), chance is what the
family's own answer prior gives that guess. Some guessers are fixed; others learn from items of other recordings.
*Answer prior*: the commonest answer, one direction of two, or a classifier of words is right more often than chance. It
is reported; it fails a benchmark, or a balanced set of enough recordings (`AuditConfig.purpose`).

A guesser counts where its excess is both large (5 points) and significant (p < 0.01): one-sided binomial, with the
number of items divided by the design effect of drawing whole recordings, corrected by Holm over all of a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from curate.questions.guessers import CLASS
from curate.questions.learned import PRIOR
from curate.questions.question import Question
from curate.questions.tally import WORDS, Count, FamilyTally, Tally

ALPHA = 0.01  # family-wise, after Holm
LEAST_EXCESS = 0.05
LEAST_ITEMS = 200
LEAST_RECORDINGS = 10  # fewer say nothing of how answers vary from one to the next
ENFORCED_FROM = 200  # recordings of a balanced training set
MOST_ANSWERS = 20  # listed of a family
MOST_CLIPS = 5  # named of those that are of a benchmark
PASS, FAIL, NOT_JUDGED = "pass", "fail", "not judged"
PURPOSES = ("training", "balanced", "benchmark")


def binomial_tail(hits: int, num_items: int, chance: float) -> float:
    """Exact P(X ≥ hits) of a binomial.

    >>> binomial_tail(2, 2, 0.5)
    0.25
    """
    if hits <= 0:
        return 1.0
    if hits > num_items:
        return 0.0
    if chance >= 1:
        return 1.0
    if chance <= 0:
        return 0.0
    k = np.arange(hits, num_items + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, num_items + 1)))])
    terms = (log_factorial[num_items] - log_factorial[k] - log_factorial[num_items - k] + k * math.log(chance)
             + (num_items - k) * math.log1p(-chance))
    top = terms.max()
    return float(min(1.0, math.exp(top) * np.exp(terms - top).sum()))


def holm(p_values: list[float]) -> list[float]:
    """Adjusted p-values.

    >>> holm([0.01, 0.04])
    [0.02, 0.04]
    """
    out, running = [0.0] * len(p_values), 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - place) * p_values[i]))
        out[i] = running
    return out


def audit(questions: Iterable[Question | Mapping[str, Any]], purpose: str = "training") -> dict[str, Any]:
    """
    Args:
        questions: all that would be written; forms other than "choice" are passed over.
        purpose: as in `report`.

    Returns:
        as `report`.
    """
    with Tally() as tally:
        tally.ask(questions)
        return report(tally, purpose)


def report(tally: Tally, purpose: str = "training") -> dict[str, Any]:
    """
    Args:
        purpose: what the set is for. "training": an answer prior is reported. "balanced": it fails a set of at least
            ENFORCED_FROM recordings. "benchmark": it fails.

    Returns:
        {"verdict", "option_leak", "answer_prior", "answer_prior_fails": whether that verdict counts here, "purpose",
        "families": rows, "rules"}. A verdict is "pass" | "fail" | "not judged". A row: {"family", "items",
        "recordings", "verdict", "guessers": [{"guesser", "right", "chance", "design_effect", "p", "p_holm", "leak"}],
        "answer_prior": {"answer", "right", "chance", "verdict", "guessers", "answers"}}; the family "all" takes every
        item together and has no answer prior.
    """
    if purpose not in PURPOSES:
        raise ValueError(f"purpose {purpose!r}; expected one of {', '.join(PURPOSES)}")
    tallies = tally.families(LEAST_ITEMS)
    rows = [_family(family) for family in tallies]
    _correct([t for row in rows for t in row["guessers"]])
    _correct([t for row in rows for t in (row["answer_prior"] or {"guessers": ()})["guessers"]])
    for row in rows:
        for part in filter(None, (row, row["answer_prior"])):
            part["verdict"] = _verdict(part["guessers"])
    leak = _worst(row["verdict"] for row in rows)
    prior = _worst(row["answer_prior"]["verdict"] for row in rows if row["answer_prior"])
    recordings = max((family.num_recordings for family in tallies), default=0)
    counts = purpose == "benchmark" or (purpose == "balanced" and recordings >= ENFORCED_FROM)
    return {"verdict": _worst([leak, prior if counts else NOT_JUDGED]), "option_leak": leak, "answer_prior": prior,
            "answer_prior_fails": counts, "purpose": purpose, "families": rows,
            "rules": {"alpha": ALPHA, "least_excess": LEAST_EXCESS, "least_items": LEAST_ITEMS, "correction": "Holm",
                      "clustered_by": "recording", "least_recordings_of_prior": LEAST_RECORDINGS}}


def _family(family: FamilyTally) -> dict[str, Any]:
    return {"family": family.name, "items": family.num_items, "recordings": family.num_recordings,
            "verdict": NOT_JUDGED, "answer_prior": None if family.name == "all" else _prior(family),
            "guessers": [_judge("size" if name == PRIOR else name, family.counts[name],
                                max(family.chance, family.prior_chance.get(name, 0.0))) for name in family.judged]}


def _prior(family: FamilyTally) -> dict[str, Any]:
    tests = []
    if family.num_items >= LEAST_ITEMS and family.num_recordings >= LEAST_RECORDINGS:
        if family.kind != "mixed":
            name = "typical size" if family.kind == "number" else "commonest answer"
            tests.append(_judge(name, family.counts[PRIOR], family.chance))
        tests += [_judge(name, family.counts[name], family.chance) for name in family.read if name != PRIOR]
        tests.append(_judge(WORDS, family.counts[WORDS], family.chance))
        tests += [_balance(pair, count) for pair, count in family.pairs.items() if count.num_items >= LEAST_ITEMS]
    known = {name: count for name, count in family.answers.items() if not name.startswith(CLASS)}
    listed = sorted(known.items(), key=lambda item: (-item[1], item[0]))[:MOST_ANSWERS]
    right = family.counts[PRIOR].hits / family.num_items if family.kind != "mixed" else family.chance
    answer = "" if family.answer.startswith(CLASS) else family.answer  # texts of no fixed vocabulary have no commonest
    return {"answer": answer, "right": right, "chance": family.chance, "verdict": NOT_JUDGED,
            "guessers": tests, "answers": dict(listed)}


def _judge(name: str, count: Count, chance: float) -> dict[str, Any]:
    """Was a guesser right more often than chance?"""
    effect = count.design_effect
    p = binomial_tail(round(count.hits / effect), max(1, round(count.num_items / effect)), chance)
    return {"guesser": name, "right": count.hits / count.num_items, "chance": chance, "design_effect": effect, "p": p}


def _balance(pair: tuple[str, str], count: Count) -> dict[str, Any]:
    """Is one of two opposites true more often than the other? Two-sided."""
    first = 2 * count.hits >= count.num_items
    test = _judge(f"{pair[0 if first else 1]} of {' and '.join(pair)}", count if first else Count(
        count.num_items - count.hits, count.num_items, count.design_effect), 0.5)
    return test | {"p": min(1.0, 2 * test["p"])}


def _correct(tests: list[dict[str, Any]]) -> None:
    """Holm over every guesser of every judged family."""
    for test, p in zip(tests, holm([t["p"] for t in tests])):
        test["p_holm"] = p
        test["leak"] = p < ALPHA and test["right"] - test["chance"] >= LEAST_EXCESS


def _verdict(tests: list[dict[str, Any]]) -> str:
    return NOT_JUDGED if not tests else FAIL if any(t["leak"] for t in tests) else PASS


def _worst(verdicts: Iterable[str]) -> str:
    found = set(verdicts)
    return FAIL if FAIL in found else PASS if PASS in found else NOT_JUDGED


def with_clips(found: Mapping[str, Any], duplicates: dict[str, Any], overlap: dict[str, Any],
               overlap_fails: bool) -> dict[str, Any]:
    """A report together with what was found of the clips.

    Args:
        found: of `report`. duplicates: of `Pictures.report`. overlap: of `Overlap.report`; where `overlap_fails`, one
            clip in it makes the verdict "fail".
    """
    contaminated = overlap_fails and overlap["clips"] > 0
    return {**found, "verdict": FAIL if contaminated else found["verdict"], "duplicates": duplicates,
            "overlap": overlap, "overlap_fails": overlap_fails}


def complaints(found: Mapping[str, Any]) -> list[str]:
    """What makes a report's verdict "fail", a sentence each."""
    def named(tests: list[tuple[str, dict[str, Any]]]) -> str:
        return "; ".join(f"{family} ({t['guesser']}: {t['right']:.0%} right, chance {t['chance']:.0%})"
                         for family, t in tests if t["leak"])

    out = []
    if leaks := named([(row["family"], t) for row in found["families"] for t in row["guessers"]]):
        out.append(f"the options give answers away: {leaks}")
    priors = named([(row["family"], t) for row in found["families"] if row["answer_prior"]
                    for t in row["answer_prior"]["guessers"]])
    if priors and found["answer_prior_fails"]:
        out.append(f"answers can be had without the video: {priors}")
    if found.get("overlap_fails") and found["overlap"]["clips"]:
        clips = "; ".join(f"{name}: {clip}" for name, clip in list(found["overlap"]["listed"].items())[:MOST_CLIPS])
        out.append(f"{found['overlap']['clips']} clips are of {found['overlap']['videos']} benchmark videos ({clips}); "
                   f"leave them out of the source")
    return out
