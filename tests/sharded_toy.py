"""FSDP2's parameters in a group of one: what is written is whole tensors, what is read is sharded again.

    python -m tests.sharded_toy FOLDER
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import torch
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from curate.train.checkpoint import Checkpoints, whole
from tests.train_toys import ToyExamples, ToyStrategy


def check(folder: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=0, world_size=1)
    mesh = torch.distributed.init_device_mesh("cpu", (1,))

    def made(seed: int):
        torch.manual_seed(seed)
        strategy = ToyStrategy(dropout=0.0)
        strategy.forward = strategy.loss
        fully_shard(strategy, mesh=mesh)
        return strategy, torch.optim.AdamW(strategy.parameters(), lr=0.1)

    def step(strategy, optimizer) -> float:
        loss = strategy(next(iter(ToyExamples())))["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    first, second = made(0), made(1)
    assert isinstance(first[0].head.weight, DTensor)
    step(*first)
    names = [name for name, _ in first[0].named_parameters()]
    checkpoints = Checkpoints(folder / "checkpoints", 1, {})
    path = checkpoints.save(*first, stage=0, step=1, total=1, trained=names, data={})
    checkpoints.load(path, *second)
    assert [step(*first), step(*first)] == [step(*second), step(*second)], "parameters and moments"
    for a, b in zip(first[0].parameters(), second[0].parameters()):
        assert isinstance(b, DTensor) and torch.equal(whole(a), whole(b))


if __name__ == "__main__":
    try:
        check(Path(sys.argv[1]))
        status = 0
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stderr.flush()
    os._exit(status)  # without waiting for the group's threads
