"""What lies in a folder, looked at with bounds: names, then the heads of a few files. Nothing is run or unpickled."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from curate.sources.base import BadInput
from curate.sources.calibration_files import read_plain
from curate.sources.images import SUFFIXES, load_image, natural
from curate.sources.times import times_of_names
from curate.video.probe import VideoFacts, probe

MAX_ENTRIES = 50_000
MAX_DEPTH = 6
MAX_TEXT_BYTES = 4 << 20  # of one file; longer ones are read that far
MAX_PARSED_BYTES = 16 << 20  # of one json
MAX_READ_BYTES = 128 << 20  # of all files together
MAX_IMAGE_BYTES = 64 << 20
MAX_VIDEOS = 12  # whose heads are looked at
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".mjpeg", ".gif", ".insv", ".360")
FLOAT_IMAGES = (".pfm", ".exr")


@dataclass(frozen=True)
class ImageSet:
    """Images of one folder whose names differ only in their numbers.

    Attributes:
        pattern: names them below the survey's root: the folder, or a glob where the folder holds others too.
        times_ns: of the first and last where names are times, else None.
    """

    folder: str
    pattern: str
    paths: tuple[Path, ...]
    width: int
    height: int
    is_grey: bool
    bits: int  # 8 or 16, of the file
    is_numbered: bool
    times_ns: tuple[int, int] | None

    @property
    def count(self) -> int:
        return len(self.paths)

    @property
    def fps(self) -> float | None:
        """Mean rate, where names are times."""
        if self.times_ns is None or self.times_ns[1] <= self.times_ns[0]:
            return None
        return 1e9 * (self.count - 1) / (self.times_ns[1] - self.times_ns[0])

    def __str__(self) -> str:
        colour = "grey" if self.is_grey else "colour"
        named = "" if self.is_numbered else ", not numbered"
        named = f", named by time ({self.fps:.4g} a second)" if self.fps and self.fps <= 500 else named
        return f"{self.count} image{'s' * (self.count > 1)} {self.width}x{self.height} {colour} {self.bits} bit{named}"


@dataclass
class Survey:
    """A folder, or one file, as far as the bounds go.

    Attributes:
        root: the folder. only: the file, where one was asked about.
        files: paths relative to root, in natural order. is_cut: there were more.
        unread: images and videos that were looked at and do not open, and why.
    """

    root: Path
    only: str | None = None
    files: list[str] = field(default_factory=list)
    is_cut: bool = False
    unread: list[str] = field(default_factory=list)
    _spent: int = 0
    _texts: dict[str, str | None] = field(default_factory=dict)

    def named(self, pattern: str) -> list[str]:
        """Files whose whole relative path fits a regular expression."""
        return [f for f in self.files if re.fullmatch(pattern, f, re.IGNORECASE)]

    def suffixed(self, *suffixes: str) -> list[str]:
        return [f for f in self.files if f.lower().endswith(suffixes)]

    def head(self, file: str, limit: int = MAX_TEXT_BYTES) -> bytes:
        """The first bytes of a file; none where the budget is used up or it cannot be read."""
        limit = min(limit, MAX_READ_BYTES - self._spent)
        if limit <= 0:
            return b""
        try:
            with (self.root / file).open("rb") as f:
                data = f.read(limit)
        except OSError:
            return b""
        self._spent += len(data)
        return data

    def text(self, file: str) -> str | None:
        """The beginning of a text file; None where it is none."""
        if file not in self._texts:
            data = self.head(file)
            try:
                self._texts[file] = None if b"\0" in data[:4096] else data.decode("utf-8-sig", "strict")
            except UnicodeDecodeError as error:  # cut within a character is no fault
                whole = error.start >= len(data) - 4
                self._texts[file] = data[: error.start].decode("utf-8-sig") if whole else None
        return self._texts[file]

    def json(self, file: str) -> Any:
        """A json file's content, or None."""
        try:
            if (self.root / file).stat().st_size > MAX_PARSED_BYTES:
                return None
            return json.loads(self.head(file, MAX_PARSED_BYTES + 1))
        except (OSError, ValueError, RecursionError):
            return None

    def plain(self, file: str) -> dict[str, Any] | None:
        """A yaml or xml calibration's content, or None."""
        try:
            return read_plain(self.root / file)
        except BadInput:
            return None

    @cached_property
    def image_sets(self) -> list[ImageSet]:
        """All images, grouped; sets of the same names side by side in their folder are told apart by what follows
        the number, or by the last word of the name."""
        folders: dict[str, list[str]] = defaultdict(list)
        for file in self.suffixed(*SUFFIXES):
            folders[folder_of(file)].append(file)
        out = []
        for folder, files in folders.items():
            groups = _by(files, lambda f: re.sub(r"\d+", "#", name_of(f)))
            if len(groups) > 4 or (len(groups) > 1 and max(map(len, groups.values())) == 1):
                groups = _by(files, lambda f: "*" + re.split(r"(?=[_.\-][^_.\-]*\.\w+$)", name_of(f))[-1])
                if len(groups) > 4:
                    groups = {"*": files}
            for shape, members in groups.items():
                pattern = folder if len(groups) == 1 and folder else _join(folder, _glob(shape, members))
                if found := self._image_set(folder, pattern or "*", members):
                    out.append(found)
        return out

    def _image_set(self, folder: str, pattern: str, members: list[str]) -> ImageSet | None:
        paths = [self.root / m for m in members]
        try:
            size = paths[0].stat().st_size
            if size > min(MAX_IMAGE_BYTES, MAX_READ_BYTES - self._spent):
                return None
            self._spent += size
            first = load_image(paths[0])
        except (BadInput, OSError) as error:
            self._cannot_open(members[0], error)
            return None
        times = times_of_names(paths)
        grey = first.ndim == 2 or bool((first[..., :1] == first[..., 1:]).all())
        numbered = len(paths) == 1 or len({re.sub(r"\d+", "#", p.name) for p in paths}) == 1
        return ImageSet(folder, pattern, tuple(paths), first.shape[1], first.shape[0], grey, 8 * first.dtype.itemsize,
                        numbered, (int(times[0]), int(times[-1])) if times is not None else None)

    @cached_property
    def videos(self) -> dict[str, VideoFacts]:
        """The first videos that open, by name."""
        out = {}
        for file in self.suffixed(*VIDEOS)[:MAX_VIDEOS]:
            try:
                out[file] = probe(self.root / file)
            except BadInput as error:
                self._cannot_open(file, error)
        return out

    def _cannot_open(self, file: str, error: Exception) -> None:
        reason = " ".join(str(error).split()).removeprefix(f"{self.root / file}: ")
        self.unread.append(f"{file}: {reason}")


def survey(path: Path) -> Survey:
    """
    Args:
        path: a folder, or one file.

    Raises:
        BadInput: nothing there, or not readable.
    """
    if path.is_file():
        return Survey(path.parent, path.name, [path.name])
    if not path.is_dir():
        raise BadInput(f"{path}: {'neither a folder nor a plain file' if path.exists() else 'no such folder or file'}")
    found = Survey(path)
    try:
        next(os.scandir(path), None)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    for folder, folders, files in os.walk(path):  # links to folders are not followed
        depth = len(Path(folder).relative_to(path).parts)
        folders[:] = sorted((f for f in folders if not f.startswith(".")), key=lambda f: natural(Path(f)))
        if depth >= MAX_DEPTH:
            found.is_cut |= bool(folders)
            folders.clear()
        for file in files:
            if not file.startswith("."):
                found.files.append(_join(Path(folder).relative_to(path).as_posix(), file))
        if len(found.files) > MAX_ENTRIES:
            found.is_cut = True
            del found.files[MAX_ENTRIES:]
            break
    found.files.sort(key=lambda f: natural(Path(f)))
    return found


def within(whole: Survey, folder: str) -> Survey:
    """The part of a survey below one of its folders."""
    start = f"{folder}/"
    return Survey(whole.root / folder, None, [f[len(start):] for f in whole.files if f.startswith(start)])


def folder_of(file: str) -> str:
    """Of a relative path: "a/b" of "a/b/c.png", "" of "c.png"."""
    return file.rpartition("/")[0]


def name_of(file: str) -> str:
    return file.rpartition("/")[2]


def suffix_of(file: str) -> str:
    """".png", in lower case; "" where there is none."""
    stem, dot, suffix = name_of(file).rpartition(".")
    return f".{suffix.lower()}" if dot and stem else ""


def _join(folder: str, name: str) -> str:
    return name if folder in ("", ".") else f"{folder}/{name}"


def _by(files: list[str], key) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for file in files:
        groups[key(file)].append(file)
    return groups


def _glob(shape: str, members: list[str]) -> str:
    """A glob of the members' names."""
    if len(members) == 1:
        return name_of(members[0])
    return re.sub(r"\*+", "*", re.sub(r"([\[\]?])", r"[\1]", shape).replace("#", "*"))
