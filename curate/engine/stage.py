"""One clip from its source to OUT/scenes/{key}: the product of perception, put in place whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.engine.outcome import Outcome, failure
from curate.engine.teacher import TeacherTap
from curate.recipe import Recipe
from curate.sources.base import BadInput, ClipSpec, Frames
from curate.storage.sync import sync

if TYPE_CHECKING:
    from curate.geometry.cameras import Intrinsics
    from curate.perception.estimator import Estimator, Window

FOLDER = "scenes"
DIGEST = "digest"
MIN_VALID_DEPTH = 0.02  # a clip with less than this share of pixels measured says nothing about space


class ClipWorker:
    """Perceives clips one after another with estimators that stay loaded. Lives in the driver or in an actor."""

    def __init__(self, recipe: Recipe, out: str) -> None:
        self.recipe, self.out = recipe, Path(out)
        self._source = None
        self._estimators: list[Estimator] | None = None

    def ready(self) -> None:
        """Loads the estimators. Raises what every clip would meet (a missing package, weights that do not load)."""
        from curate.perception import make_estimators

        if self._estimators is None:
            estimators = make_estimators(self.recipe.perception)
            for estimator in estimators:
                estimator.setup()
            self._estimators = estimators

    def perceive(self, clip: ClipSpec) -> Outcome:
        """Never raises for a clip's own faults; what went wrong is in the outcome."""
        try:
            return self._perceive(clip)
        except Exception as error:
            return failure(clip.key, error)

    def _perceive(self, clip: ClipSpec) -> Outcome:
        from curate.perception.pipeline import perceive
        from curate.sources import make_source

        begin = time.perf_counter()
        self.ready()
        if self._source is None:
            self._source = make_source(self.recipe.source, self.recipe.clip)
        frames = self._source.open(clip)
        try:
            self._check_size(clip, frames)
        except BadInput:
            frames.close()
            raise
        timings: dict[str, float] = {}
        media = MediaTap(frames, self.recipe)
        wanted = self.recipe.teacher
        try:
            if wanted.enabled and "scene" in frames.given:
                raise BadInput(f"{clip.uri}: its source gives the scene and no dense depth, of which teacher tensors "
                               "are made; set teacher.enabled: false")
            teacher = [TeacherTap(frames.views[0].camera, wanted)] if wanted.enabled else []
            scene = perceive(clip, frames, self.recipe.perception, [media, *teacher], timings, self._estimators)
            files = {**media.finish()}
            for tap in teacher:
                files |= tap.finish(scene)
            if "conversations" in frames.given:
                from curate.questions import given

                is_asked = frames.given["perceive"] in ("regions", "all") and "scene" not in frames.given
                scene = scene if is_asked else replace(scene, regions=[])
                files[given.FILE] = given.to_file(frames.given["conversations"], is_asked)
            files["scene.npz"] = scene.to_bytes()
        finally:
            media.close()
            frames.close()
        share = scene.stats.get("valid_disparity", 1.0)
        if share < MIN_VALID_DEPTH:
            return Outcome(clip.key, "filtered", reason=f"{clip.uri}: depth is known for {share:.1%} of the pixels; "
                                                        f"at least {MIN_VALID_DEPTH:.0%} are needed")
        put(self.out, clip.key, files)
        return Outcome(clip.key, "done", meta={
            "regions": len(scene.regions), "frames": scene.num_frames, "bytes": sum(map(len, files.values())),
            "seconds": round(time.perf_counter() - begin, 3),
            "stages": {name: round(seconds, 3) for name, seconds in timings.items()}})


    def _check_size(self, clip: ClipSpec, frames: Frames) -> None:
        """Before anything is decoded: what one window of decoded frames takes is within the recipe's bound."""
        limit = self.recipe.engine.max_window_bytes
        window = min(frames.num_frames, max([self.recipe.perception.window, *(e.window for e in self._estimators)]))
        size = window * sum(3 * view.camera.width * view.camera.height for view in frames.views)
        if size > limit:
            camera = frames.views[0].camera
            raise BadInput(f"{clip.uri}: {window} frames of {len(frames.views)} views of {camera.width}x"
                           f"{camera.height} take {size >> 20} MiB decoded; engine.max_window_bytes allows "
                           f"{limit >> 20} MiB; lower perception.window, or raise it")


def digest_of(files: dict[str, bytes]) -> bytes:
    """The file `digest` of a staged clip: what `sha256sum` prints of the others, by name."""
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)).encode()


def put(out: Path, key: str, files: dict[str, bytes]) -> None:
    """Writes the folder of a clip beside its place, syncs it and renames it there. An existing one stays.

    Raises:
        OSError: where it cannot be written (a full disk); then nothing of it is left.
    """
    final = out / FOLDER / key
    temp = out / FOLDER / f".{key}.{os.getpid()}"
    shutil.rmtree(temp, ignore_errors=True)
    try:
        temp.mkdir(parents=True)
        for name, data in {**files, DIGEST: digest_of(files)}.items():
            with (temp / name).open("wb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
        if final.exists():  # a staged scene is computed once and is the truth
            return
        temp.rename(final)
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    sync(final.parent)


def sweep(out: Path, key: str, pid: int) -> None:
    """Removes what a worker process that was killed had begun to write of a clip."""
    shutil.rmtree(out / FOLDER / f".{key}.{pid}", ignore_errors=True)


def video_size(camera: Intrinsics, max_height: int) -> tuple[int, int]:
    """(width, height) of a view's video: no taller than asked, even, as yuv420p wants it."""
    scale = min(1.0, max_height / camera.height)
    return max(2, round(camera.width * scale / 2) * 2), max(2, round(camera.height * scale / 2) * 2)


class MediaTap:
    """Takes every window once: encodes each view, keeps the first frame and a depth thumbnail."""

    def __init__(self, frames: Any, recipe: Recipe) -> None:
        from curate.video.encode import H264Encoder

        self.files: dict[str, bytes] = {}
        # places alone have no pictures; cameras of one rig may differ in size
        views = frames.views if recipe.media.views == "all" else frames.views[:1]
        self.sizes = [video_size(view.camera, recipe.media.max_height) for view in views]
        self.encoders = [H264Encoder(*size, time_s=np.asarray(frames.time_s), crf=recipe.media.crf)
                         for size in self.sizes]

    def __call__(self, window: Window) -> None:
        import cv2

        from curate.marks import depth_jpeg
        from curate.video.encode import jpeg

        for encoder, size, images in zip(self.encoders, self.sizes, window.images):
            fresh = images[window.overlap:]
            if (fresh.shape[2], fresh.shape[1]) != size:
                fresh = np.stack([cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in fresh])
            encoder.add(fresh)
        if window.start == 0:
            self.files["frame.jpg"] = jpeg(window.images[0][0], quality=92)
            if "depth" in window.fields:
                depth = window.fields["depth"]
                self.files["depth.jpg"] = depth_jpeg(np.where(depth.valid[0], depth.values[0], np.inf))

    def finish(self) -> dict[str, bytes]:
        for index, encoder in enumerate(self.encoders):
            self.files[f"v{index}.mp4"] = encoder.finish()
        return self.files

    def close(self) -> None:
        for encoder in self.encoders:
            encoder.close()
