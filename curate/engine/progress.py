"""What a person sees while a run goes on: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections import Counter

LINE_EVERY_S = 10.0


class Progress:
    """Counts clips, tells the rate and the time left (over the clips that were really worked on)."""

    def __init__(self, total: int, before: int = 0, quiet: bool = False) -> None:
        self.total, self.before, self.quiet = total, before, quiet
        self.counts: Counter = Counter()
        self.started = self._last_line = time.monotonic()
        self._bar = None
        if not quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            self._bar = Progress(SpinnerColumn(), TextColumn("[bold]perceive"), BarColumn(),
                                 TextColumn("{task.completed}/{task.total} clips"), TimeElapsedColumn(),
                                 TextColumn("{task.fields[note]}"), console=Console(stderr=True), transient=False)
            self._task = self._bar.add_task("", total=total, completed=before, note="")
            self._bar.start()

    def settled(self, state: str) -> None:
        self.counts[state] += 1
        if self._bar:
            self._bar.update(self._task, completed=self.before + sum(self.counts.values()), note=self.note())

    def tick(self) -> None:
        now = time.monotonic()
        if not self.quiet and not self._bar and now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            self.line()

    def line(self) -> None:
        finished = self.before + sum(self.counts.values())
        print(f"perceive: {finished}/{self.total} clips, {self.note()}", file=sys.stderr, flush=True)

    def note(self) -> str:
        worked = sum(self.counts.values())
        seconds = time.monotonic() - self.started
        parts = []
        if worked:
            left = (self.total - self.before - worked) * seconds / worked
            parts.append(f"{worked / seconds:.2f} clips/s, ETA {int(left) // 60}:{int(left) % 60:02d}")
        parts += [f"{count} {state}" for state, count in sorted(self.counts.items()) if state != "done"]
        return ", ".join(parts) or "starting"

    def close(self) -> None:
        if self._bar:
            self._bar.stop()
        elif not self.quiet and self.total > self.before:
            self.line()
