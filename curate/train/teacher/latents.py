"""A teacher's latents stored in a shard set: training reads them where it would run the teacher at each step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from curate.shards.latents import add_latents
from curate.shards.manifest import load, twins_of
from curate.shards.reader import find_root
from curate.train.clips import VIDEO
from curate.train.frames import chosen_frames, decode_video

if TYPE_CHECKING:
    from curate.train.data_config import DataConfig
    from curate.train.teacher.base import Teacher


def store_latents(path: str, teacher: Teacher, config: DataConfig, device: torch.device | str = "cpu",
                  progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Encodes every clip of a set as batches of these settings show it (`strategy.p4d.latents: shards` reads it).

    Args:
        path: of `data.sets`, on this file system; the set is replaced by one with latents.
        config: the recipe's data: frames, marks and image_size decide what the teacher sees. Where image_size is none,
            the videos' own size.
        device: where the teacher is.
        progress: called after each clip with how many are encoded, of how many.

    Returns:
        The set's manifest.

    Raises:
        ShardError: where the set has no teacher tensors, or a latent does not fit float16. ValueError: where a clip's
            video does not fit its record, or has fewer frames than are to be shown.
    """
    done, total = count(1), sum(twin["samples"] for twin in twins_of(load(find_root(path))))

    def encode(item: dict[str, Any]) -> np.ndarray:
        record = item["json"]
        base, counted = record["sampling"]["base"], record["sampling"]["frame_indices"]
        try:
            index = [counted[i] - base for i in chosen_frames(len(counted), config.frames)]
            frames = decode_video(item["media"][VIDEO], record["time_s"], index, config.image_size)
        except ValueError as error:
            raise ValueError(f"{item['key']}: {error}") from None
        if config.marks == "extra":  # the first instant is shown twice
            index, frames = [index[0], *index], np.concatenate([frames[:1], frames])
        video = torch.from_numpy(frames).to(device).permute(0, 3, 1, 2).float().div_(255)
        times_s = torch.tensor([record["time_s"][i] for i in index], dtype=torch.float32, device=device)
        latent = teacher.encode(video[None], times_s[None])[0].float().cpu().numpy()
        if progress:
            progress(next(done), total)
        return latent

    return add_latents(path, encode, teacher.model_id)
