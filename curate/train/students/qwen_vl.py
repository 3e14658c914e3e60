"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL: frames of any size, their patches in one row, merged m × m to a token.

The row of patches is frame by frame; within a frame, merged groups one after the other, the patches of a group
together. Qwen2.5-VL has the groups in the order of its attention's windows until after the merger. In Qwen3-VL what
deeper layers get from earlier ones of the vision encoder (DeepStack) goes past the projector's input.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from curate.train.students.adapter import Adapter, check_same


class QwenVL(Adapter):
    """`Qwen2VLForConditionalGeneration` and `Qwen3VLForConditionalGeneration`."""

    vision = ("model.visual.patch_embed", "model.visual.pos_embed", "model.visual.rotary_pos_emb",
              "model.visual.blocks")
    projector = ("model.visual.merger", "model.visual.deepstack_merger_list")
    projector_module = "model.visual.merger"
    sizes_module = "model.visual"

    def prepare(self, processor: Any, config: Any, image_size: tuple[int, int] | None) -> tuple[int, int] | None:
        if image_size is None:
            return None
        cell = config.vision_config.patch_size * config.vision_config.spatial_merge_size
        if image_size[0] % cell or image_size[1] % cell:
            raise ValueError(f"student.image_size is {image_size[0]} × {image_size[1]}; this vision encoder wants "
                             f"multiples of {cell} pixels")
        images, area = processor.image_processor, image_size[0] * image_size[1]
        images.size = {"shortest_edge": min(area, images.size["shortest_edge"]),
                       "longest_edge": max(area, images.size["longest_edge"])}
        return image_size

    def token_grid(self, config: Any, inputs: Mapping[str, Tensor]) -> tuple[int, int]:
        times, height, width = check_same(inputs["image_grid_thw"])
        merge = config.vision_config.spatial_merge_size
        return times * height // merge, width // merge

    def num_frames(self, inputs: Mapping[str, Tensor]) -> int:
        return len(inputs["image_grid_thw"])

    def sizes_seen(self, args: tuple, kwargs: Mapping[str, Any]) -> Tensor:
        return kwargs["grid_thw"] if "grid_thw" in kwargs else args[1]

    def unfold(self, model: nn.Module, features: Tensor, sizes: Tensor) -> Tensor:
        (height, width), merge = _frame(sizes), model.config.vision_config.spatial_merge_size
        groups = features.view(len(sizes), height * width // merge ** 2, merge ** 2, -1)
        order = self.order(model, sizes)
        groups = groups if order is None else groups[:, order.argsort()]
        cells = groups.view(len(sizes), height // merge, width // merge, merge, merge, -1)
        return cells.transpose(2, 3).reshape(len(sizes), height, width, -1)

    def fold(self, model: nn.Module, features: Tensor, like: Tensor, sizes: Tensor) -> Tensor:
        (height, width), merge = _frame(sizes), model.config.vision_config.spatial_merge_size
        cells = features.view(len(sizes), height // merge, merge, width // merge, merge, -1)
        groups = cells.transpose(2, 3).reshape(len(sizes), height * width // merge ** 2, merge ** 2, -1)
        order = self.order(model, sizes)
        return (groups if order is None else groups[:, order]).reshape(like.shape)

    def order(self, model: nn.Module, sizes: Tensor) -> Tensor | None:
        """Which group of a frame stands at each place of the row; None where they stand as in the picture."""
        return None

    def vision_width(self, config: Any) -> int:
        vision = config.vision_config
        return vision.embed_dim if hasattr(vision, "embed_dim") else vision.hidden_size


class Qwen25VL(QwenVL):
    """`Qwen2_5_VLForConditionalGeneration`."""

    def order(self, model: nn.Module, sizes: Tensor) -> Tensor | None:
        from transformers.vision_utils import get_vision_window_index

        vision = model.config.vision_config
        # Windows do not span frames: the order within the first is that of all.
        index, _ = get_vision_window_index(sizes[:1], spatial_merge_size=vision.spatial_merge_size,
                                           window_size=vision.window_size, patch_size=vision.patch_size)
        return torch.as_tensor(index, device=sizes.device)


def _frame(sizes: Tensor) -> tuple[int, int]:
    """Rows and columns of patches of each frame."""
    times, height, width = check_same(sizes)
    if times != 1:
        raise ValueError(f"{times} time steps in one visual input: give the frames as images, not as a video")
    return height, width


ADAPTERS = {"qwen2_vl": QwenVL(), "qwen3_vl": QwenVL(), "qwen2_5_vl": Qwen25VL()}
