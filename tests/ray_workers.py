"""A worker for tests of the Ray pool, which does at once what its clip says and dies where told to; and its clips."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

from curate.engine.outcome import Outcome
from curate.recipe import Recipe
from curate.sources.base import ClipSpec


def clip(index: int, do: str = "done") -> ClipSpec:
    return ClipSpec(f"{index:024x}", "fake", f"video{index}.mp4", f"video{index}", 0, 8, {"do": do})


class Obedient:
    def __init__(self, recipe: Recipe, out: str) -> None:
        self.out = Path(out)

    def ready(self) -> None:
        pass

    def perceive(self, clip: ClipSpec) -> Outcome:
        (self.out / f"begun-{clip.key}").touch()
        do = clip.params["do"]
        if do == "segfault":
            ctypes.string_at(0)
        if do == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if do == "hang":
            time.sleep(3600)
        if do == "raise":
            raise RuntimeError("a bug")
        return Outcome(clip.key, "done", meta={"pid": os.getpid(), "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
                                               "node": os.environ.get("TEST_NODE", ""),
                                               "threads": os.environ.get("OMP_NUM_THREADS")})


def outcomes(pool, clips: list, deadline_s: float = 60.0, begun=lambda: None) -> dict[str, Outcome]:
    """Each clip once through the pool, as the loop does it."""
    waiting, ended, end = list(clips), {}, time.monotonic() + 90
    while len(ended) < len(clips):
        assert time.monotonic() < end, "the pool hangs"
        while waiting and len(clips) - len(waiting) - len(ended) < pool.num_workers:
            pool.submit(waiting.pop(0), deadline_s)
        begun()
        for outcome in pool.wait(0.2):
            assert outcome.key not in ended, "a clip came back twice"
            ended[outcome.key] = outcome
    return ended
