"""Real data are told by what they hold; depth of a pair is scored as the benchmark says."""

from __future__ import annotations

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from benchmarks.discover import Pair, pairs, sequences
from benchmarks.truth import Findings, real_pairs, real_sequences
from benchmarks.truth_camera import with_truths_error
from benchmarks.truth_pairs import bad_share, scored, visible_in_both
from curate.geometry.poses import Pose
from curate.measure.quantity import LEVELS

T, SIZE = 4, (64, 96)


def pictures(folder, names=None):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k in range(T):
        name = f"{k:03d}" if names is None else str(names[k])
        cv2.imwrite(str(folder / f"{name}.png"), rng.integers(0, 255, SIZE, dtype=np.uint8))


def test_a_sequence_is_known_by_its_calibration_and_poses_whatever_the_names(tmp_path):
    one = tmp_path / "anything"
    for view in ("port", "starboard"):
        pictures(one / view)
    (one / "rig.json").write_text(json.dumps({"fx": 80, "baseline_m": 0.3, "fps": 5}))
    poses = np.tile(np.eye(3, 4).ravel(), (T, 1))
    poses[:, 11] = np.arange(T)
    np.savetxt(one / "way.txt", poses)
    np.savetxt(one / "clock.txt", np.arange(T) / 5)
    (one / "notes.txt").write_text("not numbers\n")
    (found,) = sequences(tmp_path)
    assert (found.num_frames, found.config.left, found.config.calibration) == (T, "port", "rig.json")
    assert found.config.timestamps == "clock.txt"
    assert found.poses.translation[-1] == pytest.approx([0, 0, T - 1])


def test_euroc_sensors_and_a_truth_with_quaternions(tmp_path):
    names = 1403715273262142976 + 50_000_000 * np.arange(T)
    sensor = "%YAML:1.0\nT_BS:\n  cols: 4\n  rows: 4\n  data: {}\nrate_hz: 20\nresolution: [96, 64]\n" \
             "intrinsics: [80, 80, 47, 31]\ndistortion_coefficients: [0.0, 0.0, 0.0, 0.0]\n"
    for number in range(2):
        pictures(tmp_path / f"cam{number}" / "data", names)
        body = np.eye(4)
        body[0, 3] = 0.1 * number
        (tmp_path / f"cam{number}" / "sensor.yaml").write_text(sensor.format(body.ravel().tolist()))
    (found,) = sequences(tmp_path)
    assert found.poses is None and found.config.calibration.translation_right_left_m == pytest.approx([-0.1, 0, 0])
    np.savetxt(tmp_path / "truth.csv", np.column_stack([names, np.zeros((T, 3)), np.tile([0, 0, 0, 1.0], (T, 1))]),
               delimiter=",", header="t,x,y,z,qx,qy,qz,qw")
    (found,) = sequences(tmp_path)
    assert len(found.poses) == T and found.reference_cam is not None


def dense_pair(folder, names):
    """A textured wall 6 px away from the right view's place of it, with a truth."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    wide = cv2.GaussianBlur(rng.integers(0, 255, (120, 240), dtype=np.uint8), (5, 5), 0)
    left, right = wide[:, 6:206], wide[:, 12:212]
    cv2.imwrite(str(folder / names[0]), left)
    cv2.imwrite(str(folder / names[1]), right)
    np.savez(folder / "d.npz", np.full(left.shape, 6.0, np.float32))
    return left


@pytest.mark.parametrize("names", [("a.png", "b.png"), ("z.png", "b.png")])
def test_left_of_a_pair_is_told_by_the_truth(tmp_path, names):
    left = dense_pair(tmp_path / "pair", names)
    (found,) = pairs(tmp_path)
    assert (found.left == left).all() and not found.sparse and found.rig is None


def test_kinds_without_data_are_skipped_and_a_broken_one_is_a_row(tmp_path):
    findings = Findings()
    real_sequences(tmp_path, tmp_path / "cache", findings)
    real_pairs(tmp_path, findings)
    said = [r["name"] for r in findings.rows]
    for kind in ("sequence with poses", "hardly move", "1226x370", "dense disparity", "LiDAR"):
        assert sum("skipped" in name and kind in name for name in said) == 1, kind
    broken = tmp_path / "broken"
    for view in ("left", "right"):
        pictures(broken / view)
    (broken / "right" / "001.png").write_bytes(b"not a picture")
    (broken / "calib.json").write_text(json.dumps({"fx": 80, "baseline_m": 0.3}))
    np.savetxt(broken / "poses.txt", np.tile(np.eye(3, 4).ravel(), (T, 1)))
    findings = Findings()
    real_sequences(tmp_path, tmp_path / "cache", findings)
    assert [r["ok"] for r in findings.rows if "broken: failed" in r["name"]] == [False]


def test_what_a_nearer_surface_hides_from_the_right_view_is_left_out():
    disparity = np.full((4, 60), 5.0)
    disparity[:, 30:40] = 15.0
    seen = visible_in_both(disparity)
    assert seen[:, 30:40].all() and seen[:, 40:].all()
    assert not seen[:, 21:29].any()  # lands at 16..24, where the nearer surface's 15..25 is
    assert not seen[:, :5].any() and seen[:, 6:19].all()


def test_surest_pixels_count_first_and_missing_ones_are_wrong():
    error, truth = np.array([0.1, 3.0, 0.2, np.inf, 0.1]), np.full(5, 50.0)
    sigma = np.array([0.1, 0.9, 0.2, np.inf, 0.3])
    assert [bad_share(error, truth, sigma, False, d) for d in (0.6, 0.8, 1.0)] == pytest.approx([0, 0.25, 0.4])
    # against LiDAR an error must also be large for its disparity
    assert bad_share(np.array([3.5, 3.5]), np.array([50.0, 90.0]), np.ones(2), True, 1.0) == 0.5


def test_only_pixels_with_a_visible_truth_count():
    truth = np.full((10, 40), 8.0)
    truth[0] = np.nan
    pair = Pair(None, truth, truth, None, truth, False, False)
    depth = SimpleNamespace(disparity=truth + 0.5, sigma=np.ones_like(truth), valid=np.ones(truth.shape, bool))
    depth.valid[1] = False
    error, _, sigma = scored(pair, depth)
    assert len(error) == 9 * 32 and np.isinf(error).sum() == 32 == np.isinf(sigma).sum()
    assert error[np.isfinite(error)] == pytest.approx(0.5)


def test_the_truths_own_error_widens_what_is_stated():
    truth = Pose("world", "cam", np.tile(np.eye(3), (2, 1, 1)), np.array([[0, 0, 0], [0, 0, 10.0]]))
    exact = [10.0] * len(LEVELS)
    wide = with_truths_error("camera_displacement", exact, truth, (0, 1))
    assert wide[7] - wide[1] == pytest.approx(2 * 1.96 * 0.05 * 2**0.5, rel=1e-3)
    angle = with_truths_error("camera_direction", [0.0] * len(LEVELS), truth, (0, 1))
    assert 0 < angle[0] < angle[4] < angle[8] < 0.05


def test_heading_errors_of_poses_show_in_their_direction_of_travel():
    from benchmarks.truth_camera import slip_range_deg
    from curate.geometry.rotations import exp_so3

    straight = np.column_stack([np.zeros((30, 2)), np.arange(30.0)])
    turn = np.radians(np.linspace(0, 1, 30))[:, None] * [0, 1, 0]
    assert slip_range_deg(Pose("world", "cam", np.tile(np.eye(3), (30, 1, 1)), straight)) == pytest.approx(0, abs=1e-9)
    assert slip_range_deg(Pose("world", "cam", exp_so3(turn), straight)) == pytest.approx(1 - 5 / 29, abs=0.05)
    assert slip_range_deg(Pose("world", "cam", np.tile(np.eye(3), (30, 1, 1)), straight[:, [2, 0, 1]])) is None


def test_the_command_says_what_it_leaves_out_and_writes_rows_and_page(tmp_path, capsys):
    from benchmarks.truth import main

    (tmp_path / "data").mkdir()
    skip = [a for part in ("learned", "rigs", "rendered") for a in ("--skip", part)]
    code = main(["--data", str(tmp_path / "data"), "--out", str(tmp_path / "o.json"), "--quick", *skip,
                 "--cache", str(tmp_path / "c"), "--doc", str(tmp_path / "docs" / "truth.md")])
    content = json.loads((tmp_path / "o.json").read_text())
    assert code == 0 and all("skipped" in r["name"] for r in content["rows"])
    assert any("--quick" in note for note in content["notes"]) and any("injected pan" in n for n in content["notes"])
    assert "--skip rigs" in (tmp_path / "docs" / "truth.md").read_text()
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "o.json"), "--skip", "everything"])
    assert "there are sequences, pairs" in capsys.readouterr().err
