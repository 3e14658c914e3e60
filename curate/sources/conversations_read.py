"""Files of conversations read entry by entry, in memory that does not grow with the file."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.sources.base import BadInput

CHUNK = 1 << 20
MAX_ENTRY = 8 << 20  # bytes; a conversation of four million characters is none
_SPACE = " \t\r\n"
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Entry:
    """One entry of a file: its number, where its bytes are, and what they say, or why they say nothing."""

    number: int
    offset: int
    size: int
    value: Any = None
    fault: str = ""


def entries(path: Path) -> Iterator[Entry]:
    """Every entry of a json list or of a jsonl file, in order.

    A line of jsonl that is no json is an entry with a fault; a json list ends at what is none.

    Raises:
        BadInput: where the file cannot be read, or is no list of entries; says at which byte.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
            file.seek(0)
            yield from _of_list(file, path) if start[:1] == b"[" and path.suffix != ".jsonl" else _of_lines(file, path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error


def read_entry(path: Path, offset: int, size: int) -> Any:
    """One entry again.

    Raises:
        BadInput: where the file is gone or has changed.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return json.loads(file.read(size))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: what was at byte {offset} when the clips were planned is no longer there ({error}); "
                       "run again to plan anew") from None


def _of_lines(file: Any, path: Path) -> Iterator[Entry]:
    offset, number = 0, 0
    while line := file.readline(MAX_ENTRY + 1):
        at, offset = offset, offset + len(line)
        if len(line) > MAX_ENTRY:
            raise BadInput(f"{path}: the line at byte {at} is longer than {MAX_ENTRY >> 20} MiB; expected one "
                           "conversation a line")
        if not line.strip(b"\xef\xbb\xbf \t\r\n"):
            continue
        skipped = 3 if at == 0 and line.startswith(b"\xef\xbb\xbf") else 0
        value, fault = None, ""
        try:
            value = json.loads(line[skipped:])
        except (ValueError, RecursionError) as error:
            fault = f"{path}: line at byte {at}: not json ({error})"
            if number == 0 and not line.lstrip(b"\xef\xbb\xbf \t").startswith(b"{\""):
                raise BadInput(f"{fault}; expected a json list, or one conversation a line") from None
        yield Entry(number, at + skipped, len(line) - skipped, value, fault)
        number += 1


def _of_list(file: Any, path: Path) -> Iterator[Entry]:
    """Elements are decoded from a window of text that is refilled where one is not yet whole."""
    text = _Window(file, path)
    text.skip(_SPACE)
    text.skip("[", 1)
    number = 0
    while True:
        text.skip(_SPACE)
        if text.peek() == "]":
            return
        if number:
            if text.peek() != ",":
                raise BadInput(f"{path}: byte {text.offset}: found {text.peek() or 'the end'!r} after entry "
                               f"{number - 1}, expected ',' or ']'")
            text.skip(",", 1)
            text.skip(_SPACE)
        yield text.value(number)
        number += 1


class _Window:
    """The text from the place under way on, and its place in bytes."""

    def __init__(self, file: Any, path: Path) -> None:
        self._file, self._path = file, path
        self._decode = codecs.getincrementaldecoder("utf-8")("strict")
        self._text, self._at, self.offset, self._ended = "", 0, 0, False
        if file.read(3) == b"\xef\xbb\xbf":
            self.offset = 3
        else:
            file.seek(0)

    def _more(self) -> bool:
        if self._ended:
            return False
        data = self._file.read(CHUNK)
        self._ended = not data
        try:
            self._text = self._text[self._at:] + self._decode.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            raise BadInput(f"{self._path}: not text in UTF-8 ({error.reason}) after byte {self.offset}") from None
        self._at = 0
        return not self._ended

    def peek(self) -> str:
        while self._at >= len(self._text):
            if not self._more():
                return self._text[self._at:self._at + 1]
        return self._text[self._at]

    def skip(self, characters: str, most: int = 1 << 62) -> None:
        while most and (found := self.peek()) and found in characters:
            self._at, self.offset, most = self._at + 1, self.offset + 1, most - 1

    def value(self, number: int) -> Entry:
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                if end < len(self._text) or self._ended:  # a number at the end may go on
                    break
            except RecursionError:
                raise BadInput(f"{self._path}: entry {number} at byte {self.offset} is nested too deeply") from None
            except ValueError as error:
                if self._ended or len(self._text) - self._at > MAX_ENTRY:
                    raise BadInput(f"{self._path}: entry {number} at byte {self.offset}: not json within "
                                   f"{MAX_ENTRY >> 20} MiB ({error.args[0].split(':')[0]}); is the file cut?") from None
            self._more()
        size = len(self._text[self._at:end].encode())
        if size > MAX_ENTRY:
            raise BadInput(f"{self._path}: entry {number} at byte {self.offset} is longer than {MAX_ENTRY >> 20} MiB")
        entry = Entry(number, self.offset, size, value)
        self._at, self.offset = end, self.offset + size
        return entry
