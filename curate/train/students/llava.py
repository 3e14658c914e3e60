"""LLaVA: SigLIP or CLIP, a projector of two layers, any language model. A frame is one square grid of patches."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from curate.train.students.adapter import Adapter, fixed_size, unfold_square

_LAYER = re.compile(r"\.layers\.(\d+)\.")


class Llava(Adapter):
    """`LlavaForConditionalGeneration`; the tiny student too."""

    vision = ("model.vision_tower",)
    projector = ("model.multi_modal_projector",)
    projector_module = "model.multi_modal_projector"

    def prepare(self, processor: Any, config: Any, image_size: tuple[int, int] | None) -> tuple[int, int] | None:
        height, width = fixed_size(config, image_size)
        images = processor.image_processor
        images.size = {"height": height, "width": width}  # squashed, not cropped: all of a frame is seen
        if hasattr(images, "do_center_crop"):
            images.do_center_crop = False
        return None

    def token_grid(self, config: Any, inputs: Mapping[str, Tensor]) -> tuple[int, int]:
        height, width = inputs["pixel_values"].shape[-2:]
        return height // config.vision_config.patch_size, width // config.vision_config.patch_size

    def unfold(self, model: nn.Module, features: Tensor, sizes: Any) -> Tensor:
        return unfold_square(features)

    def vision_width(self, config: Any) -> int:
        layers = config.vision_feature_layer
        return config.vision_config.hidden_size * (len(layers) if isinstance(layers, (list, tuple)) else 1)

    def unused(self, config: Any, name: str) -> bool:
        """Features are a layer's output: what comes after that layer is never run for anything."""
        if self.part_of(name) != "vision":
            return False
        layers = config.vision_feature_layer
        total = config.vision_config.num_hidden_layers
        last = max(i if i >= 0 else total + 1 + i for i in (layers if isinstance(layers, (list, tuple)) else [layers]))
        layer = _LAYER.search(name)
        return ".post_layernorm." in name or ".head." in name or (layer is not None and int(layer[1]) >= last)


class LlavaOnevision(Llava):
    """`LlavaOnevisionForConditionalGeneration`. Of several images in a text none is cut into tiles, so a sample has at
    least two frames; each has one more token, a learned end of line, after its grid."""

    projector = ("model.multi_modal_projector", "model.image_newline")
    nested_images = True
    min_frames = 2

    def prepare(self, processor: Any, config: Any, image_size: tuple[int, int] | None) -> tuple[int, int] | None:
        # It would pad a frame to a square; squashed before, its tokens cover the frame and nothing else.
        return fixed_size(config, image_size)

    def tokens_of_frame(self, gh: int, gw: int) -> int:
        return gh * gw + 1


ADAPTERS = {"llava": Llava(), "llava_onevision": LlavaOnevision()}
