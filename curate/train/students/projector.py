"""A hook on the projector's input: vision features of each frame, as a grid, before the language model's width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from curate.train.students.adapter import Adapter, adapter_for, module_at


class ProjectorInput:
    """Changes what enters a model's projector, until removed.

    Several may stand on one model; they run in the order in which they were made.

    Args:
        model: an image-text model of transformers.
        change: [F, Gh, Gw, width] to the same shape; F frames of the call, sample by sample.
        adapter: default: the one of the model's type.

    Raises:
        ValueError: on an architecture without an adapter.
    """

    def __init__(self, model: nn.Module, change: Callable[[Tensor], Tensor], adapter: Adapter | None = None) -> None:
        self.model, self.change, self.adapter = model, change, adapter or adapter_for(model)
        self._sizes: Any = None
        self._hooks = [module_at(model, self.adapter.projector_module).register_forward_pre_hook(self._enter)]
        if self.adapter.sizes_module:
            module = module_at(model, self.adapter.sizes_module)
            self._hooks.append(module.register_forward_pre_hook(self._look, with_kwargs=True))

    def _look(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self._sizes = self.adapter.sizes_seen(args, kwargs)

    def _enter(self, module: nn.Module, args: tuple) -> tuple:
        features = self.adapter.unfold(self.model, args[0], self._sizes)
        changed = self.change(features)
        assert changed.shape == features.shape, f"changed features {changed.shape}, expected {features.shape}"
        return self.adapter.fold(self.model, changed.to(args[0].dtype), args[0], self._sizes), *args[1:]

    def remove(self) -> None:
        """Takes the hook off; more than once is harmless."""
        for hook in self._hooks:
            hook.remove()

    def __enter__(self) -> ProjectorInput:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()
