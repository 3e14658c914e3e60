"""Workers that go wrong as native code does, for tests that start real child processes."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import signal
import time
from pathlib import Path

from curate.engine.outcome import Outcome, failure
from curate.engine.stage import FOLDER, put
from curate.sources.base import BadInput, ClipSpec


class FaultyWorker:
    """Does what the name of the clip says, as often as it says: "hang", or "segv*1-done" (once, then done).

    Tries are counted in files of OUT, so that a new process goes on counting.
    """

    def __init__(self, recipe, out: str) -> None:
        self.out = Path(out)

    def ready(self) -> None:
        pass

    def perceive(self, clip: ClipSpec) -> Outcome:
        try:
            getattr(self, self._act(clip))(clip)
        except Exception as error:
            return failure(clip.key, error)
        put(self.out, clip.key, {"scene.npz": b"scene"})
        return Outcome(clip.key, "done", meta={"seconds": 0.001, "bytes": 5, "frames": clip.num_frames})

    def _act(self, clip: ClipSpec) -> str:
        tries = self.out / f"{clip.key}.tries"
        before = len(tries.read_text()) if tries.is_file() else 0
        tries.write_text("x" * (before + 1))
        acts: list[str] = []
        for part in clip.uri.split("-"):
            name, _, times = part.partition("*")
            acts += [name] * int(times or 1)
        return acts[min(before, len(acts) - 1)]

    def done(self, clip: ClipSpec) -> None:
        pass

    def hang(self, clip: ClipSpec) -> None:
        """Never returns, holds the interpreter's lock, and looks at no signal; with half a scene on the disk."""
        half = self.out / FOLDER / f".{clip.key}.{os.getpid()}"
        half.mkdir(parents=True)
        (half / "v0.mp4").write_bytes(b"half")
        sum(itertools.repeat(0))

    def sleep(self, clip: ClipSpec) -> None:
        time.sleep(0.5)

    def sigkill(self, clip: ClipSpec) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def segv(self, clip: ClipSpec) -> None:
        ctypes.string_at(0)

    def abort(self, clip: ClipSpec) -> None:
        os.abort()

    def exit(self, clip: ClipSpec) -> None:
        os._exit(3)

    def bad(self, clip: ClipSpec) -> None:
        raise BadInput(f"{clip.uri}: torn")

    def bug(self, clip: ClipSpec) -> None:
        raise ZeroDivisionError("by zero")

    def flaky(self, clip: ClipSpec) -> None:
        raise OSError(errno.ETIMEDOUT, "the server does not answer")

    def large(self, clip: ClipSpec) -> None:
        put(self.out, clip.key, {"v0.mp4": b"x" * 8192, "scene.npz": b"x" * (24 << 10)})

    def full(self, clip: ClipSpec) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def missing(self, clip: ClipSpec) -> None:
        import no_such_package  # noqa: F401


class NeverReady(FaultyWorker):
    def ready(self) -> None:
        raise BadInput("some.onnx: cannot be read; copy it again")


class DiesAtStart(FaultyWorker):
    def ready(self) -> None:
        os.abort()


class AlwaysHangs(FaultyWorker):
    def _act(self, clip: ClipSpec) -> str:
        return "hang"
