"""What an exporter is: a pure function from one question of one clip to one row that a trainer reads.

Media are written once a clip (`curate.exporters.media`) and referred to; rules say which rows a consumer would misread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from curate.marks import in_video
from curate.questions.config import ReasoningConfig
from curate.questions.families import views
from curate.questions.forms import rft, sft

Form = Literal["sft", "rl"]
IMAGE, VIDEO = "<image>", "<video>"
MARK = re.compile(r"\b(?:region|regions|marked) \d")
TWO_VIEWS = frozenset(family.name for family in views.FAMILIES)


@dataclass(frozen=True)
class MediaRefs:
    """Files of one clip, as paths relative to the export's folder, with "/".

    Attributes:
        video: the reference view; "" where frames are exported.
        frames: images in order. time_s, indices: of each, in the clip.
        mark: the first frame with its marks, of the same size as frames; "" where the set has none.
        width, height: pixels of the frames or of the video. num_frames: of the video.
    """

    video: str = ""
    frames: tuple[str, ...] = ()
    time_s: tuple[float, ...] = ()
    indices: tuple[int, ...] = ()
    mark: str = ""
    width: int = 0
    height: int = 0
    num_frames: int = 0


@dataclass(frozen=True)
class Example:
    """One question with its clip and its files.

    Attributes:
        qa: its record. clip: the clip's record without `qa`. root: the export's folder, for consumers that want
            absolute paths. reasoning: tags and lengths. task: as of `curate.questions.forms.sft`; None: the record's.
    """

    qa: Mapping[str, Any]
    clip: Mapping[str, Any]
    media: MediaRefs
    root: Path
    split: str
    task: str | None = None
    reasoning: ReasoningConfig = field(default_factory=ReasoningConfig)

    @property
    def speaks_of_marks(self) -> bool:
        """Whether the words name a mark, or none at all of a region: then only the marked picture tells which."""
        said = " ".join((self.qa["question"], self.qa["answer"], *self.qa["options"]))
        return "<R" in said or "<obj_" in said or "[R" in said or bool(MARK.search(said))

    @property
    def images(self) -> list[str]:
        """What stands for IMAGE tags, in their order: the marked picture takes the first frame's place, or goes beside
        the video, where the question speaks of marks."""
        if not self.media.mark or not self.speaks_of_marks or (self.media.video and in_video(self.clip)):
            return list(self.media.frames)
        return [self.media.mark, *self.media.frames[1:]]

    @property
    def videos(self) -> list[str]:
        return [self.media.video] if self.media.video else []

    def absolute(self, path: str) -> str:
        return (self.root / path).as_posix()

    def preface(self, video_tag: str = VIDEO, image_tag: str = IMAGE) -> str:
        """A tag for each file, and what the files are: a duration is worth stating, and so is which picture is marked.
        """
        if not self.clip["views"]:
            return ""  # the question says all that there is
        lasts = f"{self.clip['duration_s']:.2f} s"
        if self.media.frames:
            times = ", ".join(f"{t:.2f}" for t in self.media.time_s)
            marked = " The first one carries the marks." if self.speaks_of_marks else ""
            num = len(self.media.frames)
            return (f"{image_tag * num}\nThese images are {num} frames of a video of {lasts}, at {times} s.{marked}\n")
        marked = f"{image_tag}\nThe image is the first frame with its marks. " if self.images else "\n"
        burnt = " Its first frame carries the marks." if self.speaks_of_marks and in_video(self.clip) else ""
        return f"{video_tag * len(self.videos)}{marked}The video lasts {lasts}.{burnt}\n"

    def messages(self, **tags: str) -> list[dict[str, str]]:
        """A conversation that ends in the answer."""
        return sft(self.qa, media=self.preface(**tags), task=self.task, config=self.reasoning)["messages"]

    def prompt(self, **tags: str) -> str:
        return rft(self.qa, media=self.preface(**tags), task=self.task, config=self.reasoning)["prompt"]

    def truth(self) -> dict[str, Any]:
        """What `curate.rewards` judges by; no media in its prompt."""
        return {**rft(self.qa, media="", task=self.task, config=self.reasoning), "prompt": ""}


Rule = Callable[[Example, Mapping[str, Any]], str]  # "" where the row holds it, else what is wrong


@dataclass(frozen=True)
class Exporter:
    """
    Args:
        name: what `--to` takes. about: one line for people. proof: "run" where a test lets the consumer itself read the
            rows, "rules" where its documented rules are tested.
        media: "frames" | "video": the kinds it takes, the first one by default.
        forms: which it takes.
        row: (example, form) -> the row.
        write: (folder, split, form, rows) -> paths of the files written; rows may be a generator.
        rules: what each row must hold beyond `common`.
        text_only: whether it takes rows of clips that have no pictures.
    """

    name: str
    about: str
    row: Callable[[Example, Form], dict[str, Any]]
    write: Callable[[Path, str, Form, Iterable[dict[str, Any]]], Sequence[Path]]
    media: tuple[str, ...] = ("frames", "video")
    forms: tuple[Form, ...] = ("sft", "rl")
    rules: tuple[Rule, ...] = ()
    proof: str = "rules"
    text_only: bool = True  # takes rows without any file


def frame_indices_are_whole(example: Example, row: Mapping[str, Any]) -> str:
    """A question that names frame indices goes only where exactly those frames go."""
    if not example.clip["views"]:
        return ""  # the question's own table names them
    if example.qa["dialect"] != "frames" or example.media.indices == tuple(range(example.clip["num_frames"])):
        return ""
    return ("frame-index: the question names frames by number and this consumer gets others; export all of them "
            "(--frames 0) or ask in seconds (questions.dialect: seconds)")


def marks_are_shown(example: Example, row: Mapping[str, Any]) -> str:
    if not example.speaks_of_marks or example.media.mark or not example.clip["views"]:
        return ""
    return "marks: the question speaks of marked regions and no marked picture goes with it"


def views_are_shown(example: Example, row: Mapping[str, Any]) -> str:
    if example.qa["family"] not in TWO_VIEWS:
        return ""
    return "views: the question speaks of the second view, and the reference view alone is exported"


COMMON: tuple[Rule, ...] = (frame_indices_are_whole, marks_are_shown, views_are_shown)


def tags_equal_media(texts: Callable[[Mapping[str, Any]], str], images: str = "images", videos: str = "videos",
                     image_tag: str = IMAGE, video_tag: str = VIDEO) -> Rule:
    """As many tags in the texts as files in the columns: every loader that replaces tags counts them."""
    def rule(example: Example, row: Mapping[str, Any]) -> str:
        text = texts(row)
        for tag, column in ((image_tag, images), (video_tag, videos)):
            found = row.get(column) or []
            num = len([found] if isinstance(found, str) else found)
            if text.count(tag) != num:
                return f"tags: {text.count(tag)} {tag} in the text, {num} files in {column!r}"
        return ""
    return rule


def one_kind_of_media(example: Example, row: Mapping[str, Any]) -> str:
    """Images or videos, never both."""
    return "one kind: the row has images and a video; export frames" if row.get("images") and row.get("videos") else ""
