"""Mirror, time reversal and playback rate: what they undo, what they exchange, what they keep, in closed form and in
what is measured and asked of the scenes that come out."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.augment import Variant, apply, mirror, playback, reverse, variant_of
from curate.geometry.poses import Pose, relative
from curate.geometry.rotations import exp_so3, log_so3
from curate.measure import SceneDraws, measure
from curate.questions import QuestionsConfig, ask
from curate.questions.gates import NOT_NAMED
from curate.questions.region_words import of_scene
from curate.scene import Region, RigState, Scene
from tests.scenes import Noise, make_scene

CAMERAS = ("still", "hand-held", "driving")
few = settings(max_examples=12, deadline=None)
seeds = st.integers(0, 10_000)


def spd(rng, *shape):
    """Random covariances [*shape[:-1], n, n]."""
    root = rng.normal(size=(*shape, shape[-1])) * 1e-3
    return root @ np.swapaxes(root, -1, -2)


def full_scene(seed: int = 0, camera: str = "hand-held", num_frames: int = 9, **options) -> Scene:
    """A scene in which everything that a scene can hold is there and is not zero."""
    scene = make_scene(seed, camera, num_frames, irregular=True, gaps=True, **options)[0]
    rng = np.random.default_rng(seed)
    for region in scene.regions:
        region.rotation_cam = exp_so3(rng.normal(0, .3, (num_frames, 3)))
        region.rotation_cov = spd(rng, num_frames, 3)
        region.rotation_cam[~region.seen] = np.nan
        region.steady, region.rigidity, region.label = .3, .9, "plate"
        region.heading_cam, region.size_m = rng.normal(size=(num_frames, 3)), np.array([3.0, 2.0, 1.0])
    late = replace(scene.regions[-1], id=9, first=2, seen=scene.regions[-1].seen & (np.arange(num_frames) >= 2))
    rig = RigState(rng.normal(0, 1e-3, 3), spd(rng, 3), rng.normal(0, 1e-3, 3), np.array([1., 2, 3]), "motion")
    up = rng.normal(size=3)
    return replace(scene, regions=[*scene.regions, late], rig=rig, rig_step=rng.normal(size=(num_frames, 6)),
                   pose_cov=spd(rng, num_frames, 6), step_cov=spd(rng, num_frames, 6), up="gravity",
                   up_world=up / np.linalg.norm(up), camera_valid=rng.random(num_frames) < .7,
                   camera=replace(scene.camera, cx=scene.camera.cx + 7.25),
                   stats={"doffs_px": 3.5, "valid_disparity": .8})


def assert_same(a, b, path="scene", atol=1e-9):
    """Field by field, numbers within rounding."""
    if isinstance(a, np.ndarray) and a.dtype.kind == "f":
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=atol, err_msg=path)
    elif isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b, err_msg=path)
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for index, (x, y) in enumerate(zip(a, b)):
            assert_same(x, y, f"{path}[{index}]", atol)
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for name in a:
            assert_same(a[name], b[name], f"{path}.{name}", atol)
    elif isinstance(a, Scene | Region | RigState | Pose) or hasattr(a, "fx"):
        for name, value in vars(a).items():
            assert_same(value, getattr(b, name), f"{path}.{name}", atol)
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=1e-9, abs=1e-12, nan_ok=True), path
    else:
        assert a == b, path


# ---- the group ----

@few
@given(seeds, st.sampled_from(CAMERAS))
def test_twice_is_the_original(seed, camera):
    scene = full_scene(seed, camera)
    assert_same(mirror(mirror(scene)), scene)
    assert_same(reverse(reverse(scene)), scene)
    assert_same(playback(playback(scene, 3), 1 / 3), scene)
    assert Scene.to_bytes(mirror(mirror(scene))) != Scene.to_bytes(mirror(scene))


@few
@given(seeds)
def test_operations_commute(seed):
    scene = full_scene(seed)
    assert_same(mirror(reverse(scene)), reverse(mirror(scene)))
    assert_same(playback(reverse(scene), 2), reverse(playback(scene, 2)))
    assert_same(playback(mirror(scene), .5), mirror(playback(scene, .5)))


@few
@given(seeds)
def test_the_scene_given_is_not_changed(seed):
    scene = full_scene(seed)
    before = scene.to_bytes()
    apply(scene, Variant(True, True, 2))
    assert scene.to_bytes() == before


def test_a_scene_made_so_is_stored_and_read_like_any_other():
    scene = apply(full_scene(), Variant(True, True, 2))
    again = Scene.from_bytes(scene.to_bytes())
    assert_same(again, scene)
    assert again.regions[0].defined == "last" and variant_of(again) == Variant(True, True, 2)


def test_every_field_has_been_thought_of():
    """A field that is added to these must be turned, or not, by each operation: then it is added here."""
    assert {f.name for f in fields(Scene)} == {
        "key", "clip", "time_s", "camera", "baseline_m", "baseline_sigma_m", "scale", "up", "up_world", "T_world_cam",
        "step_cov", "camera_valid", "regions", "origin", "stats", "rig", "pose_cov", "rig_step",
        "has_pictures"}
    assert {f.name for f in fields(Region)} == {
        "id", "first", "last", "seen", "box", "centroid_px", "flow_px", "flow_sigma_px", "visible_fraction",
        "point_cam", "cov_frame", "cov_shared", "step_cov", "nearest_m", "nearest_sigma_m", "extent_m", "mask_first",
        "motion_p", "label", "rotation_cam", "rotation_cov", "rigidity", "steady", "rigid", "defined",
        "point", "size_m", "heading_cam"}
    assert {f.name for f in fields(RigState)} == {"theta", "covariance", "applied", "significance", "cue", "warning"}


# ---- keys ----

@given(st.booleans(), st.booleans(), st.integers(100, 10_000))
def test_a_key_says_what_was_done(flip, back, thousandths):
    variant = Variant(flip, back, thousandths / 1000)
    if not variant.suffix:
        return
    assert Variant.split("0a1b2c" + variant.suffix) == ("0a1b2c", variant)


def test_keys_and_groups():
    scene = full_scene()
    made = reverse(playback(mirror(scene), .5))
    assert made.key == f"{scene.key}-mrx0p5" == made.clip["key"]
    assert made.group == scene.key == scene.group
    assert made.clip["recording"] == scene.clip["recording"]
    assert made.origin["augmented"] == "mirror, reverse, playback 0.5"
    assert mirror(made).key == f"{scene.key}-rx0p5"


@pytest.mark.parametrize("rate", [0, -1, .05, 11, float("nan"), 1 / 3])
def test_a_rate_that_no_key_could_hold_is_refused(rate):
    with pytest.raises(ValueError, match=r"playback rate is .*expected"):
        playback(full_scene(), rate)


@pytest.mark.parametrize("key", ["abc", "abc-", "abc-q", "-m", "abc-rm", "abc-xx2", "abc-x2-"])
def test_a_key_without_a_suffix_is_refused(key):
    with pytest.raises(ValueError, match="is not of an augmented clip"):
        Variant.split(key)


# ---- closed form ----

@few
@given(seeds, st.sampled_from(CAMERAS))
def test_mirrored_points_project_to_mirrored_pixels(seed, camera):
    scene = make_scene(seed, camera, 6, noise=Noise.none())[0]
    made = mirror(scene)
    for region, other in zip(scene.regions, made.regions):
        uv = made.camera.project(other.point_cam)
        np.testing.assert_allclose(uv[:, 0], scene.camera.width - 1 - region.centroid_px[:, 0], atol=1e-6)
        np.testing.assert_allclose(uv, other.centroid_px, atol=1e-6)
        world = (made.T_world_cam.rotation @ other.point_cam[..., None])[..., 0] + made.T_world_cam.translation
        plain = (scene.T_world_cam.rotation @ region.point_cam[..., None])[..., 0] + scene.T_world_cam.translation
        np.testing.assert_allclose(world, plain * [-1, 1, 1], atol=1e-9)
        # the second view: at the negative baseline, its pixels mirrored too
        x_second = scene.camera.fx * (region.point_cam[:, 0] - scene.baseline_m) / region.point_cam[:, 2]
        x_made = made.camera.fx * (other.point_cam[:, 0] - made.baseline_m) / other.point_cam[:, 2]
        np.testing.assert_allclose(x_made, -x_second, atol=1e-6)


def test_a_mirrored_box_and_mask_hold_the_mirrored_pixels():
    scene = full_scene()
    made = mirror(scene)
    width = scene.camera.width
    for region, other in zip(scene.regions, made.regions):
        rows, columns = np.nonzero(region.mask_first)
        assert other.mask_first[rows, width - 1 - columns].all()
        assert other.mask_first.sum() == region.mask_first.sum()
    half_open = replace(scene.regions[0], box=np.tile([2., 5, 7, 9], (9, 1)))  # columns 2 to 6
    box = mirror(replace(scene, regions=[half_open])).regions[0].box[0]
    assert box.tolist() == [width - 7, 5, width - 2, 9]  # columns W − 1 − 6 to W − 1 − 2


@few
@given(seeds)
def test_a_turn_to_the_left_is_mirrored_to_the_right(seed):
    scene = full_scene(seed)
    made = mirror(scene)
    before, after = (log_so3(relative(s.T_world_cam, 0, 5).rotation) for s in (scene, made))
    np.testing.assert_allclose(after, before * [1, -1, -1], atol=1e-9)  # tilt stays, pan and roll change sides
    np.testing.assert_allclose(made.rig.theta, scene.rig.theta * [1, -1, -1])


@few
@given(seeds, st.sampled_from(CAMERAS))
def test_backwards_every_point_is_where_it_was(seed, camera):
    scene = full_scene(seed, camera)
    made, last = reverse(scene), scene.num_frames - 1
    np.testing.assert_allclose(made.time_s[::-1] + scene.time_s, scene.time_s[0] + scene.time_s[-1])
    np.testing.assert_allclose(made.T_world_cam.matrix()[0], scene.T_world_cam.matrix()[0], atol=1e-9)
    for i, j in ((0, last), (2, 5), (6, 1)):  # what one camera sees from another's place
        a, b = relative(scene.T_world_cam, i, j), relative(made.T_world_cam, last - i, last - j)
        np.testing.assert_allclose(a.matrix(), b.matrix(), atol=1e-9)
    # up is the same direction, seen from every camera
    a = scene.T_world_cam.rotation[3].T @ scene.up_world
    np.testing.assert_allclose(made.T_world_cam.rotation[last - 3].T @ made.up_world, a, atol=1e-9)
    for region, other in zip(scene.regions, made.regions):
        assert (other.first, other.last) == (last - region.last, last - region.first)
        assert other.seen[other.first] and other.seen[other.last] and other.defined_at == last - region.first
        np.testing.assert_array_equal(other.flow_px[0], -region.flow_px[last - 1])


@few
@given(seeds)
def test_the_error_of_a_step_walked_backwards_is_that_of_its_inverse(seed):
    """Drawn: what exp(w) R, t + u is inverted to, against the covariance that the reversed scene states."""
    scene = full_scene(seed, num_frames=4)
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(scene.step_cov[2] + 1e-18 * np.eye(6)) * 1e-3
    step = relative(scene.T_world_cam, 1, 2)
    back = relative(scene.T_world_cam, 2, 1)
    errors = []
    for w_u in (rng.normal(size=(4000, 6)) @ root.T):
        turned, moved = exp_so3(w_u[:3]) @ step.rotation, step.translation + w_u[3:]
        inverse = turned.T, -turned.T @ moved
        errors.append(np.concatenate([log_so3(inverse[0] @ back.rotation.T), inverse[1] - back.translation]))
    drawn = np.cov(np.array(errors).T) * 1e6
    stated = reverse(scene).step_cov[2]  # of four frames: the step between 1 and 2 stays in the middle
    size = np.sqrt(np.outer(np.diag(stated), np.diag(stated)))
    assert np.abs((drawn - stated) / size).max() < .12  # 4000 draws: a relative error of 1 / √2000, several sigmas


def test_drift_is_none_where_the_reference_point_is_defined():
    """A track that only drifts: its distance is known where it began, and ever less towards the other end."""
    scene = make_scene(3, "still", 8, 1, Noise(0, 0, 0, 0, drift_px=.3, step_rad=0, step_m=0, step_share=0, scale=0))[0]
    for made, best, worst in ((scene, 0, 7), (reverse(scene), 7, 0)):
        spread = {q.span[0]: q.quantiles[7] - q.quantiles[1] for q in measure(made, kinds=["object_camera_distance"])}
        assert spread[best] < .3 * spread[worst]


def test_up_of_the_camera_is_that_of_the_new_first_frame():
    scene = replace(full_scene(), up="camera", up_world=np.array([0., -1, 0]))
    np.testing.assert_allclose(reverse(scene).T_world_cam.rotation[0].T @ reverse(scene).up_world, [0, -1, 0],
                               atol=1e-12)


# ---- what is measured and asked ----

OPERATIONS = {"mirror": mirror, "reverse": reverse, "playback": lambda scene: playback(scene, 2)}
SWAPPED = {"mirror": {"left": "right", "right": "left"},
           "reverse": {"closer": "farther", "farther": "closer", "forward": "backward", "backward": "forward",
                       "left": "right", "right": "left", "up": "down", "down": "up"},
           "playback": {}}
NUM_SEEDS = 4
KINDS = ("camera_displacement", "camera_path_length", "camera_rotation", "object_displacement", "object_path_length",
         "object_mean_speed", "object_peak_speed", "object_camera_distance", "object_camera_distance_change",
         "object_object_distance")


def span_after(operation: str, scene: Scene, span: tuple[int, int]) -> tuple[int, int]:
    last = scene.num_frames - 1
    return (last - span[1], last - span[0]) if operation == "reverse" else span


def mean_quantiles(scene: Scene, spans: list[tuple[int, int]]) -> dict[tuple, tuple[str, np.ndarray]]:
    """(kind, subjects, span) -> unit, quantiles [9]; a mean over several seeds."""
    drawn = [measure(scene, spans, KINDS, SceneDraws(scene, seed=seed)) for seed in range(NUM_SEEDS)]
    return {(q.kind, q.subjects, q.span): (q.unit, np.mean([of[place].quantiles for of in drawn], 0))
            for place, q in enumerate(drawn[0])}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("camera", CAMERAS)
def test_measured_quantiles_agree(operation, camera):
    """Interval for interval, within what draws of another seed differ by: distances are kept, changes get the other
    sign backwards, speeds go with the rate."""
    scene = make_scene(5, camera, 12)[0]
    if camera == "driving":  # the pan that is left, and errors of each pose alone, as perception states them
        rng = np.random.default_rng(0)
        rig = RigState(np.array([0, 1e-4, 0]), np.eye(3) * 1e-8, np.zeros(3), np.ones(3), "motion")
        alone = np.tile(np.diag([1e-9] * 3 + [1e-6] * 3), (12, 1, 1))
        scene = replace(scene, rig=rig, rig_step=rng.normal(0, .02, (12, 6)), pose_cov=alone)
    spans = [(0, 11), (3, 9)]
    there = mean_quantiles(OPERATIONS[operation](scene), [span_after(operation, scene, span) for span in spans])
    compared = 0
    for (kind, subjects, span), (unit, quantiles) in mean_quantiles(scene, spans).items():
        place = kind, subjects, span_after(operation, scene, span)
        if place not in there:
            assert span[0] == span[1]  # instants are those at the start of a span
            continue
        if operation == "playback" and unit == "m/s":
            quantiles = 2 * quantiles
        if operation == "reverse" and kind.endswith("change"):
            quantiles = -quantiles[::-1]
        width = quantiles[7] - quantiles[1]
        assert np.abs(there[place][1] - quantiles)[1:8].max() < .2 * width + 1e-6, place
        compared += 1
    assert compared > 30


def slide(velocity, start=(0, 0, 6)):
    return lambda t: np.asarray(start, float) + np.asarray(velocity, float) * t[:, None]


@pytest.fixture(scope="module")
def crossing() -> Scene:
    """A camera that stands still; objects that go right, left, away, near, up and down, at a metre a second."""
    ways = {"right": (1, 0, 0), "left": (-1, 0, 0), "away": (0, 0, 1), "near": (0, 0, -1), "up": (0, -1, 0)}
    paths = [(name, slide(way, (x, .2, 5)), True) for (name, way), x in zip(ways.items(), (-.8, .8, -.3, .3, 0))]
    return make_scene(1, "still", 12, len(paths), Noise(own_px=.02, own_disparity_px=.01, shared_disparity_px=.01,
                                                        drift_px=.001, step_rad=1e-6, step_m=1e-6), paths=paths)[0]


def answers(scene: Scene, family: str, form: str) -> dict[tuple, str]:
    """(regions, span) -> the answer in words, with its unit where it has one."""
    config = QuestionsConfig(families=(family,), forms=(form,), units={"speed": ("m/s",)})
    return {(tuple(q.regions), (q.start_frame, q.end_frame)): f"{q.answer} {q.unit}".strip()
            for q in ask(scene, config)[0]}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("family", ["object_direction", "apparent_direction", "object_camera_distance_change"])
def test_answers_change_with_the_clip(crossing, operation, family):
    """Mirrored, left is right; backwards, closer is farther, forward is backward, and each way is the other."""
    before = answers(crossing, family, "choice")
    after = answers(OPERATIONS[operation](crossing), family, "choice")
    shared = [place for place in before if (place[0], span_after(operation, crossing, place[1])) in after]
    assert len(shared) >= (2 if family.endswith("change") else 4)
    for place in shared:
        answer = after[place[0], span_after(operation, crossing, place[1])]
        assert answer == SWAPPED[operation].get(before[place], before[place]), place


def test_the_answers_themselves(crossing):
    """By hand: region 1 goes right; region 4 comes nearer by almost its metre a second."""
    whole = 0, 11
    assert answers(crossing, "object_direction", "choice")[(1,), whole] == "right"
    assert answers(mirror(crossing), "object_direction", "choice")[(1,), whole] == "left"
    assert answers(reverse(crossing), "object_direction", "choice")[(1,), whole] == "left"
    assert answers(crossing, "object_camera_distance_change", "choice")[(4,), whole] == "closer"
    assert answers(reverse(crossing), "object_camera_distance_change", "choice")[(4,), whole] == "farther"
    for made, speed in ((crossing, 1), (mirror(crossing), 1), (reverse(crossing), 1), (playback(crossing, 2), 2),
                        (playback(crossing, .5), .5)):
        number, unit = answers(made, "object_mean_speed", "numeric")[(1,), whole].split()
        assert unit == "m/s" and float(number) == pytest.approx(speed, rel=.02)
        number, unit = answers(made, "object_displacement", "numeric")[(1,), whole].split()
        assert unit == "m" and float(number) == pytest.approx(11 / 24, rel=.02)  # 12 frames at 24 a second


def test_backwards_the_wording_says_which_frame_the_reference_point_is_of(crossing):
    made = reverse(crossing)
    questions = ask(made, QuestionsConfig())[0]
    assert questions
    for q in questions:
        assert "visible in the first frame" not in " ".join([q.question, *q.reasoning, q.answer]), q.id
    distance = next(q for q in questions if q.family == "object_camera_distance")
    assert distance.reference == "surface@t1" == distance.quantities[0]["reference"]
    assert "the centre of the surface that is visible in the last frame" in distance.question


def test_backwards_a_region_that_was_seen_later_is_not_asked_about(crossing):
    """It came in at frame 3: of which frame's surface the centre is, no question could say."""
    late = crossing.regions[0]
    late = replace(late, first=3, seen=late.seen & (np.arange(12) >= 3))
    scene = reverse(replace(crossing, regions=[late, *crossing.regions[1:]]))
    questions, dropped = ask(scene, QuestionsConfig())
    assert not [q for q in questions if late.id in q.regions] and [q for q in questions if q.regions]
    assert NOT_NAMED in {d.reason for d in dropped if late.id in d.subjects}


def test_backwards_a_body_that_is_not_rigid_is_asked_about_nowhere_but_in_the_last_frame(crossing):
    loose = replace(crossing, regions=[replace(r, rigid=False) for r in crossing.regions])
    config = QuestionsConfig(families=("object_camera_distance", "object_displacement", "distance_comparison"))
    for scene, frames in ((loose, {0}), (reverse(loose), {11})):
        assert {frame for q in ask(scene, config)[0] for frame in (q.start_frame, q.end_frame)} == frames


def test_backwards_a_point_that_names_a_region_lies_in_its_box_of_the_new_first_frame(crossing):
    for scene in (crossing, reverse(crossing)):
        for region in scene.regions:
            found = of_scene(scene, region)
            assert found.box == tuple(region.box[0])
            assert found.box[0] <= found.point[0] <= found.box[2] and found.box[1] <= found.point[1] <= found.box[3]
