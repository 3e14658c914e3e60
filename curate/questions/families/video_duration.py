"""How long the video is: t of the last frame minus t of the first, by the frames' own times, in s.

Nothing is measured: the error is half the time between two frames, as a clip's end is told in more than one way.
Answer: number (metric "mra"), or a choice among numbers. The question states no other time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from curate.measure.quantity import LEVELS
from curate.questions.claim import Claim, Number
from curate.questions.digits import settle
from curate.questions.families.base import Family, Item
from curate.questions.happenings import frame_interval

if TYPE_CHECKING:
    from curate.questions.view import View


def claims(view: View) -> Iterator[Claim]:
    seconds, error = view.seconds(view.clip), frame_interval(view) / 2
    spread = tuple(settle(float(seconds + error * x)) for x in np.linspace(-1, 1, len(LEVELS)))
    yield Claim((), view.clip, "image", number=Number(settle(seconds), spread, "time"), steps=_steps)


def _steps(item: Item) -> list[str]:
    num = item.scene.num_frames
    return [f"The video has {num} frames; between its first and its last lie {num - 1} steps of "
            f"{item.seconds / (num - 1):.4f} s on average, which is {item.seconds:.3f} s."]


FAMILIES = (Family("video_duration", claims, forms=("numeric", "choice"), choice_of="number", dimension="time",
                   metric=False),)
