"""Depth by semi-global matching against closed-form pairs and real pairs with truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.data import calibration
from curate.geometry.cameras import Intrinsics, StereoRig
from curate.perception.depth.config import SgmConfig
from curate.perception.depth.refine import refine_disparity
from curate.perception.depth.sgm import Sgm, left_right_residual
from curate.perception.estimator import Window
from curate.synth import Renderer, sample_scene
from tests.textured import Texture, grid, picture

SHARED = Path(__file__).parents[1].parent / "shared" / "data"
SIZE = (320, 200)


def rig(doffs: float = 0.0, size: tuple[int, int] = SIZE, focal: float = 300.0, baseline: float = 0.2) -> StereoRig:
    return StereoRig(Intrinsics(focal, focal, size[0] / 2 - 0.5, size[1] / 2 - 0.5, *size), baseline, doffs)


def window(left: np.ndarray, right: np.ndarray, stereo: StereoRig) -> Window:
    """One frame."""
    return Window(0, 0, True, [], [left[None], right[None]], np.zeros(1), stereo, stereo.left, 0)


def plane_pair(disparity: np.ndarray, seed: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A textured surface whose disparity in the RIGHT view is given [H, W]: right(x) = texture(x + d)."""
    rng, texture = np.random.default_rng(seed), Texture(SIZE, seed)
    x, y = grid(SIZE)
    return picture(texture.at(x, y), rng, noise), picture(texture.at(x + disparity, y), rng, noise)


def inner(valid: np.ndarray, margin: int = 12) -> np.ndarray:
    keep = np.zeros_like(valid)
    keep[margin:-margin, margin:-margin] = True
    return valid & keep


@pytest.mark.parametrize("disparity", [6.0, 9.25, 12.5, 17.8, 23.1])
def test_sub_pixel_plane_is_found_without_bias(disparity):
    left, right = plane_pair(np.full(SIZE[::-1], disparity, np.float32), seed=int(disparity * 10))
    field = Sgm().run(window(left, right, rig()))["disparity"]
    use = inner(field.valid[0])
    assert use[:, 40:].mean() > 0.8
    error = field.values[0][use] - disparity
    assert abs(np.median(error)) < 0.02
    assert abs(error.mean()) < 0.03
    assert np.mean(np.abs(error) < 2 * field.sigma[0][use]) > 0.93


@settings(max_examples=6, deadline=None)
@given(st.floats(4, 30), st.integers(0, 10_000))
def test_bias_is_small_at_any_disparity(disparity, seed):
    left, right = plane_pair(np.full(SIZE[::-1], disparity, np.float32), seed)
    values, _, valid = Sgm().match(left, right, 0, 48)
    assert abs(np.mean(values[inner(valid)] - disparity)) < 0.05


def test_slanted_plane_has_no_stairs():
    _, y = grid(SIZE)
    slope = 0.06
    # left disparity d = a + slope·y depends on the row alone, so it is the same seen from the right
    truth = 6 + slope * y
    left, right = plane_pair(truth, seed=3)
    values, sigma, valid = Sgm().match(left, right, 0, 32)
    use = inner(valid)
    error = values[use] - truth[use]
    assert abs(np.median(error)) < 0.03
    assert np.median(np.abs(error)) < 0.08
    assert np.mean(np.abs(error) < 2 * sigma[use]) > 0.93


@pytest.mark.parametrize("slope", [-0.12, 0.08, 0.15])
def test_plane_slanted_across_has_no_bias(slope):
    """d = a + slope·x in the left view, so right(x) = texture((x + a) / (1 - slope)): the views see it stretched."""
    x, y = grid(SIZE)
    start = 24.0 if slope < 0 else 4.0
    truth = start + slope * x
    rng, texture = np.random.default_rng(4), Texture(SIZE, 4)
    left = picture(texture.at(x, y), rng)
    right = picture(texture.at((x + start) / (1 - slope), y), rng)
    values, sigma, valid = Sgm().match(left, right, -20, 80)
    use = inner(valid)
    assert use.mean() > 0.5
    error = values[use] - truth[use]
    assert abs(np.median(error)) < 0.03
    assert np.mean(np.abs(error) < 2 * sigma[use]) > 0.93


@pytest.mark.parametrize("noise", [1.0, 4.0, 8.0])
def test_sigma_follows_the_noise(noise):
    z = []
    for seed in range(3):
        left, right = plane_pair(np.full(SIZE[::-1], 11.37, np.float32), seed, noise)
        values, sigma, valid = Sgm().match(left, right, 0, 32)
        use = inner(valid)
        z.append((values[use] - 11.37) / sigma[use])
    z = np.concatenate(z)
    # the fit covers worse images (compression, edges): on clean ones sigma may be larger than the error, not smaller
    assert 0.1 < z.std() < 1.4


def test_depth_sigma_is_that_of_the_disparity():
    left, right = plane_pair(np.full(SIZE[::-1], 12.0, np.float32), 1)
    stereo = rig()
    fields = Sgm().run(window(left, right, stereo))
    use = fields["depth"].valid
    d, z = fields["disparity"], fields["depth"]
    assert np.allclose(z.values[use], 60.0 / d.values[use], rtol=1e-5)
    assert np.allclose(z.sigma[use], 60.0 / d.values[use] ** 2 * d.sigma[use], rtol=1e-4)
    assert np.isinf(z.values[~use]).all()


def test_cameras_with_different_centres():
    """doffs > 0: far points have negative disparity, and depth = f·B / (d + doffs)."""
    left, right = plane_pair(np.full(SIZE[::-1], -8.0, np.float32), 5)
    stereo = rig(doffs=20.0)
    fields = Sgm().run(window(left, right, stereo))
    use = inner(fields["depth"].valid[0], 24)
    assert use.mean() > 0.5
    assert np.median(fields["depth"].values[0][use]) == pytest.approx(300 * 0.2 / 12, rel=0.01)


def test_what_the_right_camera_cannot_see_is_unknown():
    """A near patch hides a strip of the background left of it."""
    rng = np.random.default_rng(0)
    near, far = Texture(SIZE, 1), Texture(SIZE, 2)
    x, y = grid(SIZE)
    front_left = (x >= 150) & (x < 230) & (y >= 50) & (y < 150)
    front_right = (x >= 120) & (x < 200) & (y >= 50) & (y < 150)
    left = picture(np.where(front_left, near.at(x, y), far.at(x, y)), rng)
    right = picture(np.where(front_right, near.at(x + 30, y), far.at(x + 8, y)), rng)
    values, _, valid = Sgm().match(left, right, 0, 48)
    hidden = (x >= 130) & (x < 148) & (y >= 60) & (y < 140)  # 22 px wide, less the rim of the patch
    assert valid[hidden].mean() < 0.12
    assert np.abs(np.median(values[valid & front_left]) - 30) < 0.1
    assert valid[:, :6].mean() < 0.2  # left of what the right camera sees


def layers(width_px: int, near: float = 30.0, far: float = 8.0) -> tuple[np.ndarray, ...]:
    """Left and right view of posts before a wall, the true disparity of the left view, and where the right camera
    sees the wall (or a post)."""
    rng, front, back = np.random.default_rng(width_px), Texture(SIZE, 1), Texture(SIZE, 2)
    x, y = grid(SIZE)

    def post(at):
        return ((at % 60 >= 20) & (at % 60 < 20 + width_px)) & (y >= 30) & (y < 170)

    left = picture(np.where(post(x), front.at(x, y), back.at(x, y)), rng)
    right = picture(np.where(post(x + near), front.at(x + near, y), back.at(x + far, y)), rng)
    truth = np.where(post(x), near, far)
    hidden = ~post(x) & post(x - far + near)
    return left, right, truth, ~hidden & (x - truth >= 0)


@pytest.mark.parametrize("width", [6, 10, 20])
def test_nothing_is_invented_beside_posts(width):
    """Pixels are right within their sigma or unknown: on thin posts, beside them, and in what they hide. (Posts of
    three pixels are taken for the wall: a window of five sees more wall than post.)"""
    left, right, truth, seen = layers(width)
    values, sigma, valid = Sgm().match(left, right, 0, 48)
    use = inner(valid)
    wrong = use & (np.abs(values - truth) > 2 * sigma)
    assert wrong.sum() < 0.05 * use.sum()
    assert wrong[inner(~seen)].mean() < 0.2
    assert wrong[inner(truth == 30)].mean() < 0.25
    assert use.sum() > 0.3 * inner(seen).sum()


def test_what_is_doubtful_has_more_sigma():
    """The share of wrong pixels falls with sigma: in the surest half of a scene with posts there are next to none."""
    left, right, truth, _ = layers(8)
    values, sigma, valid = Sgm().match(left, right, 0, 48)
    use = inner(valid)
    error = np.abs(values[use] - truth[use])[np.argsort(sigma[use])]
    quarters = [float(np.mean(part > 1)) for part in np.array_split(error, 4)]
    assert quarters[0] <= quarters[1] + 1e-3 and quarters[1] <= quarters[3] and quarters[2] <= quarters[3]
    assert max(quarters[:2]) < 0.005 < quarters[3]


def test_two_sigma_hold_on_a_rendered_scene():
    """Of seeds that no fit has seen, at two sizes."""
    inside, surest = [], []
    for index, size in ((0, (384, 216)), (1, (640, 360))):
        scene = replace(sample_scene(9_000, index, width=size[0], height=size[1]), rig_rotation_deg=(0.0, 0.0, 0.0))
        frame = Renderer(scene).render(0)
        left, right = (cv2.cvtColor(v, cv2.COLOR_RGB2GRAY) for v in (frame.left, frame.right))
        sgm = Sgm()
        values, sigma, valid = sgm.match(left, right, *sgm.search_range(scene.rig, size[0]))
        use = valid & np.isfinite(frame.depth)
        assert use.sum() > 0.7 * np.isfinite(frame.depth).sum()
        z = (values[use] - scene.rig.disparity(frame.depth[use])) / sigma[use]
        inside.append(np.mean(np.abs(z) < 2))
        surest.append(np.mean(np.abs(z[sigma[use] < np.median(sigma[use])]) < 2))
    assert min(inside) > 0.92 and min(surest) > 0.92


def test_views_that_differ_as_real_ones_do_have_honest_sigma():
    """Gain, gamma, sharpness, and rows off by a third of a pixel."""
    x, y = grid(SIZE)
    truth = 6 + 0.06 * y
    rng, texture = np.random.default_rng(8), Texture(SIZE, 8)
    left = picture(texture.at(x, y), rng)
    right = texture.at(x + truth, y + 0.3)
    right = picture(230 * np.clip(cv2.GaussianBlur(right, (0, 0), 0.6) / 255, 0, 1) ** 1.1, rng)
    values, sigma, valid = Sgm().match(left, right, 0, 32)
    use = inner(valid)
    assert use.mean() > 0.6
    assert np.mean(np.abs(values[use] - truth[use]) < 2 * sigma[use]) > 0.93


def test_the_range_is_narrowed_to_what_the_scene_uses():
    """A wide search gives what a narrow one gives, and neither loses what is near."""
    left, right, truth, _ = layers(20)
    narrow, _, valid_narrow = Sgm().match(left, right, 0, 48)
    wide, _, valid_wide = Sgm().match(left, right, 0, 128)
    both = inner(valid_narrow & valid_wide)
    assert both.sum() > 0.95 * inner(valid_narrow).sum()
    assert np.mean(np.abs(narrow[both] - wide[both]) < 0.1) > 0.98
    near = inner(valid_wide) & (truth == 30)
    assert near.sum() > 0.5 * inner(truth == 30).sum() and abs(np.median(wide[near]) - 30) < 0.1


def test_a_blank_wall_is_unknown():
    rng = np.random.default_rng(0)
    blank = np.full(SIZE[::-1], 128.0)
    _, _, valid = Sgm().match(picture(blank, rng), picture(blank, rng), 0, 32)
    assert valid.mean() < 0.02


def test_brightness_of_the_right_view_does_not_matter():
    left, right = plane_pair(np.full(SIZE[::-1], 10.4, np.float32), 7)
    brighter = np.clip(right.astype(int) + 12, 0, 255).astype(np.uint8)
    values, _, valid = Sgm().match(left, brighter, 0, 32)
    assert abs(np.median(values[inner(valid)] - 10.4)) < 0.03


def test_refinement_reaches_the_truth_from_half_a_pixel_off():
    left, right = plane_pair(np.full(SIZE[::-1], 10.0, np.float32), 2, noise=0.5)
    start = np.full(SIZE[::-1], 10.5, np.float32)
    refined, variance, similar = refine_disparity(left.astype(np.float32), right.astype(np.float32), start,
                                                  np.ones(start.shape, bool))
    assert np.median(np.abs(refined[20:-20, 40:-20] - 10)) < 0.02
    assert np.isfinite(variance[20:-20, 40:-20]).mean() > 0.95
    assert np.median(similar[20:-20, 40:-20]) > 0.95


def test_left_right_residual_of_agreeing_maps_is_zero():
    left = np.full((4, 30), 5.0, np.float32)
    residual = left_right_residual(left, left + 0.25, np.ones(left.shape, bool))
    assert np.allclose(residual[:, 5:], 0.25)
    assert np.isinf(residual[:, :5]).all()


def test_same_input_same_bytes():
    left, right = plane_pair(np.full(SIZE[::-1], 10.4, np.float32), 7)
    a, b = (Sgm().run(window(left, right, rig()))["disparity"] for _ in range(2))
    assert a.values.tobytes() == b.values.tobytes() and a.sigma.tobytes() == b.sigma.tobytes()


def test_bad_requests_are_named():
    left, _ = plane_pair(np.full(SIZE[::-1], 10.4, np.float32), 7)
    with pytest.raises(ValueError, match="stereo pair"):
        Sgm().run(Window(0, 0, True, [], [left[None]], np.zeros(1), None, rig().left, 0))
    with pytest.raises(ValueError, match="odd"):
        Sgm(SgmConfig(block=4))
    with pytest.raises(ValidationError):
        SgmConfig(blok=5)
    with pytest.raises(KeyError, match="not calibrated"):
        calibration("sgm", "none")


def score(field, truth: np.ndarray) -> dict[str, float]:
    use = field.valid[0] & np.isfinite(truth)
    error = field.values[0][use] - truth[use]
    return {"density": use.sum() / np.isfinite(truth).sum(), "bad2": np.mean(np.abs(error) > 2),
            "median": np.median(error), "covered": np.mean(np.abs(error) < 2 * field.sigma[0][use])}


def risk(field, truth: np.ndarray, wrong: np.ndarray, density: float = 0.8) -> float:
    """Share of wrong pixels among the surest, as many as this density of the truth [H, W]; missing ones are wrong."""
    count = round(density * np.isfinite(truth).sum())
    use = field.valid[0] & np.isfinite(truth)
    taken = wrong[use][np.argsort(field.sigma[0][use], kind="stable")[:count]]
    return float((taken.sum() + count - len(taken)) / count)


@pytest.mark.shared
def test_lidar_of_a_driving_scene():
    """More than 3 px and 5 % wrong: at most 4 % of the surest 80 % of the pixels that the LiDAR saw."""
    folder = SHARED / "stereopair_kitti_object_lidar"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    left, right = (cv2.imread(str(folder / f"{s}.png"), cv2.IMREAD_GRAYSCALE) for s in ("left", "right"))
    lines = [line.split(":") for line in (folder / "calib.txt").read_text().splitlines() if ":" in line]
    calib = {name: np.array(numbers.split(), float) for name, numbers in lines}
    p2, p3, velo = (calib[name].reshape(3, 4) for name in ("P2", "P3", "Tr_velo_to_cam"))
    points = np.fromfile(folder / "lidar.bin", np.float32).reshape(-1, 4)[:, :3]
    points = calib["R0_rect"].reshape(3, 3) @ (velo[:, :3] @ points.T + velo[:, 3:])
    points = points[:, points[2] > 1]
    uvw = p2[:, :3] @ points + p2[:, 3:]
    u, v = uvw[:2] / uvw[2]
    there = p3[:, :3] @ points + p3[:, 3:]
    disparity = u - there[0] / there[2]
    order = np.argsort(disparity)  # the nearest comes last
    column, row = np.rint(u[order]).astype(int), np.rint(v[order]).astype(int)
    on = (column >= 0) & (column < left.shape[1]) & (row >= 0) & (row < left.shape[0])
    truth = np.full(left.shape, np.nan, np.float32)
    truth[row[on], column[on]] = disparity[order][on]
    nearest = cv2.dilate(np.nan_to_num(truth, nan=-1e3), np.ones((9, 7)))
    truth[nearest > 1.05 * truth + 1] = np.nan  # seen through what is nearer
    camera = Intrinsics(p2[0, 0], p2[1, 1], p2[0, 2], p2[1, 2], left.shape[1], left.shape[0])
    stereo = StereoRig(camera, (p2[0, 3] - p3[0, 3]) / p2[0, 0])
    field = Sgm().run(window(left, right, stereo))["disparity"]
    error = np.abs(field.values[0] - truth)
    assert np.isfinite(truth).sum() > 10_000
    assert risk(field, truth, (error > 3) & (error > 0.05 * truth)) <= 0.04


@pytest.mark.shared
def test_motorcycle():
    folder = SHARED / "stereopair_middlebury_motorcycle_quarter"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    left, right = (cv2.imread(str(folder / f"motorcycle_{s}.png"), cv2.IMREAD_GRAYSCALE) for s in ("left", "right"))
    truth = np.load(folder / "motorcycle_disp.npz")["arr_0"]
    info = json.loads((folder / "calib.json").read_text())
    camera = Intrinsics(info["fx"], info["fx"], info["cx"], info["cy"], info["width"], info["height"])
    field = Sgm().run(window(left, right, StereoRig(camera, info["baseline_m"], info["doffs_px"])))["disparity"]
    got = score(field, truth)
    assert got["density"] > 0.8 and got["bad2"] < 0.05 and abs(got["median"]) < 0.1 and got["covered"] > 0.88
    truth = np.where(np.isfinite(truth), truth, np.nan)
    wrong = np.abs(field.values[0] - truth) > 2
    assert risk(field, truth, wrong) <= 0.04
    assert risk(field, truth, wrong, 0.5) <= risk(field, truth, wrong)


@pytest.mark.shared
def test_a_road_scene_is_measured_over_most_of_it():
    folder = SHARED / "stereo_kitti06_gray"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    left, right = (cv2.imread(str(sorted((folder / s).iterdir())[0]), cv2.IMREAD_GRAYSCALE) for s in ("left", "right"))
    stereo = StereoRig(Intrinsics(707.0912, 707.0912, 601.8873, 183.1104, left.shape[1], left.shape[0]), 0.5372)
    sgm = Sgm()
    sgm.setup()
    field = sgm.run(window(left, right, stereo))["depth"]
    assert field.valid.mean() > 0.5
    assert 2 < np.percentile(field.values[field.valid], 1) < 12  # the road before the car
