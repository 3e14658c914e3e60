"""The shards and the teacher of `benchmarks.p4d`, made once and kept in the cache."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from benchmarks.p4d_arms import Size, teacher_recipe

HERE = Path(__file__).resolve().parent
RECIPE, SCENES = HERE / "p4d_recipe.yaml", HERE / "p4d_scenes.yaml"


def overrides(num_clips: int) -> list[str]:
    return [f"source.num_scenes={num_clips}", f"source.scenes={SCENES}"]


def make_shards(cache: Path, num_clips: int) -> Path:
    """The set, rendered, perceived and asked about; an interrupted run goes on."""
    import curate

    out = cache / f"set-{num_clips}"
    if not (out / "shards" / "manifest.json").is_file():
        summary = curate.run(curate.load_recipe(RECIPE, overrides(num_clips)), out)
        if lost := summary.planned - summary.counts["done"]:
            print(f"{out}: {lost} of {summary.planned} clips are left out; see its ledger.jsonl", file=sys.stderr)
    return out / "shards"


def teacher_folder(cache: Path, size: Size) -> Path:
    return cache / f"teacher-{size.clips}-{size.teacher_steps}"


def teacher_id(folder: Path) -> str:
    from curate.train.teacher.store import CONFIG

    return json.loads((folder / CONFIG).read_text("utf-8"))["model_id"]


def make_teacher(folder: Path, shards: Path, size: Size) -> None:
    """The teacher, fitted to the training split; its latents are put beside the shards' tensors, so that distillation
    need not run it while training."""
    import torch
    from rich.console import Console

    from curate.shards import read
    from curate.train.config import TrainRecipe
    from curate.train.job import fit_and_save
    from curate.train.teacher.latents import store_latents
    from curate.train.teacher.store import CONFIG, load_small

    recipe = TrainRecipe.model_validate(teacher_recipe(str(shards), size))
    if not (folder / CONFIG).is_file():
        torch.set_num_threads(os.cpu_count() or 1)  # nothing else runs yet
        fit_and_save(recipe, folder, console=Console(stderr=True))
    teacher = load_small(folder)
    first = next(iter(read(shards, "train", flatten=False, teacher=True)))["teacher"]
    if first.latent_id != teacher.model_id:
        store_latents(str(shards), teacher, recipe.data)
