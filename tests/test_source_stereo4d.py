"""Stereo4D: files made to the published layout, of worlds in closed form; and all that can be wrong with them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3, log_so3
from curate.sources import make_source
from curate.sources.base import BadInput
from curate.sources.config import ClipConfig
from curate.sources.config_spherical import Stereo4DConfig
from curate.sources.equirect import Equirectangular
from curate.sources.stereo4d_groups import MIN_TRACKS, StereoNoise, group, surfaces
from curate.sources.stereo4d_npz import read_stereo4d
from curate.sources.stereo4d_rigid import fit
from tests.source_media import refused
from tests.spherical_scene import EYES_M, Room, eye_centres, write
from tests.stereo4d_files import Dataset, arrays, camera, room_dataset, room_tracks

RECIPE = Path(__file__).parents[1] / "recipes" / "stereo4d.yaml"
VIEW = camera(128)
ROOM = Room(rig_velocity=(0.05, 0.0, 0.1))
NOISE = StereoNoise(VIEW.fx, EYES_M, 0.25, 0.25)
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


# Bodies

def cloud(rng: np.random.Generator, centre, size: float, count: int) -> np.ndarray:
    """[count, 3] on a bowed piece of surface that faces the camera."""
    x, y = rng.uniform(-size / 2, size / 2, (2, count))
    return np.asarray(centre) + np.stack([x, y, 0.3 * (x**2 + y**2) / size], 1)


def moving_world(seed: int, disparity_px: float, missing: float = 0.0, num: int = T):
    """Two bodies, one of which turns by 40 degrees as it goes, before a wall; [N, T, 3], owner [N], path."""
    rng = np.random.default_rng(seed)
    path = Pose("world", "cam", np.tile(np.eye(3), (num, 1, 1)), np.linspace([0, 0, 0], [0.1, 0, 0.3], num))
    wall = np.stack([*rng.uniform(-2, 2, (2, 900)), np.full(900, 5.0)], 1)
    parts = [(wall, np.tile(np.eye(3), (num, 1, 1)), np.zeros((num, 3)))]
    walk = np.linspace([0, 0, 0], [0.6, 0, 0.2], num)
    parts.append((cloud(rng, (-0.5, 0.1, 2.2), 0.5, 150), np.tile(np.eye(3), (num, 1, 1)), walk))
    turn = exp_so3(np.linspace([0, 0, 0], [0, np.radians(40), 0], num))
    parts.append((cloud(rng, (0.5, -0.2, 2.6), 0.6, 150), turn, np.linspace([0, 0, 0], [0.0, 0.3, -0.3], num)))
    points, owner = [], []
    for number, (places, rotation, shift) in enumerate(parts):
        centre = places.mean(0)
        points.append(np.einsum("tij,nj->nti", rotation, places - centre) + centre + shift)
        owner += [number] * len(places)
    points, owner = np.concatenate(points), np.array(owner)
    sight = points - path.translation
    uv = VIEW.project(sight) + rng.normal(0, disparity_px, (*points.shape[:2], 2))
    disparity = VIEW.fx * EYES_M / sight[..., 2] + rng.normal(0, disparity_px, points.shape[:2])
    points = VIEW.lift(uv, VIEW.fx * EYES_M / disparity) + path.translation
    starts, length = rng.integers(0, num // 2, len(points)), rng.integers(num // 2, num + 1, len(points))
    frame = np.arange(num)
    gone = (rng.uniform(size=points.shape[:2]) < missing) if missing else np.zeros(points.shape[:2], bool)
    if missing:  # ragged: tracks begin late, end early, and have holes
        gone |= (frame < starts[:, None]) | (frame >= (starts + length)[:, None])
    points[gone] = np.nan
    return points, owner, path


@pytest.mark.parametrize("resting", [900, 120])
@pytest.mark.parametrize(("noise_px", "missing"), [(0.0, 0.0), (0.05, 0.0), (0.0, 0.3), (0.05, 0.3), (0.2, 0.0)])
def test_bodies_are_told_apart_and_from_what_rests(noise_px, missing, resting):
    """Also where most of what is seen moves."""
    tracks, owner, path = moving_world(1, noise_px, missing)
    kept = (owner > 0) | (np.cumsum(owner == 0) <= resting)
    tracks, owner = tracks[kept], owner[kept]
    groups = group(tracks, path, NOISE)
    assert len(groups.moving) == 2
    for members in groups.moving:
        assert len(set(owner[members])) == 1 and len(members) > 100
    assert (owner[groups.still] == 0).all() and len(groups.still) > 0.95 * resting


def test_noise_is_not_motion():
    """Whatever the noise of a file is: resting tracks rest, since it is judged by themselves."""
    for noise_px in (0.02, 0.1, 0.3):
        tracks, owner, path = moving_world(2, noise_px)
        groups = group(tracks[owner == 0], path, NOISE)
        assert not groups.moving and len(groups.still) > 0.99 * (owner == 0).sum()


def test_a_body_that_turns():
    tracks, owner, path = moving_world(3, 0.02, 0.2)
    moving = group(tracks, path, NOISE).moving
    bodies = {int(owner[members[0]]): fit(tracks[members], path, NOISE, 1.0) for members in moving}
    straight, turning = bodies[1], bodies[2]
    np.testing.assert_allclose(straight.rotation, np.tile(np.eye(3), (T, 1, 1)), atol=1e-9)
    np.testing.assert_allclose(straight.shift[-1] - straight.shift[straight.first], [0.6, 0, 0.2], atol=0.03)
    np.testing.assert_allclose(np.degrees(log_so3(turning.rotation[-1])), [0, 40, 0], atol=2.5)
    assert straight.explained > 0.95 and turning.explained > 0.95


def test_stated_errors_of_a_fit_hold():
    """Of 40 bodies with the noise that is stated, the last place is off by its covariance (chi-square, 3 degrees)."""
    distance = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        path = Pose("world", "cam", np.tile(np.eye(3), (10, 1, 1)), np.zeros((10, 3)))
        places = cloud(rng, (0.3, 0.1, 2.0), 0.8, 40)
        sight = places[:, None] + np.linspace([0, 0, 0], [0.3, 0, 0.1], 10)
        uv = VIEW.project(sight) + rng.normal(0, 0.25, (40, 10, 2))
        z = VIEW.fx * EYES_M / (VIEW.fx * EYES_M / sight[..., 2] + rng.normal(0, 0.25, (40, 10)))
        body = fit(VIEW.lift(uv, z), path, NOISE, 4.0)
        off = body.shift[-1] - [0.3, 0, 0.1]
        both = body.covariance[-1][3:, 3:] + body.covariance[0][3:, 3:]
        distance.append(off @ np.linalg.solve(both, off))
    assert 0.3 < np.mean(distance) / 3 < 1.6  # tracks that lie close together count as one, which widens it


def test_a_body_that_comes_into_view_is_defined_where_enough_is_seen():
    """Not by the rim of it that shows first; one that is far at first is there all the same."""
    tracks, owner, path = moving_world(6, 0.0)
    body = tracks[owner == 1]
    entering = body.copy()
    entering[:, :8][body[:, 0, 0] < np.sort(body[:, 0, 0])[-8]] = np.nan  # eight of its tracks, till frame 8
    fitted = fit(entering, path, NOISE, 1.0)
    assert fitted.first == 8 and not fitted.seen[:8].any() and fitted.seen[8:].all()
    far = np.linspace([0, 0, 6.0], [0, 0, 0], T)
    assert fit(cloud(np.random.default_rng(0), (0, 0, 2), 0.8, 100)[:, None] + far, path, NOISE, 1.0).first == 0


def test_parts_that_move_against_each_other_are_no_rigid_body(tmp_path):
    """A region of which one half goes up while the other goes down is said to be non-rigid."""
    tracks, owner, path = moving_world(4, 0.0)
    body = tracks[owner == 1]
    swing = 0.3 * np.sin(np.linspace(0, 6, T))[:, None] * [0, 1.0, 0]
    torn = body + np.where((body[:, :1, 0] > np.median(body[:, 0, 0]))[..., None], swing, -swing)
    assert fit(torn, path, NOISE, 1.0).explained < 0.5
    assert fit(body, path, NOISE, 1.0).explained == 1.0


def test_surfaces_part_where_disparity_steps():
    tracks, owner, path = moving_world(5, 0.0)
    front = cloud(np.random.default_rng(0), (0, 0, 1.5), 0.6, 200)[:, None] + np.zeros((1, T, 1))
    pieces = surfaces(np.concatenate([tracks[owner == 0], front]), path, NOISE, 0)
    assert len(pieces) == 2 and sorted(len(set(piece >= 900)) for piece in pieces) == [1, 1]


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
