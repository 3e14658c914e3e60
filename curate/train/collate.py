"""Words and frames of examples to a student's inputs, by its own processor; what does not fit is refused by name.

A processor reads texts and frames together, and at full size the frames are nearly all of its work. The frames of a
clip are the same for all questions about it: its image processor is run once a clip (`prepare`), and what it made is
given again for each question. So the inputs are those of the processor, to the bit.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from curate.train.answers import Words

if TYPE_CHECKING:
    from curate.train.students.processor import StudentProcessor


@dataclass(frozen=True)
class Prepared:
    """A clip's frames as an image processor took them (`images`) and what it made of them (`features`)."""

    images: list[Any]
    features: Any

    @property
    def num_bytes(self) -> int:
        made = sum(value.nbytes for value in self.features.values() if isinstance(value, Tensor))
        return made + sum(3 * image.width * image.height for image in self.images)


class _Images:
    """Stands where a processor has its image processor: notes what that made, or gives what was made before."""

    def __init__(self, own: Any, made: Prepared | None = None) -> None:
        self._own, self.made = own, made

    def __call__(self, images: Any, *args: Any, **settings: Any) -> Any:
        if self.made is None:
            features = self._own(images, *args, **settings)
            while images and isinstance(images[0], list):
                images = [image for each in images for image in each]
            self.made = Prepared(list(images), features)
        features = copy.copy(self.made.features)  # processors take out of it what their models do not want
        features.data = dict(features.data)
        return features

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


def _standing_in(processor: StudentProcessor, images: _Images) -> StudentProcessor:
    """The processor with another image processor in it; the one given stays as it is."""
    other = copy.copy(processor)
    other.own = copy.copy(processor.own)
    other.own.image_processor = images
    return other


def prepare(processor: StudentProcessor, frames: np.ndarray) -> Prepared:
    """What the student's processor makes of a clip's frames, for `student_inputs`.

    Args:
        frames: [N, H, W, 3] uint8.
    """
    images = _Images(processor.own.image_processor)
    _standing_in(processor, images)([processor.prompt("", len(frames))], [list(frames)])
    assert images.made is not None, "the student's processor does not use its image processor"
    return images.made


def frame_size(processor: StudentProcessor) -> tuple[int, int]:
    """Height, width of the frames that a student sees.

    Raises:
        ValueError: where it takes frames of any size.
    """
    probe = np.zeros((max(2, processor.adapter.min_frames), 40, 60, 3), np.uint8)
    made = prepare(processor, probe)
    pixels, (width, height) = made.features["pixel_values"], made.images[0].size
    if pixels.ndim >= 4:  # pictures; patches in a row say nothing
        height, width = pixels.shape[-2:]
    elif (height, width) == probe.shape[1:3]:
        raise ValueError("this student takes frames of any size; say which: student.image_size or data.image_size: "
                         "[height, width]")
    return int(height), int(width)


def student_inputs(processor: StudentProcessor, words: Sequence[Words], clips: Sequence[Prepared],
                   names: Sequence[str], max_tokens: int, answers: bool = True) -> dict[str, Tensor]:
    """Keyword arguments of the student's forward, in its processor's chat template: frames as images, then the words.

    Args:
        words: [B]. clips: [B], each with as many frames.
        names: [B], what to call each example in an error.
        max_tokens: of one example, image tokens and answer included.
        answers: False leaves them out: prompts to generate from, padded on the left, without labels.

    Returns:
        input_ids, attention_mask [B, L]; labels [B, L], -100 but for the answer and the end of its turn; what else the
        student takes.

    Raises:
        ValueError: for an example that is too long.
    """
    from curate.train.students.processor import collate

    samples = []
    for said, clip, name in zip(words, clips, names):
        given = _standing_in(processor, _Images(processor.own.image_processor, clip))
        text = processor.prompt(said.prompt, len(clip.images), system=said.system)
        more = processor.following(said, len(clip.images)) if answers and said.more else ()
        sample = given([text], [clip.images], [said.answer] if answers else None, [more])
        length = sample["input_ids"].shape[1]
        if length > max_tokens:
            raise ValueError(f"{name}: {length} tokens, data.max_tokens is {max_tokens}; raise it, show fewer or "
                             "smaller frames (data.frames, student.image_size), or shorten data.reasoning")
        samples.append(sample)
    return collate(samples, processor.tokenizer.pad_token_id or 0, "right" if answers else "left")
