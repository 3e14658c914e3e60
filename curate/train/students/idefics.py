"""Idefics3 and SmolVLM: SigLIP, a connector that joins s × s patches to a token, a Llama. Splitting is off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from curate.train.students.adapter import Adapter, unfold_square


class Idefics(Adapter):
    """`Idefics3ForConditionalGeneration` and `SmolVLMForConditionalGeneration`. A frame is one square."""

    vision = ("model.vision_model",)
    projector = ("model.connector",)
    llm = ("model.text_model", "lm_head")
    projector_module = "model.connector"
    nested_images = True

    def prepare(self, processor: Any, config: Any, image_size: tuple[int, int] | None) -> tuple[int, int] | None:
        cell = config.vision_config.patch_size * config.scale_factor
        most = config.vision_config.image_size
        side = processor.image_processor.max_image_size["longest_edge"] if image_size is None else image_size[0]
        if image_size is not None and (image_size[0] != image_size[1] or side % cell or side > most):
            raise ValueError(f"student.image_size is {image_size[0]} × {image_size[1]}; this vision encoder sees "
                             f"squares of a multiple of {cell} pixels, at most {most}")
        images = processor.image_processor
        images.do_image_splitting = False
        images.max_image_size = {"longest_edge": side}
        images.size = {"longest_edge": side}
        processor.image_seq_len = (side // cell) ** 2
        return None

    def token_grid(self, config: Any, inputs: Mapping[str, Tensor]) -> tuple[int, int]:
        cell = config.vision_config.patch_size * config.scale_factor
        height, width = inputs["pixel_values"].shape[-2:]
        return height // cell, width // cell

    def num_frames(self, inputs: Mapping[str, Tensor]) -> int:
        batch, frames = inputs["pixel_values"].shape[:2]
        return batch * frames

    def unfold(self, model: nn.Module, features: Tensor, sizes: Any) -> Tensor:
        return unfold_square(features)


ADAPTERS = {"idefics3": Idefics(), "smolvlm": Idefics()}
