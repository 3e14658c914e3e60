"""OUT on disk: the run's identity, who holds it, its plan, and the ledger of every clip that ended."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from curate.engine import generation
from curate.engine.errors import OutError
from curate.engine.events import Events
from curate.engine.generation import Generation, PlanInfo
from curate.engine.index import CHUNK, DONE, FILTERED, NONE, ClipIndex
from curate.engine.journal import Journal, read_lines, sync_folder
from curate.engine.lease import FOLDER as LEASE
from curate.engine.lease import FolderStore, Lease
from curate.engine.outcome import CRASHES, Outcome
from curate.engine.plan import planned, read_clips, read_keys
from curate.engine.stage import DIGEST, FOLDER
from curate.recipe import Recipe
from curate.recipe.model import differences
from curate.sources.base import ClipSpec
from curate.storage.redact import redact, redact_json
from curate.storage.urls import refuse_out

RUN, PLAN, LEDGER, QUARANTINE = "run.json", generation.NAME, "ledger.jsonl", "quarantine.jsonl"
AGAIN = "again"  # the state of a clip that is put back
MAX_DIFFERENCES = 12

__all__ = ["LEDGER", "PLAN", "QUARANTINE", "RUN", "Out", "OutError", "clips_of", "load_ledger", "run_info",
           "staged_keys"]


class Out:
    """An output folder held by this process. Use as a context manager.

    Args:
        path: created if missing.
        events: told of the lease.

    Attributes:
        index: how each planned clip stands; None before `plan` or `load_plan`.
        info: the plan; None before. change: what `plan` found to have come and gone since the plan before, or None.
        bytes_staged: what the ledger says the scenes take.

    Raises:
        OutError: where it cannot be written, or another process holds it.
    """

    def __init__(self, path: str | Path, events: Events | None = None) -> None:
        refuse_out(path)
        self.path, self.events = Path(path), events or Events()
        self.index: ClipIndex | None = None
        self.info: PlanInfo | None = None
        self.change: Generation | None = None
        self.bytes_staged = 0
        self._journal: Journal | None = None
        try:
            self._made = [p for p in (self.path, *self.path.parents) if not p.exists()]
            self.path.mkdir(parents=True, exist_ok=True)
            self._lease = Lease(FolderStore(self.path / LEASE), str(self.path),
                                on_event=lambda what, **facts: self.events("lease", what=what, **facts))
        except OSError as error:
            raise OutError(f"{self.path}: cannot be written ({error.strerror}); "
                           f"name another folder with --out") from None

    def __enter__(self) -> Out:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if self._journal:
                self._journal.close()
        finally:
            self._lease.release()
            if error[0] is not None:
                self._unmake()

    def check(self) -> None:
        """Raises Fatal where another process has taken over."""
        self._lease.check()

    def confirm(self) -> None:
        """As `check`, with a look at the storage: before something that others see."""
        self._lease.confirm()

    def _unmake(self) -> None:
        """A folder that is no run's is left as it was, and one that was made for a run that never began goes again."""
        if self._lease.lost or (self.path / RUN).exists():
            return
        shutil.rmtree(self.path / LEASE, ignore_errors=True)
        for folder in self._made:  # this one, then its parents
            try:
                folder.rmdir()
            except OSError:  # not empty
                return

    # who it belongs to

    def check_recipe(self, recipe: Recipe) -> dict[str, Any]:
        """Checks that this folder is the recipe's or nobody's; returns what its scenes depend on.

        Raises:
            OutError: where scenes here were made with other perception settings (lists what differs, old -> new), or
                where it holds other files.
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
            more = len(differing) - MAX_DIFFERENCES
            raise OutError(f"{self.path}: its scenes belong to another recipe: "
                           f"{'; '.join(differing[:MAX_DIFFERENCES])}{f'; and {more} more' if more > 0 else ''}; "
                           f"name another folder with --out, or delete this one")
        return parts

    def claim(self, recipe: Recipe) -> None:
        """Makes this folder the recipe's, or checks that it is.

        Raises:
            OutError: as `check_recipe`.
        """
        parts = self.check_recipe(recipe)
        (self.path / FOLDER).mkdir(exist_ok=True)
        for torn in (self.path / FOLDER).glob(".*"):  # only now: before, the folder might not be ours
            shutil.rmtree(torn, ignore_errors=True)
        text = json.dumps({"format": 1, "perception": parts, "recipe": recipe.model_dump(mode="json")}, indent=1,
                          sort_keys=True)
        self.write_file(RUN, text)

    def run_info(self) -> dict[str, Any] | None:
        return run_info(self.path)

    # what is planned, and how it stands

    def plan(self, recipe: Recipe) -> None:
        """Claims the folder, makes the clips of the recipe's source the plan (a new generation where keys came or
        went), and finds how each stands.

        Raises:
            OutError: as `claim`.
            BadInput: from the source; nothing is changed then.
        """
        self.check_recipe(recipe)
        self.plan_clips(planned(recipe), lambda: self.claim(recipe))

    def plan_clips(self, clips: Iterable[tuple[ClipSpec, str | None]],
                   claim: Callable[[], None] = lambda: None) -> None:
        """As `plan`, of given clips, each with the reason why it is known to be bad, or None.

        Args:
            claim: called when every clip was given, before anything is changed.
        """
        try:
            before = generation.load(self.path)
        except OutError:  # torn: made anew
            before = None
        self.info, self.index = generation.extend(self.path, before, clips, self.write_file, claim)
        if before is not None and self.info.number > before.number:
            self.change = self.info.generations[-1]
        self._load()

    def load_plan(self) -> None:
        """The plan as it was left, and how each clip stands.

        Raises:
            OutError: where there is none, or it cannot be read.
        """
        self.info = generation.load(self.path)
        if self.info is None:
            raise OutError(f"{self.path / PLAN}: missing; `curate run` with this folder writes it")
        self.index = generation.index_of(self.path, self.info)
        self._load()

    def _load(self) -> None:
        self.bytes_staged = load_ledger(self.path, self.index)
        self.look()

    def look(self) -> None:
        """Looks which scenes are really there; that is the truth, whatever the ledger says."""
        self.index.stage_only(staged_keys(self.path))

    def counts(self) -> Counter:
        """"done", "filtered", "quarantined", "missing" (neither a scene nor an end); their sum is the plan's."""
        counts: Counter = Counter()
        for state, number in self.index.counts().items():
            counts[{NONE: "missing", DONE: DONE, FILTERED: FILTERED}.get(state, "quarantined")] += number
        return counts

    def done_keys(self) -> Iterator[str]:
        """Planned keys that have a scene, in the plan's order."""
        for key in read_keys(self.path / self.info.clips):
            if self.index.staged(self.index.find(key)):
                yield key

    def put_back(self, states: Iterable[str]) -> int:
        """Clips that ended so ("filtered", or a kind of failure) are tried again, as a new generation; how many."""
        places = self.index.select(states)
        if not len(places):
            return 0
        self.info = generation.put_back(self.info, self.index, places)
        generation.save(self.path, self.info, self.write_file)
        wanted = np.zeros(len(self.index), bool)
        wanted[places] = True
        for clip, _ in read_clips(self.path / self.info.clips):
            if wanted[at := self.index.find(clip.key)]:
                self._append({"key": clip.key, "state": AGAIN, "was": self.index.state(at)})
                self.index.set(at, NONE)
        return len(places)

    def settle_bad(self) -> None:
        """Records the clips that are known to be bad before any work and are not recorded yet."""
        if self.info.num_bad:
            for clip, reason in read_clips(self.path / self.info.clips):
                if reason is not None and self.index.needs_work(self.index.find(clip.key)):
                    self.record(clip, Outcome(clip.key, "failed", "bad_input", reason))

    def to_do(self) -> Iterator[ClipSpec]:
        """Clips that need work, one after another, in the plan's order; one that has a scene and no line in the
        ledger (its worker ended before the driver heard of it) gets its line on the way."""
        for clip, _ in read_clips(self.path / self.info.clips):
            at = self.index.find(clip.key)
            if self.index.needs_work(at):
                yield clip
            elif self.index.staged(at) and self.index.state(at) != DONE:
                self.record(clip, Outcome(clip.key, "done", meta={"bytes": staged_bytes(self.path, clip.key)}))

    def record(self, clip: ClipSpec, outcome: Outcome) -> None:
        """Appends how a clip ended to the ledger (and, for a failure, to quarantine.jsonl). When it returns, no kill
        of this process can lose the line.

        Raises:
            Fatal: where another process has taken over; nothing is written then.
            OSError: where the disk does not take it.
        """
        state = "quarantined" if outcome.state == "failed" else outcome.state
        meta = outcome.meta if state == DONE else redact_json(outcome.meta)  # a library's error may name an address
        entry = {**named(clip), "state": state, "kind": outcome.kind,
                 "reason": redact(outcome.reason) if outcome.reason else "",
                 "recording": clip.recording, "tries": outcome.tries, "at": round(time.time(), 3), **meta}
        self._append(entry)
        self.bytes_staged += meta.get("bytes", 0)
        if self.index is not None and (at := self.index.find(clip.key)) >= 0:
            self.index.set(at, state_of(entry))
            if state == DONE:
                self.index.stage(at)
        if state == "quarantined":
            with (self.path / QUARANTINE).open("a") as file:
                file.write(json.dumps(for_a_person(entry)) + "\n")

    def _append(self, entry: dict[str, Any]) -> None:
        self.check()
        if self._journal is None:
            self._journal = Journal(self.path / LEDGER)
        self._journal.append(entry)

    def write_file(self, name: str, text: str | Iterable[str]) -> None:
        """Puts a file of this folder in place whole: temporary file, sync, rename."""
        temp = self.path / f".{name}.partial"
        with temp.open("w") as file:
            file.writelines([text] if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        temp.rename(self.path / name)
        sync_folder(self.path)


def run_info(out: Path) -> dict[str, Any] | None:
    """run.json; None where there is none.

    Raises:
        OutError: where it cannot be read.
    """
    path = out / RUN
    if not path.is_file():
        return None
    try:
        run = json.loads(path.read_text())
        run["perception"], run["recipe"]
        return run
    except (ValueError, KeyError, TypeError):
        raise OutError(f"{path}: not a run's description; delete the folder or name another with --out") from None


def staged_keys(out: Path) -> Iterator[str]:
    """Names of the scenes, without a look into them: a scene is put in place whole."""
    try:
        with os.scandir(out / FOLDER) as entries:
            yield from (entry.name for entry in entries if not entry.name.startswith("."))
    except FileNotFoundError:
        return


def staged_bytes(out: Path, key: str) -> int:
    """As a worker counts them: the product, without the digest that is written with it."""
    return sum(file.stat().st_size for file in (out / FOLDER / key).iterdir() if file.name != DIGEST)


def clips_of(out: Path) -> Iterator[dict[str, Any]]:
    """Lines of the ledger that are whole and of a clip."""
    for _, entry in read_lines(out / LEDGER):
        if isinstance(entry.get("key"), str) and isinstance(entry.get("state"), str):
            yield entry


def load_ledger(out: Path, index: ClipIndex, each: Callable[[dict[str, Any]], None] = lambda entry: None) -> int:
    """Brings the last line of every key into the index; returns the bytes that the lines say were staged.

    Args:
        each: called with every line.
    """
    keys: list[str] = []
    states: list[str] = []
    size = 0
    for entry in clips_of(out):
        each(entry)
        keys.append(entry["key"])
        states.append(state_of(entry))
        size += entry.get("bytes", 0)
        if len(keys) == CHUNK:
            index.set_all(index.find_all(keys), states)
            keys, states = [], []
    if keys:
        index.set_all(index.find_all(keys), states)
    return size


def named(clip: ClipSpec) -> dict[str, Any]:
    """What a line says of which clip it is; a secret in an address is blacked out."""
    uri = redact(clip.uri) if ":" in clip.uri or "?" in clip.uri else clip.uri
    return {"key": clip.key, "uri": uri, "start": clip.start, "num_frames": clip.num_frames}


def state_of(entry: dict[str, Any]) -> str:
    """What the index keeps of a line: "done", "filtered", "" for a clip put back, else the kind of its failure."""
    state = entry["state"]
    if state in (DONE, FILTERED):
        return state
    if state == AGAIN:
        return NONE
    if entry.get("kind") == "lost" and entry.get("signal") in CRASHES:
        return "crash"
    return entry.get("kind") or "error"


def for_a_person(entry: dict[str, Any], tries: int | None = None) -> dict[str, Any]:
    """A line of quarantine.jsonl: what, which frames, why, how often tried, and how to try again."""
    kind = state_of(entry)
    before = {"bad_input": "mend or replace the input, then ", "timeout": "", "lost": "", "crash": "", "transient": "",
              "error": "after a newer version, or with the reason reported, "}.get(kind, "")
    after = {"timeout": " --set engine.timeout_s=SECONDS"}.get(kind, "")
    return {"uri": entry["uri"], "frames": [entry["start"], entry["start"] + entry["num_frames"]], "kind": kind,
            "reason": entry["reason"], "tries": tries or entry.get("tries", 1),
            "retry": f"{before}curate retry OUT --kind {kind}{after}", "key": entry["key"]}
