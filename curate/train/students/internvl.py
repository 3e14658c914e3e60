"""InternVL, the version of transformers: tiles are off, so that a frame is one square.

Patches are joined (pixel shuffle) before the projector, so that its input has the grid of the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from curate.train.students.adapter import Adapter, fixed_size, unfold_square


class InternVL(Adapter):
    """`InternVLForConditionalGeneration`."""

    vision = ("model.vision_tower",)
    projector = ("model.multi_modal_projector",)
    projector_module = "model.multi_modal_projector"

    def prepare(self, processor: Any, config: Any, image_size: tuple[int, int] | None) -> tuple[int, int] | None:
        height, width = fixed_size(config, image_size)
        images = processor.image_processor
        images.size = {"height": height, "width": width}
        # One tile and no thumbnail beside it; kept with the checkpoint, unlike an argument of a call.
        images.min_patches = images.max_patches = 1
        return None

    def token_grid(self, config: Any, inputs: Mapping[str, Tensor]) -> tuple[int, int]:
        (ph, pw), (height, width) = config.vision_config.patch_size, inputs["pixel_values"].shape[-2:]
        return int(height // ph * config.downsample_ratio), int(width // pw * config.downsample_ratio)

    def unfold(self, model: nn.Module, features: Tensor, sizes: Any) -> Tensor:
        return unfold_square(features)

    def vision_width(self, config: Any) -> int:
        return int(config.vision_config.hidden_size / config.downsample_ratio ** 2)

    def unused(self, config: Any, name: str) -> bool:
        return name.endswith(".mask_token")


ADAPTERS = {"internvl": InternVL()}
