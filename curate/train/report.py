"""What came of a run, in one page: losses from first to last, accuracy by family, what a step cost."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from curate.train.evaluate import Evaluation, rows
from curate.train.watch import LOG, read_log

if TYPE_CHECKING:
    from curate.train.config import TrainRecipe
    from curate.train.data import Examples

ENDS = 0.05  # share of the steps that stand for the first and for the last
NOT_LOSSES = ("step", "stage", "lr", "grad_norm", "seconds", "wait_seconds", "examples")


def load_rate(examples: Examples, num_batches: int = 24, most_s: float = 20.0) -> float:
    """Batches a second that the loader makes with nothing else to do; its first ones, whose clips no cache has."""
    begin, count = time.perf_counter(), 0
    for _ in islice(examples, num_batches):
        count += 1
        if time.perf_counter() - begin > most_s:
            break
    return count / (time.perf_counter() - begin)


def summary(log: Sequence[dict[str, Any]], evaluations: Sequence[Evaluation], load_per_s: float,
            accumulate: int) -> dict[str, Any]:
    """
    Args:
        log: of RUN/log.jsonl. load_per_s: of `load_rate`. accumulate: batches a step.

    Returns:
        {"steps", "losses": {stage: {term: [first, last]}}, "step_seconds": median, "waited": share of the time,
        "load_over_step": batches that the loader makes while a step takes one, "accuracy": {"before" | step | "after":
        {family: share}}}
    """
    ends: dict[str, dict[str, list[float]]] = {}
    for stage in dict.fromkeys(record["stage"] for record in log):
        own = [record for record in log if record["stage"] == stage]
        num = max(1, round(ENDS * len(own)))
        ends[stage] = {term: [mean(r[term] for r in part) for part in (own[:num], own[-num:])]
                       for term in own[0] if term not in NOT_LOSSES}
    seconds = median(record["seconds"] - record["wait_seconds"] for record in log)
    return {"steps": log[-1]["step"], "losses": ends, "step_seconds": seconds,
            "waited": sum(r["wait_seconds"] for r in log) / max(sum(r["seconds"] for r in log), 1e-9),
            "load_over_step": load_per_s * seconds / accumulate,
            "accuracy": [{"step": e.step, "method": e.method, "shares": e.shares(),
                          "blind": e.blind.total().score.value} for e in evaluations]}


def write_report(out: Path, recipe: TrainRecipe, evaluations: Sequence[Evaluation], load_per_s: float) -> str:
    """Writes RUN/report.md and RUN/report.json. Returns a few lines for the terminal."""
    log = read_log(out / LOG)
    found = summary(log, evaluations, load_per_s, recipe.optim.accumulate)
    (out / "report.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    strategy = recipe.strategy.name + (", timestamps encoded" if recipe.strategy.timestamps else "")
    lines = [f"# {recipe.name}", "", f"Strategy {strategy}; {found['steps']} steps of {recipe.data.batch_size} x "
             f"{recipe.optim.accumulate} questions; seed {recipe.seed}.", "",
             f"Losses at their natural scale, mean of the first and of the last {100 * ENDS:g} % of the steps:", "",
             "| stage | term | first | last | last / first |", "|---|---|---:|---:|---:|"]
    told = []
    for stage, terms in found["losses"].items():
        for term, (first, last) in terms.items():
            ratio = f"{last / first:.2f}" if first > 0 else "-"
            lines.append(f"| {stage} | {term} | {first:.4g} | {last:.4g} | {ratio} |")
            told.append(f"{term} {first:.4g} -> {last:.4g}")
    lines += ["", f"A step takes {found['step_seconds']:.3f} s (median, without waiting for data); "
              f"{100 * found['waited']:.1f} % of the time it waited for data; alone, the loader makes "
              f"{found['load_over_step']:.1f} times the batches that a step consumes."]
    lines += _accuracy(evaluations)
    lines += ["", "The trained student is in `student/`: `AutoModelForImageTextToText.from_pretrained` loads it"
              + ("; then `curate.train.add_timestamps(model)`." if recipe.strategy.timestamps else "."), ""]
    (out / "report.md").write_text("\n".join(lines), "utf-8")
    return (f"losses:  {', '.join(told)}\nstep:    {found['step_seconds']:.3f} s; the loader makes "
            f"{found['load_over_step']:.1f} times what a step consumes\nreport:  {out / 'report.md'}")


def _accuracy(evaluations: Sequence[Evaluation]) -> list[str]:
    """A table of the last evaluation, with what was before beside it, and a line for each of the others."""
    if not evaluations:
        return []
    last, first = evaluations[-1], evaluations[0]
    before = first if first.step == 0 and first is not last else None
    head = ["family", "n", "recordings", *(["before"] if before else []), "student", "95 % interval", "blind",
            "student - blind", "95 % interval"]
    how = "likeliest letter of choices" if last.method == "rank" else "short answers, greedy"
    out = ["", f"Held-out questions right after {last.step} steps, % ({how}); intervals are clustered by recording; "
           "blind: what is commonest among the training split's answers:", "", f"| {' | '.join(head)} |",
           f"|---|{'---:|' * (len(head) - 1)}", *(f"| {' | '.join(cells)} |" for cells in rows(last, before))]
    if len(evaluations) > 1:
        course = ", ".join(f"{e.step}: {100 * e.shares()['all']:.1f}" for e in evaluations)
        out += ["", f"All questions over the steps, %: {course}."]
    return out
