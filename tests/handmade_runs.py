"""`curate` with a source and workers that cost nothing: clips from a list in a file, scenes made by hand.

    python -m tests.handmade_runs run RECIPE --out OUT ...

The list is named by the recipe's `name` beside it (`NAME.txt`): a line is a clip, and what becomes of it if not a
scene: "b.mp4 timeout", "c.mp4 filtered", "d.mp4 planned-bad". Everything but source and worker is the product's: the
driver is a real one, to be killed.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from curate.engine.outcome import Outcome
from curate.engine.stage import put
from curate.sources.base import ClipSpec, clip_key
from tests.scenes import make_scene

CLIPS = "HANDMADE_CLIPS"  # environment: the file with the list
SLEEP = "HANDMADE_SLEEP_S"  # of a worker for each clip
RECIPE = {"source": {"kind": "rendered"}, "engine": {"kind": "inline", "isolate": False, "max_retries": 0}}


def planned(recipe) -> Iterator[tuple[ClipSpec, str | None]]:
    """In place of `curate.engine.plan.planned`."""
    for line in Path(os.environ[CLIPS]).read_text().splitlines():
        name, _, end = line.partition(" ")
        spec = ClipSpec(clip_key(name, 0, 6, []), "rendered", name, name.partition("-")[0], 0, 6, {"end": end})
        yield spec, f"{name}: cut short" if end == "planned-bad" else None


class HandmadeWorker:
    """In place of `ClipWorker`."""

    def __init__(self, recipe, out: str) -> None:
        self.out, self.sleep_s = Path(out), float(os.environ.get(SLEEP, "0"))

    def ready(self) -> None:
        pass

    def perceive(self, clip: ClipSpec) -> Outcome:
        time.sleep(self.sleep_s)
        end = clip.params["end"]
        if end == "filtered":
            return Outcome(clip.key, "filtered", reason=f"{clip.uri}: dark")
        if end == "crash":
            return Outcome(clip.key, "failed", "lost", "the worker vanished: SIGSEGV", {"signal": "SIGSEGV"})
        if end:
            return Outcome(clip.key, "failed", end, f"{clip.uri}: {end}, as it was told")
        files = scene_files(clip)
        put(self.out, clip.key, files)
        return Outcome(clip.key, "done", meta={"bytes": sum(map(len, files.values())), "seconds": 0.01,
                                               "stages": {"handmade": 0.01}})


def scene_files(clip: ClipSpec) -> dict[str, bytes]:
    """The same for the same key."""
    from curate.video.encode import jpeg

    seed = int(hashlib.sha256(clip.key.encode()).hexdigest()[:6], 16)
    made, _ = make_scene(seed=seed, num_frames=6, num_regions=2)
    made = replace(made, key=clip.key, clip={**clip.to_json(), "params": {}})
    picture = np.full((made.camera.height, made.camera.width, 3), 90, np.uint8)
    return {"scene.npz": made.to_bytes(), "v0.mp4": b"left of " + clip.key.encode(), "frame.jpg": jpeg(picture),
            "v1.mp4": b"right of " + clip.key.encode(), "depth.jpg": jpeg(picture[::4, ::4])}


def patches() -> dict[str, object]:
    return {"curate.engine.ledger.planned": planned, "curate.engine.pools.ClipWorker": HandmadeWorker}


def main() -> None:
    from importlib import import_module

    for path, value in patches().items():
        module, _, name = path.rpartition(".")
        setattr(import_module(module), name, value)
    from curate.cli.main import main as curate

    curate(sys.argv[1:])


if __name__ == "__main__":
    main()
