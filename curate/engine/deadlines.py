"""How long a clip may take, from what clips have cost so far: a hang in a short clip is seen soon, and a long clip is
not taken for a hang."""

from __future__ import annotations

from collections import deque

from curate.engine.outcome import Outcome
from curate.sources.base import ClipSpec

FLOOR_S = 60.0  # a machine that swaps or loads from a slow disk is not a hang
FACTOR = 20.0  # of the usual cost a frame: images of four times the width and height cost 16 times as much
TAIL_FACTOR = 4.0  # of the dearest clips so far, where a few are much larger than most
ALONE_FACTOR = 4.0  # a clip that timed out may have been only slow: alone it gets more
# Before anything was measured.
FIRST_FLOOR_S = 600.0
FIRST_FRAME_S = 10.0
KEPT = 256  # clips that the estimate looks back on
FRESH_EVERY = 16  # clips between two estimates, once there are many


class Deadlines:
    """A running estimate of seconds a frame over clips that were done.

    Args:
        ceiling_s: no clip gets more than this; None for no ceiling.
        floor_s: no clip gets less, but for the ceiling.
    """

    def __init__(self, ceiling_s: float | None = None, floor_s: float = FLOOR_S) -> None:
        self.ceiling_s, self.floor_s = ceiling_s, floor_s
        self._costs: deque[float] = deque(maxlen=KEPT)
        self._unread = 0
        self._frame_s: float | None = None  # allowed for a frame

    def observe(self, clip: ClipSpec, outcome: Outcome) -> None:
        """Takes in the cost of a clip that ended by itself."""
        seconds = outcome.meta.get("seconds")
        if outcome.state == "failed" or not seconds:
            return
        self._costs.append(seconds / max(clip.num_frames, 1))
        self._unread += 1
        if self._unread >= FRESH_EVERY or len(self._costs) < FRESH_EVERY:
            costs = sorted(self._costs)
            self._unread = 0
            self._frame_s = max(FACTOR * costs[len(costs) // 2], TAIL_FACTOR * costs[int(0.99 * (len(costs) - 1))])

    def of(self, clip: ClipSpec, *, alone: bool = False) -> float:
        """Seconds that this clip may take on a worker.

        Args:
            alone: it is tried again after a timeout, with nothing beside it.
        """
        if self._frame_s is None:
            allowed = max(FIRST_FLOOR_S, FIRST_FRAME_S * clip.num_frames)
        else:
            allowed = max(self.floor_s, self._frame_s * clip.num_frames)
        allowed *= ALONE_FACTOR if alone else 1.0
        return allowed if self.ceiling_s is None else min(allowed, self.ceiling_s)
