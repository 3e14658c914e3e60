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
from curate.questions.given import is_given, is_told, num_tags

Form = Literal["sft", "rl"]
IMAGE, VIDEO = "<image>", "<video>"
MARK = re.compile(r"\b(?:region|regions|marked) \d")
PIXELS = re.compile(r"\bpixels?\b")
TWO_VIEWS = frozenset(family.name for family in views.FAMILIES)


@dataclass(frozen=True)
class MediaRefs:
    """Files of one clip, as paths relative to the export's folder, with "/".

    Attributes:
        video: the reference view; "" where frames are exported.
        frames: images in order. time_s, indices: of each, in the clip.
        mark: the first frame with its marks, of the same size as frames; "" where the set has none.
        width, height: pixels of the frames or of the video. num_frames: of the video.
        other_video, other_frames: of the second view, at the same times; empty where no question is of both views.
    """

    video: str = ""
    frames: tuple[str, ...] = ()
    time_s: tuple[float, ...] = ()
    indices: tuple[int, ...] = ()
    mark: str = ""
    width: int = 0
    height: int = 0
    num_frames: int = 0
    other_video: str = ""
    other_frames: tuple[str, ...] = ()


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
        if is_given(self.qa):
            return False  # someone's words know nothing of our marks
        said = " ".join((self.qa["question"], self.qa["answer"], *self.qa["options"]))
        return "<R" in said or "<obj_" in said or "[R" in said or bool(MARK.search(said))

    @property
    def is_of_two_views(self) -> bool:
        return self.qa["family"] in TWO_VIEWS

    @property
    def images(self) -> list[str]:
        """What stands for IMAGE tags, in their order: the marked picture takes the first frame's place, or goes beside
        the video, where the question speaks of marks; frames of the second view come after those of the first."""
        other = self.media.other_frames if self.is_of_two_views else ()
        if not self.media.mark or not self.speaks_of_marks or (self.media.video and in_video(self.clip)):
            return [*self.media.frames, *other]
        return [self.media.mark, *self.media.frames[1:], *other]

    @property
    def videos(self) -> list[str]:
        other = self.media.other_video if self.is_of_two_views else ""
        return [path for path in (self.media.video, other) if path]

    def absolute(self, path: str) -> str:
        return (self.root / path).as_posix()

    def preface(self, video_tag: str = VIDEO, image_tag: str = IMAGE) -> str:
        """A tag for each file, and what the files are: a duration is worth stating, and so is which picture is marked.
        """
        if not self.clip["views"]:
            return ""  # the question says all that there is
        if is_given(self.qa):
            return video_tag * len(self.videos) + image_tag * len(self.images) + "\n"
        lasts = f"{self.clip['duration_s']:.2f} s"
        if self.media.frames:
            times = ", ".join(f"{t:.2f}" for t in self.media.time_s)
            marked = " The first one carries the marks." if self.speaks_of_marks else ""
            tags, num = image_tag * len(self.images), len(self.media.frames)
            if len(self.images) == num:
                return f"{tags}\nThese images are {num} frames of a video of {lasts}, at {times} s.{marked}\n"
            first, other = self._sides()
            return (f"{tags}\nThe first {num} images are frames of the {first} view of a video of {lasts}, at {times} "
                    f"s, the other {num} those of the {other} view at the same times.{marked}\n")
        marked = f"{image_tag}\nThe image is the first frame with its marks. " if self.images else "\n"
        burnt = " Its first frame carries the marks." if self.speaks_of_marks and in_video(self.clip) else ""
        tags = video_tag * len(self.videos)
        if len(self.videos) == 1:
            return f"{tags}{marked}The video lasts {lasts}.{burnt}\n"
        first, other = self._sides()
        burnt = burnt.replace("Its first frame", "The first frame of the first")
        return f"{tags}{marked}The videos are the {first} and the {other} view of one scene and last {lasts}.{burnt}\n"

    def _sides(self) -> tuple[str, str]:
        """As questions call the two views: a mirrored clip begins with what is to the right."""
        return ("left", "right") if self.clip["baseline_m"] > 0 else ("right", "left")

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
        forms: which it takes. two_views: whether a row may have a second video, or the frames of a second view.
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
    text_only: bool = True
    two_views: bool = True


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
    """What is asked of two views at one instant goes only where both are shown at it."""
    if not example.is_of_two_views:
        return ""
    media = example.media
    if not (media.other_video or media.other_frames):
        return "views: the question speaks of the second view, which is not exported with it"
    if media.frames and example.qa["start_frame"] not in media.indices:
        return ("views: the question is of an instant of both views that is not among the exported frames; export all "
                "of them (--frames 0)")
    return ""


def pixels_are_those_shown(example: Example, row: Mapping[str, Any]) -> str:
    """Numbers of pixels are of the picture that they were measured in."""
    if not example.clip["views"] or not PIXELS.search(" ".join((example.qa["question"], *example.qa["options"]))):
        return ""
    view, media = example.clip["views"][0], example.media
    # a video is padded to even sizes, which moves no pixel
    if (media.width // 2, media.height // 2) == (view["width"] // 2, view["height"] // 2) or media.video:
        return ""
    return (f"pixels: the question counts pixels of {view['width']} x {view['height']} and its pictures are "
            f"{media.width} x {media.height}; export them whole (--max-side 0), or ask in thousandths")


def conversations_fit(example: Example, form: Form) -> str:
    """Why someone's conversation cannot go with the files that are exported, "" where it can; asked before its row."""
    if not is_told(example.qa):
        return ""
    if form == "rl":
        return "given: someone's conversation in free words has no answer that a reward could judge; export sft"
    own, files = num_tags(example.qa), len(example.videos) + len(example.images)
    return "" if own < 2 or own == files else (f"media: the conversation speaks of {own} pictures and {files} files go "
                                               "with it; export all of its frames (--media frames --frames 0)")


COMMON: tuple[Rule, ...] = (frame_indices_are_whole, marks_are_shown, views_are_shown, pixels_are_those_shown)


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
