"""3D tracks to bodies: told apart, fitted with errors that hold, and from what rests."""

from __future__ import annotations

import numpy as np
import pytest

from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3, log_so3
from curate.sources.stereo4d_groups import StereoNoise, group, surfaces
from curate.sources.stereo4d_rigid import fit
from tests.spherical_scene import EYES_M
from tests.stereo4d_files import camera, cloud

VIEW = camera(128)
NOISE = StereoNoise(VIEW.fx, EYES_M, 0.25, 0.25)
T = 24


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
