"""Small shard sets with real videos for the tests of training: what is shown is known frame by frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from curate.marks import mark_jpeg
from curate.questions.question import Question
from curate.scene import Scene
from curate.shards.publish import publish
from curate.shards.sample import Sample, make_sample
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


def clip_sample(seed: int, *, num_frames: int = 6, fps: float = 12.0, questions: int = 4, split: str = "train",
                dialect: str = "seconds", media: bool = True, said: str = "") -> Sample:
    scene = clip_scene(seed, num_frames, fps)
    frames = clip_video(num_frames, fps)
    boxes = [{"id": 1, "box": (8, 8, 40, 40)}]
    parts = {"v0.mp4": encode_h264(frames, time_s=scene.time_s, crf=4), "mark.jpg": mark_jpeg(frames[0], boxes)}
    return make_sample(scene, parts if media else {}, clip_questions(scene, questions, dialect, said), split=split)


def write_set(folder: Path, samples: Sequence[Sample], **settings) -> str:
    """Publishes samples; the path for `data.sets`."""
    folder.mkdir(parents=True, exist_ok=True)
    publish(folder, sorted(samples, key=lambda s: s.key), **settings)
    return str(folder)
