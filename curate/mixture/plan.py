"""A recipe and its sets to the mixture: how many questions of each set come in each stage."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curate.mixture.config import MixtureRecipe, SetConfig, StageConfig
from curate.shards import ShardError, manifest, mixture
from curate.shards.chosen import Chosen
from curate.shards.reader import find_root
from curate.shards.schedule import counts_of
from curate.storage import RemotePath
from curate.storage.sync import sync


class MixtureError(ValueError):
    """A mixture that cannot be made as asked."""


def plan(recipe: MixtureRecipe, folder: Path) -> dict[str, Any]:
    """What `mixture.json` in `folder` says (`curate.shards.mixture`), without its digest.

    Raises:
        MixtureError: where a set has no question that a stage wants, or a stage's numbers do not fit.
        ShardError: where a set is not there, or is torn.
    """
    sets = {name: _entry(name, entry, folder) for name, entry in recipe.sets.items()}

    def available(name: str, families: Any, forms: Any) -> int:
        return len(Chosen(recipe.sets[name].path, recipe.sets[name].split, families=families, forms=forms))

    stages = [_stage(stage, available) for stage in recipe.stages]
    return {"format": mixture.FORMAT, "version": mixture.VERSION, "name": recipe.name, "seed": recipe.seed,
            "sets": sets, "stages": stages}


def write(content: dict[str, Any], folder: Path) -> Path:
    """Puts the file in place, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    temp = folder / f".{mixture.NAME}.partial"
    temp.write_bytes(mixture.to_bytes(content))
    sync(temp)
    temp.rename(folder / mixture.NAME)
    return folder / mixture.NAME


def missing(recipe: MixtureRecipe) -> list[str]:
    """Names of the sets that are not there."""
    out = []
    for name, entry in recipe.sets.items():
        try:
            find_root(entry.path)
        except ShardError:
            out.append(name)
    return out


def _entry(name: str, entry: SetConfig, folder: Path) -> dict[str, Any]:
    try:
        root = find_root(entry.path)
    except ShardError as error:
        made = (f"; `curate run {entry.recipe} --out {entry.path}` makes it, and so does `curate mix --run`"
                if entry.recipe else "")
        raise ShardError(f"set {name!r}: {error}{made}") from None
    content = manifest.load(root)
    split = content["splits"].get(entry.split)
    if split is None:
        raise ShardError(f"set {name!r}: {root}: no split {entry.split!r}; there is "
                         f"{', '.join(sorted(content['splits'])) or 'none'}")
    return {"path": _path(entry.path, root, folder), "split": entry.split, "digest": content["digest"],
            "parts": content["parts"], "samples": split["samples"], "questions": split["questions"]}


def _path(given: str, root: Path | RemotePath, folder: Path) -> str:
    """Relative paths stay so, seen from the mixture's folder: mixture and sets can then be moved together."""
    if isinstance(root, RemotePath):
        return given
    return str(root) if root.is_absolute() else Path(os.path.relpath(root, folder)).as_posix()


def _stage(stage: StageConfig, available: Callable[[str, Any, Any], int]) -> dict[str, Any]:
    mix = []
    for name, source in stage.mix.items():
        mix.append({"set": name, "weight": source.weight, "families": source.families and list(source.families),
                    "forms": source.forms and list(source.forms), "samples": source.samples,
                    "available": available(name, source.families, source.forms)})
    for part in mix:
        if part["samples"] == "all":
            part["samples"] = part["available"]
    left = [part for part in mix if part["samples"] is None]
    fixed = sum(part["samples"] or 0 for part in mix)
    total = fixed if stage.samples is None else stage.samples
    if fixed > total or (fixed < total and not left):
        raise MixtureError(f"stage {stage.name!r}: its sources give {fixed} questions, samples says {total}")
    if left:
        for part, count in zip(left, counts_of(total - fixed, [part["weight"] for part in left])):
            part["samples"] = count
    for part in mix:
        if not part["available"] and (part["samples"] or part["weight"]):
            of = "".join(f" of the {what} {', '.join(part[what])}" for what in ("families", "forms") if part[what])
            raise MixtureError(f"stage {stage.name!r}: set {part['set']!r} has no question{of}; leave it out, or widen "
                               "what is taken of it")
    if not total:
        raise MixtureError(f"stage {stage.name!r}: no question in it")
    return {"name": stage.name, "samples": total, "train": stage.parts, "mix": mix}
