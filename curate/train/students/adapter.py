"""What the trainer must know of an architecture, and the list of those it knows."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

PARTS = ("vision", "projector", "llm")

# Module of this package -> model types of transformers that it knows.
KNOWN = {
    "llava": ("llava", "llava_onevision"),
    "qwen_vl": ("qwen2_vl", "qwen2_5_vl", "qwen3_vl"),
    "idefics": ("idefics3", "smolvlm"),
    "internvl": ("internvl",),
}


class Adapter:
    """One architecture. A subclass fills in names and says how tokens and features are laid out.

    F is the number of frames of a batch, sample by sample: row b·N + n is frame n of sample b. "Features" are what
    enters the projector. Every frame of a batch has the same grid.

    Attributes:
        vision, projector, llm: prefixes of parameter names; each parameter of the model belongs to exactly one part.
        projector_module: name of the module whose first argument is the vision features.
        sizes_module: name of a module whose call tells the frames' sizes, where features alone do not; else "".
        nested_images: whether the processor wants images as a list for each text.
        min_frames: of a sample.
    """

    vision: tuple[str, ...] = ()
    projector: tuple[str, ...] = ()
    llm: tuple[str, ...] = ("model.language_model", "lm_head")
    projector_module: str = ""
    sizes_module: str = ""
    nested_images: bool = False
    min_frames: int = 1

    # ---- each architecture says ----

    def prepare(self, processor: Any, config: Any, image_size: tuple[int, int] | None) -> tuple[int, int] | None:
        """Sets a processor up so that a frame is one grid of tokens: no tiles, no splitting, the wanted size.

        Args:
            processor: of transformers; changed in place.
            config: the model's.
            image_size: height, width wanted; None leaves the processor's own.

        Returns:
            Height, width to which frames are resized before the processor gets them; None where it does so itself.

        Raises:
            ValueError: where the vision encoder cannot take this size.
        """
        raise NotImplementedError

    def token_grid(self, config: Any, inputs: Mapping[str, Tensor]) -> tuple[int, int]:
        """(gh, gw): visual tokens of one frame after the projector."""
        raise NotImplementedError

    def unfold(self, model: nn.Module, features: Tensor, sizes: Any) -> Tensor:
        """Features at the projector's input as [F, Gh, Gw, width], rows and columns as in the picture.

        Args:
            features: the projector's first argument.
            sizes: what `sizes_seen` made of the call of `sizes_module`; None where there is none.
        """
        raise NotImplementedError

    def fold(self, model: nn.Module, features: Tensor, like: Tensor, sizes: Any) -> Tensor:
        """The inverse of `unfold`: [F, Gh, Gw, width] to the shape and order of `like`."""
        return features.reshape(like.shape)

    def num_frames(self, inputs: Mapping[str, Tensor]) -> int:
        """F, from a processor's output."""
        return len(inputs["pixel_values"])

    def sizes_seen(self, args: tuple, kwargs: Mapping[str, Any]) -> Any:
        """What a call of `sizes_module` says of the frames' sizes."""
        return None

    def vision_width(self, config: Any) -> int:
        """Width of the features at the projector's input."""
        return config.vision_config.hidden_size

    def unused(self, config: Any, name: str) -> bool:
        """Whether a parameter never has an influence on the answer: such are not trained."""
        return False

    def image_token(self, config: Any) -> int:
        """Id of the token that stands for a visual token."""
        return config.image_token_id

    # ---- the same for all ----

    def part_of(self, name: str) -> str:
        """"vision", "projector" or "llm" for a parameter's name: the longest prefix counts."""
        fits = [(len(prefix), part) for part in PARTS for prefix in getattr(self, part)
                if name == prefix or name.startswith(prefix + ".")]
        assert fits, f"{type(self).__name__} does not say whose the parameter {name!r} is"
        return max(fits)[1]

    def visual_tokens(self, config: Any, inputs: Mapping[str, Tensor], hidden: Tensor) -> Tensor:
        """Hidden states of the frames' tokens.

        Args:
            inputs: of the model's forward; input_ids [B, L] and what the processor made of the frames.
            hidden: [B, L, D].

        Returns:
            [B, N, gh, gw, D], rows and columns as in the picture.

        Raises:
            ValueError: where the tokens do not fit the frames.
        """
        where = inputs["input_ids"] == self.image_token(config)
        batch, (gh, gw), frames = len(where), self.token_grid(config, inputs), self.num_frames(inputs)
        each = self.tokens_of_frame(gh, gw)
        counts = where.sum(1).tolist()
        if frames % batch or any(count != frames // batch * each for count in counts):
            raise ValueError(
                f"visual tokens of the samples: {counts}; expected {frames} / {batch} frames × {each} tokens each: "
                "give every sample of a batch the same number of frames, of the same size, and cut no text")
        if not counts[0]:
            raise ValueError("no visual tokens in the input: the student needs at least one frame a sample")
        found = hidden[where].view(batch, frames // batch, each, hidden.shape[-1])
        return found[:, :, :gh * gw].unflatten(2, (gh, gw))

    def tokens_of_frame(self, gh: int, gw: int) -> int:
        """Image tokens of one frame; those after the first gh·gw, if any, are no part of the picture."""
        return gh * gw


def module_at(model: nn.Module, name: str) -> nn.Module:
    """The model's module of that name."""
    return model.get_submodule(name)


def adapter_for(model_or_config: Any) -> Adapter:
    """The adapter of a model, by its config's `model_type`.

    Raises:
        ValueError: on an architecture that has none; says which have, and what an adapter must say.
    """
    config = getattr(model_or_config, "config", model_or_config)
    kind = getattr(config, "model_type", None)
    for module, types in KNOWN.items():
        if kind in types:
            return import_module(f"curate.train.students.{module}").ADAPTERS[kind]
    known = ", ".join(t for types in KNOWN.values() for t in types)
    raise ValueError(
        f"no adapter for model type {kind!r}; known: {known}. A new one is a file in curate/train/students/ with an "
        "Adapter that says: the prefixes of the parameters of vision, projector and llm; the module whose input is "
        "the vision features; the grid of tokens of a frame after it; how its input's rows map to frames; and how "
        "the processor is kept from cutting a frame into tiles. Then a line in KNOWN (adapter.py)")


def square(count: int, what: str) -> int:
    """Side of a square of `count` tokens."""
    side = round(count ** 0.5)
    if side * side != count:
        raise ValueError(f"{what}: {count} tokens are no square grid; this adapter knows square frames only")
    return side


def fixed_size(config: Any, image_size: tuple[int, int] | None) -> tuple[int, int]:
    """Height, width of a vision encoder with a fixed input; refuses any other.

    Raises:
        ValueError: where `image_size` is another one.
    """
    side = config.vision_config.image_size
    own = tuple(side) if isinstance(side, (list, tuple)) else (side, side)
    if image_size is not None and tuple(image_size) != own:
        raise ValueError(f"student.image_size is {image_size[0]} × {image_size[1]}, but this vision encoder "
                         f"({config.vision_config.model_type}) sees {own[0]} × {own[1]} only: leave image_size out")
    return own


def unfold_square(features: Tensor) -> Tensor:
    """[F, T, width] of square frames to [F, Gh, Gw, width]."""
    assert features.dim() == 3, features.shape
    side = square(features.shape[1], "features at the projector's input")
    return features.unflatten(1, (side, side))


def check_same(grids: Tensor) -> tuple[int, ...]:
    """The one row that all rows of `grids` [F, k] are.

    Raises:
        ValueError: where frames differ in size.
    """
    if bool((grids != grids[:1]).any()):
        raise ValueError(f"frames of one batch differ in size: {torch.unique(grids, dim=0).tolist()}; "
                         "set student.image_size: [height, width]")
    return tuple(grids[0].tolist())
