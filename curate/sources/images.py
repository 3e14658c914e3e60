"""Folders of images as windows of RGB frames."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

from curate.sources.base import BadInput
from curate.video.decode import MAX_SIDE

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".pgm", ".ppm", ".webp")
AS_SHOWN = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR  # IMREAD_UNCHANGED keeps transparency and ignores EXIF
DEPTHS = (10, 12, 14, 16)  # bits that cameras write into 16-bit files


def natural(path: Path) -> list:
    """Sort key under which 2.png comes before 10.png."""
    return [(0, int(part), part) if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path.as_posix())]


def list_images(folder: Path, pattern: str) -> list[Path]:
    """Images that `pattern` (a folder, or a glob) names below `folder`, in natural order.

    Raises:
        BadInput: no such folder, or no image in it; says what is there.
    """
    place = folder / pattern
    if place.is_dir():
        files = [p for p in place.iterdir() if p.is_file()]
        images = [p for p in files if p.suffix.lower() in SUFFIXES]
        if not images:
            found = f"{len(files)} other files" if files else "nothing"
            raise BadInput(f"{place}: found {found}, expected images ({' '.join(SUFFIXES)})")
    elif any(c in pattern for c in "*?["):
        images = [p for p in folder.glob(pattern) if p.is_file() and p.suffix.lower() in SUFFIXES]
        if not images:
            raise BadInput(f"{place}: no image matches, expected images ({' '.join(SUFFIXES)})")
    else:
        raise BadInput(f"{place}: no such folder or file, expected a folder of images, a glob of images or a video")
    return sorted(images, key=natural)


def load_image(path: Path, is_turned: bool = True) -> np.ndarray:
    """[H, W] grey or [H, W, 3] RGB, uint8 or uint16; transparency is dropped.

    Args:
        is_turned: turn the picture as its EXIF orientation asks, as viewers do; else as the sensor stored it.

    Raises:
        BadInput: missing, empty, not an image, too large, or of another depth.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    if data.size == 0:
        raise BadInput(f"{path}: empty (0 bytes), expected an image")
    try:
        image = cv2.imdecode(data, AS_SHOWN if is_turned else AS_SHOWN | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        if "MAX_IMAGE" in str(error):  # refused by what its header says, before there was room for it
            raise BadInput(f"{path}: an image of more than {MAX_SIDE**2 / 1e6:.0f} million pixels, expected at most "
                           f"{MAX_SIDE} a side") from None
        if error.code == -4:  # not the image's fault: the machine is short of memory
            raise MemoryError(f"{path}: no memory to decode it") from error
        image = None
    if image is None:
        raise BadInput(f"{path}: not readable as an image ({data.size} bytes); damaged, or not one of "
                       f"{' '.join(SUFFIXES)}")
    if image.dtype not in (np.uint8, np.uint16):
        raise BadInput(f"{path}: pixels of type {image.dtype}, expected 8 or 16 bits")
    if max(image.shape[:2]) > MAX_SIDE:
        raise BadInput(f"{path}: {image.shape[1]}x{image.shape[0]}, expected at most {MAX_SIDE} pixels a side")
    if image.ndim == 3:
        image = image[..., 0] if image.shape[2] < 3 else image[..., 2::-1]
    return image


def to_rgb8(image: np.ndarray, bits: int) -> np.ndarray:
    """[H, W, 3] uint8 of what `load_image` gives; 16-bit files are read as `bits` deep."""
    if image.dtype == np.uint16:
        image = np.minimum(image >> (bits - 8), 255).astype(np.uint8)
    return np.repeat(image[..., None], 3, -1) if image.ndim == 2 else image


class ImageSequence:
    """A list of images behind the same protocol as a video.

    16-bit files are scaled by one factor for the whole recording, from the depth (10, 12, 14 or 16 bits) that the
    first image uses, so that brightness does not jump between clips.
    """

    def __init__(self, paths: list[Path], is_turned: bool = True) -> None:
        """
        Args:
            is_turned: as `load_image`.
        """
        self.paths, self._is_turned = paths, is_turned
        self.num_frames = len(paths)
        first = load_image(paths[0], is_turned)
        self.height, self.width = first.shape[:2]
        self.is_grey = first.ndim == 2 or bool((first[..., :1] == first[..., 1:]).all())
        brightest = int(first.max())
        self.bits = 8 if first.dtype == np.uint8 else next(b for b in DEPTHS if brightest < 1 << b)
        self.is_deep = first.dtype == np.uint16

    def read(self, start: int, stop: int) -> np.ndarray:
        """[stop - start, H, W, 3] uint8 RGB.

        Raises:
            BadInput: an image that is missing, damaged, or of another size or depth than the first.
        """
        out = np.empty((stop - start, self.height, self.width, 3), np.uint8)
        for i, path in enumerate(self.paths[start:stop]):
            image = load_image(path, self._is_turned)
            if image.shape[:2] != (self.height, self.width):
                raise BadInput(f"{path}: {image.shape[1]}x{image.shape[0]}, expected {self.width}x{self.height} as "
                               f"{self.paths[0].name}")
            if (image.dtype == np.uint16) != self.is_deep:
                raise BadInput(f"{path}: {image.dtype}, expected the depth of {self.paths[0].name}")
            out[i] = to_rgb8(image, self.bits)
        return out

    def close(self) -> None:
        pass
