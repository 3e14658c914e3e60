"""Images and videos with someone's questions and answers: one clip a medium, all conversations about it with it.

A conversation is about the whole of its medium, so nothing is cut: of a medium with more than `clip.num_frames` frames,
so many are taken, spread evenly from the first to the last. An image is a clip of one frame; several images of one
conversation, of one size, are the frames of a clip. Conversations without media are clips without pictures; those go
into a set of their own, as all samples of a set have the same parts.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curate.geometry.cameras import Intrinsics
from curate.geometry.poses import Pose
from curate.scene import Scene
from curate.sources import conversations_read
from curate.sources.base import BadInput, ClipSpec, View, check_inside, clip_key, file_digest, reason_of
from curate.sources.config import ClipConfig, SideBySideConfig, TopBottomConfig
from curate.sources.config_conversations import ConversationsConfig
from curate.sources.conversations_parse import IMAGE, Conversation, parse
from curate.sources.cut import some_good
from curate.sources.folders import glob
from curate.sources.frames import ClipFrames
from curate.sources.images import SUFFIXES, ImageSequence, list_images, load_image, natural
from curate.sources.media import Picked
from curate.sources.packed import Packed
from curate.sources.single_video import unknown_camera
from curate.video.decode import VideoReader, open_video

MAX_TEXT = 16 << 20  # bytes of all conversations about one medium


@dataclass(slots=True)
class _Medium:
    """What is kept of a medium while the files are read: where its conversations are."""

    places: array = field(default_factory=lambda: array("Q"))  # file, offset, size, number; and so on
    size: int = 0
    digest: bytes = b""


class Conversations:
    """kind: conversations"""

    kind = "conversations"

    def __init__(self, config: ConversationsConfig, clip: ClipConfig) -> None:
        self.config, self.clip = config, clip
        root = Path(config.root).expanduser()
        self._only = root.name if root.is_file() else ""  # one file of conversations, its media beside it
        self.root = root.parent if self._only else root
        self.texts = Path(config.texts).expanduser() if config.texts else self.root

    @property
    def is_stereo(self) -> bool:
        """Whether both views are looked at, by our perception."""
        return self.config.layout != "mono" and self.config.perceive != "none"

    # ---- what there is ----

    def plan(self) -> Iterator[ClipSpec | tuple[ClipSpec, str]]:
        return some_good(self._plan(), str(self.texts), self.clip.max_clips)

    def _plan(self) -> Iterator[ClipSpec | tuple[ClipSpec, str]]:
        media: dict[tuple[str, ...], _Medium] = {}
        files = self._files()
        for index, path in enumerate(files):
            name = path.relative_to(self.texts).as_posix()
            check_inside(path, self.texts)
            for entry in conversations_read.entries(path):
                try:
                    said = self._parsed(entry)
                except ValueError as error:
                    uri = f"{name}#{entry.number}"
                    key = clip_key(uri, 0, 0, [str(entry.offset), str(entry.size)])
                    yield ClipSpec(key, self.kind, uri, uri, 0, 0), f"{path}: entry {entry.number}: {error}"
                    continue
                kept = media.setdefault(tuple(where for _, where in said.media), _Medium())
                kept.places.extend((index, entry.offset, entry.size, entry.number))
                kept.size += entry.size
                kept.digest = hashlib.sha256(kept.digest + repr((said.to_json(), said.media)).encode()).digest()
        texts_alone = list(media) == [()]
        for paths, kept in media.items():
            uri = ", ".join(paths) or "conversations without media"
            try:
                if not paths and not texts_alone:
                    raise BadInput(f"{len(kept.places) // 4} conversations have no media, others have some; all "
                                   "samples of a set have the same parts: put them into files of their own "
                                   "(source.files)")
                if kept.size > MAX_TEXT:
                    raise BadInput(f"conversations of {kept.size >> 20} MiB about it; at most {MAX_TEXT >> 20} MiB "
                                   "are taken")
                yield from self._clips(paths, kept, files)
            except (BadInput, OSError) as error:
                key = clip_key(uri, 0, 0, [kept.digest.hex()])
                yield ClipSpec(key, self.kind, uri, uri, 0, 0), f"{uri}: {reason_of(error, self.root)}"

    def _clips(self, paths: tuple[str, ...], kept: _Medium, files: list[Path]) -> Iterator[ClipSpec]:
        places = [list(kept.places[i:i + 4]) for i in range(0, len(kept.places), 4)]
        names = [path.relative_to(self.texts).as_posix() for path in files]
        params: dict[str, Any] = {"licence": self.config.licence, "texts": kept.digest.hex()}
        if not paths:  # each is a clip of its own: they have nothing in common
            for file, offset, size, number in places:
                uri = f"{names[file]}#{number}"
                own = {**params, "conversations": [[names[file], offset, size, number]], "media": []}
                yield ClipSpec(clip_key(uri, 0, 1, [kept.digest.hex(), str(offset)]), self.kind, uri, uri, 0, 1, own)
            return
        params |= {"conversations": [[names[file], *where] for file, *where in places], "media": list(paths)}
        media = self._media_files(paths)
        digests = []
        for path in media:
            check_inside(path, self.root)
            digests.append(file_digest(path))
        num_frames = self._num_frames(paths, media)
        count = min(num_frames, self.clip.num_frames)
        if self.is_stereo and num_frames > count:
            raise BadInput(f"{media[0]}: {num_frames} frames; conversations are about the whole, and motion is seen in "
                           f"all frames: raise clip.num_frames ({count})")
        content = hashlib.sha256("".join(digests).encode()).hexdigest()
        uri = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
        params["sha256"] = digests[0] if len(digests) == 1 else content
        yield ClipSpec(clip_key("\n".join(paths), 0, count, [*digests, kept.digest.hex()]), self.kind, uri,
                       f"{Path(paths[0]).stem}-{digests[0][:8]}", 0, count, params)

    def _parsed(self, entry: conversations_read.Entry) -> Conversation:
        if entry.fault:
            raise ValueError(entry.fault)
        said = parse(entry.value)
        media = [(tag, self._path(path)) for tag, path in said.media]
        kinds = {self._is_image(tag, path) for tag, path in media}
        if len(media) > 1 and kinds != {True}:
            raise ValueError(f"speaks of {len(media)} media that are not all images; one video, or images, can be "
                             "shown")
        return Conversation(said.id, said.messages, said.roles, media, said.layout, said.options)

    def _path(self, path: str) -> str:
        """Below the root, with "/"."""
        path = path.removeprefix(self.config.strip) if self.config.strip else path
        if "://" in path or path.startswith("data:"):
            raise ValueError(f"its medium {path[:80]} is an address; fetch the media below source.root and name in "
                             "source.strip what their paths begin with")
        if Path(path).is_absolute() or not Path(path).parts or ".." in Path(path).parts or "\0" in path:
            raise ValueError(f"its medium {path[:200]!r} is not a path below source.root")
        return Path(path).as_posix()

    def _is_image(self, tag: str, path: str) -> bool:
        suffix = Path(path).suffix.lower()
        return suffix in SUFFIXES or (tag == IMAGE and not suffix)

    def _files(self) -> list[Path]:
        if not self.texts.is_dir():
            raise BadInput(f"{self.texts}: no such folder (source.{'texts' if self.config.texts else 'root'})")
        if self._only and not self.config.texts:
            return [self.texts / self._only]
        patterns = [self.config.files] if isinstance(self.config.files, str) else self.config.files
        found: set[Path] = set()
        for pattern in patterns:
            if Path(pattern).is_absolute():
                raise BadInput(f"{pattern}: expected a name or a pattern relative to source.texts (source.files)")
            is_plain = not any(c in pattern for c in "*?[")
            found |= {self.texts / pattern} if is_plain else {p for p in glob(self.texts, pattern) if p.is_file()}
        found = {path for path in found if not path.name.endswith(".calib.json")}
        if not found:
            raise BadInput(f"{self.texts}: no file matches {', '.join(patterns)!r} (source.files)")
        return sorted(found, key=natural)

    def _media_files(self, paths: tuple[str, ...]) -> list[Path]:
        """Every file that pixels come from."""
        out = []
        for path in (self.root / name for name in paths):
            check_inside(path, self.root)
            if not path.exists():
                raise BadInput(f"{path}: no such file, and a conversation is about it")
            out += list_images(path, ".") if path.is_dir() else [path]
        if self.is_stereo:
            out += [path.with_name(f"{path.stem}.calib.json") for path in out if path.suffix.lower() not in SUFFIXES]
        return out

    def _num_frames(self, paths: tuple[str, ...], media: list[Path]) -> int:
        """Of a medium; images, of which there may be millions, are not decoded for it."""
        if not self._is_video(paths):
            if self.is_stereo:
                raise BadInput(f"{media[0]}: an image among packed stereo videos; all samples of a set have the same "
                               "parts: put conversations about images into files of their own (source.files)")
            return len(media)
        with open_video(self.root / paths[0], self.config.decoder) as video:
            return video.num_frames

    def _is_video(self, paths: tuple[str, ...]) -> bool:
        path = self.root / paths[0]
        return len(paths) == 1 and path.suffix.lower() not in SUFFIXES and path.is_file()

    # ---- one of them ----

    def _opened(self, paths: tuple[str, ...]) -> _Opened:
        """A medium, whole.

        Raises:
            BadInput: where it cannot be decoded, or the images of a conversation differ in size.
        """
        files = [self.root / name for name in paths]
        if self._is_video(paths):
            video = open_video(files[0], self.config.decoder)
            return _Opened(video, files[0], video.time_s)
        images = ImageSequence([image for file in files
                                for image in (list_images(file, ".") if file.is_dir() else [file])])
        for path in images.paths[1:] if len(files) > 1 else ():
            if load_image(path).shape[:2] != (images.height, images.width):
                images.close()
                raise BadInput(f"{path}: another size than {images.paths[0].name} of the same conversation; bring them "
                               "to one size")
        return _Opened(images, files[0], np.arange(images.num_frames) / self.config.fps)

    def open(self, clip: ClipSpec) -> MediumFrames:
        """
        Raises:
            BadInput: where media or conversations are no longer what was planned.
        """
        told = [self._told(*where) for where in clip.params["conversations"]]
        given: dict[str, Any] = {"conversations": told, "perceive": self.config.perceive}
        paths = tuple(clip.params["media"])
        if not paths:
            return MediumFrames(None, np.zeros(1), given | {"scene": lambda: scene_without(clip, None, np.zeros(1))})
        for path in self._media_files(paths):
            check_inside(path, self.root)
        medium = self._opened(paths)
        if self.is_stereo:
            medium.close()
            return self._stereo(clip, paths[0], given)
        if medium.num_frames < clip.num_frames:
            medium.close()
            raise BadInput(f"{medium.path}: {medium.num_frames} frames, expected at least {clip.num_frames} as planned")
        chosen = spread(medium.num_frames, clip.num_frames)
        media: Any = Picked(medium.media, chosen)
        if medium.is_video and self.config.layout != "mono":
            media = _FirstEye(media, self.config.layout)
        time_s = medium.time_s[chosen] - medium.time_s[chosen[0]]
        return MediumFrames(media, time_s, given | {"scene": lambda: scene_without(clip, media, time_s)})

    def _told(self, file: str, offset: int, size: int, number: int) -> dict[str, Any]:
        path = self.texts / file
        check_inside(path, self.texts)
        entry = conversations_read.Entry(number, offset, size, conversations_read.read_entry(path, offset, size))
        try:
            return {"file": file, "entry": number, **self._parsed(entry).to_json()}
        except ValueError as error:
            raise BadInput(f"{path}: entry {number}: {error}") from None

    def _stereo(self, clip: ClipSpec, path: str, given: dict[str, Any]) -> Any:
        """Packed stereo as its own source opens it, with what was said of it."""
        kind = SideBySideConfig if self.config.layout == "side_by_side" else TopBottomConfig
        packed = Packed(kind(root=str(self.root), videos=path, decoder=self.config.decoder), self.clip)
        frames = packed.open(ClipSpec(clip.key, packed.kind, path, clip.recording, 0, clip.num_frames, clip.params))
        frames.given.update(given)
        return frames


def spread(num_frames: int, wanted: int) -> np.ndarray:
    """[min(wanted, num_frames)] frames spread evenly, the first and the last among them."""
    if wanted >= num_frames:
        return np.arange(num_frames)
    return np.round(np.linspace(0, num_frames - 1, wanted)).astype(int) if wanted > 1 else np.zeros(1, int)


@dataclass
class _Opened:
    media: ImageSequence | VideoReader
    path: Path
    time_s: np.ndarray | None = None

    @property
    def is_video(self) -> bool:
        return not isinstance(self.media, ImageSequence)

    @property
    def num_frames(self) -> int:
        return self.media.num_frames

    def close(self) -> None:
        self.media.close()


class _FirstEye:
    """The first eye of packed stereo, where nothing is perceived of it."""

    def __init__(self, media: Picked, layout: str) -> None:
        self._media, self._wide = media, layout == "side_by_side"
        self.is_grey = media.is_grey
        self.width = media.width // 2 if self._wide else media.width
        self.height = media.height if self._wide else media.height // 2

    def read(self, start: int, stop: int) -> np.ndarray:
        return np.ascontiguousarray(self._media.read(start, stop)[:, :self.height, :self.width])

    def close(self) -> None:
        self._media.close()


class MediumFrames(ClipFrames):
    """The frames of one medium, one view or none, and what was said of it (`given["conversations"]`)."""

    rig, scale = None, "relative"

    def __init__(self, media: Any, time_s: np.ndarray, given: dict[str, Any]) -> None:
        self._media, self.time_s, self.given = media, time_s, given
        self.num_frames = len(time_s)
        self.is_grey = media is not None and media.is_grey
        self.views = () if media is None else (
            View("view", unknown_camera(media.width, media.height), Pose.identity("rig", "view")),)

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        """[frames], [stop - start, H, W, 3] uint8 RGB.

        Raises:
            IndexError: outside of the clip. BadInput: where the media cannot be decoded.
        """
        self._check(start, stop)
        return [self._media.read(start, stop)]

    def close(self) -> None:
        if self._media is not None:
            self._media.close()


def scene_without(clip: ClipSpec, media: Any, time_s: np.ndarray) -> Scene:
    """A scene that says nothing: no region, no pose that is known, no scale."""
    num = len(time_s)
    return Scene(
        key=clip.key, clip=clip.to_json(), time_s=time_s,
        camera=Intrinsics(1, 1, 0, 0, 1, 1) if media is None else unknown_camera(media.width, media.height),
        baseline_m=0.0, baseline_sigma_m=0.0, scale="relative", up="camera", up_world=np.array([0.0, -1.0, 0.0]),
        T_world_cam=Pose("world", "cam", np.tile(np.eye(3), (num, 1, 1)), np.zeros((num, 3))),
        step_cov=np.zeros((num, 6, 6)), camera_valid=np.zeros(num, bool), regions=[],
        origin={"conversations": "given", "camera": "unknown", "poses": "unknown"}, has_pictures=media is not None)


