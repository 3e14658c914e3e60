"""Variants of staged clips in the write pass: which there are, their scenes, and their media, made once.

A variant is named by its key: that of its clip and a suffix (`curate.augment`). Its scene is worked out from the staged
one, its media lie in OUT/augmented/{key} beside the staged scenes, which stay as perception left them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from curate.augment import Variant, apply, late_start
from curate.augment.config import AugmentConfig
from curate.augment.teacher import apply_to_teacher
from curate.engine.ledger import RUN
from curate.engine.outcome import Fatal
from curate.engine.stage import FOLDER
from curate.engine.teacher import parts_of
from curate.scene import Scene
from curate.shards.errors import ShardError

MADE = "augmented"


@dataclass(frozen=True)
class Clip:
    """What is asked about: a scene, and the folder of its media."""

    scene: Scene
    folder: Path
    is_recorded: bool  # not a variant


def with_variants(keys: Iterable[str], wanted: tuple[AugmentConfig, ...]) -> list[str]:
    """Keys of the clips and of their variants, sorted; without those that only a scene tells of (`cuts`)."""
    found = []
    for key in keys:
        variants = [Variant(**one.operations) for one in wanted if not one.later and _is_chosen(one, key)]
        found += [key, *(key + variant.suffix for variant in variants)]
    return sorted(found)


def cuts(scene: Scene, wanted: tuple[AugmentConfig, ...]) -> list[Variant]:
    """Variants of a recorded clip that begin where objects enter; their keys come next after the clip's own."""
    starts = [(one, late_start(scene, one.min_frames)) for one in wanted if one.later and _is_chosen(one, scene.key)]
    found = [Variant(**one.operations, start=start) for one, start in starts if start is not None]
    return sorted(found, key=lambda variant: variant.suffix)


def _is_chosen(one: AugmentConfig, key: str) -> bool:
    from curate.questions.draw import stable_hash

    name = "later" * one.later + Variant(**one.operations).suffix
    return stable_hash("augment", name, key) < one.share * 2**64


def recorded(key: str) -> str:
    """Key of the clip that a variant's key is of; the key itself where it is no variant's."""
    try:
        return Variant.split(key)[0]
    except ValueError:
        return key


def folder_of(out: Path, key: str) -> Path:
    """Where the media of a staged clip are, or of a variant of one."""
    folder = out / FOLDER / key
    return folder if folder.exists() else out / MADE / key


def load(out: Path, key: str) -> Clip:
    """A staged clip, or a variant of one; its media are made where they are not there yet.

    Raises:
        SceneError, FileNotFoundError, BadInput: where the staged clip is torn.
    """
    folder = out / FOLDER / key
    if folder.exists():
        return Clip(Scene.load(folder / "scene.npz"), folder, True)
    try:
        own, variant = Variant.split(key)
    except ValueError:
        raise FileNotFoundError(f"{folder}: no such clip") from None
    scene = apply(Scene.load(out / FOLDER / own / "scene.npz"), variant)
    made = out / MADE / key
    if not made.exists():
        _make(out, out / FOLDER / own, made, scene, variant)
    return Clip(scene, made, False)


def teacher_of(out: Path, key: str) -> dict[str, bytes]:
    """Parts of the teacher tensors of a staged clip, or of a variant of one.

    Raises:
        Fatal: where they are torn; says how to make the clip anew.
    """
    folder = out / FOLDER / recorded(key)
    try:
        if (out / FOLDER / key).exists():
            return parts_of(out / FOLDER / key)
        variant = Variant.split(key)[1]
        return parts_of(folder, lambda tensors: apply_to_teacher(tensors, variant))
    except (ShardError, OSError) as error:
        raise Fatal(f"{folder}: torn ({error}); `curate verify` lists all such clips, and without the folder "
                    f"`curate run` makes the clip again") from error


def crf_of(out: Path) -> int:
    """Quality of the staged videos: of the run, as another recipe may only ask."""
    return json.loads((out / RUN).read_text())["recipe"]["media"]["crf"]


def sweep(out: Path) -> None:
    """Removes what a pass that was killed had begun to make."""
    for path in (out / MADE).glob(".*"):
        shutil.rmtree(path, ignore_errors=True)


def _make(out: Path, staged: Path, made: Path, scene: Scene, variant: Variant) -> None:
    """Writes beside and renames, so that what is there is whole."""
    from curate.augment.media import media

    size = (scene.camera.width, scene.camera.height)
    temp = made.parent / f".{made.name}.{os.getpid()}"
    shutil.rmtree(temp, ignore_errors=True)
    temp.mkdir(parents=True)
    try:
        for name, data in media(staged, variant, scene.time_s, size, crf_of(out)).items():
            (temp / name).write_bytes(data)
        temp.rename(made)
    finally:
        shutil.rmtree(temp, ignore_errors=True)
