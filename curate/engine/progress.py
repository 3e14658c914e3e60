"""What a person sees while a run goes on: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque

LINE_EVERY_S = 10.0
RECENT = 200  # clips over which the rate is taken: the first ones load code, and clips differ


class Progress:
    """Counts clips; tells the rate, the time left (over the clips really worked on) and how busy the workers are.

    Args:
        total: planned clips. before: of these, settled already.
        workers: clips under way at once.
        what: the pass, in one word.
    """

    def __init__(self, total: int, before: int = 0, quiet: bool = False, workers: int = 1,
                 what: str = "perceive") -> None:
        self.total, self.before, self.quiet, self.workers, self.what = total, before, quiet, workers, what
        self.counts: Counter = Counter()
        self.busy_s = 0.0
        self.started = self._last_line = time.monotonic()
        self._recent: deque[float] = deque([self.started], maxlen=RECENT)
        self._bar = None
        if not quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            self._bar = Progress(SpinnerColumn(), TextColumn(f"[bold]{what}"), BarColumn(),
                                 TextColumn("{task.completed}/{task.total} clips"), TimeElapsedColumn(),
                                 TextColumn("{task.fields[note]}"), console=Console(stderr=True), transient=False)
            self._task = self._bar.add_task("", total=total, completed=before, note="")
            self._bar.start()

    def settled(self, state: str, seconds: float = 0.0) -> None:
        """A clip ended; `seconds`: a worker's time for it."""
        self.counts[state] += 1
        self.busy_s += seconds
        self._recent.append(time.monotonic())

    def tick(self) -> None:
        if self._bar:
            self._bar.update(self._task, completed=self.before + self.counts.total(), note=self.note())
            return
        now = time.monotonic()
        if not self.quiet and now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            self.line()

    def line(self) -> None:
        print(f"{self.what}: {self.before + self.counts.total()}/{self.total} clips, {self.note()}", file=sys.stderr,
              flush=True)

    def note(self) -> str:
        worked, now = self.counts.total(), time.monotonic()
        parts = []
        if worked:
            rate = (len(self._recent) - 1) / max(now - self._recent[0], 1e-6)
            left = (self.total - self.before - worked) / max(rate, 1e-9)
            parts.append(f"{rate:.3g} clips/s, ETA {duration(left)}")
        if self.busy_s:
            share = self.busy_s / max(self.workers * (now - self.started), 1e-6)
            parts.append(f"workers {min(share, 1.0):.0%} busy")
        parts += [f"{count} {state}" for state, count in sorted(self.counts.items()) if state != "done"]
        return ", ".join(parts) or "starting"

    def close(self) -> None:
        if self._bar:
            self.tick()
            self._bar.stop()
        elif not self.quiet and self.total > self.before:
            self.line()


def duration(seconds: float) -> str:
    """Such as 4:05, 3:12:09 or 2 d 03:12.

    Example:
        >>> duration(245), duration(11529), duration(184320)
        ('4:05', '3:12:09', '2 d 03:12')
    """
    minutes, s = divmod(int(seconds), 60)
    hours, m = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24:02d}:{m:02d}"
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"
