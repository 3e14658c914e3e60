"""One entry of a file as a conversation: its turns as they stand, the media that they speak of, and what is wrong.

Texts are never changed, with one exception: media that are named inside of texts (`<img>path</img>`, as the first
Qwen-VL has them) and media that are parts of a message become the tag `<image>` or `<video>` in their place.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

IMAGE, VIDEO = "<image>", "<video>"
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
         "bot": "assistant", "model": "assistant", "system": "system"}
FIELDS = {"image": IMAGE, "images": IMAGE, "image_path": IMAGE, "video": VIDEO, "videos": VIDEO, "video_path": VIDEO}
PARTS = {"image": IMAGE, "image_url": IMAGE, "video": VIDEO, "video_url": VIDEO}
TAG = re.compile(f"{IMAGE}|{VIDEO}")
INSIDE = re.compile(r"<(img|video)>([^<>\n]+)</\1>")
LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True)
class Conversation:
    """
    Args:
        id: as the file has it, "" where it has none.
        messages: {"role": "system" | "user" | "assistant", "content"}, in order.
        roles: the names that the file has for them.
        media: (tag, path) in the order of the tags.
        options: of a question with choices, in order; then the answer is one of them.
        layout: which of the known ones the entry is.
    """

    id: str
    messages: list[dict[str, str]]
    roles: list[str]
    media: list[tuple[str, str]]
    layout: str
    options: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "messages": self.messages, "roles": self.roles, "layout": self.layout,
                "options": self.options}


def parse(entry: Any) -> Conversation:
    """
    Raises:
        ValueError: where it is no conversation that ends in an answer, or its media cannot be told.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"a {type(entry).__name__}, expected an object")
    media: list[tuple[str, str]] = []
    for name, tag in FIELDS.items():
        for path in _paths(entry.get(name), name):
            media.append((tag, path))
    options: list[str] = []
    if "conversations" in entry:
        layout, turns = "conversations", [_turn(t, "from", "value") for t in _list(entry["conversations"])]
    elif "messages" in entry:
        layout, turns = "messages", [_turn(t, "role", "content") for t in _list(entry["messages"])]
    elif "question" in entry or "query" in entry or "problem" in entry:
        layout, turns, options = _plain(entry)
    else:
        raise ValueError(f"has the keys {', '.join(map(repr, list(entry)[:6]))}; expected 'conversations', "
                         "'messages', or 'question' and 'answer'")
    messages, inside = [], []
    for role, content in turns:
        text, found = _content(content)
        inside += found
        messages.append({"role": _role(role), "content": text})
    if media and inside:
        raise ValueError("names media both in fields of its own and inside of its messages")
    _check_order(messages)
    media = media or inside
    tags = sum(len(TAG.findall(m["content"])) for m in messages if m["role"] == "user")
    if tags and tags != len(media):
        raise ValueError(f"has {tags} media tags in its questions and {len(media)} media")
    told = Conversation(str(entry.get("id", "")), messages, [role for role, _ in turns], media, layout, options)
    try:
        json.dumps([told.to_json(), media], ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start:error.end]
        raise ValueError(f"a text has half of a character ({half!r}), which no file can hold") from None
    return told


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError("its turns are no list, or an empty one")
    return value


def _paths(value: Any, name: str) -> list[str]:
    if value is None or value == "" or value == []:
        return []
    found = value if isinstance(value, list) else [value]
    if not all(isinstance(path, str) and path for path in found):
        raise ValueError(f"{name!r} is not a path or a list of paths")
    return found


def _turn(turn: Any, role: str, content: str) -> tuple[str, Any]:
    if not isinstance(turn, dict):
        raise ValueError(f"a turn is a {type(turn).__name__}, expected an object with {role!r} and {content!r}")
    other = {"from": ("role", "content"), "role": ("from", "value")}[role]  # the two are mixed up often
    for names in ((role, content), other):
        if set(names) <= set(turn):
            return str(turn[names[0]]), turn[names[1]]
    raise ValueError(f"a turn has the keys {', '.join(map(repr, list(turn)[:6]))}, expected {role!r} and {content!r}")


def _role(name: str) -> str:
    if name.lower() not in ROLES:
        raise ValueError(f"a turn is from {name!r}, expected {', '.join(ROLES)}")
    return ROLES[name.lower()]


def _content(content: Any) -> tuple[str, list[tuple[str, str]]]:
    """A message's text, with a tag for each of its media, and these media."""
    media: list[tuple[str, str]] = []
    if isinstance(content, str):
        def tagged(match: re.Match[str]) -> str:
            media.append((IMAGE if match[1] == "img" else VIDEO, match[2]))
            return media[-1][0]
        return INSIDE.sub(tagged, content), media
    if not isinstance(content, list):
        raise ValueError(f"a message's content is a {type(content).__name__}, expected text or a list of parts")
    text = ""
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            text += part["text"]
        elif kind in PARTS:
            place = part.get(kind)
            place = place.get("url") if isinstance(place, dict) else place
            if place is not None and not (isinstance(place, str) and place):
                raise ValueError(f"a part of type {kind!r} has no path")
            if place is not None:  # without one it stands for the next of the entry's own list
                media.append((PARTS[kind], place))
            text += PARTS[kind] + "\n"
        else:
            raise ValueError(f"a message has a part of type {kind!r}, expected text, {', '.join(PARTS)}")
    return text, media


def _plain(entry: dict[str, Any]) -> tuple[str, list[tuple[str, Any]], list[str]]:
    question = next(entry[name] for name in ("question", "query", "problem") if name in entry)
    answer = next((entry[name] for name in ("answer", "response", "solution") if name in entry), None)
    if not isinstance(question, str) or isinstance(answer, (dict, list)) or answer is None:
        raise ValueError("a question without text, or without an answer")
    choices = entry.get("choices", entry.get("options")) or []
    given = list(choices.values()) if isinstance(choices, dict) else choices if isinstance(choices, list) else []
    options, said = [str(option) for option in given], str(answer)
    if options:
        names = list(choices) if isinstance(choices, dict) else list(LETTERS[:len(options)])
        if len(set(options)) < len(options):
            raise ValueError("two of its choices are the same")
        if said not in options and said.strip("().") in names:
            said = options[names.index(said.strip("()."))]
        if said not in options:
            raise ValueError(f"its answer {said[:40]!r} is none of its choices")
    return "question", [("user", question), ("assistant", said)], options


def _check_order(messages: list[dict[str, str]]) -> None:
    """System first if at all, then question and answer in turn; the last is an answer."""
    turns = [m["role"] for m in messages[messages[0]["role"] == "system":]]
    if not turns or len(turns) % 2 or turns != ["user", "assistant"] * (len(turns) // 2):
        raise ValueError(f"its turns are from {', '.join(turns[:6]) or 'nobody'}; expected user and assistant by "
                         "turns, an answer last")
    if any(TAG.search(m["content"]) for m in messages if m["role"] != "user"):
        raise ValueError("a media tag stands outside of the questions")
    if any(not m["content"].strip() for m in messages if m["role"] == "assistant"):
        raise ValueError("an answer is empty")
