"""Stereo4D: files made to the published layout, of worlds in closed form; and all that can be wrong with them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3
from curate.sources import make_source
from curate.sources.base import BadInput
from curate.sources.config import ClipConfig
from curate.sources.config_spherical import Stereo4DConfig
from curate.sources.equirect import Equirectangular
from curate.sources.stereo4d_groups import MIN_TRACKS
from curate.sources.stereo4d_npz import read_stereo4d
from tests.source_media import refused
from tests.spherical_scene import EYES_M, Room, eye_centres, write
from tests.stereo4d_files import Dataset, arrays, camera, cloud, room_dataset, room_tracks

RECIPE = Path(__file__).parents[1] / "recipes" / "stereo4d.yaml"
VIEW = camera(128)
ROOM = Room(rig_velocity=(0.05, 0.0, 0.1))
T = 24


def source(root: Path, clip: ClipConfig | None = None, **fields):
    return make_source(Stereo4DConfig(**({"root": str(root)} | fields)), clip or ClipConfig())


def opened(made):
    clip = next(iter(made.plan()))
    assert not isinstance(clip, tuple), clip[1]
    return clip, made.open(clip)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """Both eyes of the room."""
    return room_dataset(tmp_path_factory.mktemp("stereo4d"), ROOM, VIEW, ("left", "right"), num_frames=T)


@pytest.fixture
def still_life(tmp_path) -> Dataset:
    """A small clip of one eye, whose npz a test may spoil."""
    made = Dataset(tmp_path)
    tracks = room_tracks(ROOM, VIEW, 8, step=16)
    made.written = arrays(tracks.points, tracks.path, tracks.time_s)
    made.annotate().video("left", np.zeros((8, 128, 128, 3), np.uint8))
    return made


# What is given

def test_path_and_places_are_those_of_the_file(dataset):
    """The published world is anywhere; ours is the camera at the clip's first frame."""
    made = source(dataset.root, ClipConfig(num_frames=12))
    clips = list(made.plan())
    assert [(c.start, c.num_frames, c.recording) for c in clips] == [(0, 12, "abc-DEF_123"), (12, 12, "abc-DEF_123")]
    assert len({c.key for c in clips}) == 2
    with made.open(clips[1]) as clip:
        scene = clip.given["scene"]()
    rig = np.asarray(ROOM.rig_velocity)
    np.testing.assert_allclose(scene.T_world_cam.rotation, np.tile(np.eye(3), (12, 1, 1)), atol=1e-9)
    np.testing.assert_allclose(scene.T_world_cam.translation, rig * np.arange(12)[:, None] / 10, atol=1e-6)
    plate = ROOM.plate(1.2) - eye_centres(ROOM, 1.2)[0]
    moving = next(r for r in scene.regions if r.motion_p < 1e-6)
    np.testing.assert_allclose(moving.point_cam[0], plate, atol=0.02)


def test_frames_are_those_of_the_timestamps(dataset):
    """The videos run at 30 frames a second, whatever the times are."""
    _, clip = opened(source(dataset.root))
    with clip:
        np.testing.assert_allclose(clip.time_s, np.arange(T) / 10, atol=1e-6)
        views = clip.read(20, 22)
        assert clip.rig.baseline_m == EYES_M and clip.rig.left == VIEW
    for view, centre in zip(views, eye_centres(ROOM, 2.1)):
        off = np.abs(view[1].mean(-1) - ROOM.colours(centre, VIEW.rays(), 2.1).mean(-1))
        assert off.mean() < 3


def test_answers_hold(dataset):
    """The recipe on a made file, tracks to answers."""
    import curate
    from curate.measure import measure

    recipe = curate.load_recipe(RECIPE, [f"source.root={dataset.root}"])
    scene = curate.perceive(curate.clips(recipe)[0])
    assert (scene.scale, scene.origin["tracks"], scene.origin["camera"]) == ("assumed", "source", "source")
    plate = next(r for r in scene.regions if r.motion_p < 1e-6)
    seconds = (T - 1) / 10
    moved = np.linalg.norm(ROOM.plate_velocity) * seconds
    truth = {"object_displacement": moved, "object_path_length": moved, "object_mean_speed": moved / seconds,
             "camera_displacement": np.linalg.norm(ROOM.rig_velocity) * seconds,
             "object_camera_distance": np.linalg.norm(ROOM.plate(0) - eye_centres(ROOM, 0)[0])}
    found = {(q.kind, q.span): q for q in measure(scene) if q.subjects in ((), (plate.id,))}
    for kind, value in truth.items():
        quantity = found[kind, (0, 0) if kind == "object_camera_distance" else (0, T - 1)]
        assert quantity.quantiles[1] <= value <= quantity.quantiles[-2], kind
        assert quantity.value == pytest.approx(value, rel=0.02)
        assert (quantity.quantiles[-1] - quantity.quantiles[0]) / value > 0.2  # 2.6 times 4.8 % to each side
    asked = [q for q in curate.ask(scene) if q.unit == "m"]
    assert asked and {q.scale for q in asked} == {"assumed"}


def test_the_left_eye_alone(still_life):
    """One view, no second one in the record; the scale's error stays."""
    _, clip = opened(source(still_life.root))
    with clip:
        scene = clip.given["scene"]()
        assert len(clip.views) == 1 and clip.rig is None and len(clip.read(0, 8)) == 1
    assert (scene.baseline_m, scene.scale) == (0, "assumed") and scene.scale_sigma == pytest.approx(0.003 / 0.063)


def test_lengths_go_with_the_eye_distance(dataset):
    scenes = []
    for eyes in (0.063, 0.0693):
        _, clip = opened(source(dataset.root, eye_distance_m=eyes))
        with clip:
            scenes.append(clip.given["scene"]())
    a, b = scenes
    np.testing.assert_allclose(b.T_world_cam.translation, 1.1 * a.T_world_cam.translation)
    np.testing.assert_allclose(b.regions[0].point_cam, 1.1 * a.regions[0].point_cam, rtol=1e-6)
    assert b.scale_sigma == pytest.approx(0.003 / 0.0693)


def test_pixels_in_place_of_tracks(dataset):
    """The camera path is taken as given, the rest is left to the estimators."""
    _, clip = opened(source(dataset.root, use="pixels"))
    with clip:
        poses, covariance = clip.given["poses"]
        assert set(clip.given) == {"poses"} and covariance.shape == (T, 6, 6) and clip.rig is not None
        np.testing.assert_allclose(poses.translation[-1], np.asarray(ROOM.rig_velocity) * 2.3, atol=1e-6)
    refused(source(dataset.root, use="pixels", right="none.mp4"), "left eye alone, expected both for use: pixels")


def test_both_eyes_in_one_video(dataset, tmp_path):
    both = Dataset(tmp_path)
    both.written = dataset.written
    both.annotate()
    eyes = [np.stack([ROOM.colours(eye_centres(ROOM, t)[i], VIEW.rays(), t) for t in np.arange(T) / 10])
            for i in (0, 1)]
    write(tmp_path / "both.mp4", np.concatenate(eyes, 2))
    _, clip = opened(source(tmp_path, video="side_by_side", left="both.mp4"))
    with clip:
        assert clip.views[0].camera == VIEW
        for view, eye in zip(clip.read(3, 4), eyes):
            assert np.abs(view[0].mean(-1) - eye[3].mean(-1)).mean() < 3


def test_the_original_video(tmp_path):
    """Cut out of the VR180 frames nearest the timestamps; each eye is turned by its calibration."""
    times = np.arange(10) / 20
    turns = [exp_so3(np.radians([1.0, -2.0, 0.5])), exp_so3(np.radians([-0.5, 1.5, 1.0]))]
    published = Equirectangular(*np.radians([-50.0, 50.0, -45.0, 45.0]), 400, 360)  # between the outer pixels' centres
    aside, down = (np.radians(a) / (n - 1) / 2 for a, n in ((100.0, 400), (90.0, 360)))
    lens = Equirectangular(published.left - aside, published.right + aside, published.bottom - down,
                           published.top + down, 400, 360)
    packed = []
    for t in times:
        packed.append(np.concatenate([ROOM.colours(centre, lens.rays() @ turn, t)
                                      for centre, turn in zip(eye_centres(ROOM, t), turns)], 1))
    write(tmp_path / "raw" / "abc-DEF_123.mp4", np.stack(packed), fps=20)
    made = Dataset(tmp_path)
    shown = times[1:10:2]
    tracks = room_tracks(ROOM, VIEW, 5, step=16)
    made.written = arrays(tracks.points, tracks.path, tracks.time_s)
    made.annotate(timestamps=np.rint(shown * 1e6 + 9_000).astype(np.int64), rectified2rig=np.stack(turns),
                  fov_bounds=np.array([-50.0, 50.0, -45.0, 45.0]))
    settings = {"video": "raw", "size": 128}
    _, clip = opened(source(tmp_path, ClipConfig(min_frames=2), **settings))
    with clip:
        views = clip.read(0, 5)
        assert clip.views[0].camera == VIEW
    fine = VIEW.scaled(256, 256).rays()
    for i, t in enumerate(shown):
        for view, centre in zip(views, eye_centres(ROOM, t)):
            expected = ROOM.colours(centre, fine, t).mean(-1).reshape(128, 2, 128, 2).mean((1, 3))
            assert np.abs(view[i].mean(-1) - expected).mean() < 4  # half a pixel aside is 16
    late = (np.rint(shown * 1e6) + 400_000).astype(np.int64)
    made.annotate(timestamps=late)
    refused(source(tmp_path, ClipConfig(min_frames=2), **settings), "no frame of its own at .* is it the original")
    made.annotate(rectified2rig=None)
    refused(source(tmp_path, ClipConfig(min_frames=2), **settings), "has no rectified2rig")


# Few tracks

def test_a_world_without_tracks(still_life):
    still_life.annotate(track_lengths=np.zeros(0, np.int64), track_indices=np.zeros(0, np.int64),
                        track_coordinates=np.zeros((0, 3), np.float32))
    _, clip = opened(source(still_life.root))
    with clip:
        assert clip.given["scene"]().regions == []


@pytest.mark.parametrize("count", [1, MIN_TRACKS - 1, MIN_TRACKS])
def test_few_tracks(still_life, count):
    """Too few to be anything: no region, and no error."""
    rng = np.random.default_rng(0)
    tracks = cloud(rng, (0, 0, 2), 0.5, count)[:, None] + np.linspace([0, 0, 0], [0.5, 0, 0], 8)
    path = Pose("world", "cam", np.tile(np.eye(3), (8, 1, 1)), np.zeros((8, 3)))
    still_life.annotate(**arrays(tracks, path, np.arange(8) / 10))
    _, clip = opened(source(still_life.root))
    with warnings.catch_warnings(), clip:
        warnings.simplefilter("error")
        assert len(clip.given["scene"]().regions) <= 1


# Bad files

@pytest.mark.parametrize(("change", "words"), [
    ({"camera2world": None}, "has no camera2world .* expected the arrays that Stereo4D publishes"),
    ({"timestamps": None, "track_lengths": None}, "has no timestamps, track_lengths"),
    ({"timestamps": np.arange(8) / 10}, "0.1 apart, which looks like seconds; expected microseconds"),
    ({"timestamps": np.arange(8) * 33}, "33 apart, which looks like milliseconds"),
    ({"timestamps": np.arange(8) * 33_000_000}, "looks like nanoseconds"),
    ({"timestamps": np.array([0, 33, 66, 66, 99, 120, 150, 180]) * 1000}, "time 3 .* is not after"),
    ({"timestamps": np.arange(7) * 33_000}, r"camera2world has shape \(8, 3, 4\) .*expected \(7, 3, 4\)"),
    ({"timestamps": np.array(["a"] * 8)}, "timestamps has shape"),
    ({"timestamps": np.full(8, np.nan)}, "expected finite microseconds"),
    ({"camera2world": np.tile(np.eye(4), (8, 1, 1))}, r"shape \(8, 4, 4\)"),
    ({"camera2world": np.full((8, 3, 4), np.nan)}, "finite floats"),
    ({"camera2world": np.tile(np.diag([1.0, 1, -1, 1])[:3], (8, 1, 1))}, "does not start with a rotation"),
    ({"camera2world": np.tile(2 * np.eye(4)[:3], (8, 1, 1))}, "does not start with a rotation"),
    ({"track_lengths": np.array([3, 2])}, "sum up to 5 observations, but track_indices is"),
    ({"track_lengths": np.array([-1, 2])}, "track_lengths .* none negative"),
    ({"track_lengths": np.ones((2, 2), int)}, "track_lengths has shape"),
    ({"track_lengths": np.array([2]), "track_indices": np.array([0, 8]), "track_coordinates": np.zeros((2, 3))},
     "goes up to 8, expected below 8"),
    ({"track_lengths": np.array([2]), "track_indices": np.array([3, 3]), "track_coordinates": np.zeros((2, 3))},
     "track 0 is observed at frame 3 and then at 3"),
    ({"track_lengths": np.array([1]), "track_indices": np.array([0]), "track_coordinates": np.full((1, 3), 1e9)},
     "reach 1e.09, expected metres"),
    ({"track_coordinates": np.array([{"x": 1}], dtype=object)}, r"array of Python objects \(a pickle\), which is"),
    ({"fov_bounds": np.zeros(3)}, "fov_bounds has shape"),
    ({"rectified2rig": np.zeros((3, 3))}, "rectified2rig has shape"),
])
def test_bad_annotations_are_named(still_life, change, words):
    still_life.annotate(**change)
    assert still_life.npz.name in refused(source(still_life.root), words)


def test_observations_that_are_not_known_are_missing(still_life):
    """nan among the coordinates is a missing observation, as is a frame that is not listed."""
    coordinates = still_life.written["track_coordinates"].copy()
    coordinates[::3] = np.nan
    still_life.annotate(track_coordinates=coordinates)
    data = read_stereo4d(still_life.npz)
    seen = np.isfinite(data.tracks(0, 8)[..., 0])
    assert seen.sum() == np.isfinite(coordinates[:, 0]).sum() and seen.shape == (len(data.lengths), 8)
    assert np.isfinite(data.tracks(2, 5)[..., 0]).sum() == seen[:, 2:5].sum()


def test_videos_that_do_not_belong(still_life):
    root = still_life.root
    still_life.video("left", np.zeros((5, 128, 128, 3), np.uint8))
    refused(source(root), "5 frames, expected 8, one for each of the timestamps")
    still_life.video("left", np.zeros((8, 128, 128, 3), np.uint8))
    still_life.video("right", np.zeros((8, 64, 128, 3), np.uint8))
    refused(source(root), "128x64, expected 128x128 as the left")
    refused(source(root, left="processed/{name}/no.mp4"), "no video .*no.mp4 .source.left")
    refused(source(root, left="../{name}.mp4"), "leads out of")
    refused(source(root, annotations="*.csv"), "no file matches")
    with pytest.raises(BadInput, match="no such folder"):
        list(source(root / "nowhere").plan())


def test_a_file_that_is_no_npz(still_life):
    for content in (b"", b"PK\x03\x04", b"not a zip at all" * 10):
        still_life.npz.write_bytes(content)
        refused(source(still_life.root), "not a readable npz")


def test_what_is_unpacked_is_bounded(still_life, monkeypatch):
    monkeypatch.setattr("curate.sources.stereo4d_npz.MAX_UNPACKED_BYTES", 1000)
    refused(source(still_life.root), "bytes unpacked, expected at most 1000")
    monkeypatch.setattr("curate.sources.stereo4d_npz.MAX_FILE_BYTES", 100)
    refused(source(still_life.root), "bytes, expected at most 100")


def test_one_bad_clip_among_good_ones(still_life):
    good = still_life.npz.read_bytes()
    (still_life.npz.parent / "zzz_1.npz").write_bytes(good)  # no video of that name
    clips = list(source(still_life.root).plan())
    assert not isinstance(clips[0], tuple) and "zzz_1-left_rectified.mp4" in clips[1][1]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damaged_files_are_refused_or_read(tmp_path_factory, data):
    """Whatever bytes: the arrays or BadInput."""
    path = tmp_path_factory.getbasetemp() / "damaged_1.npz"
    tracks = room_tracks(ROOM, VIEW, 4, step=32)
    np.savez(path, **arrays(tracks.points, tracks.path, tracks.time_s))
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(damaged[: data.draw(st.integers(len(damaged) // 2, len(damaged)))]))
    try:
        assert read_stereo4d(path).num_frames == 4
    except BadInput as error:
        assert path.name in str(error)
