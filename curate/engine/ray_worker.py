"""What runs on a node: one actor that decodes, perceives, encodes and writes, so dense data never leaves its process.

Imported by name on every node, so the same package must be installed there.
"""

from __future__ import annotations

import faulthandler
import os
import re
import socket
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from curate.engine.outcome import Outcome
from curate.recipe import Recipe
from curate.sources.base import ClipSpec

FOLDER = ".workers"  # of OUT: what the workers of a run leave for the driver to read
PROBE = "probe"
WORKER = "curate.engine.stage:ClipWorker"
_SIGNALS = {"Segmentation fault": "SIGSEGV", "Aborted": "SIGABRT", "Bus error": "SIGBUS",
            "Illegal instruction": "SIGILL", "Floating point exception": "SIGFPE"}


class RayWorker:
    """
    Args:
        out: where scenes go; one folder on all nodes.
        notes: OUT's folder of this run's driver for what workers leave; None where OUT is no folder.
        name: this worker's, unique in the run.
        worker: "module:Class" of what does the work.
    """

    def __init__(self, recipe: Recipe, out: str, notes: str | None, name: str, worker: str = WORKER) -> None:
        self._recipe, self._notes = recipe, Path(notes) if notes else None
        self._name = name
        module, _, what = worker.partition(":")
        self._worker = getattr(import_module(module), what)(recipe, out)
        self._crash = None

    def start(self, token: str) -> dict[str, Any]:
        """Loads the estimators; what this node is and sees. A node that does not see OUT loads nothing.

        Args:
            token: what the driver wrote into OUT for its workers to find.

        Raises:
            What every clip would meet: a missing package, weights that do not load.
        """
        facts: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid(), "shared": True}
        if self._notes is not None:
            facts |= self._look(token)
            if not facts["shared"]:
                return facts
            # Of a worker that dies by a signal Ray says only that it is gone: this leaves which signal, and where.
            with suppress(OSError):
                self._crash = (self._notes / self._name).open("w")
                faulthandler.enable(self._crash, all_threads=False)
        self._worker.ready()
        return facts | {"perception": self._recipe.perception_parts()}

    def perceive(self, clip: ClipSpec) -> Outcome:
        return self._worker.perceive(clip)

    def _look(self, token: str) -> dict[str, Any]:
        """Reads what the driver wrote, and writes something back: both must go through."""
        try:
            found = (self._notes / PROBE).read_text()
        except OSError as error:
            return {"shared": False, "why": f"{self._notes.parents[1]} cannot be read there "
                                            f"({error.strerror or type(error).__name__})"}
        if found != token:
            return {"shared": False, "why": "another folder of the same name is there"}
        try:
            (self._notes / f"{PROBE}-{self._name}").write_text(token)
        except OSError as error:
            return {"shared": False, "why": f"it cannot be written there ({error.strerror or type(error).__name__})"}
        return {"shared": True}


def crash_signal(text: str) -> str | None:
    """The signal that ended a worker, from what its fault handler left; None where it left nothing."""
    found = re.search(r"^Fatal Python error: ([^\n]+)", text, re.M)
    return _SIGNALS.get(found[1].strip()) if found else None
