"""Small stereo recordings for runs that are killed by the hundred: rendered scenes as videos, and some bad ones."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import yaml

SEED = 5
SMALL, LARGE = (96, 64), (160, 96)  # pixels of an eye; only the larger hold something to ask about


def write_inputs(root: Path, recordings: int, num_frames: int = 10) -> Path:
    """Writes `recordings` videos, one of them large enough for questions, and three that no run can use.

    Args:
        root: a new folder.
        recordings: good ones, each of one or more clips of at most `num_frames`.

    Returns:
        The recipe, with the rig's self-check off: it costs as much as all else on clips this small.
    """
    from curate.synth.dataset import write_dataset

    (root / "in").mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="curate-tiny-") as folder:
        for name, count, (width, height) in (("large", 1, LARGE), ("small", recordings - 1, SMALL)):
            if count:
                made = write_dataset(Path(folder) / name, count, SEED, None, width, height)
                for video in made.videos:
                    for path in (video, video.with_suffix(".calib.json")):
                        shutil.copy(path, root / "in" / f"{name}-{path.name}")
    good = sorted((root / "in").glob("*.mp4"))[0]
    calibration = good.with_suffix(".calib.json").read_text()
    for name, data, text in (("cut", good.read_bytes()[:4000], calibration),
                             ("flat", good.read_bytes(), json.dumps(json.loads(calibration) | {"baseline_m": 0})),
                             ("silent", b"", calibration)):
        (root / "in" / f"{name}.mp4").write_bytes(data)
        (root / "in" / f"{name}.calib.json").write_text(text)
    recipe = root / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({
        "name": "tiny", "source": {"kind": "side_by_side", "root": str((root / "in").resolve())},
        "clip": {"num_frames": num_frames, "min_frames": 4}, "perception": {"rig": {"kind": "as-published"}},
        "shards": {"max_samples": 4}}, sort_keys=False))
    return recipe
