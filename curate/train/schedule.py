"""Learning rate over the steps, and which parameters share one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from curate.train.config import OptimConfig


def factor(step: int, num_steps: int, config: OptimConfig) -> float:
    """What the learning rate is multiplied by in step `step` (0 is the first) of `num_steps`.

    Rises in a line over the first `warmup_share` of the steps, the first of them above zero; then falls as half a
    cosine to `min_lr_share`. It depends on nothing but the step, so that no state has to be kept for a resume.
    """
    num_warmup = math.ceil(config.warmup_share * num_steps)
    if step < num_warmup:
        return (step + 1) / num_warmup
    if config.schedule == "constant":
        return 1.0
    done = min(1.0, (step - num_warmup) / max(1, num_steps - num_warmup))
    return config.min_lr_share + (1 - config.min_lr_share) * 0.5 * (1 + math.cos(math.pi * done))


def parameter_groups(named: Iterable[tuple[str, nn.Parameter]], config: OptimConfig, lr: float,
                     student: str = "student.") -> list[dict[str, Any]]:
    """Groups for an optimiser, those without parameters left out.

    Args:
        named: names and parameters; those that need no gradient are passed over.
        lr: of the student; `config.head_lr` is that of everything else (what only training needs).
        student: what the names of the student's parameters begin with.

    Returns:
        [{"name", "params", "lr", "base_lr", "weight_decay"}]: matrices decay; vectors and scalars (norms, biases) do
        not, as is usual.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            groups.setdefault((name.startswith(student), parameter.ndim > 1), []).append(parameter)
    out = []
    for (own, matrix), parameters in sorted(groups.items(), reverse=True):
        rate = lr if own or config.head_lr is None else config.head_lr
        out.append({"name": f"{'student' if own else 'head'}, {'matrices' if matrix else 'vectors'}",
                    "params": parameters, "lr": rate, "base_lr": rate,
                    "weight_decay": config.weight_decay if matrix else 0.0})
    return out
