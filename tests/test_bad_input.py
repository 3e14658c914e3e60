"""Whatever a user may hand in: one clear line, exit code 2 before any work, or a quarantined clip among good ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from curate.cli.main import main
from curate.engine.ledger import Out
from curate.recipe import load_recipe
from tests.stereo_media import CALIBRATION, audio_only, write_pair, write_recipe, write_side_by_side


def curate(*args: object):
    return CliRunner().invoke(main, [str(a) for a in args], catch_exceptions=False)


def truncated(path: Path, share: float = 0.6) -> Path:
    write_side_by_side(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def zero_bytes(path: Path) -> Path:
    write_side_by_side(path).write_bytes(b"")
    return path


def text_file(path: Path) -> Path:
    write_side_by_side(path).write_text("this is no video\n" * 100)
    return path


def with_calibration(**fields):
    def make(path: Path) -> Path:
        return write_side_by_side(path, {k: v for k, v in (CALIBRATION | fields).items() if v is not None})
    return make


BAD_VIDEOS = {
    "truncated": (truncated, r"truncated\.mp4"),
    "zero-bytes": (zero_bytes, r"zero-bytes\.mp4.*(empty|0 bytes)"),
    "no-video": (text_file, r"no-video\.mp4"),
    "audio-only": (audio_only, r"audio-only\.mp4.*(no video|audio)"),
    "zero-baseline": (with_calibration(baseline_m=0), r"zero-baseline\.calib\.json.*baseline_m.*greater than 0.*0"),
    "negative-baseline": (with_calibration(baseline_m=-0.1), r"baseline_m.*greater than 0.*-0\.1"),
    "no-baseline": (with_calibration(baseline_m=None), r"no-baseline\.calib\.json.*baseline_m"),
    "nan-calibration": (with_calibration(fx=float("nan")), r"nan-calibration\.calib\.json.*fx"),
    "no-calibration": (lambda path: write_side_by_side(path, None), r"no-calibration\.calib\.json is not there"),
    "too-short": (lambda path: write_side_by_side(path, num_frames=3), r"3 frames, expected at least 8"),
}


def one_line(result, words: str) -> None:
    lines = result.stderr.strip().splitlines()
    assert result.exit_code == 2, result.output
    assert len(lines) == 1 and lines[0].startswith("error: ") and re.search(words, lines[0]), lines


@pytest.mark.parametrize("name", BAD_VIDEOS)
def test_a_single_bad_video_is_refused_before_any_work(tmp_path, name):
    make, words = BAD_VIDEOS[name]
    make(tmp_path / "in" / f"{name}.mp4")
    if name == "audio-only":
        (tmp_path / "in" / f"{name}.calib.json").write_text(json.dumps(CALIBRATION))
    recipe = write_recipe(tmp_path / "r.yaml", {"kind": "side_by_side", "root": tmp_path / "in"})
    one_line(curate("run", recipe, "--out", tmp_path / "out", "--inline"), words)
    assert not (tmp_path / "out").exists()


def missing_right(root):
    for path in write_pair(root).joinpath("right").iterdir():
        path.unlink()


def no_right_folder(root):
    missing_right(root)
    (root / "right").rmdir()


def unreadable_right(root):
    path = write_pair(root) / "right" / "000000.png"
    path.write_bytes(b"\x89PNG nothing more")


def broken_times(root):
    write_pair(root, times=[0, 0.1, 0.2, 0.2, 0.3, 0.4, 0.5, 0.6])


def out_of_step(root):
    write_pair(root)
    (root / "times_right.txt").write_text("".join(f"{0.1 * i + 0.06:.6f}\n" for i in range(8)))


def empty_folder(root):
    root.mkdir()


PAIRS = {
    "missing-right": (missing_right, r"right.*"), "no-right-folder": (no_right_folder, r"right"),
    "unreadable-right": (unreadable_right, r"right/000000\.png"),
    "fewer-frames": (lambda root: write_pair(root, right_frames=6), r"8 left but 6 right frames"),
    "other-size": (lambda root: write_pair(root, right_size=(64, 48)), r"128x96.*64x48"),
    "broken-times": (broken_times, r"times\.txt: time 3 .* is not after"),
    "out-of-step": (out_of_step, r"out of step.*\+60\.00 ms.*expected within half a frame"),
    "empty-folder": (empty_folder, r"left"),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_single_bad_pair_is_refused_before_any_work(tmp_path, name):
    make, words = PAIRS[name]
    root = tmp_path / "in"
    make(root)
    source = {"kind": "stereo_pair", "root": root, "timestamps": "times.txt"}
    if name == "out-of-step":
        source["timestamps_right"] = "times_right.txt"
    recipe = write_recipe(tmp_path / "r.yaml", source)
    one_line(curate("run", recipe, "--out", tmp_path / "out", "--inline"), words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("root", "words"), [("nowhere", "nowhere: no such folder"), ("empty", "empty: no video")])
def test_nothing_to_read_is_refused(tmp_path, root, words):
    (tmp_path / "empty").mkdir()
    recipe = write_recipe(tmp_path / "r.yaml", {"kind": "side_by_side", "root": tmp_path / root})
    one_line(curate("run", recipe, "--out", tmp_path / "out"), words)


@pytest.mark.parametrize(("change", "words"), [
    ({"baseline_m": 0}, r"r\.yaml:\d+: source\.calibration\.baseline_m: should be greater than 0"),
    ({"baseline_m": -1}, r"r\.yaml:\d+: source\.calibration\.baseline_m: should be greater than 0"),
    ({"fx": float("nan")}, r"r\.yaml:\d+: source\.calibration\.fx: should be"),
    ({"baselin_m": 1}, r"r\.yaml:\d+: unknown key 'source\.calibration\.baselin_m'; did you mean 'baseline_m'"),
    ({"fx": "wide"}, r"r\.yaml:\d+: source\.calibration\.fx: should be a valid number.*'wide'")])
def test_a_bad_calibration_in_the_recipe_names_its_line(tmp_path, change, words):
    recipe = write_recipe(tmp_path / "r.yaml", {"kind": "side_by_side", "root": "x",
                                                "calibration": CALIBRATION | change})
    one_line(curate("run", recipe, "--out", tmp_path / "out"), words)
    assert not (tmp_path / "out").exists()


def test_a_recipe_that_is_not_there(tmp_path):
    (tmp_path / "mine.yaml").write_text("source: {kind: rendered}\n")
    one_line(curate("run", tmp_path / "min.yaml", "--out", tmp_path / "out"),
             r"min\.yaml: no such recipe; did you mean .*mine\.yaml\?")


def test_an_unknown_estimator_is_a_bad_request(tmp_path):
    recipe = write_recipe(tmp_path / "r.yaml", {"kind": "rendered"}, perception={"depth": {"kind": "sgn"}})
    one_line(curate("run", recipe, "--out", tmp_path / "out"), r"no estimator of kind 'sgn'.*did you mean 'sgm'")


def test_a_broken_scene_distribution_is_a_bad_request(tmp_path):
    recipe = write_recipe(tmp_path / "r.yaml", {"kind": "rendered", "scenes": tmp_path / "none.yaml"})
    one_line(curate("run", recipe, "--out", tmp_path / "out"), r"none\.yaml: cannot read")


@pytest.fixture
def rendered(tmp_path):
    return write_recipe(tmp_path / "r.yaml", {"kind": "rendered", "num_scenes": 1, "width": 320, "height": 192})


def test_an_output_folder_that_cannot_be_written(tmp_path, rendered):
    (tmp_path / "file").write_text("")
    one_line(curate("run", rendered, "--out", tmp_path / "file" / "out"), r"file/out: cannot be written .*--out")


def test_an_output_folder_with_other_files(tmp_path, rendered):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("")
    one_line(curate("run", rendered, "--out", tmp_path / "out"), r"holds other files \(thesis\.tex\) and no run\.json")
    assert [p.name for p in (tmp_path / "out").iterdir() if not p.name.startswith(".")] == ["thesis.tex"]


def test_an_output_folder_of_another_recipe(tmp_path, rendered):
    with Out(tmp_path / "out") as held:
        held.claim(load_recipe(rendered))
    one_line(curate("run", rendered, "--out", tmp_path / "out", "--set", "source.seed=5"),
             r"belong to another recipe: source\.seed: 0 -> 5; name another folder")


def test_an_output_folder_in_use(tmp_path, rendered):
    with Out(tmp_path / "out"):
        one_line(curate("run", rendered, "--out", tmp_path / "out"), r"in use by process \d+ on ")


def test_bad_clips_among_good_ones_are_quarantined_and_the_others_land(tmp_path):
    for name, (make, _) in BAD_VIDEOS.items():
        make(tmp_path / "in" / f"{name}.mp4")
    (tmp_path / "in" / "audio-only.calib.json").write_text(json.dumps(CALIBRATION))
    for name in ("good-a", "good-b"):
        write_side_by_side(tmp_path / "in" / f"{name}.mp4")
    recipe = write_recipe(tmp_path / "r.yaml", {"kind": "side_by_side", "root": tmp_path / "in"})
    out = tmp_path / "out"
    result = curate("run", recipe, "--out", out, "--inline", "--no-preview")
    assert result.exit_code == 3, result.output
    assert re.search(rf"quarantined +{len(BAD_VIDEOS)}\n", result.stdout) and re.search(r"done +2\n", result.stdout)
    lines = result.stderr.splitlines()
    for name, (_, words) in BAD_VIDEOS.items():
        told = [line for line in lines if line.startswith(f"quarantined: {name}.mp4")]
        assert len(told) == 1 and re.search(words, told[0]), (name, told)
    ledger = [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]
    assert len(ledger) == len({e["key"] for e in ledger}) == len(BAD_VIDEOS) + 2
    assert {e["uri"] for e in ledger if e["state"] == "done"} == {"good-a.mp4", "good-b.mp4"}
    manifest = json.loads((out / "shards" / "manifest.json").read_text())
    assert manifest["totals"]["samples"] == 2
    assert manifest["run"]["quarantined"] == len(BAD_VIDEOS)
    assert curate("verify", out).exit_code == 0

    again = curate("run", recipe, "--out", out, "--inline", "--no-preview")
    assert again.exit_code == 3 and "none needed" in again.stdout
    for name in BAD_VIDEOS:
        write_side_by_side(tmp_path / "in" / f"{name}.mp4", num_frames=9)
    mended = curate("run", recipe, "--out", out, "--inline", "--no-preview", "--quiet")
    assert mended.exit_code == 0 and mended.stdout == "", mended.output
