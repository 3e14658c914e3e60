"""One staged clip from its scene to what the write pass keeps of it: candidates asked, encoded and marked, once.

Whether a clip is cut for what enters later is seen in its scene, so such cuts are asked right after their clip. Clips
are asked in this process or in several, and come back in the order of their keys. The processes are fresh
interpreters that send bytes over a pipe: nothing is pickled, and the caller's `__main__` is not imported again.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any, BinaryIO

from curate.augment import apply
from curate.engine.augmented import Clip, crf_of, cuts, load, recorded
from curate.engine.outcome import Fatal
from curate.engine.stage import FOLDER
from curate.recipe import Recipe
from curate.scene import Scene, SceneError
from curate.sources.base import BadInput

if TYPE_CHECKING:
    from curate.questions.gates import Dropped
    from curate.questions.question import Question

CLIPS_A_PROCESS = 64  # fewer are not worth the start of a process
AHEAD = 4  # clips that a process may be ahead of the writer
# One thread a library: results do not depend on the number of cores.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
FRAME = struct.Struct("<IIIII")
BOOT = ("import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
        "from curate.engine.asking import main; main(*sys.argv[2:])")


@dataclass
class Asked:
    """What is kept of a clip.

    Args:
        head: json: key, more (how many follow that were cut of the same clip), uri, recording, split, doubts, left_out
            [[family, reason, count]], names, picture (perceptual hash of the first frame, hex), cuts and size of the
            text, how many were given, and of each candidate in `asked` its [family, form, answer, rank, regions].
        items: `tally.ITEM` records of its choices. text: its json (`shards.encoded`), compressed. marks: JPEG.
        video: its v0.mp4, where the marks are burnt into it; empty where the clip's own is used.
    """

    head: dict[str, Any]
    items: bytes
    text: bytes
    marks: bytes
    video: bytes = b""

    def write(self, file: BinaryIO, with_items: bool = True) -> None:
        parts = (json.dumps(self.head).encode(), self.items if with_items else b"", self.text, self.marks,
                 self.video)
        file.write(FRAME.pack(*map(len, parts)))
        for part in parts:
            file.write(part)

    @staticmethod
    def read(file: BinaryIO) -> Asked | None:
        """The next one, or None at the end."""
        sizes = file.read(FRAME.size)
        if not sizes:
            return None
        parts = [file.read(size) for size in FRAME.unpack(sizes)]
        return Asked(json.loads(parts[0]), *parts[1:])

    def json(self, wanted: list[bool]) -> bytes:
        import pyarrow

        from curate.shards.encoded import Encoded

        data = pyarrow.decompress(self.text, self.head["size"], codec="zstd", asbytes=True)
        return Encoded(data, tuple(self.head["cuts"])).keep(wanted)


def media_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("v*.mp4"))}


def marks_of(folder: Path, scene: Scene, regions: set[int], recipe: Recipe) -> bytes:
    """The marked first frame, as JPEG, its labels those that the questions' dialect speaks of."""
    from curate.marks import read_jpeg, scene_marks

    return scene_marks(read_jpeg((folder / "frame.jpg").read_bytes()), scene, regions, recipe.marks.style,
                       _label(recipe))


def _label(recipe: Recipe) -> Callable[[int], str]:
    from curate.questions.region_words import mark_text

    return lambda region: mark_text(region, recipe.questions.region_dialect)


def ask_clip(out: Path, key: str, recipe: Recipe, licence: str) -> list[Asked]:
    """Asks one staged scene, or a variant of one; thins by what concerns the clip alone.

    Returns:
        it, and after it what is cut of it for regions that enter later. Of a cut only questions about regions are
        kept, and none is made without: what the camera does is asked of the clip itself.

    Raises:
        Fatal: where the folder is torn; says how to make it anew.
    """
    from curate.questions import ask

    try:
        clip = load(out, key)
        given, is_asked = given_of(out, clip)
        questions, refused = ask(clip.scene, recipe.questions) if is_asked else ([], [])
        found = [_asked(out, clip, questions, refused, recipe, licence, given)]
        for variant in cuts(clip.scene, recipe.augment) if clip.is_recorded else ():
            questions, refused = ask(apply(clip.scene, variant), recipe.questions)
            if questions := [q for q in questions if q.regions]:
                found.append(_asked(out, load(out, key + variant.suffix), questions, refused, recipe, licence))
    except (SceneError, FileNotFoundError, BadInput) as error:
        raise Fatal(f"{out / FOLDER / key}: torn ({error}); `curate verify` lists all such clips, and without the "
                       f"folder `curate run` makes the clip again") from error
    for follow, asked in enumerate(reversed(found)):
        asked.head["more"] = follow
    return found


def given_of(out: Path, clip: Clip) -> tuple[list[Question], bool]:
    """Someone's conversations about a clip, none about a variant of it; and whether our own questions are asked.

    Raises:
        FileNotFoundError: where they are torn.
    """
    from curate.questions.given import FILE, from_file, records

    path = out / FOLDER / recorded(clip.scene.key) / FILE
    if not path.is_file():
        return [], True
    try:
        told, is_asked = from_file(path.read_bytes())
        scene = clip.scene
        return records(told if clip.is_recorded else [], clip=scene.key, recording=str(scene.clip["recording"]),
                       num_frames=scene.num_frames, duration_s=float(scene.time_s[-1] - scene.time_s[0])), is_asked
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise FileNotFoundError(f"{path}: {error}") from error


def _asked(out: Path, clip: Clip, questions: list[Question], refused: list[Dropped], recipe: Recipe,
           licence: str, given: list[Question] = ()) -> Asked:
    import pyarrow

    from curate.marks import read_jpeg, stated
    from curate.questions.balance import row, thin
    from curate.questions.doubts import doubts
    from curate.questions.guessers import choice
    from curate.questions.items import items_of
    from curate.questions.pictures import picture_hash
    from curate.shards.encoded import encode
    from curate.shards.sample import check_media, sample_json
    from curate.shards.writer import split_of

    origin = clip.scene.origin | {"marks": stated(recipe.marks.style, recipe.marks.burn)}
    scene, media = replace(clip.scene, origin=origin), media_of(clip.folder)
    left_out = Counter((d.family, d.reason) for d in refused)
    by_id = {q.id: q for q in questions}
    kept = {r.id: (rank, r) for rank, r in thin(map(row, questions), recipe.questions, left_out)}
    chosen = [q for q in questions if q.id in kept]
    split = split_of(scene.clip["recording"], recipe.shards.val_share, recipe.shards.test_share)
    check_media(scene.key, media)
    record = sample_json(scene, [*chosen, *given], media=media, licence=licence, split=split)
    encoded = encode(record)
    marks = video = picture = b""
    if scene.has_pictures:
        marks = marks_of(clip.folder, scene, {region for q in chosen for region in q.regions}, recipe)
        picture = picture_hash(read_jpeg((clip.folder / "frame.jpg").read_bytes()))
    if recipe.marks.burn and scene.has_pictures:
        from curate.engine.burnt import burnt  # the only one that decodes

        video = burnt(clip.folder / "v0.mp4", record, recipe.marks.style, _label(recipe), crf_of(out))
    choices = [(c, kept[c.id][0]) for c in map(choice, chosen) if c is not None]
    items, names = items_of([c for c, _ in choices], [rank for _, rank in choices])
    assert len(by_id) == len(questions), "thin refuses an id that comes twice"
    head = {"key": scene.key, "uri": str(scene.clip.get("uri", scene.key)),
            "recording": str(scene.clip["recording"]), "split": split,
            "doubts": doubts(scene) if clip.is_recorded else [],
            "picture": picture.hex(),
            "left_out": [[*name, count] for name, count in sorted(left_out.items())], "names": names,
            "cuts": encoded.cuts, "size": len(encoded.data),
            "given": len(given),  # after those asked; nothing selects among them
            "asked": [[r.family, r.form, r.answer, rank, list(q.regions)]
                      for q in chosen for rank, r in [kept[q.id]]]}
    return Asked(head, items.tobytes(), pyarrow.compress(encoded.data, codec="zstd", asbytes=True), marks, video)


def num_processes(recipe: Recipe, num_clips: int) -> int:
    """How many ask at once: one in this process where the engine is inline or clips are few."""
    if recipe.engine.kind == "inline":
        return 1
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = cpus if recipe.engine.workers == "auto" else min(recipe.engine.workers, cpus)
    return max(1, min(asked, num_clips // CLIPS_A_PROCESS))


def ask_all(out: Path, keys: list[str], recipe: Recipe, licence: str, processes: int,
            scratch: Path) -> Iterator[Asked]:
    """Every clip in the order of `keys`, each with what is cut of it after it.

    Args:
        scratch: an existing folder for what the processes are told.

    Raises:
        Fatal: where a clip is torn, or a process ends early.
    """
    if processes == 1:
        for key in keys:
            yield from ask_clip(out, key, recipe, licence)
        return
    (scratch / "keys.txt").write_text("".join(f"{key}\n" for key in keys))
    (scratch / "recipe.json").write_text(json.dumps({"recipe": recipe.model_dump(mode="json"), "licence": licence}))
    workers: list[_Worker] = []
    try:
        for place in range(processes):
            workers.append(_Worker(out, scratch, place, processes))
        for index in range(len(keys)):
            asked = workers[index % processes].next()
            yield asked
            for _ in range(asked.head["more"]):
                yield workers[index % processes].next()
    finally:
        for worker in workers:
            worker.close()


class _Worker:
    """A process that asks every n-th clip, and the thread that reads what it sends."""

    def __init__(self, out: Path, scratch: Path, place: int, step: int) -> None:
        ours, theirs = os.pipe()
        command = [sys.executable, "-c", BOOT, json.dumps(sys.path), str(out), str(scratch), str(place), str(step),
                   str(theirs)]
        # A session of its own: Ctrl-C at a terminal is this process's to answer.
        self._process = subprocess.Popen(command, pass_fds=(theirs,), stdin=subprocess.DEVNULL,
                                         start_new_session=True, env={**os.environ, **ENVIRONMENT})
        os.close(theirs)
        self._file = os.fdopen(ours, "rb")
        self._ready: Queue[Asked | None] = Queue(AHEAD)
        self._closed = False
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self) -> None:
        asked: Asked | None = None
        with suppress(Exception):  # a process that ends within a frame; the main thread says so
            while not self._closed and (asked := Asked.read(self._file)) is not None:
                self._ready.put(asked)
        self._ready.put(None)

    def next(self) -> Asked:
        asked = self._ready.get()
        if asked is None:
            raise Fatal(f"a process that asks questions ended with exit code {self._process.wait()}; "
                           f"run the same command again")
        if "error" in asked.head:
            raise Fatal(asked.head["error"])
        return asked

    def close(self) -> None:
        self._closed = True
        self._process.kill()
        self._process.wait()
        while not self._ready.empty():  # lets the thread end
            self._ready.get_nowait()


def main(out: str, scratch: str, place: str, step: str, pipe: str) -> None:
    """A process of `ask_all`: asks clips place, place + step, .. of scratch/keys.txt."""
    order = json.loads((Path(scratch) / "recipe.json").read_text())
    recipe = Recipe.model_validate(order["recipe"])
    with os.fdopen(int(pipe), "wb") as file, (Path(scratch) / "keys.txt").open() as keys:
        for line in islice(keys, int(place), None, int(step)):
            try:
                found = ask_clip(Path(out), line.strip(), recipe, order["licence"])
            except Fatal as error:
                found = [Asked({"error": str(error)}, b"", b"", b"")]
            try:
                for asked in found:
                    asked.write(file)
                file.flush()
            except BrokenPipeError:  # the writer has gone: nobody waits for more
                os._exit(1)
