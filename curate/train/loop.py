"""The training loop: stages, steps, and what happens between them. Read this file first."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from curate.train.checkpoint import CheckpointError, Checkpoints, Resumed
from curate.train.schedule import factor, parameter_groups

if TYPE_CHECKING:
    from accelerate import Accelerator

    from curate.train.config import StageConfig, TrainRecipe
    from curate.train.watch import Watch


class Examples(Protocol):
    """What gives batches, without end, and whose place can be kept and taken up again."""

    def __iter__(self) -> Iterator[Any]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class LossNotFinite(RuntimeError):
    """A loss or a gradient is nan or infinite; the text names the terms and the samples."""


@dataclass(frozen=True)
class Ended:
    """How a run ended: after which step over all stages, and whether it was told to stop."""

    step: int
    stopped: bool


class StopSignal:
    """Notes SIGINT and SIGTERM, so that the step under way ends and a checkpoint is written; a second one interrupts.

    A context manager; in another thread than the main one it does nothing, signals stay whose they are.
    """

    def __init__(self) -> None:
        self.came = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True


class Objective(nn.Module):
    """A strategy of which everything is asked by one forward: what shards a module or wraps it for many processes acts
    on forward alone."""

    def __init__(self, strategy: nn.Module) -> None:
        super().__init__()
        self.strategy = strategy

    def forward(self, batch: Any, ask: str = "loss", **how: Any) -> Any:
        """`ask`: a method of the strategy."""
        return getattr(self.strategy, ask)(batch, **how)


class Loop:
    """Trains one strategy through the stages of a recipe.

    Args:
        recipe: stages, optimiser, checkpoints.
        strategy: `loss(batch) -> {"loss": their weighted sum, .. every term at its natural scale}`; what of it needs a
            gradient is trained.
        examples: of a stage, the batches of this process.
        run: the run's folder.
        accelerator: devices, processes, precision.
        watch: log and progress.
        rest: sets which parameters of the student need a gradient, given the parts that a stage trains.
        after_step: called with the number of each step made, before its checkpoint: evaluation, pictures.

    Attributes:
        objective: what evaluation asks, as the stage under way has it.
    """

    def __init__(self, recipe: TrainRecipe, strategy: nn.Module, examples: Callable[[StageConfig], Examples], run: Path,
                 accelerator: Accelerator, watch: Watch, *, rest: Callable[[Iterable[str]], None] = lambda parts: None,
                 after_step: Callable[[int], None] = lambda step: None) -> None:
        self.recipe, self.strategy, self.examples, self.watch = recipe, strategy, examples, watch
        self.accelerator, self.rest, self.after_step = accelerator, rest, after_step
        self.stages = recipe.plan(accelerator.num_processes)
        self.checkpoints = Checkpoints(run / "checkpoints", recipe.checkpoints.last, recipe.settings(),
                                       accelerator.process_index, accelerator.num_processes,
                                       accelerator.wait_for_everyone)
        self.objective = Objective(strategy)
        self.total = 0  # steps made, over all stages
        self.trained: set[str] = set()

    def resume(self) -> Resumed | None:
        """Where the last checkpoint stands; None where there is none.

        Raises:
            CheckpointError: where it is not one of this recipe.
        """
        there = self.checkpoints.all()
        return self.checkpoints.position(there[-1]) if there else None

    def fit(self, resumed: Resumed | None = None) -> Ended:
        """All stages, or those that are left.

        Raises:
            LossNotFinite: before the step that it would have spoilt.
        """
        if resumed is not None:
            self.total, self.trained = resumed.total, set(resumed.trained)
        with StopSignal() as stop:
            for index, stage in enumerate(self.stages):
                if resumed is not None and index < resumed.stage:
                    continue
                here = resumed if resumed is not None and index == resumed.stage else None
                if self._stage(index, stage, here, stop):
                    return Ended(self.total, True)
        return Ended(self.total, False)

    def _stage(self, index: int, stage: StageConfig, resumed: Resumed | None, stop: StopSignal) -> bool:
        """One stage; True where it was told to stop."""
        self.rest(stage.parts)
        self.trained |= {name for name, p in self.strategy.named_parameters() if p.requires_grad}
        groups = parameter_groups(self.strategy.named_parameters(), self.recipe.optim, stage.lr)
        if not groups:
            raise ValueError(f"stage {stage.name!r} trains nothing: parts {list(stage.parts)} are frozen by "
                             "student.trained, and the strategy has no parameters of its own")
        optimizer = torch.optim.AdamW(groups, betas=self.recipe.optim.betas)
        self.objective = Objective(self.strategy)
        module, prepared = self.accelerator.prepare(self.objective, optimizer)
        optimizer = getattr(prepared, "optimizer", prepared)
        examples, step = self.examples(stage), 0
        if resumed is not None:
            self.checkpoints.load(resumed.path, self.strategy, optimizer)
            step = resumed.step
            examples.load_state_dict(resumed.data)
        batches, stopping = iter(examples), False
        while step < stage.steps and not stopping:
            module.train()
            self._step(module, optimizer, stage, step, batches)
            step, self.total = step + 1, self.total + 1
            self.after_step(self.total)
            stopping = self._any(stop.came)
            if step == stage.steps or stopping or self.total % self.recipe.checkpoints.every == 0:
                self.checkpoints.save(self.strategy, optimizer, stage=index, step=step, total=self.total,
                                      trained=self.trained, data=examples.state_dict())
        self.accelerator.free_memory(module, prepared)
        return stopping

    def _step(self, module: nn.Module, optimizer: torch.optim.Optimizer, stage: StageConfig, step: int,
              batches: Iterator[Any]) -> None:
        """One optimiser step over `accumulate` batches."""
        config, device = self.recipe.optim, self.accelerator.device
        begin, waited = time.perf_counter(), 0.0
        terms: list[dict[str, float]] = []
        keys: list[list[str]] = []
        for micro in range(config.accumulate):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            last = micro == config.accumulate - 1
            with nullcontext() if last else self.accelerator.no_sync(module):
                losses = module(batch.to(device))
                self.accelerator.backward(losses["loss"] / config.accumulate)
            terms.append({name: float(value.detach()) for name, value in losses.items()})
            keys.append(list(batch.ids))
        self._refuse_broken(step, terms, keys)
        length = self.accelerator.clip_grad_norm_(module.parameters(), config.clip_norm)  # frozen ones have none
        norm = float(length.full_tensor() if hasattr(length, "full_tensor") else length)
        if not math.isfinite(norm):
            raise LossNotFinite(f"step {self.total + 1}: the gradient is {norm} though every loss is finite; samples: "
                                f"{_listing(keys)}; a lower optim.lr or precision fp32 may help")
        scale = factor(step, stage.steps, config)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * scale
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.watch.step({
            "step": self.total + 1, "stage": stage.name, "lr": stage.lr * scale, **self._means(terms),
            "grad_norm": norm, "seconds": time.perf_counter() - begin, "wait_seconds": waited,
            "examples": sum(map(len, keys)) * self.accelerator.num_processes}, last=step + 1 == stage.steps)

    def _refuse_broken(self, step: int, terms: list[dict[str, float]], keys: list[list[str]]) -> None:
        """Stops every process where one has a loss that is not finite; that one names its samples."""
        broken = [i for i, values in enumerate(terms) if not all(map(math.isfinite, values.values()))]
        if not self._any(bool(broken)):
            return
        if not broken:
            raise LossNotFinite(f"step {self.total + 1}: the loss of another process is not finite")
        which = sorted({name for i in broken for name, value in terms[i].items() if not math.isfinite(value)})
        raise LossNotFinite(f"step {self.total + 1}: {', '.join(which)} not finite; samples: "
                            f"{_listing([keys[i] for i in broken])}; look at them with `curate preview`, leave them "
                            "out, or lower optim.lr; the last checkpoint is from before")

    def _any(self, flag: bool) -> bool:
        if self.accelerator.num_processes == 1:
            return flag
        return bool(self.accelerator.reduce(torch.tensor(float(flag), device=self.accelerator.device), "sum") > 0)

    def _means(self, terms: list[dict[str, float]]) -> dict[str, float]:
        means = {name: sum(values[name] for values in terms) / len(terms) for name in terms[0]}
        if self.accelerator.num_processes > 1:
            whole = self.accelerator.reduce(torch.tensor(list(means.values()), device=self.accelerator.device), "mean")
            means = dict(zip(means, whole.tolist()))
        return means


def _listing(keys: list[list[str]]) -> str:
    return ", ".join(key for batch in keys for key in batch)


__all__ = ["CheckpointError", "Ended", "Loop", "LossNotFinite", "Objective", "StopSignal"]
