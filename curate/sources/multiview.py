"""Several calibrated cameras that stand still: one recording, or a folder of recordings."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.sources.base import BadInput, ClipSpec, Scale, check_inside, file_digest
from curate.sources.config_multiview import MultiviewConfig
from curate.sources.folders import FolderSource, Look, closed_on_error, planned_span
from curate.sources.images import ImageSequence
from curate.sources.multiview_frames import MultiviewFrames, Undistortion, in_step, undistortion, views_of
from curate.sources.rigs import UNITS, RigCamera, format_of, load_rig
from curate.sources.stereo_pair import check_media, digest_of, open_media
from curate.sources.times import check_increasing, read_times, times_of_names
from curate.video.decode import VideoReader

MAX_TIMES_BYTES = 1 << 26
CAMERA_COLUMNS = ("cam_id", "camera", "cam", "port")
TIME_COLUMNS = ("frame_time", "time_s", "timestamp", "time")
ORDER_COLUMNS = ("sync_index", "frame")


@dataclass
class Recording:
    """One recording, open: every camera's media, and which of their frames belong together."""

    names: list[str]
    media: list[Any]
    undistortions: list[Undistortion]
    indices: np.ndarray  # [V, T]
    times: np.ndarray  # [V, T] seconds

    @property
    def num_frames(self) -> int:
        return self.indices.shape[1]

    def close(self) -> None:
        for media in self.media:
            media.close()


class Multiview(FolderSource):
    """kind: multiview."""

    kind = "multiview"
    config: MultiviewConfig

    def _unseen(self, place: Path) -> Look:
        return Look(params={"views": []})

    def look(self, place: Path, found: Look) -> None:
        recording = self._open(place)
        recording.close()
        digests = self._digests(place, recording)
        found.params = {"views": self._views_json(place, recording)}
        found.digests, found.num_frames = digests, recording.num_frames

    def open(self, clip: ClipSpec) -> MultiviewFrames:
        """
        Raises:
            BadInput: where the recording is no longer what was planned.
        """
        folder = self.root / clip.uri
        recording = self._open(folder)
        with closed_on_error(recording):
            span = planned_span(clip, recording.num_frames, folder)
            unit_m, scale = self._unit(folder)
            up = None if self.config.up is None else np.asarray(self.config.up, float)
            return MultiviewFrames(
                [media.read for media in recording.media], recording.close, recording.undistortions, recording.names,
                recording.indices[:, span], recording.times[:, span], unit_m=unit_m, scale=scale,
                scale_sigma=self.config.scale_relative_sigma, is_grey=all(m.is_grey for m in recording.media),
                up_world=None if up is None else up / np.linalg.norm(up))

    def _open(self, folder: Path) -> Recording:
        """
        Raises:
            BadInput: whatever is wrong with the recording, in one line that names the camera and the file.
        """
        cameras = self._cameras(self._calibration_path(folder))
        media: list[Any] = []
        try:
            for camera in cameras:
                media.append(self._media(folder, camera.name))
            undistortions = [
                undistortion(camera, one.width, one.height, self.config.turned.get(camera.name, camera.turned),
                             f"{folder}: camera {camera.name}") for camera, one in zip(cameras, media)]
            names = [camera.name for camera in cameras]
            indices, times = in_step(self._times(folder, names, media), names, str(folder))
            return Recording(names, media, undistortions, indices, times)
        except BaseException:
            for one in media:
                one.close()
            raise

    def _cameras(self, path: Path) -> list[RigCamera]:
        """Those to use, the reference first."""
        there = {camera.name: camera for camera in load_rig(path)}
        names = self.config.cameras or list(there)
        config = self.config
        wanted = {"cameras": names, "reference": [config.reference] if config.reference else [],
                  "turned": config.turned, "offsets_s": config.offsets_s}
        if isinstance(config.media, dict):
            wanted["media"] = config.media
        for setting, asked in wanted.items():
            missing = next((name for name in asked if name not in there), None)
            if missing is not None:
                raise BadInput(f"{path}: no camera {missing}, named by source.{setting}; it has {', '.join(there)}")
        if len(set(names)) != len(names):
            raise BadInput(f"source.cameras names a camera twice: {', '.join(names)}")
        if len(names) < 2:
            raise BadInput(f"{path}: one camera ({', '.join(names)}), expected at least two")
        reference = config.reference or names[0]
        if reference not in names:
            raise BadInput(f"source.reference is {reference}, which is not among source.cameras: {', '.join(names)}")
        return [there[name] for name in [reference, *(n for n in names if n != reference)]]

    def _media(self, folder: Path, name: str):
        pattern = self.config.media.get(name) if isinstance(self.config.media, dict) else self.config.media.replace(
            "{name}", name)
        if pattern is None:
            raise BadInput(f"{folder}: camera {name} of the calibration has no entry in source.media; add one, or "
                           "leave the camera out with source.cameras")
        try:
            media = open_media(folder, pattern, self.config.decoder)
        except BadInput as error:
            raise BadInput(f"camera {name}: {error}") from error
        check_media(media, self.root)
        return media

    def _calibration_path(self, folder: Path) -> Path:
        found = self._beside(folder, self.config.calibration, Path.exists)
        if found is None:
            raise BadInput(f"{folder / self.config.calibration}: no such calibration (source.calibration)")
        return found

    def _unit(self, folder: Path) -> tuple[float, Scale]:
        """Metres of one unit of the calibration's places, and what stands behind them."""
        kind = format_of(self._calibration_path(folder))
        if self.config.unit is not None:
            return UNITS[self.config.unit], "calibrated"
        return (UNITS["mm"] if kind == "qualisys" else 1.0), ("relative" if kind == "colmap" else "calibrated")

    def _times(self, folder: Path, names: Sequence[str], media: Sequence[Any]) -> list[np.ndarray]:
        """Of each camera [n] seconds of its frames, offsets added."""
        shared = self.config.timestamps is not None and "{name}" not in self.config.timestamps
        table = self._table(folder / self.config.timestamps) if shared else {}
        out, untimed = [], []
        for name, one in zip(names, media):
            if shared:
                where = f"{folder / self.config.timestamps}: camera {name}"
                if name not in table:
                    raise BadInput(f"{where}: no line of it; there are {', '.join(sorted(table)[:20])}")
                times = _checked(table[name], one.num_frames, where)
            elif self.config.timestamps is not None:
                path = folder / self.config.timestamps.replace("{name}", name)
                check_inside(path, self.root)
                times = _checked(read_times(path) * 1e-9, one.num_frames, f"{path}: camera {name}")
            elif isinstance(one, VideoReader):
                times = np.asarray(one.time_s, float)
            elif (named := times_of_names(one.paths)) is not None:
                check_increasing(named, str(one.paths[0].parent))
                times = named * 1e-9
            elif self.config.fps is not None:
                untimed.append((name, one))
                _check_alike(untimed, folder)
                times = np.arange(one.num_frames) / self.config.fps
            else:
                raise BadInput(f"{folder}: images of camera {name} without times; give timestamps (a file) or fps")
            out.append(times + self.config.offsets_s.get(name, 0.0))
        if not shared and self.config.timestamps is None and any(t[0] > 1e8 for t in out):
            start = min(t[0] for t in out)  # seconds since 1970: keep the digits for fractions
            out = [t - start for t in out]
        return out

    def _table(self, path: Path) -> dict[str, np.ndarray]:
        """Camera to its times, in the order of their instants."""
        check_inside(path, self.root)
        try:
            if path.stat().st_size > MAX_TIMES_BYTES:
                raise BadInput(f"{path}: {path.stat().st_size} bytes, expected at most {MAX_TIMES_BYTES}")
            with path.open(encoding="utf-8-sig", newline="") as file:
                lines = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise BadInput(f"{path}: cannot read timestamps: {error}") from error
        header = list(lines[0]) if lines else []
        camera, time = (next((c for c in columns if c in header), None) for columns in (CAMERA_COLUMNS, TIME_COLUMNS))
        if camera is None or time is None:
            raise BadInput(f"{path}: columns {', '.join(map(str, header))[:80] or 'none'}, expected a camera "
                           f"({', '.join(CAMERA_COLUMNS)}) and a time ({', '.join(TIME_COLUMNS)})")
        order = next((c for c in ORDER_COLUMNS if c in header), time)
        found: dict[str, list[tuple[float, float]]] = {}
        for number, line in enumerate(lines, 2):
            try:
                entry = float(line[order]), float(line[time])
            except (TypeError, ValueError):
                entry = (np.nan, np.nan)
            if not np.isfinite(entry).all():
                raise BadInput(f"{path}:{number}: {order}, {time} are {line[order]!r:.30}, {line[time]!r:.30}, "
                               "expected numbers")
            found.setdefault(str(line[camera]).strip(), []).append(entry)
        return {name: np.array([t for _, t in sorted(entries)]) for name, entries in found.items()}

    def _views_json(self, folder: Path, recording: Recording) -> list[dict[str, Any]]:
        """Cameras of the clip's videos as the shards' records have them; places in metres."""
        unit_m, _ = self._unit(folder)
        return [{"name": view.name, **vars(view.camera), "T_rig_view": view.T_rig_view.matrix()[:3].tolist()}
                for view in views_of(recording.undistortions, recording.names, unit_m)]

    def _digests(self, folder: Path, recording: Recording) -> list[str]:
        """Of the media, the calibration and the times: what the clip's key stands for."""
        path = self._calibration_path(folder)
        files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        digests = [digest_of(media) for media in recording.media] + [file_digest(file) for file in files]
        if self.config.timestamps:
            names = recording.names if "{name}" in self.config.timestamps else recording.names[:1]
            digests += [file_digest(folder / self.config.timestamps.replace("{name}", name)) for name in names]
        return digests


def _check_alike(untimed: list[tuple[str, ImageSequence]], folder: Path) -> None:
    """Images that no time tells apart belong together by their number: the last camera has those that the first has."""
    (first, one), (name, other) = untimed[0], untimed[-1]
    stems, others = ({path.stem for path in media.paths} for media in (one, other))
    if one.num_frames != other.num_frames:
        alone = sorted(stems ^ others) if 2 * len(stems & others) > max(len(stems), len(others)) else []
        raise BadInput(f"{folder}: camera {name} has {other.num_frames} images, camera {first} {one.num_frames}"
                       + (f"; {alone[0]} is of one of them alone" if alone else "")
                       + "; expected the same number, or timestamps")


def _checked(times: np.ndarray, num_frames: int, where: str) -> np.ndarray:
    if len(times) != num_frames:
        raise BadInput(f"{where}: {len(times)} times, expected {num_frames} (one a frame)")
    check_increasing(np.round(times * 1e9).astype(np.int64), where)
    return times
