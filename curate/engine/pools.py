"""Where clips are worked on. A pool takes clips and hands back outcomes, in any order; the loop does the rest."""

from __future__ import annotations

from typing import Protocol

from curate.engine.outcome import Outcome, cannot_start
from curate.engine.stage import ClipWorker
from curate.recipe import Recipe
from curate.sources.base import ClipSpec


class Pool(Protocol):
    """Workers and nothing else: what to try again, when to stop and how long a clip may take is the loop's.

    The loop calls `submit` and `wait` from one thread. Every clip submitted comes back from `wait` exactly once, as
    whatever it ended: "done", "filtered", or "failed" with its kind (`failure` sorts exceptions, `vanished` the exit
    of a process):

    - A clip over its deadline: the worker is killed, hung native code included, and the outcome is a "timeout".
    - A worker that is gone (signal, node, out of memory): "lost", with `meta["signal"]` = the signal's name
      ("SIGSEGV") where it is known. The pool replaces its workers by itself; a clip is never tried again by the pool.
    - "fatal", or `Fatal` raised from `submit` or `wait`: every clip would meet it.

    Attributes:
        name: one word for a person.
        num_workers: clips that may be under way at once; may change between calls, as nodes come and go, and may be 0
            while none is there.
        in_process: clips run inside `wait`, in this very process: no deadline holds, and a signal must interrupt it.
    """

    name: str
    num_workers: int
    in_process: bool

    def submit(self, clip: ClipSpec, deadline_s: float) -> None:
        """Starts a clip. At most `num_workers` may be under way.

        Args:
            deadline_s: seconds that it may take, from when a worker that is ready begins with it; inf for no end.
        """

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Outcomes that have come by now; waits at most `timeout_s` for the first."""

    def close(self) -> None:
        """Ends the workers at once, whatever they do. A clip that was under way leaves nothing torn. May be called
        again."""


class InlinePool:
    """One worker in this process: tests, notebooks, previews, one-CPU machines.

    `engine.timeout_s` does not hold here: nothing outside the clip's own code could stop it.

    Raises:
        Fatal: where the estimators cannot be loaded.
    """

    name = "inline"
    num_workers = 1
    in_process = True

    def __init__(self, recipe: Recipe, out: str) -> None:
        self._worker = ClipWorker(recipe, out)
        try:
            self._worker.ready()
        except Exception as error:
            raise cannot_start(error) from error
        self._clip: ClipSpec | None = None

    def submit(self, clip: ClipSpec, deadline_s: float) -> None:
        self._clip = clip

    def wait(self, timeout_s: float) -> list[Outcome]:
        clip, self._clip = self._clip, None
        return [self._worker.perceive(clip)] if clip is not None else []

    def close(self) -> None:
        pass
