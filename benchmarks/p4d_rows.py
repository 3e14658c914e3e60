"""Rows of `benchmarks.p4d`: what the results of all runs say, each difference with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.p4d_arms import NO_TIMES
from benchmarks.p4d_stats import Difference, difference
from benchmarks.table import Row, at_least, at_most, row

DURATION, SPEED = ("video_duration",), ("object_mean_speed", "camera_mean_speed")
MIN_QUESTIONS = 2400
POINTS, GAIN = "points", 10.0
Result = dict[str, Any]


class Results:
    """Results of runs by arm and seed, as matrices over the same questions."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.by_arm: dict[str, dict[int, Result]] = {}
        for result in results:
            self.by_arm.setdefault(result["arm"], {})[result["seed"]] = result
        about = {item[0]: item for result in results for item in result["items"]}
        self.ids = sorted(about)
        self.families = np.array([about[i][1] for i in self.ids])
        self.recordings = [about[i][2] for i in self.ids]
        self.asked = min(len(result["items"]) for result in results)
        for result in results:  # which questions are drawn is the seed's
            same = next(r for r in results if r["seed"] == result["seed"])
            if {item[0] for item in result["items"]} != {item[0] for item in same["items"]}:
                raise ValueError(f"{result['arm']}, seed {result['seed']}, was asked other questions than "
                                 f"{same['arm']}: results of two sets are mixed; empty the folder of runs")

    def seeds(self, *arms: str) -> list[int]:
        """Seeds that all of the arms have."""
        return sorted(set.intersection(*(set(self.by_arm.get(arm, {})) for arm in arms)))

    def scores(self, arm: str, seeds: Sequence[int]) -> np.ndarray:
        """[S, Q]; nan: a question that this seed did not draw."""
        found = [{item[0]: item[4] for item in self.by_arm[arm][seed]["items"]} for seed in seeds]
        return np.array([[one.get(i, np.nan) for i in self.ids] for one in found], float)

    def blind(self, num_seeds: int) -> np.ndarray:
        """[S, Q] of the guesser that sees no video; it knows no seed."""
        known = {i: score for of_seeds in self.by_arm.values() for r in of_seeds.values()
                 for i, score in r["blind"].items()}
        return np.tile([known[i] for i in self.ids], (num_seeds, 1)).astype(float)

    def difference(self, a: str, b: str | None, families: Sequence[str] = ()) -> Difference | None:
        """Arm a less arm b (None: the blind guesser) over the questions of some families; None where there is no seed
        of both or no question."""
        seeds = self.seeds(a) if b is None else self.seeds(a, b)
        which = np.isin(self.families, families) if families else np.ones(len(self.ids), bool)
        recordings = [r for r, used in zip(self.recordings, which) if used]
        if not seeds or len(set(recordings)) < 2:
            return None
        ours = self.scores(a, seeds)
        other = np.where(np.isnan(ours), np.nan, self.blind(len(seeds))) if b is None else self.scores(b, seeds)
        return difference(ours[:, which], other[:, which], recordings)

    def probe(self, a: str, b: str) -> Difference | None:
        """AbsRel of a linear probe from arm a's tokens less that from b's, clip by clip."""
        seeds = [s for s in self.seeds(a, b) if all("absrel" in self.by_arm[arm][s] for arm in (a, b))]
        if not seeds:
            return None
        names = sorted(set.intersection(*(set(self.by_arm[arm][s]["absrel"]) for arm in (a, b) for s in seeds)))
        rows = {arm: np.array([[self.by_arm[arm][s]["absrel"][n] for n in names] for s in seeds]) for arm in (a, b)}
        return difference(rows[a], rows[b], names)


def said(found: Difference, scale: float = 100) -> str:
    seeds = ", ".join(f"{scale * x:+.3g}" for x in found.of_seeds)
    return f"95 % {scale * found.low:+.3g} to {scale * found.high:+.3g}; by seed {seeds}"


def _seeds(seeds: Sequence[int]) -> str:
    return f"{len(seeds)} seed{'s' * (len(seeds) != 1)}"


def accuracy_rows(results: Results) -> list[Row]:
    rows = [at_least("held-out questions of each seed", results.asked, "", MIN_QUESTIONS),
            row("held-out questions of all seeds", len(results.ids), ""),
            row("held-out recordings", len(set(results.recordings)), ""),
            row("blind guesser", 100 * float(results.blind(1).mean()), "%")]
    for arm in results.by_arm:
        seeds = results.seeds(arm)
        rows.append(row(f"{arm} ({_seeds(seeds)})", 100 * float(np.nanmean(results.scores(arm, seeds))), "%"))
    for arm in results.by_arm:
        if found := results.difference(arm, None):
            rows.append(at_least(f"{arm} less blind, lower bound ({100 * found.value:+.3g}; {said(found)})",
                                 100 * found.low, POINTS, 0.0))
    for arm in results.by_arm:
        if arm != "sft" and NO_TIMES not in arm and (found := results.difference(arm, "sft")):
            rows.append(row(f"{arm} less sft ({said(found)})", 100 * found.value, POINTS))
    for a, b in (("p4d", "latent"), ("p4d", "explicit"), ("p4d" + NO_TIMES, "sft" + NO_TIMES)):
        if found := results.difference(a, b):
            rows.append(row(f"{a} less {b} ({said(found)})", 100 * found.value, POINTS))
    return rows


def time_rows(results: Results) -> list[Row]:
    """Timestamps encoded less none, same arm."""
    rows = []
    for arm in ("sft", "p4d", "latent", "explicit"):
        for name, families, judged in (("duration and speed", DURATION + SPEED, arm in ("sft", "p4d")),
                                       ("duration", DURATION, False), ("speed", SPEED, False), ("all", (), False)):
            if found := results.difference(arm, arm + NO_TIMES, families):
                text = f"{arm}: timestamps less none, {name} (n {found.num}; {said(found)})"
                value = 100 * found.value
                rows.append(at_least(text, value, POINTS, GAIN) if judged else row(text, value, POINTS))
    return rows


def probe_rows(results: Results, start: dict[str, float] | None = None) -> list[Row]:
    """`start`: what the encoder told of held-out frames when it was fitted, see `p4d_start.fit_vision`."""
    places = [r["absrel_place"] for seeds in results.by_arm.values() for r in seeds.values() if "absrel_place" in r]
    rows = [row("AbsRel of the mean depth of the place, no token read", float(np.mean(list(places[0].values()))), "")
            ] if places else []
    if start is not None:
        rows.append(row(f"AbsRel of the encoder at the start, by the head it was fitted with (place: "
                        f"{start['place']:.4f})", start["seen"], ""))
    for arm in results.by_arm:
        seeds = [s for s in results.seeds(arm) if "absrel" in results.by_arm[arm][s]]
        if seeds:
            mean = np.mean([np.mean(list(results.by_arm[arm][s]["absrel"].values())) for s in seeds])
            rows.append(row(f"{arm}: AbsRel of depth by a linear probe ({_seeds(seeds)})", float(mean), ""))
    for a, b in (("p4d", "sft"), ("p4d" + NO_TIMES, "sft" + NO_TIMES)):
        if found := results.probe(a, b):
            rows.append(at_most(f"{a} less {b}: AbsRel, upper bound ({found.value:+.3g}; {said(found, 1)})",
                                found.high, "", 0.0))
    return rows


def loss_rows(results: Results) -> list[Row]:
    """Each at its worst over arms and seeds: a term's mean over the last 5 % of the steps over that of the first, whose
    clips are others; and what distillation has brought, on the same clips."""
    worst: dict[str, tuple[float, str]] = {}

    def seen(what: str, ratio: float, arm: str, seed: int) -> None:
        worst[what] = max(worst.get(what, (0.0, "")), (ratio, f"{arm}, seed {seed}"))

    for arm, seeds in results.by_arm.items():
        for seed, result in seeds.items():
            for term, (first, last) in result["losses"].items():
                seen(f"loss {term}: last over first", last / first if first > 0 else math.inf, arm, seed)
            for split, terms in result.get("distilled", {}).items():
                for term, (trained, mean_video) in terms.items():
                    seen(f"{term} on {split} clips, over the mean video's", trained / mean_video, arm, seed)
    return [at_most(f"{what}, at worst ({where})", value, "", 1.0)
            for what, (value, where) in worst.items()]


def cost_rows(counted: dict[str, float], tiny: dict[str, float] | None, results: Results | None) -> list[Row]:
    def ratio(a: str, b: str = "sft") -> float:
        return counted[a] / counted[b]

    billions = counted["parameters"] / 1e9
    rows = [at_most(f"step over SFT's, stored tensors, {billions:.2f} B parameters (operations)", ratio("p4d"), "",
                    1.10),
            at_most("the same with L4P's grid, without its heads (operations)", ratio("l4p"), "", 1.10),
            row("the same with our teacher's encoder run live (operations)", ratio("live"), "")]
    if tiny is not None:
        for kind in ("operations", "seconds"):
            for name, what in (("p4d", "stored tensors"), ("live", "live teacher")):
                rows.append(row(f"tiny preset: step over SFT's, {what} ({kind})",
                                tiny[f"{name}_{kind}"] / tiny[f"sft_{kind}"], ""))
        rows += [at_most("answer: p4d's parameters less sft's", tiny["parameters_p4d"] - tiny["parameters_sft"], "", 0),
                 at_most("answer: p4d's operations over sft's",
                         tiny["answer_p4d_operations"] / tiny["answer_sft_operations"], "", 1.0),
                 row("answer: p4d's CPU time over sft's", tiny["answer_p4d_seconds"] / tiny["answer_sft_seconds"], "")]
    loads = [r["load_over_step"] for seeds in results.by_arm.values() for r in seeds.values()] if results else []
    if loads:
        rows.append(at_least(f"loader over what a step consumes, at worst of {len(loads)} runs", min(loads), "", 3.0))
    return rows


def family_table(results: Results) -> list[str]:
    """Markdown: a line a family, % right by arm, mean over seeds."""
    arms = list(results.by_arm)
    lines = ["| family | n | blind | " + " | ".join(arms) + " |", "|---|---:|---:|" + "---:|" * len(arms)]
    mean: Callable[[np.ndarray], str] = lambda values: f"{100 * float(np.nanmean(values)):.1f}"  # noqa: E731
    for family in [*sorted(set(results.families.tolist())), None]:
        which = results.families == family if family else np.ones(len(results.ids), bool)
        cells = [mean(results.scores(arm, results.seeds(arm))[:, which]) for arm in arms]
        cells = [family or "all", str(which.sum()), mean(results.blind(1)[:, which]), *cells]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
