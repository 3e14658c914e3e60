"""Is a run's folder what it says it is? Staged clips against their digests, the plan and the ledger; and these against
the published set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.engine import generation
from curate.engine.augmented import recorded
from curate.engine.index import DONE, NONE, ClipIndex
from curate.engine.ledger import LEDGER, PLAN, RUN, OutError, load_ledger, run_info, staged_keys
from curate.engine.plan import read_keys
from curate.engine.stage import DIGEST, FOLDER
from curate.engine.teacher import staged_teacher
from curate.recipe.model import fingerprint
from curate.shards import manifest
from curate.shards.errors import ShardError
from curate.shards.teacher_parts import STAGED
from curate.shards.verify import Problem

NEEDED = frozenset({"scene.npz", "frame.jpg", "v0.mp4", DIGEST})
PICTURES = frozenset({"frame.jpg", "v0.mp4"})  # a clip has both, or none where its scene says so
NAMED = 1000  # clips that a fault of the whole run lists


def check_run(out: Path, deep: bool = False) -> Iterator[Problem]:
    """Every fault of a run's folder but those within its shards, which `curate.shards.verify` finds.

    Compared: run.json, plan and ledger with themselves and each other; each file of each staged clip with the digest
    that was written with it; the clips that ended well with the staged and with the published ones. quarantine.jsonl,
    questions.json and the preview follow from these and are not looked at.

    Args:
        out: a folder with a run.json.
        deep: scenes are loaded, and every frame of every video and picture is decoded.

    Raises:
        OutError: where it is no run's folder.
    """
    again = f"run `curate run RECIPE --out {out}` again"
    try:
        if (run := run_info(out)) is None:
            raise OutError(f"{out}: not a run's folder (no {RUN})")
    except OutError as error:
        if not (out / RUN).is_file():
            raise
        yield Problem(RUN, "", f"torn or altered ({error})", "restore it from a copy; without it nothing says what the "
                                                             "scenes were made with")
    else:
        yield from _check_fingerprint(out, run)
    index = None
    try:
        if (info := generation.load(out)) is None:
            yield Problem(PLAN, "", "is missing", again)
        else:
            digest = _sha256(out / info.clips)
            if info.clips != f"clips-{digest[:len(info.clips) - len('clips-.jsonl')]}.jsonl":
                yield Problem(info.clips, "", f"altered: its sha256 is {digest[:16]}..", again)
            index = generation.index_of(out, info)
    except (OutError, OSError, ValueError, KeyError) as error:
        yield Problem(PLAN, "", f"plan torn or altered ({error})", again)
    yield from _check_ledger(out / LEDGER, again)
    for key in sorted(staged_keys(out)):
        yield from check_staged(out, key, deep)
    if index is not None:
        yield from _check_ends(out, index, out / info.clips, again)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_fingerprint(out: Path, run: dict[str, Any]) -> Iterator[Problem]:
    """The published set was written from the scenes that run.json speaks of."""
    try:
        stated = manifest.load(out / "shards")["fingerprints"].get("perception")
    except ShardError:
        return  # `curate.shards.verify` says so
    if stated != fingerprint(run["perception"]):
        yield Problem(RUN, "", "its perception settings are not those of the published set: one of them is altered",
                      "restore it from a copy; without it nothing says what the scenes were made with")


def _check_ledger(path: Path, again: str) -> Iterator[Problem]:
    """Each line is an entry; only the last may be torn, by a crash while it was written."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield Problem(LEDGER, "", "is missing", f"{again}: what is staged is recorded anew, what failed is tried again")
        return
    with file:
        for number, line in enumerate(file, 1):
            try:
                entry = json.loads(line)
                entry["key"], entry["state"]
            except (ValueError, KeyError, TypeError):
                if line.endswith(b"\n") or number == 1:
                    yield Problem(LEDGER, "", f"line {number} is torn or altered", f"{again}: a clip whose end is not "
                                                                                    f"known is worked on anew")


def check_staged(out: Path, key: str, deep: bool = False) -> Iterator[Problem]:
    """Faults of one staged clip."""
    folder, where = out / FOLDER / key, f"{FOLDER}/{key}"
    redo = f"`curate verify {out} --discard` removes the folder, then `curate run RECIPE --out {out}` makes it again"

    def problem(name: str, what: str) -> Problem:
        return Problem(f"{where}/{name}", key, what, redo)

    if not folder.is_dir():
        yield Problem(where, key, "is a file; expected a clip's folder", redo)
        return
    names = {path.name for path in folder.iterdir()}
    stated: dict[str, str] = {}
    try:
        text = (folder / DIGEST).read_bytes()
        stated = {name: digest for digest, _, name in (line.partition("  ") for line in text.decode().splitlines())}
        canonical = "".join(f"{stated[name]}  {name}\n" for name in sorted(stated)).encode()
        if text != canonical or "scene.npz" not in stated or (stated.keys() & PICTURES and
                                                              not stated.keys() >= PICTURES):
            yield problem(DIGEST, "torn or altered")
    except (OSError, ValueError) as error:
        yield problem(DIGEST, f"cannot be read ({type(error).__name__}): torn, or staged by an older version")
    needed = NEEDED - PICTURES if stated and not stated.keys() & PICTURES else NEEDED
    for name in sorted((needed | stated.keys()) - names - {DIGEST}):
        yield problem(name, "is missing")
    for name in sorted(names - {DIGEST}):
        if stated and name not in stated:
            yield problem(name, "is not of this clip")
        elif stated and not (folder / name).is_file():
            yield problem(name, "is not a file")
        elif stated and (digest := _sha256(folder / name)) != stated[name]:
            yield problem(name, f"torn or altered: sha256 {digest[:12]}.., its digest says {stated[name][:12]}..")
    if deep:
        yield from (problem(name, what) for name, what in _undecodable(folder, key, names))


def _undecodable(folder: Path, key: str, names: set[str]) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) of media that do not decode and of a scene that does not load or is another's."""
    from curate.marks import read_jpeg
    from curate.scene import Scene, SceneError

    num_frames = None
    try:
        scene = Scene.load(folder / "scene.npz")
        num_frames = scene.num_frames
        if scene.key != key:
            yield "scene.npz", f"is of the clip {scene.key}"
        if scene.has_pictures != (names >= PICTURES):
            yield "scene.npz", f"says that the clip has {'pictures' if scene.has_pictures else 'none'}"
        if STAGED in names and staged_teacher(folder).num_frames != num_frames:
            yield STAGED, "has another number of frames than its scene"
    except ShardError as error:
        yield STAGED, f"does not load ({error})"
    except (SceneError, OSError) as error:
        yield "scene.npz", f"does not load ({error})"
    for name in sorted(names):
        try:
            if name.endswith(".jpg"):
                read_jpeg((folder / name).read_bytes())
            elif name.endswith(".mp4") and (found := _num_decoded(folder / name)) != num_frames and num_frames:
                yield name, f"has {found} frames that decode; its scene has {num_frames}"
        except (ValueError, OSError) as error:
            yield name, f"does not decode ({error})"


def _num_decoded(path: Path) -> int:
    """
    Raises:
        ValueError: where a frame does not decode.
    """
    import av

    try:
        with av.open(str(path)) as container:
            return sum(1 for _ in container.decode(video=0))
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _check_ends(out: Path, index: ClipIndex, clips: Path, again: str) -> Iterator[Problem]:
    """How the planned clips ended, against what is staged and what is published."""
    load_ledger(out, index)
    index.stage_only(staged_keys(out))
    lost, unsettled, ready = [], [], []
    for key in read_keys(clips):
        at = index.find(key)
        if index.staged(at):
            ready.append(key)
        elif index.state(at) == DONE:
            lost.append(key)
        elif index.state(at) == NONE:
            unsettled.append(key)
    for key in lost:
        yield Problem(f"{FOLDER}/{key}", key, "is missing, and the ledger says that the clip is done",
                      f"`curate run RECIPE --out {out}` makes it again")
    if unsettled:
        yield Problem(LEDGER, "", f"planned clips without an end yet: {len(unsettled)}", again,
                      tuple(unsettled[:NAMED]))
    yield from _check_published(out, set(ready))


def _check_published(out: Path, ready: set[str]) -> Iterator[Problem]:
    """Is each staged clip of the plan in the published set, and no other? By the list of its samples alone."""
    from curate.shards.sidecars import CHECKSUMS

    root = out / "shards"
    try:
        manifest.load(root)
        lines = (root / CHECKSUMS).read_text().splitlines()
        published = {line.split(" ")[3].split("-q")[0] for line in lines}
    except (ShardError, OSError, IndexError, ValueError):
        return  # `curate.shards.verify` says so
    ask = f"run `curate ask {out} --recipe RECIPE` to write the set anew"
    if missing := sorted(ready - published):
        yield Problem("shards", "", f"staged clips that are not in the published set: {len(missing)}", ask,
                      tuple(missing[:NAMED]))
    if strange := sorted({key for key in published if recorded(key) not in ready} - ready):
        yield Problem("shards", "", f"{len(strange)} published clips are not staged, or not of the plan any more", ask,
                      tuple(strange[:NAMED]))


def discard(out: Path, keys: list[str]) -> int:
    """Removes the folders of staged clips, so that the next run makes them again. How many there were.

    Raises:
        OutError: where another process holds OUT.
    """
    import shutil

    from curate.engine.ledger import Out

    removed = 0
    with Out(out):
        for key in keys:
            folder = out / FOLDER / key
            if folder.parent == out / FOLDER and folder.exists():
                shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
                removed += 1
    return removed
