"""Where the arms of `benchmarks.p4d` start: tiny students whose vision encoder has learned to see.

A real student's encoder was trained on far more than the shards, and stays as it is in the best of the paper's variants
(P+LLM). One of random weights would have to learn to see from answers, which some hundred scenes do not teach it. So
it is fitted to the depth of single training frames first, once, for all arms and seeds; projector and language model
are random by the seed.
"""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.campaign import put
from benchmarks.p4d_arms import HELD_OUT, Size, data_of
from benchmarks.p4d_probe import depth_cells

LR, WEIGHT_DECAY, BETA = 1e-3, 0.05, 0.1
STATISTICS = 32  # batches that the mean depth of a place is taken from, for the report
WEIGHTS, REPORT = "vision.safetensors", "vision.json"


def make_starts(folder: Path, shards: str, size: Size, seeds: int) -> None:
    """Folders of students, `start_of` each seed, unless they are there."""
    from safetensors.torch import load_file, save_file

    from curate.train.students import tiny_student

    missing = [seed for seed in range(seeds) if not (start_of(folder, seed) / "config.json").is_file()]
    if not missing:
        return
    if not (folder / REPORT).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        state, report = fit_vision(shards, size)
        save_file(state, folder / WEIGHTS)
        put(folder / REPORT, json.dumps(report).encode())
    for seed in missing:
        student = tiny_student(**size.student, seed=seed)
        student.model.model.vision_tower.load_state_dict(load_file(folder / WEIGHTS))
        student.save(start_of(folder, seed))


def start_of(folder: Path | str, seed: int) -> Path:
    return Path(folder) / f"seed-{seed}"


def fitted(folder: Path) -> dict[str, float] | None:
    """What `fit_vision` reported; None where the starts are random."""
    path = folder / REPORT
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def fit_vision(shards: str, size: Size) -> tuple[dict[str, Any], dict[str, float]]:
    """The encoder's weights, and AbsRel on held-out frames: "seen", and "place", of the mean at that place."""
    import torch

    from curate.train.config import OptimConfig
    from curate.train.data import Examples
    from curate.train.data_config import DataConfig
    from curate.train.schedule import factor
    from curate.train.students import tiny_student

    student = tiny_student(**size.student, seed=0)
    vision = student.model.model.vision_tower
    config = DataConfig.model_validate(data_of(shards, size, 0) | {"teacher": True, "max_per_clip": 1})
    side = size.student["image_size"] // size.student["patch_size"]

    def seen(batch: Any) -> tuple[Any, Any]:
        """Features [M, gh, gw, D] and log depths [M, gh, gw, K], nan where unknown, of all frames."""
        features = vision(batch.inputs["pixel_values"]).last_hidden_state.unflatten(1, (side, side))
        depth = torch.from_numpy(depth_cells(batch.signals["depth"][..., 0].numpy(), (side, side)))
        return features, depth.flatten(0, 1).clamp(min=1e-3).log()

    torch.manual_seed(0)
    optim, clips = OptimConfig(steps=size.vision_steps, lr=LR), Examples(config, student.processor)
    with torch.no_grad():
        first = list(islice(clips, STATISTICS))
        usual = torch.cat([seen(batch)[1] for batch in first]).nanmean(0)  # at each place
    head = torch.nn.Linear(size.student["vision_width"], usual.shape[-1])
    torch.nn.init.zeros_(head.bias)
    # Offsets that begin at what they should learn, `usual`, leave the encoder at its start for hundreds of steps.
    offsets = torch.nn.Parameter(torch.ones_like(usual))
    trained = [*vision.parameters(), *head.parameters(), offsets]
    optimizer = torch.optim.AdamW(trained, LR, weight_decay=WEIGHT_DECAY)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(step, optim.steps, optim))
    for batch in islice(clips, optim.steps):
        features, depth = seen(batch)
        known = torch.isfinite(depth)
        loss = torch.nn.functional.smooth_l1_loss((head(features) + offsets)[known], depth[known], beta=BETA)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        rate.step()
    errors: dict[str, list[Any]] = {"seen": [], "place": []}
    with torch.no_grad():
        for batch in Examples(config, student.processor, split=HELD_OUT, epochs=1, shuffle=False):
            features, depth = seen(batch)
            known = torch.isfinite(depth)
            for name, told in (("seen", head(features) + offsets), ("place", usual.expand_as(depth))):
                errors[name].append(((told - depth)[known].exp() - 1).abs())
        to_unit_size(vision, first[0].inputs["pixel_values"])
    return vision.state_dict(), {name: float(torch.cat(each).mean()) for name, each in errors.items()}


def to_unit_size(vision: Any, pixels: Any) -> None:
    """Scales an encoder so that its features, as the projector gets them, have a mean square of 1 over `pixels`.

    Random weights give about that. A fit makes them larger, and the timestamps' code, whose mean square is 0.5 whatever
    the features' is, would be drowned. All that is added to the encoder's residual stream is scaled alike; as its
    layers normalise what they read, nothing else changes.
    """
    features = vision(pixel_values=pixels, output_hidden_states=True).hidden_states[-1]
    scale = features.square().mean().rsqrt()
    for name, parameter in vision.named_parameters():
        if "embeddings" in name or "out_proj" in name or "fc2" in name:
            parameter.mul_(scale)
