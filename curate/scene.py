"""Scene: everything that is kept about one clip in 4D, and where each part came from. Sparse, at most 5 MB.

Stored as one npz without pickle; the same Scene gives the same bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from curate.geometry.cameras import Intrinsics
from curate.geometry.poses import Pose

FORMAT = 1
MAX_BYTES = 64 << 20
MAX_UNPACKED_BYTES = 512 << 20
UNWRITTEN = {"defined": "first", "point": "surface", "size_m": None, "heading_cam": None}  # fields of a region


class SceneError(ValueError):
    """A scene file that cannot be read."""


@dataclass
class Region:
    """One tracked region (an object or a still part of the scene) over the T frames of the clip.

    The reference point `surface@t0` is the centroid of the surface visible at frame `first` (the 3D centroid
    of the region's valid pixels there), carried on by the region's own rigid motion. It is kept in camera
    axes, so that the camera's pose error stays apart: world position = T_world_cam(t) applied to `point_cam[t]`.

    In a clip that is played backwards (`curate.augment`) all that is defined at one frame is of frame `last`
    (`defined`): the reference point is then `surface@t1`.

    Of an annotated object (`point` is "cuboid") it is `cuboid centre`, the same physical point in every frame.
    """

    id: int  # ≥ 1, stable
    first: int  # first frame where it is seen; the reference point is defined here
    last: int
    seen: np.ndarray  # [T] bool, measured in this frame
    box: np.ndarray  # [T, 4] x0, y0, x1, y1 pixels, nan where not seen
    centroid_px: np.ndarray  # [T, 2] image position of the reference point, pixels, nan where not seen
    flow_px: np.ndarray  # [T, 2] mean apparent motion to the next frame, px/frame, nan where unknown
    flow_sigma_px: np.ndarray  # [T]
    visible_fraction: np.ndarray  # [T] share of its largest visible area, 0..1, 0 where not seen
    point_cam: np.ndarray  # [T, 3] metres, reference point, nan where not seen
    cov_frame: np.ndarray  # [T, 3, 3] m², error independent from frame to frame (camera axes)
    cov_shared: np.ndarray  # [T, 3, 3] m², error shared by all frames of the region (e.g. disparity bias), camera axes
    step_cov: np.ndarray  # [T, 3, 3] m², extra error of the motion from the frame before (drift), camera axes
    nearest_m: np.ndarray  # [T] distance of the nearest surface to the camera centre, nan where not seen
    nearest_sigma_m: np.ndarray  # [T]
    extent_m: np.ndarray  # [3] sorted side lengths of the oriented box of its visible surface at `first`
    mask_first: np.ndarray  # [H, W] bool at frame `first`
    motion_p: float  # p-value of "does not move in the world" from the motion mask; nan if unknown
    label: str = ""  # a name, where a source or a detector gives one
    rotation_cam: np.ndarray | None = None  # [T, 3, 3] rotation of the body from camera axes at `first` to those at t,
    #                                         nan where not seen; None in scenes that do not have it
    rotation_cov: np.ndarray | None = None  # [T, 3, 3] rad², of a small turn in the camera axes at t
    rigidity: float = float("nan")  # share of its matches that one rigid motion explains within their errors
    steady: float = 0.0  # share of the drift's variance (step_cov) that goes on in one direction; the rest is a walk
    rigid: bool = True  # False: its parts move against each other; the reference point goes with none of them
    defined: str = "first"  # or "last": the frame of the reference point, of `mask_first`, `extent_m` and of the axes
    #                         that `rotation_cam` starts from, and where the drift (`step_cov`) is zero
    point: str = "surface"  # or "cuboid": the source gives a box; the reference point is its centre in every frame
    size_m: np.ndarray | None = None  # [3] length (along the heading), width, height of that box; `extent_m` has them
    #                                   sorted
    heading_cam: np.ndarray | None = None  # [T, 3] unit, where the front of that box faces, camera axes; nan if unknown

    @property
    def defined_at(self) -> int:
        """The frame where the reference point is defined."""
        return self.first if self.defined == "first" else self.last

    @property
    def reference(self) -> str:
        """Name of the reference point, as a Quantity has it."""
        if self.point == "cuboid":
            return "cuboid centre"
        return "surface@t0" if self.defined == "first" else "surface@t1"

    def mask_at(self, frame: int) -> np.ndarray | None:
        """[H, W] bool, None at a frame whose mask is not kept."""
        return self.mask_first if frame == self.defined_at else None


@dataclass
class RigState:
    """What the clip says of its rig: the rotation vector (tilt about x, pan about y, roll about z) by which the right
    camera is turned beside the published calibration, X_left = exp(θ) X_right + (baseline, 0, 0). Radians."""

    theta: np.ndarray  # [3] estimate
    covariance: np.ndarray  # [3, 3] of the estimate
    applied: np.ndarray  # [3] what the frames were corrected by before anything was measured
    significance: np.ndarray  # [3] estimate over its error, before the prior
    cue: str  # what told the pan: "motion", "rows", "both" or "prior" (nothing did)
    warning: str = ""  # where the published calibration is clearly wrong

    @property
    def pan_sigma(self) -> float:
        """Root mean square of the pan that is left after the correction, radians."""
        return float(np.sqrt(self.covariance[1, 1] + (self.theta[1] - self.applied[1]) ** 2))


@dataclass
class Scene:
    key: str
    clip: dict[str, Any]  # ClipSpec.to_json()
    time_s: np.ndarray  # [T]
    camera: Intrinsics
    baseline_m: float  # place of the second view along +x of the first; negative in a mirrored clip, 0 without one
    baseline_sigma_m: float  # scale uncertainty: see `scale_sigma`
    scale: str  # calibrated | predicted | assumed | relative
    up: str  # gravity | ground-plane | camera
    up_world: np.ndarray  # [3] unit
    T_world_cam: Pose  # [T]
    step_cov: np.ndarray  # [T, 6, 6] as the camera field's sigma: what adds up from frame to frame
    camera_valid: np.ndarray  # [T] bool
    regions: list[Region]
    origin: dict[str, str]  # field name -> "estimator@version" or "source"
    stats: dict[str, float] = field(default_factory=dict)  # share of valid depth, residuals, ...
    rig: RigState | None = None  # None where it was not looked at: taken as published
    pose_cov: np.ndarray | None = None  # [T, 6, 6] error of each pose alone, beside the steps': R exp(ω), t + R τ
    rig_step: np.ndarray | None = None  # [T, 6] ∂(measured step)/∂(pan that is left), as step_cov, per radian
    has_pictures: bool = True  # False: places alone, which a question must state; masks are [0, 0], no pixel is known

    def __post_init__(self) -> None:
        if self.pose_cov is None:
            self.pose_cov = np.zeros((len(self.time_s), 6, 6))
        if self.rig_step is None:
            self.rig_step = np.zeros((len(self.time_s), 6))

    @property
    def num_frames(self) -> int:
        return len(self.time_s)

    @property
    def is_given(self) -> bool:
        """Whether its source gave it as it is (annotations): nothing was estimated."""
        return self.origin.get("scene") == "source"

    @property
    def scale_sigma(self) -> float:
        """Standard deviation that all lengths share, relative: the baseline's; of one view as the source states it."""
        if self.baseline_m:
            return self.baseline_sigma_m / abs(self.baseline_m)
        return float(self.stats.get("scale_sigma", 0.0))

    @property
    def group(self) -> str:
        """Key of the clip that it was made of (`curate.augment`); its own for a clip as it was recorded."""
        return str(self.clip.get("augmented", {}).get("of", self.key))

    def region(self, region_id: int) -> Region:
        return next(r for r in self.regions if r.id == region_id)

    def to_bytes(self) -> bytes:
        """npz, arrays stored by name, everything else as json in `meta`."""
        arrays: dict[str, np.ndarray] = {
            "time_s": self.time_s, "up_world": self.up_world, "rotation": self.T_world_cam.rotation,
            "translation": self.T_world_cam.translation, "step_cov": self.step_cov,
            "camera_valid": self.camera_valid, "rig_step": self.rig_step, "pose_cov": self.pose_cov}
        regions = []
        for index, region in enumerate(self.regions):
            plain = {}
            for name, value in vars(region).items():
                if name == "mask_first":
                    arrays[f"r{index}.mask_first"] = np.packbits(value)
                    plain["mask_shape"] = list(value.shape)
                elif isinstance(value, np.ndarray):
                    arrays[f"r{index}.{name}"] = value
                elif name in UNWRITTEN and value == UNWRITTEN[name]:
                    continue  # as scenes were written before there were others
                else:
                    plain[name] = value if not isinstance(value, np.generic) else value.item()
            regions.append(plain)
        meta = {"format": FORMAT, "key": self.key, "clip": self.clip, "camera": vars(self.camera),
                "baseline_m": self.baseline_m, "baseline_sigma_m": self.baseline_sigma_m, "scale": self.scale,
                "up": self.up, "regions": regions, "origin": self.origin, "stats": self.stats}
        if not self.has_pictures:
            meta["has_pictures"] = False
        if self.rig is not None:
            meta["rig"] = {name: np.asarray(value).tolist() for name, value in vars(self.rig).items()}
        arrays["meta"] = np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8)
        out = io.BytesIO()
        np.savez_compressed(out, **arrays)
        return out.getvalue()

    @staticmethod
    def from_bytes(data: bytes) -> Scene:
        """
        Raises:
            SceneError: on anything that is not a scene of this format, too large, or torn.
        """
        if len(data) > MAX_BYTES:
            raise SceneError(f"scene of {len(data)} bytes; at most {MAX_BYTES} are read")
        try:
            arrays = _read_npz(data)
            meta = json.loads(bytes(arrays.pop("meta")))
            if meta["format"] != FORMAT:
                raise SceneError(f"scene format {meta['format']}; this version reads {FORMAT}")
            regions = []
            for index, plain in enumerate(meta["regions"]):
                prefix = f"r{index}."
                own = {n[len(prefix):]: a for n, a in arrays.items() if n.startswith(prefix)}
                shape = plain.pop("mask_shape")
                own["mask_first"] = np.unpackbits(own["mask_first"], count=shape[0] * shape[1]).reshape(shape) > 0
                regions.append(Region(**own, **plain))
            return Scene(
                key=meta["key"], clip=meta["clip"], time_s=arrays["time_s"], camera=Intrinsics(**meta["camera"]),
                baseline_m=meta["baseline_m"], baseline_sigma_m=meta["baseline_sigma_m"], scale=meta["scale"],
                up=meta["up"], up_world=arrays["up_world"],
                T_world_cam=Pose("world", "cam", arrays["rotation"], arrays["translation"]),
                step_cov=arrays["step_cov"], camera_valid=arrays["camera_valid"], regions=regions,
                origin=meta["origin"], stats=meta["stats"], rig=_rig_state(meta.get("rig")),
                rig_step=arrays.get("rig_step"), pose_cov=arrays.get("pose_cov"),
                has_pictures=meta.get("has_pictures", True))
        except SceneError:
            raise
        except Exception as error:
            raise SceneError(f"not a scene file: {type(error).__name__}: {error}") from error

    @staticmethod
    def load(path: Path) -> Scene:
        """
        Raises:
            SceneError: as `from_bytes`, with the file's name.
        """
        try:
            return Scene.from_bytes(Path(path).read_bytes())
        except SceneError as error:
            raise SceneError(f"{path}: {error}") from error


def _read_npz(data: bytes) -> dict[str, np.ndarray]:
    """What `np.load` gives, without pickles, in a third of its time: headers that come again are parsed once."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if (size := sum(member.file_size for member in members)) > MAX_UNPACKED_BYTES:
            raise SceneError(f"scene of {size} bytes unpacked; at most {MAX_UNPACKED_BYTES} are read")
        return {member.filename.removesuffix(".npy"): _read_npy(archive.read(member)) for member in members}


def _read_npy(data: bytes) -> np.ndarray:
    if data[:8] != b"\x93NUMPY\x01\x00":
        raise SceneError(f"not an array of npy format 1.0: {data[:8]!r}")
    start = 10 + int.from_bytes(data[8:10], "little")
    shape, fortran_order, dtype = _npy_header(data[8:start])
    array = np.frombuffer(data, dtype, offset=start)
    return (array.reshape(shape[::-1]).T if fortran_order else array.reshape(shape)).copy(order="K")


@lru_cache(maxsize=512)
def _npy_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(io.BytesIO(header))
    if dtype.hasobject:
        raise SceneError("an array of objects; only numbers are read")
    return shape, fortran_order, dtype


def _rig_state(plain: dict[str, Any] | None) -> RigState | None:
    if plain is None:
        return None
    return RigState(**{name: np.array(value, float) if isinstance(value, list) else value
                       for name, value in plain.items()})
