"""Moments of track errors find what artificial tracks were made of; the rendered rig's error is not the track's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.calibrate_lift import (
    ALL,
    LAGS,
    MIN_CHANGES,
    Track,
    changes_of,
    estimate,
    main,
    moment_rows,
    normalised,
    score_rows,
    spread,
    tracks_of,
)
from curate.geometry.rotations import exp_so3
from curate.lift.track_error import TrackError
from curate.measure.draws import drift_covariance
from curate.scene import RigState
from curate.synth.renderer import Renderer
from curate.synth.truth import Truth, match
from tests.scenes import make_scene
from tests.synthetic import body, line, path, scene, wall

IN_USE = 0.8  # the share of the frames' own error that artificial tracks state
POINT = np.array([0.3, -0.2, 5.0])


def artificial(rng: np.random.Generator, num: int, own: float = 0.7, steady: float = 0.5, drift: float = 1.0,
               common: float = 0.0, steps: tuple[int, int] = (9, 15)) -> list[Track]:
    """Tracks of several sizes of error and lengths, a pixel as long as a metre: fresh noise of `own` times the fit's,
    a drift of `drift` times the stated variance at the end, and a common error of depth."""
    out = []
    for _ in range(num):
        n = int(rng.integers(*steps)) + 1
        alone, end = rng.uniform(0.005, 0.02), rng.uniform(0.02, 0.1)  # standard deviations
        time = np.linspace(0, 1, n)[:, None]
        walk = np.concatenate([np.zeros((1, 3)), rng.standard_normal((n - 1, 3)) / np.sqrt(n - 1)]).cumsum(0)
        error = own * alone * rng.standard_normal((n, 3)) + end * np.sqrt(drift) * (
            np.sqrt(1 - steady) * walk + np.sqrt(steady) * time * rng.standard_normal(3))
        ray = POINT / np.linalg.norm(POINT)
        error += common * rng.standard_normal() * ray
        eye = np.broadcast_to(np.eye(3), (n, 3, 3))
        out.append(Track(True, True, True, np.tile(POINT, (n, 1)), error, error, (IN_USE * alone) ** 2 * eye,
                         common**2 * np.broadcast_to(np.outer(ray, ray), (n, 3, 3)),
                         drift_covariance(end**2 * time[..., None] * np.eye(3), 0.5), eye, eye))
    return out


@pytest.mark.parametrize("steady", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("own", [0.4, 0.7, 1.0])
def test_shares_are_found_whatever_the_stated_ones_are(own, steady):
    rng = np.random.default_rng([int(10 * own), int(10 * steady)])
    found = estimate(changes_of(artificial(rng, 500, own, steady), IN_USE))
    assert found.own == pytest.approx(own, abs=0.04)
    assert found.steady == pytest.approx(steady, abs=0.15)  # four standard errors
    assert found.drift == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("drift", [0.25, 2.0])
def test_the_size_of_the_drift_is_found_beside_its_share(drift):
    found = estimate(changes_of(artificial(np.random.default_rng(3), 600, 0.6, 0.4, drift), IN_USE))
    assert found.drift == pytest.approx(drift, rel=0.15) and found.steady == pytest.approx(0.4, abs=0.15)


def test_white_noise_is_all_fresh_and_does_not_drift():
    found = estimate(changes_of(artificial(np.random.default_rng(4), 400, 0.9, drift=0.0), IN_USE))
    assert found.own == pytest.approx(0.9, abs=0.03) and found.drift < 0.05


def test_drift_alone_leaves_nothing_fresh():
    changes = changes_of(artificial(np.random.default_rng(5), 400, own=0.0, steady=0.0), IN_USE)
    found = estimate(changes)
    assert found.own < 0.12 and found.steady < 0.1


def test_moments_are_solved_exactly():
    """Changes whose squares are the expected ones: (1 - s) V L/n + s V (L/n)², and the frames' own."""
    changes = changes_of(artificial(np.random.default_rng(6), MIN_CHANGES), IN_USE)
    part = changes.part[:, None]
    exact = 0.55**2 * changes.fresh + 0.8 * changes.whole * (0.65 * part + 0.35 * part**2)
    found = estimate(replace(changes, change=np.sqrt(exact)))
    assert (found.own, found.steady, found.drift) == pytest.approx((0.55, 0.35, 0.8), rel=1e-6)
    one = estimate(replace(changes, change=np.sqrt(exact) * [3.0, 1.0, 3.0]), axes=(1,))  # the other axes have no say
    assert (one.own, one.steady, one.drift) == pytest.approx((0.55, 0.35, 0.8), rel=1e-6)


def test_each_lag_is_there_and_the_share_in_use_is_taken_out_of_what_frames_state():
    tracks = artificial(np.random.default_rng(7), 5, steps=(8, 9))
    changes = changes_of(tracks, IN_USE)
    assert {lag: int((changes.lag == lag).sum()) for lag in (*LAGS, ALL)} == {1: 40, 3: 30, 6: 15, ALL: 5}
    np.testing.assert_allclose(changes.frame, IN_USE**2 * changes.fresh)
    np.testing.assert_allclose(changes.drift[changes.lag == ALL], changes.whole[changes.lag == ALL])


def test_one_gross_track_does_not_decide():
    tracks = artificial(np.random.default_rng(8), 400)
    before = estimate(changes_of(tracks, IN_USE))
    lost = replace(tracks[0], error_px=tracks[0].error_px + np.arange(len(tracks[0]))[:, None] * 10)
    after = estimate(changes_of([lost, *tracks[1:]], IN_USE))
    assert after.own == pytest.approx(before.own, abs=0.1) and after.steady == pytest.approx(before.steady, abs=0.15)
    assert estimate(changes_of([lost, *tracks[1:]], IN_USE), max_z=1e6).drift > 100 * after.drift  # unbounded it would


def test_a_folder_that_is_no_campaign_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--campaign", str(tmp_path), "--out", str(tmp_path / "rows.json")])
    assert "benchmarks.campaign --out" in capsys.readouterr().err and not (tmp_path / "rows.json").exists()


def test_bodies_that_deform_say_nothing_of_a_frames_own_error():
    tracks = [replace(t, rigid=False) for t in artificial(np.random.default_rng(9), 3)]
    with pytest.raises(ValueError, match="none of 3 tracks is rigid"):
        changes_of(tracks, IN_USE)


def test_too_few_changes_are_a_skipped_row_and_an_error():
    changes = changes_of(artificial(np.random.default_rng(10), 2), IN_USE)
    with pytest.raises(ValueError, match="three are needed"):
        estimate(changes)
    rows = moment_rows(changes, np.arange(2), TrackError.load())
    assert rows and all("skipped" in r["name"] for r in rows)


def test_standard_errors_are_those_of_fresh_draws():
    found = [estimate(changes_of(artificial(np.random.default_rng(seed), 60), IN_USE)) for seed in range(30)]
    tracks = artificial(np.random.default_rng(99), 60)
    stated = spread(changes_of(tracks, IN_USE), np.arange(60))
    assert stated.own == pytest.approx(np.std([f.own for f in found]), rel=0.5)
    assert stated.steady == pytest.approx(np.std([f.steady for f in found]), rel=0.5)


def test_errors_as_stated_have_a_score_of_one_on_every_axis():
    tracks = artificial(np.random.default_rng(11), 800, own=IN_USE, steady=0.5, common=0.05)
    changes, firsts = zip(*(normalised(t) for t in tracks), strict=True)
    np.testing.assert_allclose(np.sqrt(np.mean(np.concatenate(changes) ** 2, 0)), 1, atol=0.08)
    np.testing.assert_allclose(np.sqrt(np.mean(np.stack(firsts) ** 2, 0)), 1, atol=0.08)
    wide = [replace(t, error=2 * t.error) for t in tracks]
    value = {r["name"]: r["value"] for r in score_rows(wide)}
    assert value["both move: regions"] == value["all: regions"] == 800
    assert value["all: change along, z robust"] == pytest.approx(2, abs=0.2)
    assert value["all: change along, in 95 %"] == pytest.approx(67, abs=5)


@pytest.mark.parametrize(("pan_deg", "corrected_deg", "off"), [(0.02, 0.0, 1.0), (0.05, 0.03, 1.0), (0.0, 0.0, 1.01)])
def test_pan_and_baseline_of_the_rig_are_not_the_tracks_error(pan_deg, corrected_deg, off):
    """Points as a rig with a turned right camera and a wrong baseline measures them: nothing is left of either."""
    frames = 6
    truth = replace(scene(wall(), body(1, "box", 1, path(line([-0.4, 0, 6], [0.5, 0, 2], frames))),
                          num_frames=frames), rig_rotation_deg=(0.0, pan_deg, 0.0))
    renderer = Renderer(truth)
    depth, ids = renderer.geometry(0)
    mask = ids == 1
    subject = match(truth, mask, depth, ids, 0)
    true = Truth(truth).path(subject, (0, frames - 1))
    camera, baseline = truth.rig.left, truth.rig.baseline_m
    left_over = np.radians([0.0, pan_deg - corrected_deg, 0.0])
    right = (true - [baseline, 0, 0]) @ exp_so3(left_over)  # X_left = exp(θ) X_right + (baseline, 0, 0)
    left_px = camera.project(true)
    measured = camera.lift(left_px, camera.fx * off * baseline / (left_px - camera.project(right))[:, 0])
    made, _ = make_scene(num_frames=frames, num_regions=1)
    still = np.zeros((frames, 3, 3))
    region = replace(made.regions[0], first=0, last=frames - 1, seen=np.ones(frames, bool), point_cam=measured,
                     mask_first=mask, cov_frame=still + 1e-4 * np.eye(3), cov_shared=still, step_cov=still)
    rig = RigState(np.zeros(3), 1e-8 * np.eye(3), np.radians([0.0, corrected_deg, 0.0]), np.zeros(3), "prior")
    made = replace(made, camera=camera, baseline_m=off * baseline, regions=[region], rig=rig,
                   T_world_cam=path(np.zeros((frames, 3)), names=("world", "cam")))
    [track] = tracks_of(made, truth)
    assert track.object_moves and not track.camera_moves and len(track) == frames
    wrong = np.linalg.norm(measured - true, axis=1)
    assert wrong.min() > 0.02
    assert (np.linalg.norm(track.error, axis=1) < 0.1 * wrong).all()
    # a stray mask is no track of this body
    stray = mask | (np.arange(mask.shape[0]) < 12)[:, None]
    assert not list(tracks_of(replace(made, regions=[replace(region, mask_first=stray)]), truth))
