"""OUT on disk: the run's identity, who holds it, and the ledger of every clip that ended."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

from curate.engine.outcome import Outcome
from curate.engine.stage import FOLDER
from curate.recipe import Recipe
from curate.recipe.model import differences
from curate.sources.base import ClipSpec

RUN, PLAN, LEDGER, QUARANTINE, LOCK = "run.json", "plan.json", "ledger.jsonl", "quarantine.jsonl", ".lock"


class OutError(ValueError):
    """The output folder cannot be used; the text says why and what to do."""


class Out:
    """An output folder held by this process. Use as a context manager.

    Args:
        path: created if missing.

    Raises:
        OutError: where it cannot be written, or another process holds it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / LOCK).open("a+")
        except OSError as error:
            raise OutError(f"{self.path}: cannot be written ({error.strerror}); "
                           f"name another folder with --out") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "another process"
            self._lock.close()
            raise OutError(f"{self.path}: in use by {holder}; wait for it or stop it") from None
        self._lock.truncate(0)
        self._lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        self._lock.flush()
        self._ledger = None

    def __enter__(self) -> Out:
        return self

    def __exit__(self, *error: object) -> None:
        if self._ledger:
            self._ledger.close()
        self._lock.close()

    def claim(self, recipe: Recipe) -> None:
        """Makes this folder the recipe's, or checks that it is.

        Raises:
            OutError: where scenes here were made with other perception settings; lists what differs.
        """
        parts = json.loads(json.dumps(recipe.perception_parts()))
        run = self.run_info()
        if run is None:
            foreign = [p.name for p in self.path.iterdir() if not p.name.startswith(".")
                       and not (p.name == FOLDER and p.is_dir() and not any(p.iterdir()))]
            if foreign:
                raise OutError(f"{self.path}: holds other files ({', '.join(sorted(foreign)[:3])}) and no {RUN}; "
                               f"name an empty or a new folder with --out")
        elif differing := differences(run["perception"], parts):
            raise OutError(f"{self.path}: its scenes belong to another recipe: {'; '.join(differing[:6])}"
                           f"{' ...' if len(differing) > 6 else ''}; name another folder with --out, "
                           f"or delete this one")
        (self.path / FOLDER).mkdir(exist_ok=True)
        for torn in (self.path / FOLDER).glob(".*"):  # only now: before, the folder might not be ours
            shutil.rmtree(torn, ignore_errors=True)
        self._write_json(RUN, {"format": 1, "perception": parts, "recipe": recipe.model_dump(mode="json")})

    def run_info(self) -> dict[str, Any] | None:
        path = self.path / RUN
        if not path.is_file():
            return None
        try:
            run = json.loads(path.read_text())
            run["perception"], run["recipe"]
            return run
        except (ValueError, KeyError, TypeError):
            raise OutError(f"{path}: not a run's description; delete the folder or name another with --out") from None

    def entries(self) -> dict[str, dict[str, Any]]:
        """The last line of every key; a torn last line (a crash while writing) is ignored."""
        path, last = self.path / LEDGER, {}
        if path.is_file():
            for line in path.read_text().splitlines():
                try:
                    entry = json.loads(line)
                    last[entry["key"]] = entry
                except (ValueError, KeyError, TypeError):
                    continue
        return last

    def staged(self) -> list[str]:
        """Keys that have a scene, sorted."""
        return sorted(p.parent.name for p in (self.path / FOLDER).glob("[!.]*/scene.npz"))

    def record(self, clip: ClipSpec, outcome: Outcome) -> None:
        """Appends to the ledger (and, for a failure, to quarantine.jsonl), durable before it returns."""
        state = "quarantined" if outcome.state == "failed" else outcome.state
        entry = {"key": clip.key, "uri": clip.uri, "start": clip.start, "num_frames": clip.num_frames, "state": state,
                 "kind": outcome.kind, "reason": outcome.reason, "recording": clip.recording}
        if self._ledger is None:
            path = self.path / LEDGER
            torn = path.is_file() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
            self._ledger = path.open("a")
            if torn:
                self._ledger.write("\n")
        self._ledger.write(json.dumps({**entry, **outcome.meta}) + "\n")
        self._ledger.flush()
        os.fsync(self._ledger.fileno())
        if state == "quarantined":
            with (self.path / QUARANTINE).open("a") as f:
                f.write(json.dumps({**entry, **outcome.meta}) + "\n")

    def list_quarantine(self) -> None:
        """Writes quarantine.jsonl anew: one line a clip that is quarantined now."""
        lines = [json.dumps(e) + "\n" for _, e in sorted(self.entries().items()) if e["state"] == "quarantined"]
        self._write(QUARANTINE, "".join(lines))

    def write_plan(self, keys: list[str]) -> None:
        """Keeps the keys of the run's plan: what `ask` writes again, and what `done` is counted against."""
        self._write(PLAN, json.dumps({"keys": keys}))

    def planned(self) -> list[str]:
        """Keys of the last run's plan.

        Raises:
            OutError: where it cannot be read.
        """
        try:
            return [str(key) for key in json.loads((self.path / PLAN).read_text())["keys"]]
        except (OSError, ValueError, KeyError, TypeError):
            raise OutError(f"{self.path / PLAN}: missing or torn; `curate run` with this folder writes it") from None

    def _write_json(self, name: str, value: Any) -> None:
        self._write(name, json.dumps(value, indent=1, sort_keys=True))

    def _write(self, name: str, text: str) -> None:
        temp = self.path / f".{name}.partial"
        with temp.open("w") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        temp.rename(self.path / name)
