"""What a variant does to a clip's video and to the frame that marks are drawn in.

Decoded and encoded again, in one thread: the same clip gives the same bytes. A clip of any length takes the memory of a
few frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from curate.augment.variant import Variant
from curate.marks import read_jpeg
from curate.video.decode import VideoReader, open_video
from curate.video.encode import H264Encoder, jpeg

BLOCK = 16  # frames decoded at once; between key frames of our own encoder
QUALITY = 92


def media(folder: Path, variant: Variant, time_s: np.ndarray, size: tuple[int, int], crf: int) -> dict[str, bytes]:
    """The files of a staged clip that a variant changes.

    Args:
        folder: with `frame.jpg` and `v0.mp4`, `v1.mp4` ..
        time_s: [T] of the variant's scene.
        size: (width, height) of the scene's pixels, which `frame.jpg` has and a video need not have.
        crf: as the clip's own media were encoded with.

    Returns:
        name -> bytes, of the same names.

    Raises:
        BadInput: where a video does not decode, or has another number of frames.
    """
    views = sorted(folder.glob("v*.mp4"))
    if not views:
        return {}  # a clip without pictures
    made = {path.name: _video(path, variant, time_s, crf) for path in views}
    if variant.reverse or variant.start:
        made["frame.jpg"] = jpeg(_flipped(_first_frame(views[0], variant, size), variant), QUALITY)
    elif variant.mirror:
        made["frame.jpg"] = jpeg(_flipped(read_jpeg((folder / "frame.jpg").read_bytes()), variant), QUALITY)
    else:
        made["frame.jpg"] = (folder / "frame.jpg").read_bytes()
    return made


def _flipped(images: np.ndarray, variant: Variant) -> np.ndarray:
    """Of [.., H, W, 3], left and right exchanged where the variant says so."""
    return np.ascontiguousarray(images[..., ::-1, :]) if variant.mirror else images


def _video(path: Path, variant: Variant, time_s: np.ndarray, crf: int) -> bytes:
    with open_video(path) as reader:
        encoder = H264Encoder(reader.width, reader.height, time_s=time_s, crf=crf)
        try:
            for images in _blocks(reader, variant):
                encoder.add(_flipped(images, variant))
            return encoder.finish()
        finally:
            encoder.close()


def _blocks(reader: VideoReader, variant: Variant) -> Iterator[np.ndarray]:
    """The variant's frames [n, H, W, 3] in the order they are shown."""
    starts = range(variant.start, reader.num_frames, BLOCK)
    for start in reversed(starts) if variant.reverse else starts:
        images = reader.read(start, min(start + BLOCK, reader.num_frames))
        yield images[::-1] if variant.reverse else images


def _first_frame(path: Path, variant: Variant, size: tuple[int, int]) -> np.ndarray:
    """[H, W, 3] RGB of that size: the frame of the clip that the variant begins with."""
    with open_video(path) as reader:
        number = int(variant.frames(reader.num_frames)[0])
        image = reader.read(number, number + 1)[0]
    if image.shape[1::-1] == size:
        return image
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return frame.reformat(*size, interpolation="BICUBIC", threads=1).to_ndarray(format="rgb24", threads=1)
