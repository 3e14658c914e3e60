"""Reads shards back and holds every answer against the truth of its scene."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curate.augment.variant import Variant
from curate.shards.sample import decode_rle
from curate.synth.answers import Case, TrueAnswer, answers
from curate.synth.askable import Askable
from curate.synth.dataset import TRUTH_SUFFIX, read_askable
from curate.synth.renderer import Renderer
from curate.synth.scene import SceneTruth
from curate.synth.truth import MOVING, Subject, TrueValue, Truth, match
from curate.synth.variants import has_truth, scene_of, start_of, subject_of

MIN_QUESTIONS = 100
MIN_FAMILIES = 8
MIN_ASKED = 0.40
MIN_RIGHT = 0.95
MIN_COVERAGE = 0.90
MAX_HALF_WIDTH = 0.25
STILL_M = 1e-9  # rounding of a pose that never changes


@dataclass(frozen=True)
class Judged:
    """One answer and its truth. Numbers are in the question's unit; what does not apply is nan.

    `right` is of a choice, `covered` of a number; `problem` says why an answer cannot be right at all.
    `stated` are the quantiles of the quantity behind the answer and `true` its true value, in metres, seconds and
    radians. Of a direction (`one_sided`) they are of the angle between it and the true one. Empty, nan where unknown.
    """

    id: str
    scene: str
    family: str
    form: str
    objects: tuple[int, ...]
    right: bool | None
    covered: bool | None
    answer: str
    truth: str
    relative_error: float = float("nan")
    relative_half_width: float = float("nan")
    problem: str = ""
    stated: tuple[float, ...] = ()
    true: float = float("nan")
    one_sided: bool = False


@dataclass
class Report:
    """All judged answers, and what could have been asked."""

    judged: list[Judged]
    askable: list[tuple[str, Askable]] = field(default_factory=list)  # scene, item

    def row(self, family: str | None = None) -> dict[str, Any]:
        """Counts and medians of a family, or of all. What has no items is nan."""
        items = [j for j in self.judged if family in (None, j.family)]
        possible = {(scene, a.family, a.objects) for scene, a in self.askable if family in (None, a.family)}
        asked = {(j.scene, j.family, j.objects) for j in items}
        choices = [j.right for j in items if j.right is not None]
        numbers = [j for j in items if j.covered is not None]
        return {"family": family or "all", "askable": len(possible), "asked": len(possible & asked),
                "questions": len(items), "choices": len(choices), "right": _mean(choices), "numbers": len(numbers),
                "median_relative_error": _median([j.relative_error for j in numbers]),
                "median_half_width": _median([j.relative_half_width for j in numbers]),
                "coverage": _mean([j.covered for j in numbers])}

    @property
    def families(self) -> list[str]:
        return sorted({j.family for j in self.judged} | {a.family for _, a in self.askable})

    def floor(self) -> list[dict[str, Any]]:
        """What must hold: rows {"name", "value", "unit", "target", "ok"}. A share of nothing does not hold."""
        total = self.row()
        asked = total["asked"] / total["askable"] if total["askable"] else float("nan")
        checks = [
            ("questions", total["questions"], "", ">=", MIN_QUESTIONS),
            ("families", len({j.family for j in self.judged}), "", ">=", MIN_FAMILIES),
            ("share of the askable asked", asked, "", ">=", MIN_ASKED),
            ("choice answers right", total["right"], "", ">=", MIN_RIGHT),
            ("truths inside the stated 95 % interval", total["coverage"], "", ">=", MIN_COVERAGE),
            ("median half-width of numeric answers", total["median_half_width"], "of the value", "<=", MAX_HALF_WIDTH)]
        return [{"name": name, "value": value, "unit": unit, "target": f"{sign} {bound}",
                 "ok": bool(value >= bound if sign == ">=" else value <= bound)}
                for name, value, unit, sign, bound in checks]

    @property
    def ok(self) -> bool:
        return all(row["ok"] for row in self.floor())

    def wrong(self) -> list[Judged]:
        """Choices that are not right and numbers whose interval misses the truth."""
        return [j for j in self.judged if j.right is False or j.covered is False]

    def to_json(self) -> dict[str, Any]:
        """{"rows": floor rows and one a number and family, "ok", "judged": every answer}; nan is written as null."""
        rows = [row | {"value": _finite(row["value"])} for row in self.floor()]
        for family in self.families:
            row = self.row(family)
            rows += [{"name": f"{family}: {name}", "value": _finite(row[name]), "unit": "", "target": "", "ok": True}
                     for name in ("askable", "asked", "questions", "right", "median_relative_error",
                                  "median_half_width", "coverage")]
        judged = [{name: None if isinstance(value, float) and not math.isfinite(value) else value
                   for name, value in asdict(j).items()} for j in self.judged]
        return {"rows": rows, "ok": self.ok, "judged": judged}

    def print(self, console=None) -> None:
        """The table, and under it the floor."""
        from rich.console import Console
        from rich.table import Table

        if console is None:
            console = Console()
            console = console if console.is_terminal else Console(width=120)
        table = Table(title="Answers against the known truth")
        table.add_column("family", no_wrap=True)
        for name in ("askable", "asked", "questions", "choices\nright", "median\nrel. error", "median\nhalf-width",
                     "truth in\n95 % interval"):
            table.add_column(name, justify="right", no_wrap=True)
        for family in [*self.families, None]:
            row = self.row(family)
            if family is None:
                table.add_section()
            table.add_row(row["family"], str(row["askable"]), str(row["asked"]), str(row["questions"]),
                          *(_percent(row[name]) for name in ("right", "median_relative_error", "median_half_width",
                                                             "coverage")))
        console.print(table)
        for row in self.floor():
            value = row["value"] if isinstance(row["value"], int) else f"{row['value']:.3f}"
            console.print(f"{'ok  ' if row['ok'] else 'FAIL'} {row['name']}: {value} {row['unit']} "
                          f"(target {row['target']})", style=None if row["ok"] else "bold red", highlight=False)


def score(shards_dir: str | Path, truth_dir: str | Path) -> Report:
    """Judges every question of every split of a shard set.

    Args:
        shards_dir: a published set, or a run's output.
        truth_dir: folder with `{name}.truth.npz` and `{name}.truth.json`, name being the stem of the clip's uri.
            All its scenes count as askable, whether or not a clip of them is in the set.

    Raises:
        ValueError: where a clip has no truth, or the folder has none at all.
        ShardError: on a torn set.
    """
    return score_samples(_samples(Path(shards_dir)), Path(truth_dir))


def _samples(shards_dir: Path) -> Iterator[Mapping[str, Any]]:
    from curate.shards import manifest
    from curate.shards.reader import find_root, read

    root = find_root(shards_dir)
    for split in sorted(manifest.load(root)["splits"]):
        for item in read(root, split, flatten=False, rank=0, world_size=1, worker=0, num_workers=1):
            yield item["json"]


def score_samples(samples: Iterable[Mapping[str, Any]], truth_dir: Path) -> Report:
    """As `score`, of json records (`curate.shards.schema`) already read."""
    names = sorted(path.name.removesuffix(TRUTH_SUFFIX) for path in Path(truth_dir).glob(f"*{TRUTH_SUFFIX}"))
    if not names:
        raise ValueError(f"{truth_dir}: no *{TRUTH_SUFFIX}; expected the truth folder of a rendered data set")
    report = Report([], [(name, item) for name in names for item in read_askable(Path(truth_dir), name)])
    scenes: dict[str, tuple[SceneTruth, Renderer]] = {}
    matched: dict[str, dict[int, Subject | None]] = {}  # clip to its regions
    for record in samples:
        name = Path(record["source"]["uri"]).stem
        if name not in names:
            raise ValueError(f"clip {record['key']} of {record['source']['uri']}: "
                             f"no {name}{TRUTH_SUFFIX} in {truth_dir}")
        if name not in scenes:
            scene = SceneTruth.load(Path(truth_dir) / f"{name}{TRUTH_SUFFIX}")
            scenes[name] = (scene, Renderer(scene))
        scene, renderer = scenes[name]
        key = record.get("clip_key", "")
        group = record.get("group", key)
        if group == key:
            matched[key] = subjects_of(record, scene, renderer)
            report.judged += judge(record, scene, renderer, matched[key])
        elif group in matched:  # a variant's masks are not of the frame that its regions are first seen in
            report.judged += judge_variant(record, scene, matched[group])
    return report


def judge_variant(record: Mapping[str, Any], scene: SceneTruth, subjects: Mapping[int, Subject | None]) -> list[Judged]:
    """Every question of a mirrored, reversed or faster clip that has a truth.

    Args:
        subjects: what the regions are in the clip that it was made of.
    """
    variant = Variant.split(record["clip_key"])[1]
    start = start_of(scene, int(record["source"].get("start_frame", 0)), record["num_frames"], variant)
    there = {region: subject_of(subject, variant) for region, subject in subjects.items()}
    asked = [qa for qa in record["qa"] if has_truth(qa["family"], variant)]
    changed = dict(record) | {"source": dict(record["source"]) | {"start_frame": start}, "qa": asked}
    return judge(changed, scene_of(scene, variant), None, there)


def subjects_of(record: Mapping[str, Any], scene: SceneTruth, renderer: Renderer) -> dict[int, Subject | None]:
    """What each region of a clip really is."""
    start = int(record["source"].get("start_frame", 0))
    seen: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    subjects: dict[int, Subject | None] = {}
    for region in record["regions"]:
        frame = start + int(region["first"])
        if frame not in seen:
            seen[frame] = renderer.geometry(frame)
        subjects[region["id"]] = match(scene, decode_rle(region["mask_rle"]), *seen[frame], frame)
    return subjects


def judge(record: Mapping[str, Any], scene: SceneTruth, renderer: Renderer | None = None,
          subjects: Mapping[int, Subject | None] | None = None) -> list[Judged]:
    """Every question of one clip's record.

    Args:
        subjects: what its regions are; matched by their masks where None.
    """
    renderer = renderer or Renderer(scene)
    subjects = subjects_of(record, scene, renderer) if subjects is None else dict(subjects)
    truth = Truth(scene, int(record["source"].get("start_frame", 0)))
    known = answers()
    return [judge_case(Case(qa, record, truth, subjects, renderer), scene.name, known[qa["family"]])
            if qa["family"] in known else
            judge_question(qa, scene.name, truth, [subjects[i] for i in qa["regions"]]) for qa in record["qa"]]


def judge_case(case: Case, scene: str, answer: Callable[[Case], TrueAnswer]) -> Judged:
    """One question of a family that has a true answer of its own (`curate.synth.answers`)."""
    qa = case.qa
    objects = tuple(sorted(s.object_id if s else -1 for s in case.asked))
    common = {"id": qa["id"], "scene": scene, "family": qa["family"], "form": qa["form"], "objects": objects,
              "answer": f"{qa['answer']} {qa['unit']}".strip() if qa["form"] == "numeric" else qa["answer"]}
    is_number = qa["form"] == "numeric"
    true = TrueAnswer(problem="a region lies on no one object") if None in case.asked else answer(case)
    if true.problem:
        return Judged(**common, right=None if is_number else False, covered=False if is_number else None, truth="",
                      problem=true.problem, relative_error=math.inf if is_number else math.nan,
                      relative_half_width=_half_width(qa) if is_number else math.nan)
    if qa["form"] == "open":
        return Judged(**common, right=bool(true.right), covered=None, truth=true.text)
    plain = TrueValue(true.value, true.category)
    if not is_number:
        right, text = _choice(qa, plain)
        return Judged(**common, right=right, covered=None, truth=true.text or text)
    value = plain.in_unit(qa["unit"])
    return Judged(**common, right=None, covered=bool(qa["low"] <= value <= qa["high"]),
                  truth=true.text or f"{value:.6g} {qa['unit']}".strip(), true=true.value,
                  relative_error=abs(_stated(qa) - value) / abs(value) if value else math.inf,
                  relative_half_width=_half_width(qa))


def judge_question(qa: Mapping[str, Any], scene: str, truth: Truth, subjects: list[Subject | None]) -> Judged:
    objects = tuple(sorted(s.object_id if s else -1 for s in subjects))
    common = {"id": qa["id"], "scene": scene, "family": qa["family"], "form": qa["form"], "objects": objects,
              "answer": f"{qa['answer']} {qa['unit']}" if qa["form"] == "numeric" else qa["answer"]}
    is_number = qa["form"] == "numeric"
    quantity = (qa.get("quantities") or [{}])[0]
    common |= {"stated": tuple(quantity.get("quantiles", ())), "one_sided": np.ndim(quantity.get("value", 0)) > 0}
    problem = ""
    if None in subjects:
        problem = "a region lies on no one object"
    elif qa["family"] in MOVING and 0 in objects:
        problem = "asked as a moving object, but it is the still world"
    elif qa["family"] in MOVING and not _moves(qa, truth, subjects):
        problem = "asked as a moving object, but it stands still"
    elif len(set(objects)) < len(objects) and 0 not in objects:
        problem = "two regions lie on the same object"
    if problem:
        return Judged(**common, right=None if is_number else False, covered=False if is_number else None, truth="",
                      problem=problem, relative_error=math.inf if is_number else math.nan,
                      relative_half_width=_half_width(qa) if is_number else math.nan)
    true = truth.value(qa["family"], subjects, (qa["start_frame"], qa["end_frame"]), qa["reference"])
    common["true"] = _angle(quantity["value"], true.vector) if common["one_sided"] else true.value
    if not is_number:
        right, text = _choice(qa, true)
        return Judged(**common, right=right, covered=None, truth=text)
    value = true.in_unit(qa["unit"])
    covered = bool(qa["low"] <= value <= qa["high"])
    return Judged(**common, right=None, covered=covered, truth=f"{value:.6g} {qa['unit']}",
                  relative_error=abs(_stated(qa) - value) / abs(value) if value else math.inf,
                  relative_half_width=_half_width(qa))


def _angle(stated: Sequence[float], true: np.ndarray | None) -> float:
    """Between two directions [2] or [3], radians."""
    if true is None or not np.linalg.norm(true) > 0:
        return math.nan
    a, b = (np.append(v, np.zeros(3 - len(v))) for v in (stated, true))
    return float(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b))


def _moves(qa: Mapping[str, Any], truth: Truth, subjects: list[Subject]) -> bool:
    # Without this, the smallest of four invented lengths would be the option nearest to the true zero.
    span = qa["start_frame"], qa["end_frame"]
    return truth.value("object_path_length", subjects, span).value > STILL_M


def _stated(qa: Mapping[str, Any]) -> float:
    """The number in the answer's text: what a trainer sees; nan where it is none."""
    try:
        return float(qa["answer"])
    except ValueError:
        return math.nan


def _half_width(qa: Mapping[str, Any]) -> float:
    value = _stated(qa)
    return (qa["high"] - qa["low"]) / 2 / abs(value) if value else math.inf


def _choice(qa: Mapping[str, Any], true: TrueValue) -> tuple[bool, str]:
    """A name must be the true one; a number the option nearest to the truth, and nearer than half way to the next:
    a truth far outside of all options makes none of them right."""
    values = qa["extra"]["option_values"]
    chosen = ord(qa["letter"]) - ord("A")
    if not 0 <= chosen < len(values) or qa["options"][chosen] != qa["answer"]:
        return False, ""
    if isinstance(values[chosen], str):
        return values[chosen] == true.category, true.category
    value = true.in_unit(qa["unit"])
    numbers = np.array(values, float)
    gap = np.abs(np.delete(numbers, chosen) - numbers[chosen]).min()
    return bool(abs(numbers[chosen] - value) <= gap / 2), f"{value:.6g} {qa['unit']}"


def _mean(values: list[bool]) -> float:
    return float(np.mean(values)) if values else math.nan


def _median(values: list[float]) -> float:
    return float(np.median(values)) if values else math.nan


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _percent(value: float) -> str:
    return "–" if not math.isfinite(value) else f"{100 * value:.1f} %"
