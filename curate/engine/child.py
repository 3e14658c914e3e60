"""A worker in a process of its own: the far end, and the parent's handle of it.

The two talk in lines of JSON over a socket: nothing is pickled, and the parent's `__main__` is not imported again, so
that a plain script or a notebook may run clips. The child begins with a fresh interpreter: forking a process that has
threads (a progress bar, a BLAS, Ray) is asking for a deadlock.
"""

from __future__ import annotations

import faulthandler
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

from curate.engine.outcome import Fatal, Outcome, cannot_start, vanished
from curate.sources.base import ClipSpec

if TYPE_CHECKING:
    from curate.recipe import Recipe

# One thread a library, as on Ray's workers: results do not depend on the number of cores.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
BOOT = ("import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
        "from curate.engine.child import main; main(int(sys.argv[2]), int(sys.argv[3]))")
WORKER = "curate.engine.stage:ClipWorker"
AHEAD = ("curate.recipe.model", "cv2", "curate.perception.pipeline", "curate.engine.stage", "curate.lift.builder",
         "scipy.sparse", "scipy.spatial", "scipy.optimize")
START_S = 600.0  # loading packages and estimators on a slow disk
DUMP_S = 0.3  # for a hung process to write down where it is
KILL_S = 10.0  # that a killed process is waited for
PR_SET_PDEATHSIG = 1


class Child:
    """One worker process. It is started at once, and is ready some time later (`ready`).

    Args:
        recipe: checked.
        out: the run's folder.
        worker: "module:Class" of what works there: `ClipWorker`, or a test's.

    Attributes:
        clip: what it works on; None where nothing.
        deadline: on the monotonic clock; of the clip, or of its start.
    """

    def __init__(self, recipe: Recipe, out: str, worker: str = WORKER) -> None:
        self._process, self._socket, self._trace = _spare.pop() if _spare else _start()
        self.pid = self._process.pid
        self._buffer = b""
        self.clip: ClipSpec | None = None
        self.deadline = time.monotonic() + START_S
        self.is_ready = False
        self._send({"worker": worker, "recipe": recipe.model_dump(mode="json"), "out": str(out),
                    "parent": os.getpid()})

    def has_news(self, timeout_s: float) -> bool:
        """Whether `receive` has something to say; waits at most `timeout_s` for it."""
        poll = select.poll()  # select() knows no descriptor above 1023
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def give(self, clip: ClipSpec, deadline_s: float) -> None:
        """Hands over a clip. Its time runs from when the child is ready."""
        assert self.clip is None
        self.clip, self._deadline_s = clip, deadline_s
        if self.is_ready:
            self.deadline = time.monotonic() + deadline_s
        self._send(clip.to_json())

    def receive(self) -> Outcome | None:
        """What has come, once there is news; None where nothing whole is there yet.

        Raises:
            Fatal: where the worker cannot start.
            EOFError: where the process has ended.
        """
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            raise EOFError
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "fatal" in message:
                raise Fatal(message["fatal"])
            if message.get("ready"):
                self.is_ready = True
                self.deadline = time.monotonic() + self._deadline_s if self.clip else float("inf")
            else:
                self.clip, self.deadline = None, float("inf")
                return Outcome(**message)
        return None

    def ended(self) -> Outcome:
        """The outcome of its clip, of a child that ended by itself."""
        try:
            status = self._process.wait(KILL_S)
        except subprocess.TimeoutExpired:  # it closed the channel, and is still there
            self.kill()
            status = -signal.SIGKILL
        return vanished(self.clip.key if self.clip else "", status, self._where())

    def hung(self) -> Outcome:
        """Kills a child that is over its deadline; the outcome says where it was."""
        self._signal(signal.SIGUSR2)
        end = time.monotonic() + DUMP_S
        while self._process.poll() is None and time.monotonic() < end and not self._where():
            time.sleep(0.01)
        time.sleep(0.01)
        where = self._where()
        self.kill()
        return Outcome(self.clip.key, "failed", "timeout", f"no result after {self._deadline_s:.3g} s; the worker was "
                                                           f"killed", {"traceback": where} if where else {})

    def kill(self) -> None:
        """Ends it and what it started, at once. May be called again."""
        self._signal(signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # one that waits for a broken device ends when that answers
            self._process.wait(KILL_S)
        self._socket.close()

    def __del__(self) -> None:
        with suppress(Exception):  # one that was forgotten, by a notebook or on the way of an error
            self.kill()

    def _signal(self, signum: int) -> None:
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                (os.killpg if signum == signal.SIGKILL else os.kill)(self._process.pid, signum)

    def _where(self) -> str:
        """What the process wrote of where it was, before it crashed or was killed."""
        return os.pread(self._trace.fileno(), 1 << 16, 0).decode("utf-8", "replace")

    def _send(self, message: dict[str, Any]) -> None:
        with suppress(ConnectionError):  # it has ended: the next `receive` says so
            self._socket.sendall(json.dumps(message).encode() + b"\n")


_spare: list[tuple[subprocess.Popen, socket.socket, Any]] = []  # started ahead, waiting for its first order


def start_ahead() -> None:
    """Starts the process of the next `Child` now: it loads its packages while the caller still reads a recipe and
    plans. It ends with the caller, whether it has been used or not."""
    if not _spare:
        _spare.append(_start())


def _start() -> tuple[subprocess.Popen, socket.socket, Any]:
    """A process, the channel to it, and the file where it writes where it hangs."""
    ours, theirs = socket.socketpair()
    trace = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the child
    fds = (theirs.fileno(), trace.fileno())
    # A session of its own: Ctrl-C at a terminal is the driver's to answer, and children of the child die with it.
    process = subprocess.Popen(
        [sys.executable, "-c", BOOT, json.dumps(sys.path), *map(str, fds)], pass_fds=fds, stdin=subprocess.DEVNULL,
        start_new_session=True, env={**os.environ, **ENVIRONMENT})
    theirs.close()
    return process, ours, trace


def _warm_up(order_came: Callable[[], bool]) -> None:
    """Loads what every clip needs, as long as nothing has been ordered. What fails is told where it is needed."""
    for name in AHEAD:
        if order_came():
            return
        with suppress(Exception):
            import_module(name)


def main(channel: int, trace: int) -> None:
    """The child's whole life: one line in for each clip, one line out. Ends where the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with open(trace, "w", closefd=False) as file:
        faulthandler.enable(file)
        faulthandler.register(signal.SIGUSR2, file, all_threads=True)
        end = socket.socket(fileno=channel)
        poll = select.poll()
        poll.register(end, select.POLLIN)
        _warm_up(lambda: bool(poll.poll(0)))
        lines = end.makefile("rb")
        order = json.loads(lines.readline() or b"{}")
        if not order:
            return
        _die_with(order["parent"])

        def say(message: dict[str, Any]) -> None:
            end.sendall(json.dumps(message, default=_plain).encode() + b"\n")

        try:
            from curate.recipe.model import Recipe

            module, name = order["worker"].split(":")
            worker = getattr(import_module(module), name)(Recipe.model_validate(order["recipe"]), order["out"])
            worker.ready()
        except Exception as error:
            say({"fatal": str(cannot_start(error))})
            return
        say({"ready": True})
        # The lift needs some of it last, and it takes a while: meanwhile native code of the first clip runs.
        threading.Thread(target=_warm_up, args=(lambda: False,), daemon=True).start()
        for line in lines:
            say(asdict(worker.perceive(ClipSpec(**json.loads(line)))))


def _plain(value: Any) -> Any:
    """A number of numpy's as Python's."""
    return value.item() if hasattr(value, "item") else str(value)


def _die_with(parent: int) -> None:
    """Asks the system to kill this process when its parent goes, however it goes. Elsewhere than on Linux an idle child
    sees the end of the channel, and one that hangs stays."""
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
