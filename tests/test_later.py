"""A clip cut for what enters later: the same scene from that frame on, measured and asked like the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.augment import Variant, apply, late_start, later, mirror, playback, reverse, variant_of
from curate.geometry.poses import relative
from curate.measure import SceneDraws, measure
from curate.questions import QuestionsConfig, ask
from curate.questions.gates import NOT_VISIBLE
from curate.questions.region_words import of_scene
from curate.scene import Scene
from tests.scenes import Noise, make_scene
from tests.test_augment import CAMERAS, assert_same, full_scene, mean_quantiles

few = settings(max_examples=12, deadline=None)
seeds = st.integers(0, 10_000)


def entering(scene: Scene, firsts: dict[int, int]) -> Scene:
    """The scene as it would be, had these regions (id to frame) come into view only then."""
    def enters(region):
        first = firsts.get(region.id, region.first)
        seen = region.seen & (np.arange(len(region.seen)) >= first)
        mask = np.zeros_like(region.mask_first)
        x0, y0, x1, y1 = np.round(region.box[first]).astype(int)
        mask[y0:max(y1, y0 + 1), x0:max(x1, x0 + 1)] = True
        drift = region.step_cov.copy()
        drift[:first + 1] = 0  # none where its reference point is defined
        hidden = {name: np.where(seen.reshape(-1, *[1] * (getattr(region, name).ndim - 1)), getattr(region, name),
                                 np.nan) for name in ("box", "centroid_px", "flow_px", "point_cam", "nearest_m")}
        return replace(region, first=first, seen=seen, mask_first=mask, step_cov=drift,
                       visible_fraction=np.where(seen, 1.0, 0.0), **hidden)
    return replace(scene, regions=[enters(region) for region in scene.regions])


def briefly(region, frames: int):
    """A region that is seen in so many frames only."""
    return replace(region, seen=region.seen & (np.arange(len(region.seen)) < region.first + frames))


# ---- what the cut is ----

@few
@given(seeds, st.sampled_from(CAMERAS), st.integers(1, 5))
def test_every_point_is_where_it_was_seen_from_the_camera_that_is_now_the_first(seed, camera, start):
    scene = entering(make_scene(seed, camera, 9, noise=Noise.none(), irregular=True)[0], {2: 5, 3: 7})
    made = later(scene, start)
    assert made.num_frames == 9 - start and made.time_s[0] == 0
    np.testing.assert_allclose(made.time_s, scene.time_s[start:] - scene.time_s[start])
    np.testing.assert_allclose(made.T_world_cam.matrix()[0], scene.T_world_cam.matrix()[0], atol=1e-12)
    for i, j in ((0, 8 - start), (1, 2)):
        np.testing.assert_allclose(relative(made.T_world_cam, i, j).matrix(),
                                   relative(scene.T_world_cam, start + i, start + j).matrix(), atol=1e-12)
    assert [r.id for r in made.regions] == [2, 3]  # what was there before has no mask at the new first frame
    for region in made.regions:
        own = scene.region(region.id)
        assert (region.first, region.last) == (own.first - start, own.last - start)
        np.testing.assert_array_equal(region.point_cam, own.point_cam[start:])
        np.testing.assert_array_equal(region.mask_at(region.first), own.mask_at(own.first))
        np.testing.assert_array_equal(region.cov_shared, own.cov_shared[start:])
    for steps, own in ((made.step_cov, scene.step_cov), (made.rig_step, scene.rig_step)):
        np.testing.assert_array_equal(steps[1:], own[start + 1:])
        np.testing.assert_array_equal(steps[0], own[0])


def test_up_is_the_same_direction_from_every_camera():
    scene = full_scene()
    made = later(scene, 2)
    np.testing.assert_allclose(made.T_world_cam.rotation[3].T @ made.up_world,
                               scene.T_world_cam.rotation[5].T @ scene.up_world, atol=1e-12)
    of_camera = later(replace(scene, up="camera", up_world=scene.T_world_cam.rotation[0] @ [0., -1, 0]), 2)
    np.testing.assert_allclose(of_camera.T_world_cam.rotation[0].T @ of_camera.up_world, [0, -1, 0], atol=1e-12)


@few
@given(seeds)
def test_it_goes_with_the_other_operations(seed):
    """A cut comes first; mirror and rate may as well be done before it."""
    scene = full_scene(seed)
    assert_same(later(mirror(scene), 2), mirror(later(scene, 2)))
    assert_same(later(playback(scene, 2), 2), playback(later(scene, 2), 2))
    assert_same(later(later(scene, 1), 1), later(scene, 2))
    whole = apply(scene, Variant(True, True, .5, start=2))
    assert_same(whole, reverse(mirror(playback(later(scene, 2), .5))))
    with pytest.raises(ValueError, match="cut first, then reverse"):
        later(reverse(scene), 2)


def test_a_cut_is_named_stored_and_read_like_any_other():
    scene = full_scene()
    made = later(scene, 2)
    assert made.key == f"{scene.key}-l2" == made.clip["key"] and made.group == scene.key
    assert made.clip["recording"] == scene.clip["recording"]
    assert (made.clip["start"], made.clip["num_frames"]) == (2, 7)
    assert made.origin["augmented"] == "from frame 2" and variant_of(made) == Variant(start=2)
    assert_same(Scene.from_bytes(made.to_bytes()), made)
    before = scene.to_bytes()
    later(scene, 2)
    assert scene.to_bytes() == before


@pytest.mark.parametrize("start", [-1, 0, 8, 9])
def test_a_cut_that_leaves_nothing_is_refused(start):
    with pytest.raises(ValueError, match="expected 1 to 7"):
        later(full_scene(), start)


@given(st.integers(1, 99), st.booleans(), st.booleans(), st.sampled_from([.5, 1, 2]))
def test_the_key_and_the_frames_say_what_was_cut(start, flip, back, rate):
    variant = Variant(flip, back, rate, start)
    assert Variant.split("0a1b2c" + variant.suffix) == ("0a1b2c", variant)
    frames = variant.frames(120)
    assert len(frames) == 120 - start and sorted(frames) == list(range(start, 120))
    assert frames[0] == (119 if back else start)


def test_frames_are_those_of_the_scene():
    scene = full_scene()
    for variant in (Variant(), Variant(start=3), Variant(reverse=True), Variant(True, True, 2, 3)):
        made, frames = apply(scene, variant), variant.frames(scene.num_frames)
        np.testing.assert_array_equal(made.pose_cov.shape[0], len(frames))
        seen = {region.id: region.seen for region in scene.regions}
        for region in made.regions:
            np.testing.assert_array_equal(region.seen, seen[region.id][frames])


# ---- where it begins ----

def test_it_begins_where_most_enter():
    scene = make_scene(0, "still", 24, noise=Noise.none())[0]  # region 1 stands, 2 to 4 move
    assert late_start(scene) is None
    assert late_start(entering(scene, {1: 4})) == 4
    assert late_start(entering(scene, {1: 4, 2: 9, 3: 9})) == 9  # two there
    for frames, start in ((12, 4), (7, 9), (10, 4)):  # of region 1, beside 10 of region 2: longer, shorter, the same
        one, other = (briefly(entering(scene, {i: first}).region(i), n) for i, first, n in ((1, 4, frames), (2, 9, 10)))
        assert late_start(replace(scene, regions=[one, other])) == start


def test_too_late_too_short_or_not_rigid_is_no_reason():
    plain = make_scene(0, "still", 24, noise=Noise.none())[0]
    scene = entering(plain, {2: 17})
    assert late_start(scene) is None  # 7 frames are left
    assert late_start(scene, min_frames=7) == 17
    scene = entering(plain, {2: 9})
    region = scene.region(2)
    brief = briefly(region, 5)
    for changed in (brief, replace(region, rigid=False)):
        assert late_start(replace(scene, regions=[changed])) is None
    assert late_start(replace(scene, regions=[brief]), min_seen=5) == 9


# ---- what is measured and asked ----

@few
@given(seeds, st.sampled_from(CAMERAS))
def test_quantities_of_exact_scenes_are_equal(seed, camera):
    """Displacement, distance, speed and direction (in the camera at that time) over the same frames."""
    start = 4
    scene = entering(make_scene(seed, camera, 12, noise=Noise.none())[0], {2: 4, 3: 4, 4: 5})
    spans = [(5, 11), (6, 9)]
    kinds = ("camera_displacement", "camera_rotation", "camera_direction", "camera_mean_speed", "object_displacement",
             "object_direction", "object_path_length", "object_mean_speed", "object_camera_distance",
             "object_camera_distance_change", "object_object_distance", "lateral_shift", "longitudinal_shift")
    whole = {(q.kind, q.subjects, q.span): q for q in measure(scene, spans, kinds)}
    found = measure(later(scene, start), [(i - start, j - start) for i, j in spans], kinds)
    assert {q.kind for q in found} == set(kinds)
    for q in found:
        other = whole[q.kind, q.subjects, tuple(frame + start for frame in q.span)]
        # the camera's path is a spline, which bends between frames by those before them too
        within = 1e-3 if q.kind == "camera_mean_speed" else 1e-6
        assert np.asarray(q.value) == pytest.approx(np.asarray(other.value), rel=within, abs=within), q


@pytest.mark.parametrize("camera", CAMERAS)
def test_intervals_agree_where_what_was_before_tells_nothing(camera):
    """Within what draws of another seed differ by."""
    scene = entering(make_scene(5, camera, 14)[0], {2: 3, 3: 3})
    there = mean_quantiles(later(scene, 3), [(0, 10), (3, 8)])
    compared = 0
    for (kind, subjects, span), (_, quantiles) in mean_quantiles(scene, [(3, 13), (6, 11)]).items():
        place = kind, subjects, (span[0] - 3, span[1] - 3)
        # of the camera more is known in the whole clip, whose path is smoothed with what was before
        if place not in there or kind.startswith("camera"):
            continue
        width = quantiles[7] - quantiles[1]
        assert np.abs(there[place][1] - quantiles)[1:8].max() < .25 * width + 1e-6, place
        compared += 1
    assert compared >= 20


def test_draws_are_of_the_cut_itself():
    scene = entering(make_scene(2, "hand-held", 12)[0], {2: 3})
    assert SceneDraws(later(scene, 3)).seed != SceneDraws(scene).seed


def test_what_enters_later_is_asked_about_in_the_cut_alone():
    precise = Noise(own_px=.02, own_disparity_px=.01, shared_disparity_px=.01, drift_px=.001, step_rad=1e-6,
                    step_m=1e-6)
    scene = entering(make_scene(1, "still", 16, noise=precise)[0], {2: 4, 3: 4})
    questions, dropped = ask(scene, QuestionsConfig())
    assert not [q for q in questions if {2, 3} & set(q.regions)]
    assert NOT_VISIBLE in {d.reason for d in dropped if 2 in d.subjects}
    made = later(scene, 4)
    asked = ask(made, QuestionsConfig())[0]
    assert {i for q in asked for i in q.regions} == {2, 3}
    assert len({q.family for q in asked if q.regions}) > 15
    for region in made.regions:
        named = of_scene(made, region)
        assert named.box == tuple(made.region(region.id).box[0])
    distance = next(q for q in asked if (q.family, q.regions, q.start_frame) == ("object_camera_distance", [2], 0))
    measured = float(np.linalg.norm(scene.region(2).point_cam[4]))
    assert distance.start_s == 0 and distance.low <= measured <= distance.high
