"""LLaVA: SigLIP or CLIP, a projector of two layers, any language model. A frame is one square grid of patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from curate.train.students.adapter import Adapter, fixed_size, unfold_square


class Llava(Adapter):
    """`LlavaForConditionalGeneration`; the tiny student too."""

    vision = ("model.vision_tower",)
    projector = ("model.multi_modal_projector",)
    projector_module = "model.multi_modal_projector"

    def prepare(self, processor: Any, config: Any, image_size: tuple[int, int] | None) -> None:
        height, width = fixed_size(processor, config, image_size)
        images = processor.image_processor
        images.size = {"height": height, "width": width}  # squashed, not cropped: all of a frame is seen
        if hasattr(images, "do_center_crop"):
            images.do_center_crop = False

    def token_grid(self, config: Any, inputs: Mapping[str, Tensor]) -> tuple[int, int]:
        height, width = inputs["pixel_values"].shape[-2:]
        return height // config.vision_config.patch_size, width // config.vision_config.patch_size

    def unfold(self, model: nn.Module, features: Tensor, sizes: Any) -> Tensor:
        return unfold_square(features)


ADAPTERS = {"llava": Llava()}
