"""Is a rig's residual rotation found? `python -m benchmarks.rig --out FILE [--seeds 100] [--workers 2]`.

Rendered clips of rigs turned by a known rotation beside their calibration: pans of 0, 0.02, 0.05 and 0.1 degrees of
either sign in equal numbers, with tilt and roll of 0.02 degrees (standard deviation), none of either beside a pan of 0.
Clips of a still camera come on top; they cannot tell a pan from a lens, so that what is stated there is how far
calibrations are off as a rule (`RigConfig.prior_pan_deg`), not what was injected: they are listed apart, unjudged.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.table import Row, at_least, at_most, report, row, skipped

PANS_DEG = (0.0, 0.02, 0.05, 0.1)
OTHER_AXES_DEG = 0.02
WIDTH, HEIGHT = 480, 270
SEED = 131_000
STILL_SHARE = 4  # one clip of a still camera for so many of a moving one
WITHIN_DEG = 0.01


@dataclass(frozen=True)
class Case:
    """One clip: index of the rendered scene, and the rotation (tilt, pan, roll) of its right camera, degrees."""

    index: int
    moves: bool
    rotation_deg: tuple[float, float, float]


@dataclass(frozen=True)
class Found:
    """Degrees. `applied`: any axis corrected."""

    case: Case
    theta: np.ndarray  # [3]
    sigma: np.ndarray  # [3]
    applied: np.ndarray  # [3]
    cue: str

    @property
    def error(self) -> np.ndarray:
        return self.theta - np.array(self.case.rotation_deg)


def cases(seeds: int) -> list[Case]:
    """`seeds` clips of moving cameras, and a quarter as many of still ones."""
    from curate.synth import sample_scene

    wanted = {True: seeds, False: -(-seeds // STILL_SHARE)}
    count, out, index = {True: 0, False: 0}, [], 0
    while count != wanted:
        moves = sample_scene(SEED, index, width=WIDTH, height=HEIGHT).camera_motion != "still"
        if count[moves] < wanted[moves]:
            rng = np.random.default_rng([SEED, index])
            pan = PANS_DEG[count[moves] % len(PANS_DEG)] * rng.choice([-1, 1])
            tilt, roll = rng.normal(0, OTHER_AXES_DEG, 2) * (pan != 0)
            out.append(Case(index, moves, (float(tilt), float(pan), float(roll))))
            count[moves] += 1
        index += 1
    return out


def measure(case: Case) -> Found:
    """Renders a clip and looks at its rig as the pipeline does."""
    from curate.perception.rig.config import RigConfig
    from curate.perception.rig.estimate import estimate_rig
    from curate.sources.rendered import RenderedFrames
    from curate.synth import sample_scene

    scene = replace(sample_scene(SEED, case.index, width=WIDTH, height=HEIGHT), rig_rotation_deg=case.rotation_deg)
    with RenderedFrames(scene, 0, scene.num_frames) as frames:
        state = estimate_rig(frames, RigConfig(), case.index)
    return Found(case, np.degrees(state.theta), np.degrees(np.sqrt(np.diag(state.covariance))),
                 np.degrees(state.applied), state.cue)


def run(seeds: int, workers: int) -> list[Found]:
    listed = cases(seeds)
    if workers <= 1:
        return [measure(case) for case in listed]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(measure, listed))


def rows(seeds: int, workers: int) -> list[Row]:
    """The figures of `seeds` clips of moving cameras and some of still ones."""
    return rows_of(run(seeds, workers))


def rows_of(found: list[Found]) -> list[Row]:
    moving, still = ([f for f in found if f.case.moves is moves] for moves in (True, False))
    out = _pan_rows("rig, moving camera", moving, True) + _pan_rows("rig, still camera", still, False)
    untouched = [f for f in found if not any(f.case.rotation_deg)]
    for name, corrected in (("pan", lambda f: f.applied[1] != 0), ("any axis", lambda f: f.applied.any())):
        if untouched:
            share = 100 * float(np.mean([corrected(f) for f in untouched]))
            out.append(at_most(f"rig, 0 injected, {name} corrected ({len(untouched)} clips)", share, "%", 5))
    for axis, name in ((0, "tilt"), (2, "roll")):
        error = np.array([f.error[axis] for f in found])
        z = error / np.array([f.sigma[axis] for f in found])
        out += [at_most(f"rig, {name}: RMSE", float(np.sqrt(np.mean(error**2))), "deg", WITHIN_DEG),
                row(f"rig, {name}: 95 % interval holds", 100 * float(np.mean(np.abs(z) <= 1.96)), "%")]
    return out


def _pan_rows(name: str, found: list[Found], judged: bool) -> list[Row]:
    if not found:
        return [skipped(name, "no clips")]
    error = np.array([f.error[1] for f in found])
    z = error / np.array([f.sigma[1] for f in found])
    within, holds = 100 * float(np.mean(np.abs(error) <= WITHIN_DEG)), 100 * float(np.mean(np.abs(z) <= 1.96))
    rmse = float(np.sqrt(np.mean(error**2)))
    out = [at_most(f"{name}: pan RMSE ({len(found)} clips)", rmse, "deg", WITHIN_DEG) if judged
           else row(f"{name}: pan RMSE ({len(found)} clips)", rmse, "deg"),
           row(f"{name}: pan recovered within {WITHIN_DEG} deg", within, "%"),
           at_least(f"{name}: pan's 95 % interval holds", holds, "%", 93) if judged
           else row(f"{name}: pan's 95 % interval holds", holds, "%"),
           row(f"{name}: pan error over its sigma, RMS", float(np.sqrt(np.mean(z**2))), "(1 = honest)"),
           row(f"{name}: median sigma of pan", float(np.median([f.sigma[1] for f in found])), "deg")]
    for pan in PANS_DEG:
        part = np.abs([e for e, f in zip(error, found) if np.isclose(abs(f.case.rotation_deg[1]), pan)])
        if len(part):
            out.append(row(f"{name}: pan of {pan:g} recovered within {WITHIN_DEG} deg",
                           100 * float(np.mean(part <= WITHIN_DEG)), "%"))
    return out


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=100, help="clips of moving cameras")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(argv)
    return report("Residual rotation of rendered rigs", rows(args.seeds, args.workers), args.out)


if __name__ == "__main__":
    sys.exit(main())
