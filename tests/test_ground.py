"""One camera over a ground plane: its geometry in closed form, and rendered people whose places are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.geometry.cameras import Intrinsics
from curate.geometry.ground import GroundPlane, from_height, from_homography, pitch_of_horizon
from curate.measure import measure
from curate.perception.ground.background import background_of
from curate.perception.ground.config import GroundConfig
from curate.perception.ground.figures import Expected, figure_of, seen_figures
from curate.perception.ground.identities import settle
from curate.perception.ground.still import stillness
from curate.perception.ground.tracker import Track
from curate.perception.ground.upright import Sighting, from_foot, place, seen_at
from curate.questions import ask
from curate.sources.base import BadInput
from tests import walkers

CAMERA = Intrinsics(800.0, 800.0, 319.5, 239.5, 640, 480)
SHARP = np.full(3, 0.5)

cameras = st.builds(
    lambda focal, height, pitch, roll: from_height(Intrinsics(focal, focal, 319.5, 239.5, 640, 480), height,
                                                   math.radians(pitch), math.radians(roll)),
    st.floats(400, 1500), st.floats(1.5, 12), st.floats(12, 60), st.floats(-8, 8))


def in_sight(plane: GroundPlane) -> np.ndarray:
    """Places on the ground that the lower half of the picture shows."""
    return plane.to_ground(np.array([[100.0, 460], [320, 400], [600, 470], [320, 300]]))


# ---- the plane ----

@given(cameras)
@settings(max_examples=50, deadline=None)
def test_pixels_and_ground_lead_back_to_each_other_at_any_height(plane):
    for height in (0.0, 0.9):
        ground = in_sight(plane)[:3]
        pixels = plane.to_pixels(ground, height)
        np.testing.assert_allclose(plane.to_ground(pixels, height), ground, atol=1e-6)
        np.testing.assert_allclose(plane.camera.project(plane.to_camera(ground, height)), pixels, atol=1e-6)


@given(cameras, st.floats(-3, 3), st.booleans(), st.floats(0.3, 3))
@settings(max_examples=50, deadline=None)
def test_a_homography_tells_focal_length_height_and_up_whatever_the_axes_of_its_plane(plane, turn, mirrored, factor):
    c, s = math.cos(turn), math.sin(turn)
    axes = np.array([[c, -s, 3.0], [s, c, -7.0], [0, 0, 1]]) @ np.diag([1, -1 if mirrored else 1, 1])
    found = from_homography(factor * axes @ walkers.homography(plane), 640, 480)
    assert found.camera.fx == pytest.approx(plane.camera.fx, rel=1e-5)
    assert found.height_m == pytest.approx(plane.height_m, rel=1e-5)
    np.testing.assert_allclose(found.up, plane.up, atol=1e-6)
    ground = in_sight(plane)
    placed = found.to_camera(found.to_ground(plane.to_pixels(ground)))
    np.testing.assert_allclose(placed, plane.to_camera(ground), atol=1e-3)
    assert found.residual < 1e-6 and found.focal_relative_sigma < 1e-6


def test_a_homography_with_errors_is_kept_to_and_its_camera_sees_feet_where_it_does():
    """The camera is the nearest one in accord with it, and says how far two readings of the focal length differ."""
    rng = np.random.default_rng(3)
    exact = walkers.homography(walkers.plane())
    off = from_homography(exact * (1 + 0.01 * rng.standard_normal((3, 3))), 640, 480)
    pixels = np.array([[100.0, 460], [320, 400], [600, 470]])
    np.testing.assert_allclose(off.camera.project(off.to_camera(off.to_ground(pixels))), pixels, atol=0.05)
    assert off.focal_relative_sigma > 0


def test_slopes_of_the_ground_are_those_of_finite_differences():
    plane, pixel = walkers.plane(), np.array([200.0, 350.0])
    for height in (0.0, 1.7):
        numeric = np.stack([(plane.to_ground(pixel + d, height) - plane.to_ground(pixel - d, height)) / 0.02
                            for d in 0.01 * np.eye(2)], -1)
        np.testing.assert_allclose(plane.ground_jacobian(pixel, height), numeric, rtol=1e-4)


def test_the_horizon_says_the_pitch():
    plane = from_height(CAMERA, 4.0, pitch_of_horizon(CAMERA, 50.0))
    far = plane.to_pixels(np.array([0.0, 1e7]))
    assert far[1] == pytest.approx(50.0, abs=1e-3)
    assert np.isnan(plane.to_ground(np.array([320.0, 49.0]))).all(), "above the horizon there is no ground"


@pytest.mark.parametrize("matrix, words", [
    (np.ones((3, 3)), "singular"),
    (np.eye(3) * [1, 1, np.nan], "finite"),
    (np.array([[0.01, 0, -3.2], [0, 0.01, -2.4], [0, 0, 1.0]]), "focal length open"),
])
def test_a_homography_that_is_no_view_of_a_ground_is_refused(matrix, words):
    with pytest.raises(ValueError, match=words):
        from_homography(matrix, 640, 480)


# ---- upright objects ----

@given(cameras, st.floats(0.6, 2.2))
@settings(max_examples=50, deadline=None)
def test_foot_and_head_tell_place_and_height(plane, height):
    ground = in_sight(plane)[1]
    sighting = Sighting(seen_at(plane, ground, height), SHARP.copy())
    found, tall = from_foot(plane, sighting)
    np.testing.assert_allclose(found, ground, atol=1e-5)
    assert tall == pytest.approx(height, abs=1e-5)
    exact, _ = place(plane, sighting, height, ground + 0.3)
    np.testing.assert_allclose(exact, ground, atol=1e-4)


@pytest.mark.parametrize("hidden", [1, 2])
def test_where_the_height_is_known_either_end_tells_the_place_and_is_trusted_less(hidden):
    plane, ground = walkers.plane(), np.array([1.0, 14.0])
    sighting = Sighting(seen_at(plane, ground, 1.7), SHARP.copy())
    _, both = place(plane, sighting, 1.7, ground)
    sighting.sigma[hidden] = np.inf
    found, alone = place(plane, sighting, 1.7, ground - 0.5)
    np.testing.assert_allclose(found, ground, atol=1e-3)
    assert np.trace(alone) > 4 * np.trace(both)


def test_a_place_where_foot_and_head_disagree_is_trusted_less():
    plane, ground = walkers.plane(), np.array([1.0, 14.0])
    sighting = Sighting(seen_at(plane, ground, 1.7), SHARP.copy())
    _, agreed = place(plane, sighting, 1.7, ground)
    sighting.z[1] -= 6  # trousers of the ground's colour
    _, doubted = place(plane, sighting, 1.7, ground)
    assert np.trace(doubted) > 4 * np.trace(agreed)


def test_the_stated_covariance_is_that_of_noisy_sightings():
    plane, ground, rng = walkers.plane(), np.array([1.0, 14.0]), np.random.default_rng(0)
    exact = seen_at(plane, ground, 1.7)
    sigma = np.array([1.0, 2.0, np.inf])
    found = [place(plane, Sighting(exact + rng.normal(0, [1, 2, 0]), sigma.copy()), 1.7, ground)[0] for _ in range(400)]
    _, stated = place(plane, Sighting(exact, sigma), 1.7, ground)
    np.testing.assert_allclose(np.cov(np.array(found).T), stated / 9, rtol=0.3, atol=1e-4)  # alone: three times as wide


# ---- background and figures ----

def texture(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.repeat(np.repeat(rng.integers(60, 200, (height // 4, width // 4, 3)), 4, 0), 4, 1).astype(np.uint8)


def test_the_camera_stands_still_though_somebody_walks_and_moves_where_all_does():
    still = [texture(1) for _ in range(5)]
    for t, frame in enumerate(still):
        frame[40:100, 20 + 20 * t:50 + 20 * t] = texture(2)[40:100, :30]
    grey = [frame.mean(-1).astype(np.uint8) for frame in still]
    assert stillness(grey).is_still
    moved = [np.roll(grey[0], 3 * t, 1) for t in range(5)]
    assert not stillness(moved).is_still and "features" in stillness(moved).reason
    blank = stillness([np.full((120, 160), 90, np.uint8)] * 3)
    assert not blank.is_still and "needed to tell" in blank.reason


def test_somebody_who_stands_there_for_most_of_the_clip_is_not_background():
    rng = np.random.default_rng(5)
    ground = np.full((60, 80, 3), (150, 140, 130), np.uint8)
    frames = np.stack([ground] * 20)
    frames[7:, 20:50, 30:42] = (30, 30, 90)
    frames = np.clip(frames + rng.normal(0, 2, frames.shape), 0, 255).astype(np.uint8)
    background = background_of(frames)
    assert np.abs(background.image - ground).max() < 6
    config = GroundConfig()
    seen = background.foreground(frames[12], config.threshold, config.min_contrast, config.shadow)
    assert seen[22:48, 32:40].all() and not seen[:15].any()
    assert not background.foreground(frames[2], config.threshold, config.min_contrast, config.shadow).any()


def test_shadows_and_a_change_of_light_are_no_foreground():
    rng = np.random.default_rng(6)
    ground = np.clip(150 + rng.normal(0, 8, (60, 80, 1)) + np.zeros(3), 0, 255)
    frames = np.clip(ground + rng.normal(0, 2, (12, 60, 80, 3)), 0, 255).astype(np.uint8)
    background, config = background_of(frames), GroundConfig()
    dark = ground.copy()
    dark[20:40, 30:60] *= 0.65
    shadow = np.clip(dark * 1.04 + rng.normal(0, 2, dark.shape), 0, 255).astype(np.uint8)
    seen = background.foreground(shadow, config.threshold, config.min_contrast, config.shadow)
    assert seen[22:38, 32:58].mean() < 0.05


def test_one_patch_of_two_known_objects_is_cut_between_them_and_its_hidden_ends_are_said():
    patch = np.zeros((100, 100), bool)
    patch[20:60, 30:45] = patch[40:80, 40:55] = True  # the one on the right stands nearer
    (left, right), others = seen_figures(patch, [Expected(np.array([30, 20, 45, 60.0])),
                                                 Expected(np.array([40, 40, 55, 80.0]))])
    assert left.is_shared and right.is_shared and not others
    assert left.area + right.area == patch.sum()
    assert abs(left.middle[0] - 37) < 3 and abs(right.middle[0] - 47) < 3


def test_pieces_above_each_other_are_one_new_figure_and_beside_each_other_two():
    patch = np.zeros((100, 100), bool)
    patch[20:40, 20:30] = patch[45:70, 22:28] = patch[20:70, 60:70] = True
    _, others = seen_figures(patch, [])
    assert sorted(tuple(f.box) for f in others) == [(20, 20, 30, 70), (60, 20, 70, 70)]


# ---- identities ----

def track(number: int, colour: float, after: float) -> Track:
    """Seen clearly in frames 0..9 and 20..29, of one colour before and perhaps another after."""
    frames = [*range(10), *range(20, 30)]
    figure = figure_of(np.ones((10, 5), bool))
    return Track(number, np.zeros(4), np.eye(4), {0: np.array([1.7, 0.4, 0.3])}, dict.fromkeys(frames, figure),
                 {f: Sighting(np.array([float(number), f, 0]), SHARP.copy()) for f in frames},
                 {f: np.full(6, colour if f < 10 else after) for f in frames})


def test_identities_that_were_exchanged_in_a_meeting_are_told_by_colours():
    kept = settle([track(1, 50, 50), track(2, 150, 150)], {(1, 2): list(range(12, 18))})
    assert [t.sightings[25].z[0] for t in kept] == [1, 2]
    swapped = settle([track(1, 50, 150), track(2, 150, 50)], {(1, 2): list(range(12, 18))})
    assert [t.sightings[25].z[0] for t in swapped] == [2, 1] and [t.sightings[5].z[0] for t in swapped] == [1, 2]


def test_identities_that_colours_do_not_tell_are_left_open():
    alike = settle([track(1, 50, 52), track(2, 51, 50)], {(1, 2): list(range(12, 18))})
    assert len(alike) == 4
    assert [max(t.sightings) for t in alike[:2]] == [9, 9] and [min(t.sightings) for t in alike[2:]] == [20, 20]


def test_a_track_that_takes_on_other_colours_is_two_and_what_was_two_before_a_parting_is_dropped():
    (early, late) = settle([track(1, 50, 150)], {})
    assert max(early.sightings) == 9 and min(late.sightings) == 20
    pair = track(1, 50, 150)
    kept = settle([pair, track(2, 90, 90)], {}, [(1, 2, 15)])
    assert [t.id for t in kept] == [1, 2] and min(kept[0].sightings) == 20


# ---- rendered people ----

def crossing() -> tuple[GroundPlane, list[walkers.Walk]]:
    """Two who pass each other on lines a metre apart, as seen from the camera one before the other."""
    plane = walkers.plane()
    a = walkers.Walk(np.array([0.0, 4]), np.array([[-2.5, 13.0], [2.3, 13.4]]), 1.8, (200, 40, 40), (40, 40, 60))
    b = walkers.Walk(np.array([0.0, 4]), np.array([[2.2, 14.4], [-2.4, 14.6]]), 1.65, (40, 60, 200), (190, 180, 60))
    return plane, [a, b]


@pytest.fixture(scope="module")
def crossed():
    plane, walks = crossing()
    film = walkers.film(1, plane, walks, 25, 6.25)
    return film, walks, plane


def test_rendered_walkers_are_measured_through_their_crossing(crossed):
    film, walks, plane = crossed
    ground = from_homography(walkers.homography(plane), walkers.WIDTH, walkers.HEIGHT)
    scene = walkers.perceived(film, 6.25, ground)
    assert scene.scale == "calibrated" and scene.up == "ground-plane"
    np.testing.assert_allclose(scene.up_world, plane.up, atol=1e-6)
    assert len(scene.regions) == 2
    for region, walk in zip(scene.regions, walks):
        assert region.seen[0] and region.seen[-1], "identities are kept through the crossing"
        spot = (region.point_cam[0] - ground.origin) @ ground.axes[:, :2]
        walk = min(walks, key=lambda w: np.linalg.norm(w.where(0.0) - spot))
        truth = float(np.linalg.norm(walk.where(24 / 6.25) - walk.where(0)))
        found = next(q for q in measure(scene, spans=[(0, 24)], kinds=["object_displacement"])
                     if q.subjects == (region.id,))
        assert found.value == pytest.approx(truth, abs=0.15)
        assert found.quantiles[0] <= truth <= found.quantiles[8]
        u, v = np.rint(region.centroid_px[0]).astype(int)
        assert region.mask_first[v, u], "the reference point is on the object"
        np.testing.assert_allclose(scene.camera.project(region.point_cam[0]), region.centroid_px[0], atol=1e-6)


def test_of_a_relative_clip_only_the_picture_is_asked(crossed):
    film, _, _ = crossed
    scene = walkers.perceived(film, 6.25, None)
    assert scene.scale == "relative" and len(scene.regions) == 2
    questions, dropped = ask(scene)
    families = {q.family for q in questions}
    assert {"apparent_direction", "video_duration"} <= families
    assert not families & {"object_displacement", "object_mean_speed", "object_camera_distance", "object_height",
                           "object_direction", "camera_displacement"}
    assert any(d.reason == "the scene's scale is not metric" for d in dropped)
    told = {q.answer for q in questions if q.family == "apparent_direction"}
    assert told == {"left", "right"}


def test_a_camera_that_moves_is_refused_over_a_ground_and_says_nothing_of_objects_without():
    plane, walks = crossing()
    film = walkers.film(1, plane, walks, 10, 6.25)
    moving = np.stack([np.roll(frame, 4 * t, 1) for t, frame in enumerate(film)])
    with pytest.raises(BadInput, match="does not stand still"):
        walkers.perceived(moving, 6.25, plane)
    scene = walkers.perceived(moving, 6.25, None)
    assert scene.scale == "relative" and not scene.regions and not scene.camera_valid.any()
    assert {q.family for q in ask(scene)[0]} <= {"video_duration"}
