"""Words and frames of examples to a student's inputs, by its own processor; what does not fit is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from curate.train.answers import Words

if TYPE_CHECKING:
    from curate.train.students.processor import StudentProcessor


def student_inputs(processor: StudentProcessor, words: Sequence[Words], frames: Sequence[np.ndarray],
                   names: Sequence[str], max_tokens: int, answers: bool = True) -> dict[str, Tensor]:
    """Keyword arguments of the student's forward, in its processor's chat template: frames as images, then the words.

    Args:
        words: [B]. frames: [B] arrays [N, H, W, 3] uint8, equally many each.
        names: [B], what to call each example in an error.
        max_tokens: of one example, image tokens and answer included.
        answers: False leaves them out: prompts to generate from, padded on the left, without labels.

    Returns:
        input_ids, attention_mask [B, L]; labels [B, L], -100 but for the answer and the end of its turn; what else the
        student takes.

    Raises:
        ValueError: for an example that is too long.
    """
    texts = [processor.prompt(said.prompt, len(shown)) for said, shown in zip(words, frames)]
    inputs = processor(texts, [list(shown) for shown in frames], [said.answer for said in words] if answers else None)
    for name, length in zip(names, inputs["attention_mask"].sum(1).tolist()):
        if length > max_tokens:
            raise ValueError(f"{name}: {length} tokens, data.max_tokens is {max_tokens}; raise it, show fewer or "
                             "smaller frames (data.frames, student.image_size), or shorten data.reasoning")
    return inputs
