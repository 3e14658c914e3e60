"""The shards and the teacher of `benchmarks.p4d`, made once and kept in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.p4d_arms import Size, teacher_recipe

HERE = Path(__file__).resolve().parent
RECIPE, SCENES = HERE / "p4d_recipe.yaml", HERE / "p4d_scenes.yaml"


def overrides(num_clips: int) -> list[str]:
    return [f"source.num_scenes={num_clips}", f"source.scenes={SCENES}"]


def make_shards(cache: Path, num_clips: int) -> Path:
    """The set, rendered, perceived and asked about; an interrupted run goes on.

    Raises:
        RuntimeError: where a clip failed: the set would not be the one that others get.
    """
    import curate

    out = cache / f"set-{num_clips}"
    if not (out / "shards" / "manifest.json").is_file():
        summary = curate.run(curate.load_recipe(RECIPE, overrides(num_clips)), out)
        if summary.exit_code:
            raise RuntimeError(f"{out}: not every clip was made (exit code {summary.exit_code}); see its ledger.jsonl")
    return out / "shards"


def teacher_folder(cache: Path, size: Size) -> Path:
    return cache / f"teacher-{size.clips}-{size.teacher_steps}"


def make_teacher(folder: Path, shards: Path, size: Size) -> None:
    """The teacher, fitted to the training split; its latents are put beside the shards' tensors."""
    from rich.console import Console

    from curate.train.config import TrainRecipe
    from curate.train.job import fit_and_save
    from curate.train.teacher.store import CONFIG, load_small

    if not (folder / CONFIG).is_file():
        fit_and_save(TrainRecipe.model_validate(teacher_recipe(str(shards), size)), folder,
                     console=Console(stderr=True))
    store_latents(shards, load_small(folder))


def store_latents(shards: Path, teacher: Any) -> None:
    """Adds the teacher's latents to the set, unless they are there: distillation need not run it while training."""
    import torch

    from curate.shards import read
    from curate.shards.latents import add_latents
    from curate.train.frames import decode_video

    first = next(iter(read(shards, "train", flatten=False, teacher=True)))["teacher"]
    if first.latent_id == teacher.model_id:
        return
    side = (teacher.config.height, teacher.config.width)

    def encode(item: dict[str, Any]) -> Any:
        time_s = item["json"]["time_s"]
        frames = decode_video(item["media"]["v0.mp4"], time_s, range(len(time_s)), side)
        video = torch.from_numpy(frames).permute(0, 3, 1, 2)[None].float() / 255
        return teacher.encode(video, torch.tensor([time_s], dtype=torch.float32))[0].numpy()

    add_latents(shards, encode, teacher.model_id)
