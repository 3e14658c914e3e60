"""The command `curate` in a child process that is forked from one that has everything imported: a start costs some
20 ms in place of two seconds, so that hundreds of runs can be killed in minutes.

The child is what a person starts in a shell: a session of its own, its own standard output and error, the same entry
point, and nothing of the parent's that an own start would not have, except that modules are loaded already.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

# What `curate run` and `curate ask` load on their way. Ray is not among them: its threads do not survive a fork.
PRELOADED = ("curate.cli.main", "curate.cli.run", "curate.cli.ask", "curate.cli.verify", "curate.cli.summary",
             "curate.engine.run", "curate.sources", "curate.sources.packed", "curate.sources.stereo_pair",
             "curate.sources.rendered", "curate.perception.pipeline", "curate.lift.builder", "curate.video.encode",
             "curate.shards", "curate.questions", "curate.perception.rig.estimate", "scipy.optimize", "scipy.sparse",
             "scipy.interpolate", "pyarrow.parquet", "rich.table", "cv2", "av")


def preload() -> None:
    """Imports what a run needs, with one thread a library, as its workers have."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    for name in PRELOADED:
        import_module(name)
    import cv2
    import pyarrow

    from curate.perception import ESTIMATORS, estimator_class

    cv2.setNumThreads(1)
    pyarrow.set_cpu_count(1)
    for kind in ESTIMATORS:
        if "gmflow" not in kind and kind != "yolox":
            estimator_class(kind)


MARK = "CURATE_BENCHMARK_OF"  # environment variable: the process that started this one, however far above


class Child:
    """A forked process, the leader of its own session and process group.

    Attributes:
        pid: its process, group and session.
        log: file that holds its standard output and error.
    """

    def __init__(self, pid: int, log: Path, pidfd: int) -> None:
        self.pid, self.log, self._pidfd = pid, log, pidfd
        self.returncode: int | None = None

    def wait(self, timeout_s: float) -> int | None:
        """Exit code, negative for the number of the signal that ended it; None where it still runs after that."""
        if self.returncode is None and select.select([self._pidfd], [], [], max(timeout_s, 0))[0]:
            _, status = os.waitpid(self.pid, 0)
            self.returncode = os.waitstatus_to_exitcode(status)
            os.close(self._pidfd)
        return self.returncode

    def kill(self) -> int:
        """SIGKILL to the whole process group; returns the leader's exit code once it is gone."""
        with contextlib.suppress(ProcessLookupError):  # gone by itself
            os.killpg(self.pid, signal.SIGKILL)
        code = self.wait(60)
        assert code is not None, "a process outlived SIGKILL"
        return code

    def text(self) -> str:
        return self.log.read_text(errors="replace")


def fork(function: Callable[[], int | None], log: Path) -> Child:
    """Runs a function in a forked child; what it returns is the exit code, 70 where it raises (traceback in `log`)."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Child(pid, log, os.pidfd_open(pid))
    code = 70
    try:
        os.setsid()
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for standard in (1, 2):
            os.dup2(target, standard)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        code = function() or 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)  # no atexit of the parent's


def curate(args: Sequence[object], log: Path, before: Callable[[], None] = lambda: None) -> Child:
    """Starts `curate ARGS`.

    Args:
        before: called in the child before the command (to arm a fault).
    """
    def command() -> int | None:
        from curate.cli.main import main

        os.environ[MARK] = str(os.getpid())  # what it starts inherits this, in whatever session
        before()
        sys.argv = ["curate", *map(str, args)]
        main(sys.argv[1:], prog_name="curate")

    return fork(command, log)


def strangers(session: int) -> list[int]:
    """Processes that are still there of a session, or of what its leader started in sessions of their own."""
    mark = f"{MARK}={session}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                inherited = mark in (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if (inherited or int(fields[3]) == session) and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def wait_gone(session: int, timeout_s: float) -> list[int]:
    """Waits until no process of a session is left; returns those that stay."""
    end = time.monotonic() + timeout_s
    while (left := strangers(session)) and time.monotonic() < end:
        time.sleep(0.05)
    return left
