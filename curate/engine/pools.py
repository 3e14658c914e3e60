"""Where clips are worked on. A pool takes clips and hands back outcomes, in any order; the loop does the rest."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from curate.engine.child import START_S, WORKER, Child
from curate.engine.outcome import Fatal, Outcome, cannot_start
from curate.engine.stage import ClipWorker, sweep
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
        """Outcomes that have come by now; waits at most `timeout_s` for the first. Also called while nothing is under
        way, for the pool's own upkeep."""

    def close(self) -> None:
        """Ends the workers at once, whatever they do. A clip that was under way leaves nothing torn. May be called
        again."""


def inline_pool(recipe: Recipe, out: str) -> Pool:
    """The pool without Ray: one worker, in a process that can be killed unless `engine.isolate` is false.

    Raises:
        Fatal: where the estimators cannot be loaded; of a worker in a process of its own `wait` says it.
    """
    return ChildPool(recipe, out) if recipe.engine.isolate else InlinePool(recipe, out)


class InlinePool:
    """One worker in this very process: for debugging, and where a test replaces parts of it.

    No deadline holds: nothing outside the clip's own code could stop it, and its crash is this process's.

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


class ChildPool:
    """One worker in a process of its own on this machine: for one-CPU machines, notebooks, previews.

    The process is long-lived, so estimators are loaded once. It is killed and started anew where a clip is over its
    deadline, hung native code included, and started anew where it vanished. Scenes are the same bytes as in process.

    Args:
        worker: "module:Class" of what works there.

    Raises:
        Fatal: from `wait`, where the worker cannot start.
    """

    name = "inline"
    num_workers = 1
    in_process = False

    def __init__(self, recipe: Recipe, out: str, worker: str = WORKER) -> None:
        self._start = lambda: Child(recipe, out, worker)
        self._out = Path(out)
        self._child: Child | None = self._start()  # loads while the driver does other things

    def submit(self, clip: ClipSpec, deadline_s: float) -> None:
        self._child = self._child or self._start()
        self._child.give(clip, deadline_s)

    def wait(self, timeout_s: float) -> list[Outcome]:
        child, end = self._child, time.monotonic() + timeout_s
        if child is None or child.clip is None:
            return []
        while True:
            now = time.monotonic()
            if child.has_news(max(0.0, min(end, child.deadline) - now)):
                try:
                    outcome = child.receive()
                except EOFError:
                    return self._ended(child)
                if outcome is not None:
                    return [outcome]
            elif time.monotonic() >= child.deadline:
                return self._overdue(child)
            elif time.monotonic() >= end:
                return []

    def _ended(self, child: Child) -> list[Outcome]:
        outcome = child.ended()
        if not child.is_ready:
            raise Fatal(f"the workers do not start: {outcome.reason.removeprefix('the worker vanished: ')}")
        return self._replaced(child, outcome)

    def _overdue(self, child: Child) -> list[Outcome]:
        if not child.is_ready:
            child.kill()
            raise Fatal(f"the workers do not start: nothing heard for {START_S:g} s")
        return self._replaced(child, child.hung())

    def _replaced(self, child: Child, outcome: Outcome) -> list[Outcome]:
        clip = child.clip
        child.kill()
        sweep(self._out, clip.key, child.pid)
        self._child = self._start()
        return [outcome]

    def close(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            if child.clip is not None:
                sweep(self._out, child.clip.key, child.pid)
