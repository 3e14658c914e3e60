"""Mutated stereo recordings: what cameras, copies, converters, editors and ill will make of good ones.

An input is a video with its calibration (`side_by_side`) or a folder with two folders of images, calibration and
times (`stereo_pair`). Everything is drawn from the generator that is handed in, so a seed names an input.
"""

from __future__ import annotations

import io
import json
import os
import random
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.fuzz_text import mutated_bytes, mutated_calibration, mutated_times

EYE = (96, 64)
NUM_FRAMES, FPS = 6, 10
CALIBRATION = {"fx": 90.0, "baseline_m": 0.1, "width": EYE[0], "height": EYE[1]}
# container, codec, pixel format
KINDS = (("mp4", "libx264", "yuv420p"), ("matroska", "libx264", "yuv420p"), ("mpegts", "libx264", "yuv420p"),
         ("avi", "mpeg4", "yuv420p"), ("webm", "libvpx", "yuv420p"), ("mov", "mjpeg", "yuvj420p"))
SUFFIX = ".mp4"  # of every video, whatever it holds: what a glob finds


@cache
def eyes(width: int = EYE[0], height: int = EYE[1]) -> tuple[np.ndarray, np.ndarray]:
    """Left and right [n, H, W, 3] of a textured wall 6 px of disparity away, past which the camera slides."""
    import cv2

    noise = np.random.default_rng(1).integers(0, 256, (height // 4, (width + 64) // 4, 3), np.uint8)
    wall = cv2.resize(noise, (width + 64, height), interpolation=cv2.INTER_CUBIC)
    return tuple(np.stack([wall[:, i + side * 6:i + side * 6 + width] for i in range(NUM_FRAMES)]) for side in (0, 1))


@cache
def video(kind: int = 0, layout: str = "side_by_side", width: int = EYE[0], height: int = EYE[1]) -> bytes:
    """A good video; `layout` may also be "swapped" or "one eye"."""
    import av

    left, right = eyes(width, height)
    frames = {"side_by_side": lambda: np.concatenate([left, right], 2), "one eye": lambda: left,
              "swapped": lambda: np.concatenate([right, left], 2)}[layout]()
    container_name, codec, pixels = KINDS[kind]
    data = io.BytesIO()
    with av.open(data, "w", format=container_name) as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pixels
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = 3
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))
    return data.getvalue()


@cache
def audio() -> bytes:
    import av

    data = io.BytesIO()
    with av.open(data, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000)
        for _ in range(8):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return data.getvalue()


def truncated(rng: random.Random, data: bytes) -> bytes:
    return data[:rng.randrange(len(data))]


def bit_flipped(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(2 ** rng.randrange(9)):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def head_flipped(rng: random.Random, data: bytes) -> bytes:
    """Flips in the first KiB and the last: headers and indices."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(min(1024, len(out)))
        out[at if rng.random() < 0.5 else len(out) - 1 - at] = rng.choice((0, 0xFF, 0x7F, 0x80, rng.randrange(256)))
    return bytes(out)


def overwritten(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data))
    stop = min(len(data), start + 2 ** rng.randint(2, 12))
    fill = rng.choice((bytes(stop - start), b"\xff" * (stop - start), rng.randbytes(stop - start)))
    return data[:start] + fill + data[stop:]


def moved(rng: random.Random, data: bytes) -> bytes:
    """A piece that is cut out, doubled, or stands elsewhere."""
    a, b = sorted(rng.randrange(len(data)) for _ in range(2))
    c = rng.randrange(len(data))
    return rng.choice((data[:a] + data[b:], data[:b] + data[a:], data[:c] + data[a:b] + data[c:]))


def _patched(data: bytes, box: bytes, offset: int, value: bytes) -> bytes:
    at = data.index(box) + 4 + offset
    return data[:at] + value + data[at + len(value):]


def rotated(rng: random.Random, data: bytes) -> bytes:
    """Another display matrix: quarter turns, mirrors, oblique, nonsense."""
    matrix = rng.choice(((0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (0.7, 0.7, -0.7, 0.7),
                         (0, 0, 0, 0), (9, 9, 9, 9)))
    a, b, c, d = (round(65536 * v) for v in matrix)
    return _patched(data, b"tkhd", 40, struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30))


def huge(rng: random.Random, data: bytes) -> bytes:
    """Sizes, counts and rates in headers that nobody has."""
    big = rng.choice((0, 1, 0x7FFF, 0xFFFF))
    return rng.choice((
        lambda: _patched(data, b"avc1", 24, struct.pack(">HH", big, big)),
        lambda: _patched(data, b"tkhd", 76, struct.pack(">II", big << 16, big << 16)),
        lambda: _patched(data, b"mdhd", 12, struct.pack(">I", rng.choice((0, 1, 0xFFFFFFFF)))),
        lambda: _patched(data, b"stts", 4, struct.pack(">III", 1, rng.choice((0, 1 << 31, 0xFFFFFFFF)), 1)),
        lambda: _patched(data, b"stsz", 4, struct.pack(">II", rng.choice((0, 0x7FFFFFFF)), 0xFFFFFFFF)),
        lambda: _patched(data, b"stco", 4, struct.pack(">II", 0xFFFFFFFF, 0xFFFFFFFF)),
        lambda: _patched(data, b"mvhd", 12, struct.pack(">II", 0, 0xFFFFFFFF))))()


DAMAGE = (truncated, bit_flipped, head_flipped, overwritten, moved)


def _place(rng: random.Random, path: Path, data: bytes, calibration: bytes | dict | None = None) -> None:
    path.write_bytes(data)
    text = CALIBRATION if calibration is None else calibration
    data = text if isinstance(text, bytes) else json.dumps(text).encode()
    path.with_name(f"{path.stem}.calib.json").write_bytes(data)


def _damaged(rng: random.Random, path: Path) -> str:
    kind, how = rng.randrange(len(KINDS)), rng.choice(DAMAGE)
    _place(rng, path, how(rng, video(kind)))
    return f"{KINDS[kind][0]} {how.__name__.replace('_', ' ')}"


def _mp4_header(rng: random.Random, path: Path) -> str:
    how = rng.choice((rotated, huge))
    _place(rng, path, how(rng, video()))
    return f"mp4 {how.__name__}"


def _calibration(rng: random.Random, path: Path) -> str:
    what, data = mutated_calibration(rng, CALIBRATION)
    _place(rng, path, video(), data)
    return f"calibration {what}"


def _other_pictures(rng: random.Random, path: Path) -> str:
    what = rng.choice(("swapped", "one eye", "odd width", "other size", "no calibration", "tiny"))
    if what in ("swapped", "one eye"):
        _place(rng, path, video(layout=what))
    elif what == "odd width":
        _place(rng, path, video(5, "one eye", 97, 64))
    elif what == "other size":
        _place(rng, path, video(0, "side_by_side", 128, rng.choice((64, 96))))
    elif what == "tiny":
        size = rng.choice((2, 8, 16)), rng.choice((4, 8, 16))
        _place(rng, path, video(0, "side_by_side", *size), {"fx": 10.0, "baseline_m": 1})
    else:
        path.write_bytes(video())
    return what


def _no_video(rng: random.Random, path: Path) -> str:
    what = rng.choice(("zero bytes", "audio only", "text", "noise", "png", "playlist", "concat list", "mp4 head alone",
                       "zip", "one byte", "html"))
    data = {"zero bytes": lambda: b"", "audio only": audio, "text": lambda: b"this is no video\n" * 50,
            "noise": lambda: rng.randbytes(5000), "png": lambda: image(".png"),
            "playlist": lambda: b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
            "concat list": lambda: b"ffconcat version 1.0\nfile /etc/hostname\n",
            "mp4 head alone": lambda: video()[:24], "zip": lambda: b"PK\x03\x04" + rng.randbytes(400),
            "one byte": lambda: rng.randbytes(1), "html": lambda: b"<html><body>404 not found</body></html>"}[what]()
    _place(rng, path, data)
    return what


def _no_file(rng: random.Random, path: Path) -> str:
    """Links out of the root, in circles and to nowhere; files that are none."""
    what = rng.choice(("link out of the root", "calibration link out of the root", "dangling link", "link circle",
                       "link to a device", "pipe", "link within the root"))
    outside = path.parent.parent / "outside"
    outside.mkdir(exist_ok=True)
    calib = path.with_name(f"{path.stem}.calib.json")
    calib.write_text(json.dumps(CALIBRATION))
    if what == "link out of the root":
        (outside / path.name).write_bytes(video())
        path.symlink_to(outside / path.name)
    elif what == "calibration link out of the root":
        path.write_bytes(video())
        (outside / calib.name).write_bytes(calib.read_bytes())
        calib.unlink()
        calib.symlink_to(outside / calib.name)
    elif what == "dangling link":
        path.symlink_to("nowhere.mp4")
    elif what == "link circle":
        path.symlink_to(path.name)
    elif what == "link to a device":
        path.symlink_to("/dev/zero")
    elif what == "pipe":
        os.mkfifo(path)
    else:
        hidden = path.with_suffix(".original")
        hidden.write_bytes(video())
        path.symlink_to(hidden.name)
    return what


PACKED: tuple[tuple[int, Callable[[random.Random, Path], str]], ...] = (
    (10, _damaged), (3, _mp4_header), (6, _calibration), (2, _other_pictures), (2, _no_video), (1, _no_file))


def packed(rng: random.Random, path: Path) -> str:
    """Writes one mutated side-by-side video (and its calibration) at `path`; returns what was done to it."""
    return rng.choices([f for _, f in PACKED], [w for w, _ in PACKED])[0](rng, path)


def good_packed(path: Path) -> None:
    _place(random.Random(0), path, video())


@cache
def image(suffix: str, index: int = 0, side: int = 0) -> bytes:
    import cv2

    picture = eyes()[side][index]
    return cv2.imencode(suffix, picture[..., 1] if suffix == ".pgm" else picture[..., ::-1])[1].tobytes()


def good_pair(root: Path, suffix: str = ".png") -> None:
    for side, name in enumerate(("left", "right")):
        (root / name).mkdir(parents=True)
        for i in range(NUM_FRAMES):
            (root / name / f"{i:06d}{suffix}").write_bytes(image(suffix, i, side))
    (root / "calib.json").write_text(json.dumps(CALIBRATION))
    (root / "times.txt").write_text("".join(f"{i / FPS:.6f}\n" for i in range(NUM_FRAMES)))


def pair(rng: random.Random, root: Path) -> str:
    """Writes one mutated recording of images into the folder `root`; returns what was done to it."""
    suffix = rng.choice((".png", ".png", ".jpg", ".tif", ".bmp", ".webp", ".pgm", ".ppm"))
    good_pair(root, suffix)
    files = sorted(root.glob(f"*/*{suffix}"))
    victim = rng.choice(files)
    what = rng.choices(("image damaged", "header of image", "calibration", "times", "image missing", "other picture",
                        "view missing", "views swapped", "link"), (6, 3, 4, 4, 1, 2, 1, 1, 1))[0]
    if what == "image damaged":
        how = rng.choice(DAMAGE)
        victim.write_bytes(how(rng, victim.read_bytes()))
        what = f"{suffix} {how.__name__.replace('_', ' ')}"
    elif what == "header of image":  # sizes that nobody has memory for
        data = victim.read_bytes()
        if suffix == ".png":
            import zlib

            ihdr = struct.pack(">II", *(rng.choice((0, 1, 65535, 2**31 - 1)) for _ in range(2))) + data[24:29]
            data = data[:16] + ihdr + struct.pack(">I", zlib.crc32(b"IHDR" + ihdr)) + data[33:]
        elif suffix in (".pgm", ".ppm"):
            data = data[:2] + b"\n99999999 99999999\n255\n" + data[15:]
        else:
            data = head_flipped(rng, data)
        victim.write_bytes(data)
        what = f"{suffix} header"
    elif what == "calibration":
        what, data = mutated_calibration(rng, CALIBRATION)
        (root / "calib.json").write_bytes(data)
        what = f"calibration {what}"
    elif what == "times":
        what, data = mutated_times(rng, NUM_FRAMES, FPS)
        (root / "times.txt").write_bytes(data)
        what = f"times {what}"
    elif what == "image missing":
        victim.unlink()
    elif what == "other picture":
        what = rng.choice(("grey", "16 bits", "other size", "zero bytes", "text", "float tiff"))
        import cv2

        picture = eyes()[0][0]
        data = {"grey": lambda: cv2.imencode(".png", picture[..., 0])[1].tobytes(),
                "16 bits": lambda: cv2.imencode(".png", picture.astype(np.uint16) << 8)[1].tobytes(),
                "other size": lambda: cv2.imencode(".png", picture[:32])[1].tobytes(),
                "zero bytes": lambda: b"", "text": lambda: b"no picture",
                "float tiff": lambda: cv2.imencode(".tif", picture.astype(np.float32))[1].tobytes()}[what]()
        victim.write_bytes(data)
        what = f"one picture: {what}"
    elif what == "view missing":
        for path in (root / "right").iterdir():
            path.unlink()
        if rng.random() < 0.5:
            (root / "right").rmdir()
            (root / "right").write_bytes(mutated_bytes(rng, b"a file in place of a folder"))
    elif what == "views swapped":
        (root / "left").rename(root / "other")
        (root / "right").rename(root / "left")
        (root / "other").rename(root / "right")
    else:
        outside = root.parent.parent / "outside"
        outside.mkdir(exist_ok=True)
        target = outside / f"{root.name}{suffix}"
        target.write_bytes(victim.read_bytes())
        victim.unlink()
        victim.symlink_to(target)
        what = "image links out of the root"
    return what
