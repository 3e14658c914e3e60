"""The same training in workers of Ray Train: on this machine, or on a cluster with a folder that all nodes share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from curate.train.config import TrainRecipe
from curate.train.loop import Ended

ENDED = "ended.json"


def train_on_ray(recipe: TrainRecipe, out: Path, num_workers: int, *, address: str | None = None,
                 resume: bool = False) -> Ended:
    """Trains with one process a worker; each has a GPU where the cluster has as many.

    Args:
        recipe: of the run. out: its folder, on storage that every node sees.
        num_workers: processes.
        address: "auto", ray://HOST:10001; None starts a Ray of its own.
        resume: go on from the last checkpoint.

    Raises:
        ValueError: where Ray Train is not installed, or the cluster has fewer CPUs than workers. What a worker raises
            comes as Ray Train's error with its text.
    """
    try:
        import ray
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer
    except ImportError as error:
        raise ValueError(f"Ray Train is not there ({error}); pip install 'ray[train]', or leave --ray out and start "
                         "the processes with torchrun") from None
    if not ray.is_initialized():
        ray.init(address=address, include_dashboard=False, log_to_driver=True)
    have = ray.cluster_resources()
    if have.get("CPU", 0) < num_workers:
        raise ValueError(f"--ray {num_workers}: the cluster has {have.get('CPU', 0):g} CPUs; ask for no more "
                         "workers than that")
    out = out.resolve()
    trainer = TorchTrainer(
        work, train_loop_config={"recipe": recipe.model_dump(mode="json"), "out": str(out), "resume": resume},
        scaling_config=ScalingConfig(num_workers=num_workers, use_gpu=have.get("GPU", 0) >= num_workers),
        run_config=RunConfig(name=out.name, storage_path=str(out / "ray")))
    trainer.fit()
    return Ended(**json.loads((out / ENDED).read_text("utf-8")))


def work(config: dict[str, Any]) -> None:
    """One worker: Ray Train has set up the process group, accelerate finds it."""
    import os

    from curate.train.job import train

    os.environ.setdefault("ACCELERATE_USE_CPU", "false" if _has_gpu() else "true")
    ended = train(TrainRecipe.model_validate(config["recipe"]), Path(config["out"]), resume=config["resume"])
    if int(os.environ.get("RANK", 0)) == 0:
        (Path(config["out"]) / ENDED).write_text(json.dumps({"step": ended.step, "stopped": ended.stopped}), "utf-8")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
