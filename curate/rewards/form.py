"""Rewards of form alone: are the thinking and the answer where they belong?"""

from __future__ import annotations

from curate.rewards.judged import reward
from curate.rewards.places import CAMERA, true_centres
from curate.rewards.reading import centres
from curate.rewards.record import Record

THINK, ANSWER = ("think", "thinking"), "answer"  # MLLM-4D writes <thinking>
MIN_THINKING = 20  # characters, of MLLM-4D's code


def _inside(text: str, tag: str) -> tuple[int, str, int] | None:
    """(start of the opening tag, what is inside, end of the closing one) of a pair that is there once."""
    opened, closed = f"<{tag}>", f"</{tag}>"
    if text.count(opened) != 1 or text.count(closed) != 1:
        return None
    start, end = text.index(opened), text.index(closed)
    return (start, text[start + len(opened):end], end + len(closed)) if start + len(opened) <= end else None


def well_formed(text: str, think: tuple[str, ...] = THINK, answer: str = ANSWER) -> bool:
    """Whether a text is <think>…</think><answer>…</answer>, each tag once, and nothing else but white space.

    Args:
        think: names of the thinking tag, of which one must be there. answer: name of the answer tag.
    """
    said = _inside(text, answer)
    thoughts = [found for tag in think if (found := _inside(text, tag))]
    if said is None or len(thoughts) != 1 or not said[1].strip():
        return False
    thought = thoughts[0]
    between = text[:thought[0]] + text[thought[2]:said[0]] + text[said[2]:]
    return thought[2] <= said[0] and not between.strip()


def _tags_of(record: Record) -> tuple[tuple[str, ...], str]:
    return ((record["tags"][0],), record["tags"][1]) if record["tags"] else (THINK, ANSWER)


@reward(whole=True)
def format(text: str, record: Record) -> float:
    """1 where the text is thinking and then a non-empty answer, each in the tags that the prompt asked for, and nothing
    else. Where the record does not say which, think or thinking, and answer."""
    return float(well_formed(text, *_tags_of(record)))


@reward(whole=True)
def format_mllm4d(text: str, record: Record) -> float:
    """The graded format of MLLM-4D's code: 0.5 for both pairs of tags, 0.4 for centres of camera and object, 0.1 for
    thinking of more than 20 characters. Where the record has no centres their part is left out and the rest scaled."""
    thinking, answering = _tags_of(record)
    answer = _inside(text, answering)
    thought = next((found for tag in thinking if (found := _inside(text, tag))), None)
    earned, whole = 0.5 * (answer is not None and thought is not None) + 0.1 * (
        thought is not None and len(thought[1].strip()) > MIN_THINKING), 0.6
    truth = true_centres(record)
    if truth:
        given = centres(text)
        there = (CAMERA not in truth or CAMERA in given) and (set(truth) <= {CAMERA} or set(given) > {CAMERA}
                                                               or (CAMERA not in given and bool(given)))
        earned, whole = earned + 0.4 * there, 1.0
    return earned / whole
