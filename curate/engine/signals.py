"""Ctrl-C and SIGTERM: the run stops taking clips, lets nothing be torn, and says how to go on."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

GRACE_S = 10.0  # for clips under way; a scheduler that sends SIGTERM waits 30 s before it kills
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """The run was told to stop. The process should exit with 128 + `signum` (130 for Ctrl-C, 143 for SIGTERM)."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class StopRequest:
    """Notes signals where the loop asks for them (`deferred`), and raises `Stopped` elsewhere.

    As a context manager it takes over SIGINT and SIGTERM, in the main thread only: elsewhere they stay whose they are.

    Attributes:
        signum: of the first signal; None until then.
        times: signals so far.
        deferred: signals are only noted. The third raises in any case: whatever is done does not end.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.times = 0
        self.deferred = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        self.install()
        return self

    def __exit__(self, *error: object) -> None:
        for signum, handler in self._before.items():
            # None: whoever had it was not Python's; what it was cannot be given back from here.
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
        self._before = {}
        if self.signum is not None and isinstance(error[1], KeyboardInterrupt) and not isinstance(error[1], Stopped):
            raise Stopped(self.signum) from error[1]  # native code that was waiting made its own of ours

    def install(self) -> None:
        """Takes the signals, also again: joining a Ray cluster sets a handler of its own."""
        if threading.current_thread() is not threading.main_thread():
            return
        for signum in SIGNALS:
            handler = signal.getsignal(signum)
            if handler != self._note:
                self._before.setdefault(signum, handler)
                signal.signal(signum, self._note)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.times += 1
        self.signum = self.signum or signum
        if not self.deferred or self.times > 2:
            raise Stopped(self.signum)
        if self.times == 1:  # not print(): the signal may have come in the middle of one
            os.write(2, f"\nstopping: clips under way get {GRACE_S:g} s; once more stops at once\n".encode())
