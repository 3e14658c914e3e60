"""What is said of a clip: a question's record as a prompt and the answer to learn, through `curate.questions.forms`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curate.questions.draw import Draw
from curate.questions.forms import sft
from curate.questions.given import is_given
from curate.questions.region_words import in_dialect

if TYPE_CHECKING:
    from curate.train.data_config import DataConfig


@dataclass(frozen=True)
class Words:
    """One example's text, before any chat template. `prompt` says nothing of images; `answer` is what is learned.

    Of a conversation these are the first question and its answer; `more` has the others, whose answers are learned too,
    and `system` what stands before all.
    """

    prompt: str
    answer: str
    more: tuple[tuple[str, str], ...] = ()
    system: str = ""


def time_line(times_s: Sequence[float]) -> str:
    """The times of the frames shown, as a sentence.

    >>> time_line([0.0, 0.4, 1.07])
    'The 3 frames were taken at 0.00, 0.40, 1.07 seconds.'
    """
    if len(times_s) == 1:
        return f"The frame was taken at {times_s[0]:.2f} seconds."
    return f"The {len(times_s)} frames were taken at {', '.join(f'{t:.2f}' for t in times_s)} seconds."


def task_of(question_id: str, shares: Mapping[str, float], seed: int) -> str | None:
    """The task of a question, by its id alone and the tasks' shares; None, the record's own, where there are none."""
    if not shares:
        return None
    place = Draw(question_id, seed, "training task").uniform() * sum(shares.values())
    for task, share in sorted(shares.items()):
        if (place := place - share) < 0:
            return task
    return max(shares, key=lambda task: shares[task])  # the last rounding


def words_of(qa: Mapping[str, Any], regions: Sequence[Mapping[str, Any]], config: DataConfig,
             times_s: Sequence[float], whole: bool = True) -> Words:
    """
    Args:
        qa: a question's record, as shards give it. regions: those of its clip's record.
        times_s: of the frames shown. whole: the frames shown are those that the record counts.

    Raises:
        ValueError: for a question that counts frames where others are shown.
    """
    if qa["dialect"] == "frames" and not whole:
        raise ValueError(f"the question speaks of frames by number, and {len(times_s)} others are shown; set "
                         "data.frames to null, or write the set with questions.dialect: seconds")
    if config.region_dialect != "<R1>" and not is_given(qa):
        qa = in_dialect(qa, regions, config.region_dialect)
    media = time_line(times_s) + "\n" if config.time_cue == "prompt" else ""
    said = sft(qa, media=media, task=task_of(qa["id"], config.tasks, config.seed), config=config.reasoning,
               choices=config.choices)["messages"]
    texts = [message["content"] for message in said]
    system = texts.pop(0) if said[0]["role"] == "system" else ""
    return Words(texts[0], texts[1], tuple(zip(texts[2::2], texts[3::2])), system)
