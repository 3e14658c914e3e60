"""Someone's questions and answers as records of ours, and a record told again as the conversation that it was.

They are marked `extra["origin"] == "given"`. Nothing of ours made them, so nothing of ours judges them: they are not
balanced, not audited, not thinned, and a conversation in free words has no reward. Texts, turns and roles are kept as
they were (`extra["conversation"]`); only when a conversation is told to a trainer do its media tags become those of the
files that go with it, and nothing else changes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from curate.questions.question import Question

GIVEN = "given"  # the family, the metric, and the origin
FILE = "given.json"  # beside a staged scene
VERSION = 1
TAG = re.compile(r"<image>|<video>")
MOST_OPTIONS = 5  # more are told in words
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def is_given(question: Question | Mapping[str, Any]) -> bool:
    extra = question.get("extra") if isinstance(question, Mapping) else question.extra
    return (extra or {}).get("origin") == GIVEN


# ---- what a staged clip keeps ----

def to_file(conversations: list[dict[str, Any]], is_asked: bool) -> bytes:
    """
    Args:
        conversations: as the source gives them. is_asked: whether our own questions are asked of the clip too.
    """
    content = {"version": VERSION, "is_asked": is_asked, "conversations": conversations}
    return json.dumps(content, ensure_ascii=False, sort_keys=True).encode()


def from_file(data: bytes) -> tuple[list[dict[str, Any]], bool]:
    """
    Raises:
        ValueError: where it is no such file.
    """
    content = json.loads(data)
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise ValueError(f"{FILE} is not of version {VERSION}")
    return content["conversations"], content["is_asked"]


def records(conversations: Iterable[Mapping[str, Any]], *, clip: str, recording: str, num_frames: int,
            duration_s: float) -> list[Question]:
    """The questions of one clip, one a conversation, in the order of the files.

    A conversation is an open question: `question` and `answer` are its first of each, without media tags; the whole is
    in `extra`. A question with up to five choices is a choice: its options stand under it, as they were.
    """
    return [_record(told, f"{clip}-{GIVEN}-{number:05d}", clip, recording, num_frames, duration_s)
            for number, told in enumerate(conversations)]


def _record(told: Mapping[str, Any], name: str, clip: str, recording: str, num_frames: int,
            duration_s: float) -> Question:
    turns = [m["content"] for m in told["messages"] if m["role"] != "system"]
    question, answer, options = _without(turns[0]), turns[1], list(told["options"])
    source = {"file": told["file"], "entry": told["entry"], "id": told["id"], "layout": told["layout"]}
    extra = {"origin": GIVEN, "clip": clip, "recording": recording, "source": source}
    is_choice = 2 <= len(options) <= MOST_OPTIONS
    if options:
        question += "\n" + "\n".join(f"{LETTERS[i]}. {option}" for i, option in enumerate(options))
    if not is_choice:
        messages = list(told["messages"])
        if options:
            messages[-2] = messages[-2] | {"content": question}
        extra["conversation"] = {"messages": messages, "roles": list(told["roles"])}
    else:
        extra |= {"asked": turns[0], "option_values": options}  # before its options were put under it
    return Question(
        id=name, family=GIVEN, form="choice" if is_choice else "open", question=question,
        options=options if is_choice else [], answer=answer, letter=LETTERS[options.index(answer)] if is_choice else "",
        value=math.nan, low=math.nan, high=math.nan, unit="", tolerance=math.nan, frame="", reference="", start_s=0.0,
        end_s=duration_s, start_frame=0, end_frame=num_frames - 1, regions=[], mark_frame=0, reasoning=[],
        quantities=[], scale="relative", answer_type="choice" if is_choice else "text",
        metric="accuracy" if is_choice else GIVEN, task="answer", target=None if is_choice else answer, extra=extra)


def _without(text: str) -> str:
    """A text without its media tags and the line breaks that set them off."""
    return re.sub(r"(?:<image>|<video>)\n?", "", text).strip("\n") if TAG.search(text) else text


# ---- told again ----

def is_told(question: Question | Mapping[str, Any]) -> bool:
    """Whether a given record is a conversation, and no choice."""
    extra = question.get("extra") if isinstance(question, Mapping) else question.extra
    return is_given(question) and "conversation" in extra


def num_tags(question: Mapping[str, Any]) -> int:
    """Media tags in the questions of a conversation."""
    messages = question["extra"]["conversation"]["messages"]
    return sum(len(TAG.findall(m["content"])) for m in messages if m["role"] == "user")


def told(question: Mapping[str, Any] | Question, media: str = "") -> list[dict[str, str]]:
    """The messages of a given conversation, with the tags of `media` in the place of its own.

    As many tags as it has: each in its place. One of its own: all in its place. None of its own: before the first
    question, a line break after them. No tags in `media`: its own are taken out, with the line break after each.
    What else `media` says comes before the first question.

    Args:
        media: text with an `<image>` or `<video>` for each file.

    Raises:
        ValueError: where it has several tags and there are several other files: which belongs where is not known.
    """
    extra = question["extra"] if isinstance(question, Mapping) else question.extra
    messages = [dict(m) for m in extra["conversation"]["messages"]]
    asked = [m for m in messages if m["role"] == "user"]
    tags, own = TAG.findall(media), sum(len(TAG.findall(m["content"])) for m in asked)
    if not tags:
        for message in asked if own else ():
            message["content"] = _without(message["content"])
    elif not own:
        asked[0]["content"] = "".join(tags) + "\n" + asked[0]["content"]
    elif own == len(tags) or own == 1:
        each = iter(tags if own == len(tags) else ["".join(tags)])
        for message in asked:
            message["content"] = TAG.sub(lambda _: next(each), message["content"])
    else:
        raise ValueError(f"the conversation speaks of {own} media and {len(tags)} files go with it; show all of its "
                         f"{own} pictures")
    words = TAG.sub("", media).strip("\n")
    if words:
        asked[0]["content"] = f"{words}\n{asked[0]['content']}"
    return messages
