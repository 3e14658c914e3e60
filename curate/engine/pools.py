"""Where clips are worked on. A pool takes clips and hands back outcomes, in any order; the loop does the rest."""

from __future__ import annotations

from typing import Protocol

from curate.engine.outcome import Outcome, cannot_start
from curate.engine.stage import ClipWorker
from curate.recipe import Recipe
from curate.sources.base import ClipSpec


class Pool(Protocol):
    name: str
    num_workers: int

    def submit(self, clip: ClipSpec) -> None:
        """Starts a clip. At most `num_workers` may be under way."""

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Outcomes that have come by now; waits at most `timeout_s` for the first."""

    def close(self) -> None:
        """Ends the workers."""


class InlinePool:
    """One worker in this process: tests, notebooks, previews, one-CPU machines.

    `engine.timeout_s` does not hold here: nothing outside the clip's own code could stop it.

    Raises:
        Fatal: where the estimators cannot be loaded.
    """

    name = "inline"
    num_workers = 1

    def __init__(self, recipe: Recipe, out: str) -> None:
        self._worker = ClipWorker(recipe, out)
        try:
            self._worker.ready()
        except Exception as error:
            raise cannot_start(error) from error
        self._clip: ClipSpec | None = None

    def submit(self, clip: ClipSpec) -> None:
        self._clip = clip

    def wait(self, timeout_s: float) -> list[Outcome]:
        clip, self._clip = self._clip, None
        return [self._worker.perceive(clip)] if clip is not None else []

    def close(self) -> None:
        pass
