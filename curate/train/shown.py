"""One clip as it is shown: frames with their marks and times, the questions about it, the teacher's signals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.shards.teacher import TeacherTensors
from curate.train.clips import MARKED, VIDEO, Clip
from curate.train.frames import TIME_TOLERANCE_S, chosen_frames, decode_image, decode_video, draw_times

if TYPE_CHECKING:
    from curate.train.collate import Prepared
    from curate.train.data_config import DataConfig


@dataclass(frozen=True)
class Shown:
    """N frames of a clip.

    Args:
        frames: [N, H, W, 3] uint8, what a student sees. video: the same without marks and times.
        times_s: [N] float32 seconds from the clip's first frame.
        whole: the frames are all that the clip's record counts.
        records: of the wanted questions. regions: of the clip's record.
        images: what the student's processor made of the frames; None where there is none.
        signals, cameras, latent, latent_id: the teacher's, see `data.Batch`; None without teacher.
    """

    key: str
    frames: np.ndarray
    video: np.ndarray
    times_s: np.ndarray
    whole: bool
    records: list[dict[str, Any]]
    regions: list[dict[str, Any]]
    images: Prepared | None = None
    signals: dict[str, np.ndarray] | None = None
    cameras: dict[str, np.ndarray] | None = None
    latent: np.ndarray | None = None
    latent_id: str = ""

    @property
    def num_bytes(self) -> int:
        arrays = [self.frames, self.video, self.latent, *(self.signals or {}).values()]
        made = 0 if self.images is None else self.images.num_bytes
        return made + sum(array.nbytes for array in arrays if array is not None)


def show(clip: Clip, config: DataConfig) -> Shown:
    """Reads and decodes a clip.

    Raises:
        ShardError, ValueError: where it is torn, or does not fit the settings.
    """
    records = [sample.record() for sample in clip.samples]
    record, sample = records[0], clip.samples[0]
    base, counted = record["sampling"]["base"], record["sampling"]["frame_indices"]
    index = [counted[i] - base for i in chosen_frames(len(counted), config.frames, config.short_clips == "repeat")]
    video = decode_video(sample.read(VIDEO), record["time_s"], index, config.image_size)
    first_marked = decode_image(sample.read(MARKED), video.shape[1:3]) if config.marks != "none" else None
    if config.marks == "extra":  # the same instant twice: plain for a teacher, marked and plain for a student
        index, video = [index[0], *index], np.concatenate([video[:1], video])
    frames = video
    if first_marked is not None:
        frames = np.concatenate([first_marked[None], video[1:]])
    times_s = np.array([record["time_s"][i] for i in index], np.float32)
    if config.time_cue == "marks":
        frames = draw_times(frames, times_s)
    questions = [qa | {"recording": record["recording"]} for record in records for qa in record["qa"]]
    shown = Shown(clip.key, frames, video, times_s, len(set(index)) == len(counted), questions, record["regions"])
    if not config.teacher:
        return shown
    return Shown(**vars(shown) | signals_of(sample.teacher(), [record["time_s"][i] for i in index], config))


def signals_of(tensors: TeacherTensors, times_s: list[float], config: DataConfig) -> dict[str, Any]:
    """Fields of `Shown` from a teacher's tensors: the frames shown, on the grid asked for.

    Depths and moments of a scene without metric scale are unknown.

    Raises:
        ValueError: where the tensors have no frames at these times.
    """
    off = np.abs(np.asarray(tensors.time_s, float)[None] - np.asarray(times_s)[:, None]).min(1)
    if not (off <= TIME_TOLERANCE_S).all():
        raise ValueError(f"its teacher tensors have no frame at {times_s[int(off.argmax())]:.3f} s (the nearest is "
                         f"{off.max():.3f} s away); make them of the same set, with all of its frames")
    tensors = tensors.at(times_s)
    if config.signal_size is not None:
        tensors = tensors.resized(*config.signal_size)
    depth, camray = np.array(tensors.depth[..., None], np.float32), np.array(tensors.camray(), np.float32)
    if not tensors.metric:
        depth[:], camray[..., 3:] = np.nan, np.nan
    signals = {"depth": depth, "flow": np.array(tensors.flow, np.float32),
               "motion": np.array(tensors.dynamic[..., None], np.float32), "camray": camray}
    for array in signals.values():
        array[~np.isfinite(array)] = np.nan
    signals["flow"][0] = np.nan
    cameras = {"K": np.array(tensors.K, np.float32), "T_world_cam": np.array(tensors.T_world_cam, np.float32)}
    latent = None if tensors.latent is None else np.array(tensors.latent, np.float32)
    return {"signals": signals, "cameras": cameras, "latent": latent, "latent_id": tensors.latent_id}
