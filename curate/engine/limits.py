"""What stops a run before it does harm: too many failures, too many in a row, more staged bytes than allowed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from curate.engine.deadlines import Deadlines
from curate.engine.outcome import Fatal, Outcome
from curate.sources.base import ClipSpec

if TYPE_CHECKING:
    from curate.recipe.model import EngineConfig

BACKOFF_S = 1.0  # before a failure that may pass is tried again; doubled each time
FIRST_FRAME_BYTES = 64 << 10  # of a scene and its videos, before one was made
GO_ON = "run the same command again to go on"
NAMES = {"transient": "failures that may pass", "timeout": "timeouts", "lost": "lost workers", "error": "errors"}


class FailureRules:
    """Too many failures stop the run: many clips in a row at their first try, or a share of all clips judged.

    A clip is judged once it is settled, or is put back to be tried alone (then as failed, until it comes through).
    Bad input is counted apart: it says nothing of the workers. Clips come in the order of their recordings, so a
    broken recording gives many in a row; only very many say that the data have gone away.
    """

    def __init__(self, engine: EngineConfig) -> None:
        self.engine = engine
        self.judged = self.failed = self.streak = self.bad_streak = 0
        self._kinds: Counter = Counter()
        self._reasons: Counter = Counter()

    def came(self, outcome: Outcome, workers: int) -> None:
        """A clip came back, for the first time or again.

        Args:
            workers: of the pool. Whatever stops all of them at once fails as many clips, so a streak is more than two
                rounds. What went with its node counts for nothing: nodes come and go.

        Raises:
            Fatal: where a streak is as long as the recipe allows; says what failed most, and how to go on.
        """
        engine = self.engine
        if outcome.kind == "bad_input":
            self.bad_streak += outcome.tries == 1
            if engine.max_bad_input_streak and self.bad_streak >= engine.max_bad_input_streak:
                raise Fatal(f"{self.bad_streak} clips in a row cannot be read, the last: {outcome.reason}; if the data "
                            f"are away, bring them back and try those clips again; if they are really so, raise "
                            f"engine.max_bad_input_streak; {GO_ON}")
            return
        if outcome.state != "failed":
            self.streak = self.bad_streak = 0
            return
        if outcome.meta.get("cause") == "node":
            return
        self.bad_streak = 0
        self.streak += outcome.tries == 1
        self._kinds[outcome.kind] += 1
        if len(self._reasons) < 1000 or outcome.reason in self._reasons:  # each may name its own file
            self._reasons[outcome.reason] += 1
        if engine.max_failure_streak and self.streak >= max(engine.max_failure_streak, 2 * workers + 1):
            raise Fatal(f"{self.streak} clips in a row failed{self._most()}; mend it, or raise "
                        f"engine.max_failure_streak; {GO_ON}")

    def put_aside(self, outcome: Outcome) -> None:
        """A clip failed and waits to be tried alone; raises as `settled`. What follows `came`."""
        self.judged += 1
        self._fail(outcome)

    def settled(self, outcome: Outcome, was_aside: bool) -> None:
        """A clip ended for good.

        Raises:
            Fatal: where the share of failed clips is over what the recipe allows.
        """
        self.judged += not was_aside
        if outcome.state == "failed" and outcome.kind != "bad_input":
            if not was_aside:
                self._fail(outcome)
        elif was_aside:
            self.failed -= 1

    def _fail(self, outcome: Outcome) -> None:
        engine = self.engine
        self.failed += 1
        if self.judged >= engine.failure_rate_after and self.failed > engine.max_failure_rate * self.judged:
            raise Fatal(f"{self.failed} of {self.judged} clips failed ({self.failed / self.judged:.0%}; "
                        f"engine.max_failure_rate is {engine.max_failure_rate:.0%}){self._most()}; mend it, or raise "
                        f"that rate; {GO_ON}")

    def _most(self) -> str:
        if not self._reasons:
            return ""
        kinds = ", ".join(f"{count} {NAMES.get(kind, kind)}" for kind, count in self._kinds.most_common())
        reason, count = self._reasons.most_common(1)[0]
        return f", in all {kinds}, most often ({count} times): {reason}"


class StagedBytes:
    """Keeps staged scenes within a limit: a clip is taken only where its product is expected to fit, beside the
    products of those under way.

    Args:
        limit: bytes.
        used: bytes staged already.
    """

    def __init__(self, limit: int, used: int = 0) -> None:
        self.limit, self.used = limit, used
        self._promised: dict[str, int] = {}
        self._promised_sum = 0
        self._frame_bytes: float | None = None  # of the dearest clip lately; falls slowly

    def fits(self, clip: ClipSpec) -> bool:
        """Whether the clip may be taken now. False: wait for those under way, which may turn out smaller.

        Raises:
            Fatal: where nothing is under way and it would not fit.
        """
        need = self._need(clip)
        if self.used + self._promised_sum + need <= self.limit:
            return True
        if self._promised:
            return False
        if self._frame_bytes is None and self.used < self.limit:
            return True  # nothing is known of such clips: one shows what they take
        raise Fatal(f"staged scenes take {self.used >> 20} MiB and the next clip about {need >> 10} KiB, more than "
                    f"engine.max_staged_bytes allows ({self.limit >> 20} MiB); raise it, and {GO_ON}")

    def take(self, clip: ClipSpec) -> None:
        need = self._promised[clip.key] = self._need(clip)
        self._promised_sum += need

    def _need(self, clip: ClipSpec) -> int:
        return round((FIRST_FRAME_BYTES if self._frame_bytes is None else self._frame_bytes) * clip.num_frames)

    def give(self, clip: ClipSpec, outcome: Outcome) -> None:
        """A clip that was taken has come back."""
        self._promised_sum -= self._promised.pop(clip.key)
        staged = outcome.meta.get("bytes", 0) if outcome.state == "done" else 0
        self.used += staged
        if staged:
            self._frame_bytes = max(staged / max(clip.num_frames, 1), 0.99 * (self._frame_bytes or 0.0))


def guards(engine: EngineConfig, staged_bytes: int) -> dict[str, Any]:
    """What `work` takes of a recipe's engine settings.

    Args:
        staged_bytes: in OUT already.
    """
    return {"max_retries": engine.max_retries, "backoff_s": BACKOFF_S, "deadlines": Deadlines(engine.timeout_s),
            "rules": FailureRules(engine), "staged": StagedBytes(engine.max_staged_bytes, staged_bytes)}
