"""Every figure that says whether labels are true, and know how true they are, in one table.

    python -m benchmarks.truth --data ../shared/data --out truth.json [--quick] [--workers 2] [--cache DIR]
                               [--skip PART] [--doc docs/truth.md]

Real sequences and pairs below --data are told by what they hold (`benchmarks.discover`); a kind without data prints
"skipped", and one that fails is a row with its error. Rendered scenes are fresh seeds, used by no fit. --quick takes
fewer of them (said in the table). What was perceived is kept in --cache under a digest of the code that made it: a run
that was stopped goes on where it was, and changed code begins anew. Exit code 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.table import Row, report, row, skipped

ROOT = Path(__file__).resolve().parents[1]
SEED = 500_000
SCENES, QUICK_SCENES = 1000, 80
RIGS, QUICK_RIGS = 100, 12
PERCEIVING = ("data", "geometry", "lift", "perception", "scene.py", "sources", "video")
RENDERING = ("synth/distribution.py", "synth/motion.py", "synth/renderer.py", "synth/sample.py", "synth/scene.py",
             "synth/texture.py")
MEASURING = ("measure", "questions", "synth")


@dataclass
class Findings:
    """What a run found: rows in their sections, and what pictures are drawn from."""

    sections: dict[str, list[Row]] = field(default_factory=dict)
    rendered: list[dict[str, Any]] = field(default_factory=list)  # items of rendered scenes
    real: list[dict[str, Any]] = field(default_factory=list)  # items of real sequences and pairs
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # pair -> risk by density
    notes: list[str] = field(default_factory=list)

    def add(self, section: str, rows: list[Row]) -> None:
        self.sections.setdefault(section, []).extend(rows)

    @property
    def rows(self) -> list[Row]:
        return [r for rows in self.sections.values() for r in rows]


def digest(parts: tuple[str, ...], root: Path = ROOT / "curate") -> str:
    """Of all files that take part: what was made by other code is not used."""
    found = hashlib.sha256()
    for part in parts:
        path = root / part
        for file in sorted([path] if path.is_file() else path.rglob("*")):
            if file.suffix in (".py", ".json", ".yaml"):
                found.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return found.hexdigest()[:12]


def failed(name: str, error: Exception) -> list[Row]:
    return [row(f"{name}: failed, {type(error).__name__}: {error}", None, "", "runs", False)]


def unusable(folder: Path, reason: str) -> list[Row]:
    return [row(f"{folder.name}: looked like one, but: {reason}", None, "")]


def real_sequences(data: Path, cache: Path, findings: Findings) -> None:
    """Camera motion, stillness and cost."""
    from benchmarks import truth_camera as camera
    from benchmarks.calibration_stats import binomial_interval, summary
    from benchmarks.discover import sequences

    perceived, num_moving, num_still = [], 0, 0
    for found in sequences(data) if data.is_dir() else ():
        if isinstance(found, tuple):
            findings.add("camera motion", unusable(*found))
            continue
        say(f"perceiving {found.name}, {found.num_frames} frames")
        try:
            still, flow = (False, 0.0) if found.poses is not None else camera.hardly_moves(found)
            made = camera.perceive(found, cache / f"sequences-{digest(PERCEIVING)}")
            perceived.append(made)
            if found.poses is not None:
                num_moving += 1
                findings.add("camera motion", camera.motion_rows(made))
                findings.real += camera.span_items(made, widened=True)
            elif still:
                num_still += 1
                findings.add("a camera that stands still", camera.still_rows(made, flow))
        except Exception as error:
            findings.add("camera motion", failed(found.name, error))
    if not num_moving:
        findings.add("camera motion", [skipped("stereo sequence with poses", f"none below {data}")])
    if not num_still:
        findings.add("a camera that stands still", [skipped("stereo sequence whose pictures hardly move", "none")])
    findings.add("cost", camera.cost_rows(perceived) or [
        skipped("cost of a 1226x370 stereo frame", "no sequence of about that size")])
    if findings.real:
        for kind in sorted({i["kind"] for i in findings.real}):
            own = [i for i in findings.real if i["kind"] == kind]
            s = summary(own)
            low, high = binomial_interval(s["in95"], s["n_eff"])
            what = f"real sequences, {kind.replace('_', ' ')} (n {s['n']}, {s['clips']} clips, n eff {s['n_eff']:.1f})"
            findings.add("real clips together", [row(
                f"{what}: inside of 95 %, where 99 % sure of {100 * low:.0f} to {100 * high:.0f} %", 100 * s["in95"],
                "%", "interval holds 95", bool(low <= 0.95 <= high))])


def real_pairs(data: Path, findings: Findings) -> None:
    """Depth against dense truth and LiDAR, by pixels and by regions."""
    from benchmarks import truth_pairs as depth
    from benchmarks.calibration_stats import binomial_interval, summary
    from benchmarks.discover import pairs

    kinds = {False: 0, True: 0}
    items: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for found in pairs(data) if data.is_dir() else ():
        if isinstance(found, tuple):
            findings.add("depth of pairs", unusable(*found))
            continue
        say(f"depth of {found.name}")
        try:
            made = depth.estimate(found)
            findings.add("depth of pairs", depth.rows_of(found, made))
            findings.curves[found.name] = depth.curve(found, made)
            kinds[found.sparse] += 1
            if not found.whole_pixels:
                items[found.sparse] += depth.region_items(found, made)
        except Exception as error:
            findings.add("depth of pairs", failed(found.name, error))
    for sparse, name in ((False, "pair with dense disparity"), (True, "pair with a LiDAR scan")):
        if not kinds[sparse]:
            findings.add("depth of pairs", [skipped(name, f"none below {data}")])
        if items[sparse]:
            s = summary(items[sparse])
            low, high = binomial_interval(s["in95"], s["n_eff"])
            findings.real += items[sparse]
            findings.add("real clips together", [row(
                f"real {name}: mean disparity of regions (n {s['n']}, {s['clips']} pairs, n eff {s['n_eff']:.1f}): "
                f"inside of 95 %, where 99 % sure of {100 * low:.0f} to {100 * high:.0f} %", 100 * s["in95"], "%",
                "interval holds 95", bool(low <= 0.95 <= high))])


def rendered(cache: Path, num_scenes: int, seed: int, workers: int, findings: Findings) -> None:
    """The campaign on fresh seeds."""
    from benchmarks import truth_rendered as rows
    from benchmarks.campaign import campaign

    drawn = digest(RENDERING) + digest(("scenes.yaml",), ROOT / "benchmarks")[:4]
    results = campaign(cache / f"perceived-{drawn}-{digest(PERCEIVING)}", num_scenes, seed, workers=workers,
                       source=cache / f"rendered-{drawn}",
                       items="items-" + digest(MEASURING) + digest(("compare.py",), ROOT / "benchmarks")[:4])
    findings.rendered = [i for r in results for i in r.get("items", ())]
    findings.add("rendered: health", rows.health_rows(results))
    findings.add("rendered: intervals", rows.interval_rows(results))
    findings.add("rendered: answers", rows.answer_rows(results))


def injected(findings: Findings, quick: bool, workers: int) -> None:
    """Rigs with a known pan."""
    from benchmarks import rig

    try:
        findings.add("the rig", rig.rows(QUICK_RIGS if quick else RIGS, workers))
    except Exception as error:
        findings.add("the rig", failed("rendered rigs with an injected pan", error))


def learned(data: Path, findings: Findings) -> None:
    """Networks through the estimator contract: cost against the bare network, errors on the pairs."""
    from benchmarks.learned import rows

    findings.add("learned estimators", rows(data))


def stages(args: argparse.Namespace, findings: Findings) -> dict[str, tuple[str, Callable[[], None]]]:
    """Name for `--skip` -> (what is said of it, the work), in order."""
    scenes = f"{args.scenes} rendered scenes"
    return {
        "sequences": ("real sequences", lambda: real_sequences(args.data, args.cache, findings)),
        "pairs": ("real pairs", lambda: real_pairs(args.data, findings)),
        "learned": ("learned estimators", lambda: learned(args.data, findings)),
        "rigs": ("rigs with an injected pan", lambda: injected(findings, args.quick, args.workers)),
        "rendered": (scenes, lambda: rendered(args.cache, args.scenes, args.seed, args.workers, findings))}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True, help="JSON of all rows")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SCENES} rendered scenes instead of {SCENES}")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=ROOT / "out" / "truth", help="what is kept between runs")
    parser.add_argument("--scenes", type=int, help="number of rendered scenes")
    parser.add_argument("--seed", type=int, default=SEED, help="of the rendered scenes; use none that was fitted on")
    parser.add_argument("--skip", action="append", default=[], metavar="PART",
                        help="leave out sequences, pairs, learned, rigs or rendered; may be repeated")
    parser.add_argument("--doc", type=Path, help="write the table, with pictures beside it in images/, as markdown")
    args = parser.parse_args(argv)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    import cv2

    cv2.setNumThreads(1)
    findings, begin = Findings(), time.monotonic()
    if args.scenes is None:
        args.scenes = QUICK_SCENES if args.quick else SCENES
    if args.quick:
        findings.notes.append(f"--quick takes {args.scenes} rendered scenes instead of {SCENES}, so that shares by "
                              f"family are of few items, and {QUICK_RIGS} rigs instead of {RIGS}")
    todo = stages(args, findings)
    if unknown := sorted(set(args.skip) - set(todo)):
        parser.error(f"--skip {unknown[0]}: there are {', '.join(todo)}")
    findings.notes += [f"--skip: {todo[name][0]}" for name in todo if name in args.skip]
    todo = [stage for name, stage in todo.items() if name not in args.skip]
    for number, (name, stage) in enumerate(todo, 1):
        say(f"[{number}/{len(todo)}] {name} ({time.monotonic() - begin:.0f} s so far)")
        try:
            stage()
        except Exception as error:
            findings.add(name, failed(name, error))
    for note in findings.notes:
        say(f"note: {note}")
    code = report("Truth", findings.rows, args.out)
    rows = [r | {"section": section} for section, own in findings.sections.items() for r in own]
    args.out.write_text(json.dumps({"rows": rows, "notes": findings.notes}, indent=1, ensure_ascii=False) + "\n")
    from benchmarks.truth_doc import pictures, write_doc

    pictures(findings, args.doc.parent / "images" if args.doc else args.out.parent / "images")
    if args.doc:
        command = "python -m benchmarks.truth " + " ".join(argv if argv is not None else sys.argv[1:])
        write_doc(args.doc, findings.sections, findings.notes, command)
    return code


if __name__ == "__main__":
    sys.exit(main())
