"""Checkpoints from which a run goes on to the same bits: written beside, renamed when whole, the last few kept.

    RUN/checkpoints/step-00000200/
      state.json              the step, and the settings that it was made with
      model.safetensors       what has been trained so far, and the buffers, by their names in the strategy
      optimizer.safetensors   the optimiser's moments, "{parameter}/{moment}"
      rank-0.json             this process's place in the data, and the states of Python's and numpy's draws
      rank-0.safetensors      torch's draws

What never was trained is not in it: it comes from where the student and the teacher come from.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from curate.recipe.model import differences
from curate.storage.sync import sync

FORMAT = 1
_NAME = re.compile(r"step-(\d{8})")


class CheckpointError(ValueError):
    """A checkpoint that this run cannot go on from: which, why, and what to change."""


@dataclass
class Resumed:
    """What was read: the position in the run (`stage`, `step` within it, `total` steps) and that in the data."""

    path: Path
    stage: int
    step: int
    total: int
    trained: list[str]
    data: dict[str, Any]


class Checkpoints:
    """Those of one run.

    Args:
        root: their folder.
        keep: how many stay.
        settings: plain JSON of everything that must be the same for a run to go on.
        rank, world_size: which process this is; every one calls every method, the first writes what is common.
        wait: waits for all processes; nothing to do where there is one.
    """

    def __init__(self, root: Path, keep: int, settings: dict[str, Any], rank: int = 0, world_size: int = 1,
                 wait: Any = lambda: None) -> None:
        self.root, self.keep, self.settings = root, keep, settings
        self.rank, self.world_size, self.wait = rank, world_size, wait

    def all(self) -> list[Path]:
        """Whole checkpoints, the oldest first."""
        if not self.root.is_dir():
            return []
        return sorted(p for p in self.root.iterdir() if _NAME.fullmatch(p.name) and (p / "state.json").is_file())

    def save(self, module: nn.Module, optimizer: torch.optim.Optimizer, *, stage: int, step: int, total: int,
             trained: Collection[str], data: dict[str, Any]) -> Path:
        """Writes a checkpoint and removes those older than the last `keep`.

        Args:
            module: the strategy, unwrapped; sharded parameters are gathered one at a time.
            stage, step, total: position: of the stage, within it, and over all.
            trained: names of the parameters that have been trained in this stage or before.
            data: this process's place in the data, plain JSON.
        """
        path = self.root / f"step-{total:08d}"
        temp = self.root / f".{path.name}.partial"
        if self.rank == 0:
            self.root.mkdir(parents=True, exist_ok=True)
            for left in self.root.glob(".*.partial"):  # of a run that was killed while it wrote
                shutil.rmtree(left)
            temp.mkdir()
        self.wait()
        _write_json(temp / f"rank-{self.rank}.json", {"data": data, **_host_draws()})
        save_file(_torch_draws(), temp / f"rank-{self.rank}.safetensors")
        model = {name: whole(value) for name, value in _kept(module, trained).items()}
        moments = {name: whole(value) for name, value in _moments(module, optimizer).items()}
        if self.rank == 0:
            save_file(model, temp / "model.safetensors")
            save_file(moments, temp / "optimizer.safetensors")
            _write_json(temp / "state.json", {
                "format": FORMAT, "stage": stage, "step": step, "total": total, "world_size": self.world_size,
                "trained": sorted(trained), "settings": self.settings})
        self.wait()
        if self.rank == 0:
            for file in temp.iterdir():
                sync(file)
            if path.exists():  # of the same step, from before the run was resumed further back
                shutil.rmtree(path)
            temp.rename(path)
            sync(self.root)
            for old in self.all()[:-self.keep]:
                shutil.rmtree(old)
        self.wait()
        return path

    def position(self, path: Path) -> Resumed:
        """Where a checkpoint stands, without its tensors.

        Raises:
            CheckpointError: where it is of other settings (with what differs), of another number of processes, or
                cannot be read.
        """
        try:
            state = json.loads((path / "state.json").read_text("utf-8"))
            own = json.loads((path / f"rank-{self.rank}.json").read_text("utf-8")) \
                if state["world_size"] == self.world_size else {"data": {}}
            if state["format"] != FORMAT:
                raise CheckpointError(f"{path}: format {state['format']}; this reads format {FORMAT}; start anew in "
                                      "another --out")
            found = Resumed(path, state["stage"], state["step"], state["total"], state["trained"], own["data"])
            world_size, settings = state["world_size"], state["settings"]
        except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise CheckpointError(f"{path}: cannot be read as a checkpoint ({type(error).__name__}: {error}); remove "
                                  "it to go on from the one before") from None
        if lines := differences(settings, json.loads(json.dumps(self.settings))):
            shown = "\n".join(f"  {line}" for line in lines)
            raise CheckpointError(f"{path}: made with other settings, checkpoint -> now:\n{shown}\nresume with the "
                                  "settings it was made with, or start anew in another --out")
        if world_size != self.world_size:
            raise CheckpointError(f"{path}: made by {world_size} processes, this run has {self.world_size}; the place "
                                  f"in the data is kept for each: resume with {world_size}, or start anew in another "
                                  "--out")
        return found

    def load(self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Puts parameters, buffers, moments and the states of all draws back.

        Raises:
            CheckpointError: where names or shapes are not those of the model.
        """
        try:
            model, moments = load_file(path / "model.safetensors"), load_file(path / "optimizer.safetensors")
            own = json.loads((path / f"rank-{self.rank}.json").read_text("utf-8"))
            draws = load_file(path / f"rank-{self.rank}.safetensors")
        except Exception as error:  # safetensors has an error of its own
            raise CheckpointError(f"{path}: cannot be read ({type(error).__name__}: {error}); remove it to go on from "
                                  "the one before") from None
        there = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        for name, value in model.items():
            if name not in there or there[name].shape != value.shape:
                found = tuple(there[name].shape) if name in there else "nothing"
                raise CheckpointError(f"{path}: {name} is {tuple(value.shape)}, the model has {found}; the student or "
                                      "the teacher is not the one it was made with")
            with torch.no_grad():
                there[name].copy_(_as(value, there[name]))
        _set_moments(module, optimizer, moments)
        _set_draws(own, draws)


def _kept(module: nn.Module, trained: Collection[str]) -> dict[str, Tensor]:
    names = set(trained)
    kept = {name: p for name, p in module.named_parameters() if name in names}
    return kept | {name: b for name, b in module.named_buffers() if name in _persistent(module)}


def _persistent(module: nn.Module) -> set[str]:
    return {f"{prefix}.{name}" if prefix else name for prefix, part in module.named_modules()
            for name in part._buffers if name not in part._non_persistent_buffers_set}


def _moments(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    names = {id(p): name for name, p in module.named_parameters()}
    return {f"{names[id(p)]}/{key}": value if isinstance(value, Tensor) else torch.tensor(value)
            for p, state in optimizer.state.items() for key, value in state.items()}


def _set_moments(module: nn.Module, optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    parameters = dict(module.named_parameters())
    by_name: dict[str, dict[str, Tensor]] = {}
    for place, value in moments.items():
        name, key = place.rsplit("/", 1)
        by_name.setdefault(name, {})[key] = _as(value, parameters[name]) if value.ndim else value
    names = {id(p): name for name, p in parameters.items()}
    content, index, state = optimizer.state_dict(), 0, {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:  # a state dict numbers the parameters in the order of the groups
            if (name := names[id(parameter)]) in by_name:
                state[index] = by_name[name]
            index += 1
    optimizer.load_state_dict({"state": state, "param_groups": content["param_groups"]})


def whole(value: Tensor) -> Tensor:
    """On the host, in one piece; sharded ones are gathered, by all processes together."""
    value = value.detach()
    if hasattr(value, "full_tensor"):
        value = value.full_tensor()
    return value.cpu().contiguous().clone()


def _as(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as `like` is: on its device, sharded as it is."""
    if hasattr(like, "full_tensor"):
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
    return value.to(like.device)


def _host_draws() -> dict[str, Any]:
    version, words, gauss = random.getstate()
    name, keys, place, has_gauss, cached = np.random.get_state()
    return {"python": [version, list(words), gauss], "numpy": [name, keys.tolist(), place, has_gauss, cached]}


def _torch_draws() -> dict[str, Tensor]:
    out = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        out["cuda"] = torch.cuda.get_rng_state()
    return out


def _set_draws(host: dict[str, Any], draws: dict[str, Tensor]) -> None:
    version, words, gauss = host["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *rest = host["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))
    torch.set_rng_state(draws["torch"])
    if "cuda" in draws and torch.cuda.is_available():
        torch.cuda.set_rng_state(draws["cuda"])


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
