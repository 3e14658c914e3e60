"""`curate replay`: one clip of a run again, up to a stage; its pictures, its traceback, and clear errors."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from curate.cli.main import main
from tests.stereo_media import write_recipe, write_side_by_side


def curate(*args: object):
    return CliRunner().invoke(main, [str(a) for a in args], catch_exceptions=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run's folder with a staged clip and a quarantined one."""
    root = tmp_path_factory.mktemp("replay")
    write_side_by_side(root / "in/good.mp4")
    write_side_by_side(root / "in/torn.mp4")
    (root / "in/torn.mp4").write_bytes((root / "in/torn.mp4").read_bytes()[:3000])
    recipe = write_recipe(root / "r.yaml", {"kind": "side_by_side", "root": root / "in"})
    assert curate("run", recipe, "--out", root / "out", "--inline", "--no-preview", "--quiet").exit_code == 3
    (key,) = (p.name for p in (root / "out/scenes").glob("[!.]*"))
    return root / "out", key


def files(folder, pattern: str) -> list[str]:
    return sorted(p.name for p in folder.glob(pattern))


def test_depth_comes_as_colour_with_sigma_and_as_metres(made, tmp_path):
    out, key = made
    result = curate("replay", out, key[:6], "--stage", "depth", "--to", tmp_path / "d", "--every", "4")
    assert result.exit_code == 0, result.output
    assert files(tmp_path / "d", "*.jpg") == ["depth_00000.jpg", "depth_00000_sigma.jpg", "depth_00004.jpg",
                                              "depth_00004_sigma.jpg"]
    arrays = [np.load(p) for p in sorted((tmp_path / "d").glob("*.npz"))]
    depth = np.concatenate([a["depth_m"] for a in arrays])
    valid = np.concatenate([a["valid"] for a in arrays])
    assert depth.shape == (8, 96, 128)
    assert abs(np.median(depth[valid]) - 120 * 0.1 / 8) < 0.1  # a wall 8 px of disparity away
    assert cv2.imread(str(tmp_path / "d/depth_00000.jpg")).shape == (96, 128, 3)
    assert "stereo-vo" not in result.output and "sgm" in result.output  # only what depth rests on was run


@pytest.mark.parametrize(("stage", "expected"), [
    ("flow", ["flow_00000.jpg", "flow_00000.npz"]), ("camera", ["camera.csv", "camera.jpg"]),
    ("regions", ["moving_00000.jpg", "regions_00000.jpg", "regions_00000.npz"]),
    ("lift", ["marked.jpg", "regions.csv", "scene.npz"]), ("questions", ["questions.json", "scene.npz"])])
def test_each_stage_writes_what_it_gives_and_its_times(made, tmp_path, stage, expected):
    out, key = made
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    result = curate("replay", out, "good.mp4", "--stage", stage, "--to", tmp_path / "s")
    assert result.exit_code == 0, result.output
    assert set(expected) <= set(files(tmp_path / "s", "*"))
    assert "read" in result.output and "ms a frame" in result.output
    assert before == {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}  # OUT is only read
    if stage == "camera":
        rows = list(csv.DictReader((tmp_path / "s/camera.csv").open()))
        assert [int(r["frame"]) for r in rows] == list(range(8)) and float(rows[0]["x_m"]) == 0
    if stage == "lift":
        assert (tmp_path / "s/scene.npz").read_bytes() == (out / f"scenes/{key}/scene.npz").read_bytes()
    if stage == "questions":
        assert json.loads((tmp_path / "s/questions.json").read_text())["not asked"]


def test_a_quarantined_clip_shows_its_traceback(made, tmp_path):
    result = curate("replay", made[0], "torn.mp4", "--to", tmp_path / "s")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr and "torn.mp4" in result.stderr.splitlines()[-1]


def test_another_value_of_the_recipe_can_be_tried(made, tmp_path):
    result = curate("replay", made[0], made[1], "--stage", "depth", "--to", tmp_path / "s",
                    "--set", "perception.window=4")
    assert result.exit_code == 0 and len(files(tmp_path / "s", "depth_*.npz")) > 1


@pytest.mark.parametrize(("key", "words"), [
    ("godo.mp4", "no clip 'godo.mp4'.*close to it: good.mp4"), ("ffff", "no clip 'ffff'.*there are"),
    ("..", "no clip")])
def test_a_clip_that_is_not_there_is_told_with_what_is(made, key, words):
    import re

    result = curate("replay", made[0], key)
    assert result.exit_code == 2 and re.search(words, " ".join(result.stderr.split()))


def test_a_folder_that_is_no_run_and_one_that_is_in_the_way(made, tmp_path):
    result = curate("replay", tmp_path, "abcd")
    assert result.exit_code == 2 and "no run.json" in result.stderr
    (tmp_path / "thesis.tex").write_text("")
    result = curate("replay", made[0], made[1], "--to", tmp_path)
    assert result.exit_code == 2 and "is there already" in result.stderr
