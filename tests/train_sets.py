"""Small shard sets with real videos for the tests of training: what is shown is known frame by frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from curate.marks import mark_jpeg
from curate.questions.question import Question
from curate.scene import Scene
from curate.shards.publish import publish
from curate.shards.sample import Sample, make_sample
from curate.shards.teacher import TeacherTensors
from curate.shards.teacher_parts import to_parts
from curate.video.encode import encode_h264
from tests.scenes import make_scene

SIZE = (64, 48)  # width, height of the videos
STEP = 9  # grey levels from frame to frame


def level(frame: int) -> int:
    """Grey level of a frame: what a decoded one must have tells which it is."""
    return 20 + STEP * frame


def clip_scene(seed: int, num_frames: int, fps: float) -> Scene:
    scene, _ = make_scene(seed=seed, num_frames=num_frames, num_regions=2, fps=fps, size=SIZE)
    key = f"clip{seed:04d}"
    return replace(scene, key=key, clip={"key": key, "kind": "rendered", "uri": f"{key}.mp4", "recording": f"rec{seed}",
                                         "start": 0, "num_frames": num_frames, "params": {}})


def clip_questions(scene: Scene, count: int, dialect: str = "seconds", said: str = "") -> list[Question]:
    """Numbers and choices in turn."""
    common = dict(start_s=0.0, end_s=float(scene.time_s[-1]), start_frame=0, end_frame=len(scene.time_s) - 1,
                  mark_frame=0, frame="world", reference="surface@t0", quantities=[], dialect=dialect,
                  reasoning=["It goes from one place to another.", "That is 1.8 m."],
                  extra={"centres": {"camera": [[0, 0, 0], [0, 0, 1]], "R1": [[0, 0, 3], [1, 0, 3]]},
                         "centres_at": ["0.00 s", "1.00 s"], "sigma_m": 0.1})
    out = []
    for i in range(count):
        if i % 2:
            out.append(Question(
                id=f"{scene.key}-object_direction-q{i}", family="object_direction", form="choice",
                question=f"Which way does <R1> move{said}?\nA. left\nB. right", options=["left", "right"],
                answer="right", letter="B", value=math.nan, low=math.nan, high=math.nan, unit="", tolerance=math.nan,
                regions=[1], answer_type="choice", metric="accuracy", **common))
        else:
            out.append(Question(
                id=f"{scene.key}-object_displacement-q{i}", family="object_displacement", form="numeric",
                question=f"How far does <R1> travel{said}? Metres.", options=[], answer="1.8", letter="", value=1.8,
                low=1.7, high=1.9, unit="m", tolerance=0.1, regions=[1], **common))
    return out


def clip_video(num_frames: int, fps: float) -> np.ndarray:
    width, height = SIZE
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    for i, frame in enumerate(frames):
        frame[:] = level(i)
    return frames


def clip_teacher(scene: Scene, grid: tuple[int, int] = (12, 16), latent: tuple[int, ...] | None = None,
                 metric: bool = True) -> TeacherTensors:
    """A wall 5 m away that moves right by one cell a frame, its left third unknown; a camera that goes 0.1 m a frame
    to the right and turns by 1° a frame about its y axis."""
    num, (height, width) = len(scene.time_s), grid
    depth = np.full((num, height, width), 5.0, np.float32)
    depth[:, :, :width // 3] = np.nan
    flow = np.tile(np.float32([-1.0, 0.0]), (num, height, width, 1))
    flow[0] = np.nan
    angle = np.radians(np.arange(num))
    poses = np.zeros((num, 3, 4), np.float32)
    poses[:, 0, 0], poses[:, 0, 2], poses[:, 1, 1] = np.cos(angle), np.sin(angle), 1
    poses[:, 2, 0], poses[:, 2, 2], poses[:, 0, 3] = -np.sin(angle), np.cos(angle), 0.1 * np.arange(num)
    K = np.float32([[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1]])
    features = None if latent is None else np.arange(np.prod(latent), dtype=np.float32).reshape(latent)
    return TeacherTensors(scene.time_s, depth, flow, np.ones_like(depth), np.tile(K, (num, 1, 1)), poses, metric,
                          "truth@1", features, "small" if latent else "")


def clip_sample(seed: int, *, num_frames: int = 6, fps: float = 12.0, questions: int = 4, split: str = "train",
                dialect: str = "seconds", media: bool = True, said: str = "",
                teacher: Callable[[Scene], TeacherTensors] | None = None) -> Sample:
    scene = clip_scene(seed, num_frames, fps)
    frames = clip_video(num_frames, fps)
    boxes = [{"id": 1, "box": (8, 8, 40, 40)}]
    parts = {"v0.mp4": encode_h264(frames, time_s=scene.time_s, crf=4), "mark.jpg": mark_jpeg(frames[0], boxes)}
    sample = make_sample(scene, parts if media else {}, clip_questions(scene, questions, dialect, said), split=split)
    return replace(sample, teacher=to_parts(teacher(scene))) if teacher else sample


def write_set(folder: Path, samples: Sequence[Sample], **settings) -> str:
    """Publishes samples; the path for `data.sets`."""
    folder.mkdir(parents=True, exist_ok=True)
    publish(folder, sorted(samples, key=lambda s: s.key), **settings)
    return str(folder)
