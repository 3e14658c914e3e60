"""What a video says of the sphere that it shows, and where in a frame the eyes are.

Spherical Video V2 (Google's RFC): boxes `st3d` and `sv3d` in the video's sample entry, with `equi` bounds as 0.32
fixed-point shares of the whole sphere that are missing at each edge. V1: XML in a `uuid` box of the track. V2 goes
first. Only what is asked for is read, and never more than a bounded number of boxes and bytes. Of other containers
(WebM) what FFmpeg says of the first frame is taken.
"""

from __future__ import annotations

import gc
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

import av
from av.sidedata.sidedata import Type as SideData

from curate.sources.base import BadInput

MAX_BOXES = 20_000  # looked at in one file
MAX_PAYLOAD = 1 << 16  # bytes of one box that are read
V1_UUID = bytes.fromhex("ffcc8263f8554a938814587a02521fdd")
VISUAL_ENTRY = 78  # bytes of a VisualSampleEntry before its boxes (ISO/IEC 14496-12, 12.1.3)
LAYOUTS = {0: ("mono", "left"), 1: ("top_bottom", "left"), 2: ("side_by_side", "left"), 4: ("side_by_side", "right")}
PROJECTIONS = {b"equi": "equirectangular", b"cbmp": "cubemap", b"mshp": "mesh"}
FFMPEG_PROJECTIONS = ("equirectangular", "cubemap", "equirectangular", "equirectangular", "rectilinear", "fisheye")
HALF = 3  # of FFmpeg's projections: half of the sphere, without bounds
FFMPEG_LAYOUTS = ("mono", "side_by_side", "top_bottom")
V1_LAYOUTS = {"mono": "mono", "left-right": "side_by_side", "top-bottom": "top_bottom"}

Span = tuple[BinaryIO, int, int]  # a file, and where in it a box's payload starts and ends


@dataclass(frozen=True)
class Spherical:
    """None where the file does not say."""

    packing: Literal["side_by_side", "top_bottom", "mono", "custom"] | None = None
    first: Literal["left", "right"] | None = None
    projection: str | None = None  # equirectangular, cubemap, mesh, or a name V1 gives
    cropped: tuple[float, float, float, float] | None = None  # left, right, top, bottom: shares of 360, 360, 180, 180
    pose_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)  # yaw, pitch, roll of the projection in the world
    told_by: str = ""  # sv3d, xml, ffmpeg, or "" where nothing was found

    @property
    def bounds_deg(self) -> tuple[float, float, float, float] | None:
        """Left, right, bottom, top of each eye's picture: longitudes and latitudes."""
        if self.cropped is None:
            return None
        left, right, top, bottom = self.cropped
        return -180 + 360 * left, 180 - 360 * right, -90 + 180 * bottom, 90 - 180 * top


def read_spherical(path: Path) -> Spherical:
    """
    Raises:
        BadInput: where the file says something that cannot be: bounds beyond the sphere, an unknown layout.
    """
    with path.open("rb") as file:
        if file.read(8)[4:] != b"ftyp":
            return of_side_data(*_side_data(path), str(path))
        file.seek(0, 2)
        walk = _Walk(file)
        for track in walk.inside((file, 0, file.tell()), b"moov", b"trak"):
            if any(walk.read(header, 12)[8:12] == b"vide" for header in walk.inside(track, b"mdia", b"hdlr")):
                found = _of_track(walk, track, str(path))
                if found.told_by or found.packing:
                    return found
    return Spherical()


class _Walk:
    """Boxes of one file, counted."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.left = file, MAX_BOXES

    def boxes(self, span: Span) -> Iterator[tuple[bytes, Span]]:
        """Types and payloads of the boxes of a span; ends at the first that does not fit into it."""
        file, position, end = span
        while position + 8 <= end and self.left > 0:
            self.left -= 1
            file.seek(position)
            length, kind = struct.unpack(">I4s", file.read(8))
            start = position + 8
            if length == 1 and position + 16 <= end:
                length, start = struct.unpack(">Q", file.read(8))[0], position + 16
            stop = end if length == 0 else position + length
            if stop < start or stop > end:
                return
            yield kind, (file, start, stop)
            position = stop

    def inside(self, span: Span, *kinds: bytes) -> Iterator[Span]:
        """Payloads of all boxes that lie at this path of types."""
        for kind, payload in self.boxes(span):
            if kind == kinds[0]:
                yield from self.inside(payload, *kinds[1:]) if len(kinds) > 1 else [payload]

    def read(self, span: Span, most: int = MAX_PAYLOAD) -> bytes:
        file, start, end = span
        file.seek(start)
        return file.read(min(end - start, most))


def _of_track(walk: _Walk, track: Span, where: str) -> Spherical:
    found = Spherical()
    for payload in walk.inside(track, b"uuid"):
        data = walk.read(payload)
        if data[:16] == V1_UUID:
            found = _of_xml(data[16:].decode("utf-8", "replace"), where)
    for file, start, end in walk.inside(track, b"mdia", b"minf", b"stbl", b"stsd"):
        for _, (_, at, stop) in walk.boxes((file, start + 8, end)):
            for kind, payload in walk.boxes((file, at + VISUAL_ENTRY, stop)):
                if kind == b"st3d":
                    found = _with_layout(found, walk.read(payload, 5), where)
                elif kind == b"sv3d":
                    found = _with_projection(found, walk, payload, where)
    return found


def of_side_data(spherical: bytes | None, stereo: bytes | None, where: str) -> Spherical:
    """FFmpeg's AVSphericalMapping (projection; yaw, pitch, roll in 16.16; bounds left, top, right, bottom in 0.32) and
    AVStereo3D (type; flags, of which 1 is inverted), as this machine's integers.

    Raises:
        BadInput: as `read_spherical`.
    """
    found = Spherical()
    if stereo is not None and len(stereo) >= 8:
        kind, flags = struct.unpack("=ii", stereo[:8])
        packing = FFMPEG_LAYOUTS[kind] if 0 <= kind < len(FFMPEG_LAYOUTS) else "custom"
        found = replace(found, packing=packing, first="right" if flags & 1 else "left")
    if spherical is not None and len(spherical) >= 32:
        kind, *pose, left, top, right, bottom = struct.unpack("=4i4I", spherical[:32])
        projection = FFMPEG_PROJECTIONS[kind] if 0 <= kind < len(FFMPEG_PROJECTIONS) else f"number {kind} of FFmpeg"
        cropped = tuple(v / 2**32 for v in (left, right, top, bottom))
        if kind == HALF and not any(cropped):
            cropped = (0.25, 0.25, 0.0, 0.0)
        found = replace(found, projection=projection, pose_deg=tuple(v / 65536 for v in pose), told_by="ffmpeg",
                        cropped=cropped if projection == "equirectangular" else None)
    return _checked(found, where)


def _side_data(path: Path) -> tuple[bytes | None, bytes | None]:
    """Spherical and stereo side data of the first frame."""
    try:
        with av.open(f"file:{path}", metadata_errors="ignore", options={"protocol_whitelist": "file"}) as container:
            frame = next(container.decode(video=0), None) if container.streams.video else None
            found = [None if frame is None else frame.side_data.get(kind)
                     for kind in (SideData.SPHERICAL, SideData.STEREO3D)]
            found = [None if data is None else bytes(data) for data in found]
    except (av.error.FFmpegError, ValueError):
        return None, None  # what is wrong with it is said when it is opened as a video
    del frame
    gc.collect(1)  # side data that were looked at hold their frame in a reference cycle
    return found[0], found[1]


def _with_layout(found: Spherical, data: bytes, where: str) -> Spherical:
    if len(data) < 5:
        raise BadInput(f"{where}: its st3d box is cut off after {len(data)} bytes, expected 5; repair the file")
    packing, first = LAYOUTS.get(data[4], ("custom", None))
    return replace(found, packing=packing, first=first)


def _with_projection(found: Spherical, walk: _Walk, sv3d: Span, where: str) -> Spherical:
    cropped, projection, pose = None, None, (0.0, 0.0, 0.0)
    for span in walk.inside(sv3d, b"proj"):
        for kind, payload in walk.boxes(span):
            data = walk.read(payload, 20)
            if kind == b"prhd" and len(data) >= 16:
                pose = tuple(v / 65536 for v in struct.unpack(">3i", data[4:16]))
            elif kind in PROJECTIONS:
                projection = PROJECTIONS[kind]
                if kind == b"equi" and len(data) >= 20:
                    top, bottom, left, right = (v / 2**32 for v in struct.unpack(">4I", data[4:20]))
                    cropped = (left, right, top, bottom)
    return _checked(replace(found, projection=projection, cropped=cropped, pose_deg=pose, told_by="sv3d"), where)


def _of_xml(text: str, where: str) -> Spherical:
    """V1. Elements are found by their names alone, so that nothing in the text is expanded or followed."""
    said = dict(re.findall(r"<GSpherical:(\w{1,40})>\s*([^<]{0,200}?)\s*</GSpherical:\1>", text))
    if said.get("Spherical", "").lower() != "true":
        return Spherical()
    names = ("CroppedAreaLeftPixels", "CroppedAreaImageWidthPixels", "FullPanoWidthPixels",
             "CroppedAreaTopPixels", "CroppedAreaImageHeightPixels", "FullPanoHeightPixels")
    cropped = (0.0, 0.0, 0.0, 0.0)
    if all(re.fullmatch(r"\d{1,6}", said.get(name, "")) for name in names):
        left, width, full_width, top, height, full_height = (int(said[name]) for name in names)
        if not full_width or not full_height:
            raise BadInput(f"{where}: its spherical metadata say a whole sphere of {full_width}x{full_height} px; say "
                           "source.fov_deg")
        cropped = (left / full_width, 1 - (left + width) / full_width, top / full_height,
                   1 - (top + height) / full_height)
    packing = V1_LAYOUTS.get(said.get("StereoMode", "").lower())
    projection = said.get("ProjectionType", "equirectangular").lower()
    return _checked(Spherical(packing, "left" if packing else None, projection, cropped, told_by="xml"), where)


def _checked(found: Spherical, where: str) -> Spherical:
    if found.cropped is not None:
        left, right, top, bottom = found.cropped
        if min(found.cropped) < 0 or left + right >= 1 or top + bottom >= 1:
            raise BadInput(f"{where}: its spherical metadata ({found.told_by}) cut left {left:.3f}, right {right:.3f}, "
                           f"top {top:.3f}, bottom {bottom:.3f} of the sphere away, expected shares that leave a "
                           "picture; say source.fov_deg")
    return found
