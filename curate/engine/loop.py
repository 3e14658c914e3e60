"""The driver loop: which clip next, what to do with a failure. Knows nothing of Ray, files or video."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf

from curate.engine.outcome import Fatal, Outcome
from curate.engine.pools import Pool
from curate.sources.base import ClipSpec

LOSSES_BESIDE = 2  # a worker may vanish through its neighbours' fault
LOSSES_ALONE = 3  # a clip that worked alone and lost its worker this often is the cause
POLL_S = 0.5


@dataclass
class _Item:
    clip: ClipSpec
    failures: Counter = field(default_factory=Counter)
    alone: bool = False


def work(clips: Iterable[ClipSpec], pool: Pool, settled: Callable[[ClipSpec, Outcome], None], *, max_retries: int = 2,
         tick: Callable[[], None] = lambda: None) -> None:
    """Runs every clip to its end: done, filtered, or failed for good. Each is settled exactly once.

    Transient failures are tried again; a clip that timed out, or whose worker vanished twice, is tried again
    with nothing beside it; bad input and bugs are settled at once.

    Args:
        clips: in the order wanted; taken as workers become free.
        settled: called with the last outcome of each clip.
        tick: called a few times a second at most (progress, bounds); what it raises ends the loop.

    Raises:
        Fatal: on a failure that every clip would meet.
    """
    waiting: deque[_Item] = deque(_Item(clip) for clip in clips)
    running: dict[str, _Item] = {}
    while waiting or running:
        while waiting and len(running) < pool.num_workers:
            item = waiting[0]
            if running and (item.alone or any(other.alone for other in running.values())):
                break
            waiting.popleft()
            running[item.clip.key] = item
            pool.submit(item.clip, inf)
        for outcome in pool.wait(POLL_S):
            item = running.pop(outcome.key)
            if outcome.kind == "fatal":
                raise Fatal(f"{item.clip.uri}: {outcome.reason}")
            if outcome.state == "failed" and again(item, outcome, max_retries):
                waiting.append(item)
            else:
                settled(item.clip, outcome)
        tick()


def again(item: _Item, outcome: Outcome, max_retries: int) -> bool:
    """Whether to try once more; counts the failure, and sends the likely culprit to work alone."""
    item.failures[outcome.kind] += 1
    count = item.failures[outcome.kind]
    if outcome.kind == "transient":
        return count <= max_retries
    if outcome.kind == "timeout":
        item.alone = True
        return count <= 1
    if outcome.kind == "lost":
        item.alone = count >= LOSSES_BESIDE
        return count < LOSSES_BESIDE + LOSSES_ALONE
    return False
