"""Media of an export: each clip's files once, however many questions refer to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from curate.exporters.base import MediaRefs

QUALITY = 92


class MediaFolder:
    """Writes `media/{key}.mp4` and `media/{key}.mark.jpg`, or `media/{key}/{index}.jpg` and `marked.jpg`.

    Args:
        root: the export's folder.
        kind: "video" | "frames".
        num_frames: of a clip, the first and the last among them; 0 means all.
        max_side: pixels that the longer side of a frame is brought down to; 0 leaves it.
    """

    def __init__(self, root: Path, kind: str, num_frames: int = 8, max_side: int = 0) -> None:
        self.root, self.kind, self.num_frames, self.max_side = root, kind, num_frames, max_side
        self.files, self.bytes = 0, 0

    def put(self, clip: Mapping[str, Any], media: Mapping[str, bytes], two_views: bool = False) -> MediaRefs:
        """
        Args:
            clip: the record. media: its parts. two_views: the second view too, where the set has it.

        Raises:
            ValueError: of a clip without video, or where frames are asked for and no decoder is installed.
        """
        if not clip["views"]:
            return MediaRefs(num_frames=clip["num_frames"])  # a clip of text alone
        view = clip["views"][0]
        if view["part"] not in media:
            raise ValueError(f"clip {clip['key']}: no part {view['part']}; a set of text alone has no media to export")
        other = clip["views"][1] if two_views and len(clip["views"]) > 1 else {}
        put = self._video if self.kind == "video" else self._frames
        return put(clip, view, other if other.get("part") in media else None, media)

    def _video(self, clip: Mapping[str, Any], view: Mapping[str, Any], other: Mapping[str, Any] | None,
               media: Mapping[str, bytes]) -> MediaRefs:
        video = self._write(f"media/{clip['key']}.mp4", media[view["part"]])
        second = self._write(f"media/{clip['key']}.{other['name']}.mp4", media[other["part"]]) if other else ""
        mark = self._write(f"media/{clip['key']}.mark.jpg", media["mark.jpg"]) if "mark.jpg" in media else ""
        return MediaRefs(video, mark=mark, width=view["media_width"] or view["width"],
                         height=view["media_height"] or view["height"], num_frames=clip["num_frames"],
                         indices=tuple(range(clip["num_frames"])), other_video=second)

    def _frames(self, clip: Mapping[str, Any], view: Mapping[str, Any], other: Mapping[str, Any] | None,
                media: Mapping[str, bytes]) -> MediaRefs:
        indices = chosen(clip["num_frames"], self.num_frames)
        size = (view["height"], view["width"])
        frames = self._pictures(f"media/{clip['key']}", media[view["part"]], indices, size)
        second = ()
        if other:
            second = self._pictures(f"media/{clip['key']}/{other['name']}", media[other["part"]], indices, size)
        mark = ""
        if "mark.jpg" in media:
            marked = _fit(_read(media["mark.jpg"]), size, self.max_side)
            mark = self._write(f"media/{clip['key']}/marked.jpg", _jpeg(marked))
        height, width = _scaled(size, self.max_side)
        return MediaRefs(frames=frames, mark=mark, indices=tuple(indices), width=width, height=height,
                         time_s=tuple(float(clip["time_s"][i]) for i in indices), other_frames=second)

    def _pictures(self, folder: str, video: bytes, indices: list[int], size: tuple[int, int]) -> tuple[str, ...]:
        """Frames of a video as files in a folder; `size`: of the calibration, [height, width]."""
        (self.root / folder).mkdir(parents=True, exist_ok=True)
        whole = self.root / folder / ".mp4"
        try:
            whole.write_bytes(video)  # the decoder reads files
            images = _decode(whole, indices)
        finally:
            whole.unlink(missing_ok=True)
        return tuple(self._write(f"{folder}/{i:05d}.jpg", _jpeg(_fit(image, size, self.max_side)))
                     for i, image in zip(indices, images))

    def _write(self, name: str, data: bytes) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.files, self.bytes = self.files + 1, self.bytes + len(data)
        return name


def chosen(num_frames: int, most: int) -> list[int]:
    """Frames spread evenly over a clip, the first and the last among them.

    >>> chosen(25, 4), chosen(3, 8), chosen(5, 0)
    ([0, 8, 16, 24], [0, 1, 2], [0, 1, 2, 3, 4])
    """
    if most <= 0 or most >= num_frames:
        return list(range(num_frames))
    return [int(i) for i in np.round(np.linspace(0, num_frames - 1, most))]


def _decode(path: Path, indices: list[int]) -> list[np.ndarray]:
    try:
        from curate.video.decode import open_video
        from curate.video.encode import jpeg  # noqa: F401 - said here, before anything is written
    except ImportError:
        raise ValueError("frames are decoded and written by opencv and av, which are not installed here; "
                         "pip install 'curate4d[run]', or export video (--media video)") from None
    reader, found = open_video(path), []
    for i in indices:
        found.append(np.asarray(reader.read(i, i + 1))[0])
    return found


def _read(jpeg: bytes) -> np.ndarray:
    from curate.marks import read_jpeg

    return read_jpeg(jpeg)


def _jpeg(image: np.ndarray) -> bytes:
    from curate.video.encode import jpeg

    return jpeg(image, QUALITY)


def _scaled(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    scale = min(1.0, max_side / max(size)) if max_side else 1.0
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _fit(image: np.ndarray, size: tuple[int, int], max_side: int) -> np.ndarray:
    """To the calibration's size [height, width] and within `max_side`: so boxes in texts scale with the pictures."""
    if image.shape[:2] == (size[0] + size[0] % 2, size[1] + size[1] % 2):
        image = image[:size[0], :size[1]]  # the video is padded to even sizes
    height, width = _scaled(size, max_side)
    if image.shape[:2] == (height, width):
        return image
    from curate.video.pictures import resized

    return resized(image, height, width)
