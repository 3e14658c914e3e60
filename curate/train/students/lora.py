"""Low-rank updates of a student's parts, and their merging into plain weights for a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from curate.train.students.adapter import Adapter
from curate.train.students.config import LoraConfig

NAME = "default"


def add_lora(model: nn.Module, adapter: Adapter, parts: tuple[str, ...], config: LoraConfig, seed: int = 0) -> None:
    """Puts low-rank updates on every linear layer of the parts, in place; the head of the vocabulary stays as it is.

    Args:
        parts: of "vision", "llm".
        seed: of the updates' first factor; the second is zero, so that the student starts unchanged.
    """
    import peft

    heads = {id(model.get_output_embeddings())}
    targets = [name for name, module in model.named_modules()
               if isinstance(module, nn.Linear) and id(module) not in heads and adapter.part_of(name) in parts]
    assert targets, f"no linear layer in {parts}"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(
            peft.LoraConfig(r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout,
                            target_modules=targets, bias="none"), model, adapter_name=NAME)


def has_lora(model: nn.Module) -> bool:
    """Whether low-rank updates are on a model."""
    return any(".lora_A." in name for name, _ in model.named_parameters())


def plain_name(name: str) -> str:
    """A parameter's name as it was before low-rank updates."""
    return name.replace(".base_layer.", ".")


def merged(state: Mapping[str, Tensor], config: LoraConfig) -> dict[str, Tensor]:
    """Plain weights: W + alpha / rank · B A where an update is, the names of a model without updates.

    Args:
        state: a state dict, of a sharded model the gathered one.
    """
    plain = {}
    for name, weight in state.items():
        if ".lora_A." in name or ".lora_B." in name:
            continue
        down = name.replace(".base_layer.weight", f".lora_A.{NAME}.weight")
        if down != name and down in state:
            up = state[down.replace(".lora_A.", ".lora_B.")]
            update = up.float() @ state[down].float() * (config.alpha / config.rank)
            weight = (weight.float() + update).to(weight.dtype)
        plain[plain_name(name)] = weight
    return plain
