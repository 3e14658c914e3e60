"""The way from frames to a scene: estimators in the order of their needs, one window of dense fields at a time."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from curate.geometry.poses import Pose
from curate.perception import make_estimators
from curate.perception.config import PerceptionConfig
from curate.perception.estimator import Estimator, Field, Window
from curate.perception.rig.config import RigConfig
from curate.scene import RigState, Scene
from curate.sources.base import BadInput, ClipSpec, Frames

Tap = Callable[[Window], None]
BY_FRAME = ("frame_cov", "rig_step")  # entries of a camera field's `info` that hold one array a frame
log = logging.getLogger(__name__)


def order(estimators: Sequence[Estimator], given: Sequence[str] = ()) -> list[Estimator]:
    """Estimators so that each comes after those that fill what it needs; ties keep the order of the list.

    Args:
        estimators: any order.
        given: fields that are there from the start. An estimator that gives nothing else is left out.

    Raises:
        ValueError: where a need is filled by nobody, two estimators fill one field, or they need each other.
    """
    wanted = [e for e in estimators if not e.gives or not set(e.gives) <= set(given)]
    giver: dict[str, Estimator] = {}
    for estimator in wanted:
        for name in set(estimator.gives) - set(given):
            if name in giver:
                raise ValueError(f"field {name!r} would be filled twice, by {giver[name].name!r} and by "
                                 f"{estimator.name!r}; keep one of them")
            giver[name] = estimator
    for estimator in wanted:
        for need in estimator.needs:
            if need not in giver and need not in given:
                raise ValueError(f"estimator {estimator.name!r} needs the field {need!r}, which no estimator gives "
                                 f"(there are {', '.join(sorted({*giver, *given})) or 'none'}); add one that does")
    done, ready = set(given), []
    while wanted:
        runnable = next((e for e in wanted if set(e.needs) <= done), None)
        if runnable is None:
            raise ValueError("estimators need each other: " + _cycle(wanted, giver)
                             + "; give the joint fields by one estimator")
        wanted.remove(runnable)
        ready.append(runnable)
        done |= set(runnable.gives)
    return ready


def _cycle(stuck: Sequence[Estimator], giver: dict[str, Estimator]) -> str:
    """The first circle found by following unmet needs, as text."""
    seen, estimator = [], stuck[0]
    while estimator not in seen:
        seen.append(estimator)
        estimator = next(giver[n] for n in estimator.needs if giver.get(n) in stuck)
    circle = seen[seen.index(estimator):] + [estimator]
    return " needs ".join(e.name for e in circle)


def spans(num_frames: int, window: int, overlap: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of windows over a clip; neighbours share `overlap` frames, so that every pair of
    consecutive frames lies in exactly one window for an overlap of 1."""
    start = 0
    while True:
        stop = min(start + window, num_frames)
        yield start, stop
        if stop == num_frames:
            return
        start = stop - overlap


def clip_seed(key: str) -> int:
    """A seed that belongs to the clip alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


def perceive(clip: ClipSpec, frames: Frames, config: PerceptionConfig, taps: Sequence[Tap] = (),
             timings: dict[str, float] | None = None, estimators: Sequence[Estimator] | None = None) -> Scene:
    """Everything that is kept about one clip in 4D. The same clip and settings give the same scene.

    Args:
        clip: names the clip; its key seeds every draw.
        frames: its pixels; at most one window of them is in memory.
        config: estimators and window.
        taps: called with every window after all estimators have run on it.
        timings: filled with seconds spent in each stage ("rig", "read", each estimator's name, "taps", "lift").
            Where the source gives the whole scene (`frames.given["scene"]`: () -> Scene) nothing is estimated: the taps
            see the frames, where there are any, and the scene is taken as it is.
        estimators: used in place of those of `config`; already set up. For workers that keep models loaded.

    Raises:
        BadInput: where the media cannot be decoded, or the clip has fewer than two frames or no stereo pair.
        ValueError: where the estimators do not fit together.
    """
    from curate.lift.builder import SceneBuilder

    timings = {} if timings is None else timings
    if "scene" in frames.given:
        return _given_scene(clip, frames, config, taps, timings)
    if frames.rig is None and len(frames.views) == 1:
        return _one_view(clip, frames, config, taps, timings, estimators)
    if frames.rig is None and len(frames.views) > 1:
        from curate.perception.multiview.perceive import perceive_views

        return perceive_views(clip, frames, config, taps, timings)
    frames, rig, ready = prepare(clip, frames, config, timings, estimators)
    builder = SceneBuilder(clip, frames, config.lift, rig)
    for window in windows(clip, frames, config, timings, ready):
        with _timed(timings, "taps"):
            for tap in taps:
                tap(window)
        with _timed(timings, "lift"):
            builder.add(window)
    with _timed(timings, "lift"):
        return builder.finish()


def _one_view(clip: ClipSpec, frames: Frames, config: PerceptionConfig, taps: Sequence[Tap],
              timings: dict[str, float], estimators: Sequence[Estimator] | None) -> Scene:
    """One camera without depth: what moves before it, on the ground where that is given."""
    from curate.perception.ground.config import GroundConfig
    from curate.perception.ground.perceive import perceive_ground

    if frames.num_frames < 2:
        raise BadInput(f"{clip.uri}: {frames.num_frames} frame in the clip; at least 2 are needed to see motion")
    if estimators is None:
        estimators = [e for e in make_estimators(config) if "labels" in e.gives]
        for estimator in estimators:
            estimator.setup()
    detector = next((e for e in estimators if "labels" in e.gives), None)
    plain = windows(clip, frames, config, timings, ())
    with _timed(timings, "ground"):
        return perceive_ground(clip, frames, config.ground or GroundConfig(), config.lift, plain, taps, detector)


def _given_scene(clip: ClipSpec, frames: Frames, config: PerceptionConfig, taps: Sequence[Tap],
                 timings: dict[str, float]) -> Scene:
    """The scene that the source gives; windows have images and no fields, and there are none without views."""
    with _timed(timings, "lift"):
        scene = frames.given["scene"]()
    assert scene.key == clip.key and scene.has_pictures == bool(frames.views), "a source gives its own clip's scene"
    plain = windows(clip, _Bare(frames), config, timings, ()) if frames.views else ()
    for window in plain:
        with _timed(timings, "taps"):
            for tap in taps:
                tap(window)
    return scene


class _Bare:
    """Frames of which nothing is given."""

    def __init__(self, frames: Frames) -> None:
        self._frames, self.given = frames, {}

    def __getattr__(self, name: str):
        return getattr(self._frames, name)


def prepare(clip: ClipSpec, frames: Frames, config: PerceptionConfig, timings: dict[str, float],
            estimators: Sequence[Estimator] | None = None) -> tuple[Frames, RigState | None, list[Estimator]]:
    """Frames as they are perceived (the rig corrected), what is known of the rig, and the estimators in order.

    Raises:
        BadInput, ValueError: as `perceive`.
    """
    if frames.num_frames < 2:
        raise BadInput(f"{clip.uri}: {frames.num_frames} frame in the clip; at least 2 are needed to see motion")
    if estimators is None:
        estimators = make_estimators(config)
        for estimator in estimators:
            estimator.setup()
    if len(frames.views) == 1:  # what needs a second view is exchanged for what does the same with the depth given
        estimators = [e.for_one_view() if hasattr(e, "for_one_view") else e for e in estimators]
    ready = order(estimators, list(given_fields(frames)))
    needy = next((e for e in ready if "disparity" in e.gives), None)
    too_few = needy is not None and len(frames.views) < getattr(needy, "num_views", 2)
    if needy is not None and (frames.rig is None or too_few):
        raise BadInput(f"{clip.uri}: one view only; {needy.name!r} needs a stereo pair, or a source that gives depth")
    rig = None
    if needy is not None and len(frames.views) > 1 and config.rig.kind == "residual-rotation":
        with _timed(timings, "rig"):
            frames, rig = _checked_rig(clip, frames, config.rig)
    return frames, rig, ready


def windows(clip: ClipSpec, frames: Frames, config: PerceptionConfig, timings: dict[str, float],
            ready: Sequence[Estimator]) -> Iterator[Window]:
    """The windows of a clip, one after another, with all fields; a window loses its fields when the next is asked for.

    Args:
        frames, ready: of `prepare`; estimators at the end of `ready` may be left out.
    """
    given = given_fields(frames)
    overlap = max([1, *(e.overlap for e in ready)])
    window_frames = max([config.window, overlap + 1, *(e.window for e in ready)])
    carry: dict = {}
    last: Window | None = None
    for start, stop in spans(frames.num_frames, window_frames, overlap):
        with _timed(timings, "read"):
            window = _read(frames, start, stop, overlap if start else 0, last, clip_seed(clip.key), carry)
        last = None
        for name, part in given.items():
            window.fields[name] = part(start, stop)
        for estimator in ready:
            with _timed(timings, estimator.name):
                window.fields.update(estimator.run(window))
        yield window
        window.fields.clear()
        last = window


def given_fields(frames: Frames) -> dict[str, Callable[[int, int], Field]]:
    """What the source knows, as fields of a window: name -> (start, stop) -> Field, `filled_by` "source".

    `frames.given` holds a `Field` over the whole clip, a callable `(start, stop) -> Field`, a `Pose` of T frames
    (taken as exact), or a pair (Pose, [T, 6, 6] step covariance), or with a third [T, 6, 6], the covariance of each
    pose alone (`Scene.pose_cov`); "poses" is another name for "camera".
    Entries that are no field (such as "up") are for the lift.
    """
    out: dict[str, Callable[[int, int], Field]] = {}
    for name, value in frames.given.items():
        if isinstance(value, Pose) or (isinstance(value, tuple) and value and isinstance(value[0], Pose)):
            poses, *covariance = value if isinstance(value, tuple) else (value,)
            poses.expect("world", "cam")
            info = {"frame_cov": covariance[1]} if len(covariance) > 1 else {}
            value = Field(poses, np.ones(len(poses), bool),
                          covariance[0] if covariance else np.zeros((len(poses), 6, 6)), "source", info)
            name = "camera" if name == "poses" else name
        if isinstance(value, Field):
            out[name] = lambda start, stop, whole=value: _slice(whole, start, stop)
        elif callable(value):
            out[name] = value
    return out


def _slice(whole: Field, start: int, stop: int) -> Field:
    cut = slice(start, stop)
    info = {name: value[cut] if name in BY_FRAME else value for name, value in whole.info.items()}
    return Field(whole.values[cut], None if whole.valid is None else whole.valid[cut],
                 None if whole.sigma is None else whole.sigma[cut], "source", info)


def _checked_rig(clip: ClipSpec, frames: Frames, config: RigConfig) -> tuple[Frames, RigState]:
    """Frames without the rotation that is significantly left between the two cameras, and what is known of it."""
    from curate.perception.rig.correction import CorrectedFrames
    from curate.perception.rig.estimate import estimate_rig

    rig = estimate_rig(frames, config, clip_seed(clip.key))
    if rig.warning:
        log.warning("%s: %s", clip.uri, rig.warning)
    return (CorrectedFrames(frames, rig.applied) if rig.applied.any() else frames), rig


def _read(frames: Frames, start: int, stop: int, overlap: int, last: Window | None, seed: int, carry: dict) -> Window:
    """The next window; frames shared with the last one are not decoded again."""
    import cv2

    cv2.setNumThreads(1)
    fresh = frames.read(start + overlap, stop)
    images, grey = [], []
    for index, new in enumerate(fresh):
        new_grey = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in new])
        if overlap:
            new = np.concatenate([last.images[index][-overlap:], new])
            new_grey = np.concatenate([last.grey[index][-overlap:], new_grey])
        images.append(new)
        grey.append(new_grey)
    return Window(start=start, overlap=overlap, is_last=stop == frames.num_frames, images=images, grey=grey,
                  time_s=np.asarray(frames.time_s[start:stop], float), rig=frames.rig, camera=frames.views[0].camera,
                  seed=seed, carry=carry)


@contextmanager
def _timed(timings: dict[str, float], name: str) -> Iterator[None]:
    begin = time.perf_counter()
    try:
        yield
    finally:
        timings[name] = timings.get(name, 0.0) + time.perf_counter() - begin
