"""Features of a teacher's encoder, put beside the teacher tensors of a finished set: training need not run it then."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from curate.shards import manifest
from curate.shards.errors import ShardError
from curate.shards.publish import put_in_place, record_of, write_manifest
from curate.shards.reader import NO_TEACHER, find_root, read
from curate.shards.sidecars import CHECKSUMS, dataset_card
from curate.shards.teacher_parts import LATENT, to_parts
from curate.shards.writer import TarFile, TwinInfo
from curate.storage import location

CARD = "README.md"


def add_latents(path: Path | str, encode: Callable[[dict[str, Any]], np.ndarray], latent_id: str) -> dict[str, Any]:
    """Writes the twin shards of a set anew, with latents; the samples' shards stay, and the set is replaced whole.

    A write pass (`curate ask`, `curate compact`) makes the set without them again.

    Args:
        path: a run's folder or a shard set on this file system.
        encode: from a clip's item, as `read(..., flatten=False, teacher=True)` gives it, to [T', h', w', C] finite
            numbers within float16, of one shape for all clips. Which frames it looks at is its own agreement with the
            reader of the latents.
        latent_id: name of exactly this encoder.

    Returns:
        The manifest.

    Raises:
        ShardError: where the set has no teacher tensors, or a clip's latent is not such an array; the set stays.
    """
    root = find_root(path)
    if not isinstance(root, Path) or root not in (location(path), location(path) / "shards"):
        raise ShardError(f"{root}: in a store; add latents to the run's folder and publish it again")
    content = manifest.load(root)
    if not manifest.twins_of(content):
        raise ShardError(f"{root}: no teacher tensors that latents could lie beside; {NO_TEACHER}")
    built, replaced = (root.parent / f".{root.name}.{name}" for name in ("partial", "replaced"))
    shutil.rmtree(built, ignore_errors=True)  # of one that was killed
    built.mkdir()
    try:
        twins, parts, checksums = _write_twins(root, built, content, encode, latent_id)
        for name in [shard["name"] for shard in content["shards"]] + sorted(content["sidecars"]):
            if name not in (CARD, CHECKSUMS):
                _same_file(root / name, built / name)
        (built / CARD).write_text(dataset_card(content["parts"], content["splits"], content["layout"], parts),
                                  encoding="utf-8")
        with (root / CHECKSUMS).open() as before, (built / CHECKSUMS).open("w") as after:
            for line in before:
                _, _, shard, key = line.split()
                after.write(checksums.get((shard, key), line))
        sidecars = content["sidecars"] | {name: record_of(built / name) for name in (CARD, CHECKSUMS)}
        content = manifest.sealed(content | {"sidecars": sidecars, "teacher": manifest.teacher_entry(parts, twins)})
        write_manifest(built, content)
    except BaseException:
        shutil.rmtree(built, ignore_errors=True)
        raise
    put_in_place(built, root, replaced)
    return content


def has_latents(root: Path) -> bool:
    """Whether a shard set on this file system holds latents; False where there is no set, or none that can be read."""
    try:
        content = manifest.load(root)
    except (ShardError, OSError):
        return False
    return LATENT[0] in content.get("teacher", {}).get("parts", [])


def _write_twins(root: Path, built: Path, content: dict[str, Any], encode: Callable[[dict[str, Any]], np.ndarray],
                 latent_id: str) -> tuple[list[dict[str, Any]], list[str], dict[tuple[str, str], str]]:
    """The manifest's words for the new twins, their parts, and a line of checksums for each (twin, key)."""
    twins: list[dict[str, Any]] = []
    checksums: dict[tuple[str, str], str] = {}
    shape, parts = None, []
    for split in content["splits"]:
        items = iter(read(root, split, flatten=False, teacher=True, rank=0, world_size=1, worker=0, num_workers=1))
        for twin in (t for t in content["teacher"]["shards"] if t["split"] == split):
            tar = TarFile(built, twin["name"])
            try:
                for item in islice(items, twin["samples"]):
                    latent = _checked(encode(item), shape, item["key"])
                    shape = latent.shape
                    made = to_parts(replace(item["teacher"], latent=latent, latent_id=latent_id))
                    parts = list(made)
                    checksums[twin["name"], item["key"]] = tar.add(item["key"], list(made.items()))
                digest = tar.finish()
            except BaseException:
                tar.abort()
                raise
            twins.append(TwinInfo(twin["name"], twin["of"], split, tar.samples, tar.size, digest).to_json())
    return twins, parts, checksums


def _checked(latent: np.ndarray, shape: tuple[int, ...] | None, key: str) -> np.ndarray:
    latent = np.asarray(latent, np.float32)
    if latent.ndim != 4 or (shape is not None and latent.shape != shape):
        raise ShardError(f"{key}: latent of shape {list(latent.shape)}; expected "
                         f"{'[T, h, w, C]' if shape is None else f'{list(shape)}, as of the clips before'}")
    if not (np.abs(latent) <= np.finfo(LATENT[1]).max).all():
        raise ShardError(f"{key}: its latent holds numbers that are not finite, or beyond float16 (65504)")
    return latent


def _same_file(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
