"""The driver loop: which clip next, what to do with a failure. Knows nothing of Ray, files or video."""

from __future__ import annotations

import heapq
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import count
from math import inf

from curate.engine.deadlines import Deadlines
from curate.engine.limits import GO_ON, FailureRules, StagedBytes
from curate.engine.outcome import CRASHES, Fatal, Outcome
from curate.engine.pools import Pool
from curate.engine.signals import GRACE_S, Stopped, StopRequest
from curate.sources.base import ClipSpec

LOSSES_BESIDE = 2  # a worker may vanish through its neighbours' fault
LOSSES_ALONE = 3  # a clip that worked alone and lost its worker this often is the cause
LOSSES_WITH_NODE = 10  # nodes go by themselves; one clip in flight on so many of them may be what brings them down
MAX_CRASHES = 2  # SIGSEGV and its like are the process's own doing: no neighbour sends them
MAX_BACKOFF_S = 60.0
POLL_S = 0.5
TICK_S = 0.1


@dataclass
class _Item:
    clip: ClipSpec
    failures: Counter = field(default_factory=Counter)
    tries: int = 0
    crashes: int = 0
    alone: bool = False


def work(clips: Iterable[ClipSpec], pool: Pool, settled: Callable[[ClipSpec, Outcome], None], *, max_retries: int = 2,
         tick: Callable[[], None] = lambda: None, deadlines: Deadlines | None = None,
         rules: FailureRules | None = None, staged: StagedBytes | None = None, stop: StopRequest | None = None,
         backoff_s: float = 0.0) -> None:
    """Runs every clip to its end: done, filtered, or failed for good. Each is settled exactly once.

    Transient failures are tried again after a while; a clip that timed out, whose worker crashed, or vanished twice,
    is tried again with nothing beside it once all others are through; bad input and bugs are settled at once. The
    work a clip costs here does not grow with the number of clips, and only those not settled are held.

    Args:
        clips: in the order wanted; taken one by one as workers become free.
        settled: called with the last outcome of each clip; `tries` says how often it was tried.
        tick: called some times a second at most (progress, heartbeat); what it raises ends the loop.
        deadlines: how long a clip may take; None: for ever.
        rules: when failures stop the run; None: never.
        staged: what room there is for products; None: enough.
        stop: signals; None: they do as they did.
        backoff_s: seconds before the first further try after a transient failure; doubled each time.

    Raises:
        Fatal: on a failure that every clip would meet, or where `rules` or `staged` say so.
        Stopped: after a signal. What was under way is not settled.
    """
    _Loop(pool, settled, max_retries, deadlines, rules, staged, stop, backoff_s).run(iter(clips), tick)


class _Loop:
    def __init__(self, pool: Pool, settled: Callable[[ClipSpec, Outcome], None], max_retries: int,
                 deadlines: Deadlines | None, rules: FailureRules | None, staged: StagedBytes | None,
                 stop: StopRequest | None, backoff_s: float) -> None:
        self.pool, self.settled, self.max_retries, self.backoff_s = pool, settled, max_retries, backoff_s
        self.deadlines, self.rules, self.staged, self.stop = deadlines, rules, staged, stop
        self.running: dict[str, _Item] = {}
        self.later: list[tuple[float, int, _Item]] = []  # a heap: when, a number that keeps their order, what
        self.aside: deque[_Item] = deque()  # to be tried alone, at the end: until then nobody has to stand still
        self.held: _Item | None = None  # taken from the clips, but there is no room for its product yet
        self.fresh, self.numbers = True, count()
        self.most_workers = 0

    def run(self, clips: Iterable[ClipSpec], tick: Callable[[], None]) -> None:
        last_tick, stop_at = -inf, inf
        deferred = self.stop.deferred if self.stop else False
        if self.stop:
            self.stop.deferred = True
        try:
            while True:
                if self.stop and self.stop.signum:
                    stop_at = min(stop_at, time.monotonic() + GRACE_S)
                    if not self.running or self.stop.times > 1 or time.monotonic() >= stop_at:
                        raise Stopped(self.stop.signum)
                else:
                    self._fill(clips)
                if not (self.running or self.fresh or self.held or self.later or self.aside):
                    return
                for outcome in self._wait():
                    self._came(outcome)
                now = time.monotonic()
                if now - last_tick >= TICK_S:
                    last_tick = now
                    tick()
        finally:
            if self.stop:
                self.stop.deferred = deferred

    def _fill(self, clips: Iterable[ClipSpec]) -> None:
        """Gives clips to workers that are free."""
        self.most_workers = max(self.most_workers, self.pool.num_workers)
        while len(self.running) < self.pool.num_workers:
            item = self._next(clips)
            if item is None:
                return
            if self.staged:
                if not self.staged.fits(item.clip):
                    self.held = item
                    return
                self.staged.take(item.clip)
            item.tries += 1
            self.running[item.clip.key] = item
            timed_out = item.failures["timeout"] > 0
            self.pool.submit(item.clip, self.deadlines.of(item.clip, alone=timed_out) if self.deadlines else inf)

    def _next(self, clips: Iterable[ClipSpec]) -> _Item | None:
        """What to work on now; None where nothing may start."""
        if self.held:
            item, self.held = self.held, None
            return item
        if self.later and self.later[0][0] <= time.monotonic():
            return heapq.heappop(self.later)[2]
        if self.fresh:
            clip = next(clips, None)
            if clip is not None:
                return _Item(clip)
            self.fresh = False
        if self.aside and not self.running and not self.later:
            return self.aside.popleft()
        return None

    def _wait(self) -> list[Outcome]:
        timeout_s = POLL_S
        if self.later:
            timeout_s = min(max(self.later[0][0] - time.monotonic(), 0.01), POLL_S)
        begin, idle = time.monotonic(), not self.running
        if self.stop and self.pool.in_process:
            self.stop.deferred = False  # the clip is worked on inside this call
        try:
            outcomes = self.pool.wait(timeout_s)
        finally:
            if self.stop:
                self.stop.deferred = True
        if idle and not outcomes:  # everything waits for its time, or for a worker: the pool may not have waited
            time.sleep(max(0.0, begin + timeout_s - time.monotonic()))
        return outcomes

    def _came(self, outcome: Outcome) -> None:
        item = self.running.pop(outcome.key)
        outcome = replace(outcome, tries=item.tries)
        if self.staged:
            self.staged.give(item.clip, outcome)
        if self.deadlines:
            self.deadlines.observe(item.clip, outcome)
        if outcome.kind == "fatal":
            raise Fatal(f"{item.clip.uri}: {outcome.reason}; mend it, and {GO_ON}")
        was_alone = item.alone
        if outcome.state == "failed" and again(item, outcome, self.max_retries):
            if outcome.kind == "transient":
                wait_s = min(self.backoff_s * 2 ** (item.failures["transient"] - 1), MAX_BACKOFF_S)
                heapq.heappush(self.later, (time.monotonic() + wait_s, next(self.numbers), item))
            elif item.alone:
                self.aside.append(item)
            else:
                heapq.heappush(self.later, (time.monotonic(), next(self.numbers), item))
            if self.rules:
                self.rules.came(outcome, self.most_workers)
                if item.alone and not was_alone:
                    self.rules.put_aside(outcome)
        else:
            self.settled(item.clip, outcome)
            if self.rules:
                self.rules.came(outcome, self.most_workers)
                self.rules.settled(outcome, was_alone)


def again(item: _Item, outcome: Outcome, max_retries: int) -> bool:
    """Whether to try once more; counts the failure, and sends the likely culprit to work alone."""
    if outcome.kind == "lost" and outcome.meta.get("cause") == "node":
        item.failures["node"] += 1
        return item.failures["node"] < LOSSES_WITH_NODE
    item.failures[outcome.kind] += 1
    times = item.failures[outcome.kind]
    if outcome.kind == "transient":
        return times <= max_retries
    if outcome.kind == "timeout":
        item.alone = True
        return times <= 1
    if outcome.kind == "lost":
        item.crashes += outcome.meta.get("signal") in CRASHES
        item.alone = item.alone or times >= LOSSES_BESIDE or item.crashes > 0
        return item.crashes < MAX_CRASHES and times < LOSSES_BESIDE + LOSSES_ALONE
    return False
