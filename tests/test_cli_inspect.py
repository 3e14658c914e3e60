"""`curate inspect`: the command, and that it runs nothing and ends whatever it is shown."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from curate.cli.main import main
from curate.recipe import load_recipe
from curate.sources import make_source
from curate.sources.inspect import inspect
from curate.sources.inspect import survey as surveys
from curate.video.encode import encode_h264
from tests.euroc_media import START_NS, Rig, write_euroc
from tests.source_media import CALIBRATION, image, texture, write_packed, write_pair
from tests.spherical_scene import st3d, sv3d
from tests.spherical_scene import write as write_spherical


def curate(*args: object):
    return CliRunner().invoke(main, [str(a) for a in args])


def test_the_command_writes_a_recipe_that_loads(tmp_path):
    times = [START_NS + i * 50_000_000 for i in range(5)]
    write_euroc(tmp_path / "data", Rig("radial-tangential"), (times, times))
    path = tmp_path / "mine.yaml"
    done = curate("inspect", tmp_path / "data", "--write", path)
    assert done.exit_code == 0 and "1. stereo_pair: loads" in done.output and "sensor.yaml" in done.output
    recipe = load_recipe(path)
    assert recipe.source.kind == "stereo_pair" and recipe.clip.min_frames == 5 and recipe.name == "data"
    assert "# Proposed by `curate inspect`, because:" in path.read_text()
    again = curate("inspect", tmp_path / "data", "--write", path)
    assert again.exit_code == 2 and "--force replaces it" in again.output
    assert curate("inspect", tmp_path / "data", "--write", path, "--force", "--pick", "2").exit_code == 0
    assert yaml.safe_load(path.read_text())["source"]["kind"] == "single_video"


def test_the_command_says_where_nothing_is(tmp_path):
    missing = curate("inspect", tmp_path / "no")
    assert missing.exit_code == 2 and "no such folder or file" in missing.output
    empty = curate("inspect", tmp_path)
    assert empty.exit_code == 1 and "saw nothing that is known" in empty.output
    assert curate("inspect", tmp_path, "--write", tmp_path / "r.yaml").exit_code == 1


def test_media_that_do_not_open_are_named_with_the_reason(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.png").write_text("no picture")
    told = curate("inspect", tmp_path)
    assert told.exit_code == 1 and "saw nothing" not in told.output
    assert "empty.mp4: empty (0 bytes)" in told.output and "text.png: " in told.output
    alone = curate("inspect", tmp_path / "empty.mp4")
    assert alone.exit_code == 1 and "empty (0 bytes)" in alone.output
    device = curate("inspect", "/dev/null")
    assert device.exit_code == 2 and "neither a folder nor a plain file" in device.output


def test_what_is_missing_is_said_once(tmp_path):
    for n in range(8):
        image(tmp_path / f"{n:06d}.png", texture(n, 0))
    candidate = inspect(tmp_path).best
    assert not candidate.loads and len([m for m in candidate.missing if "times" in m]) == 1


def test_recordings_side_by_side(tmp_path):
    for name in ("a", "b", "c"):
        write_pair(tmp_path / name, 8)
        (tmp_path / name / "t.txt").write_text("".join(f"{n / 10}\n" for n in range(8)))
    report = inspect(tmp_path)
    assert set(report.parts) == {"a", "b", "c"} and report.best.source["recordings"] == "*"
    path = tmp_path / "recipe.yaml"
    assert curate("inspect", tmp_path, "--write", path).exit_code == 0
    assert len(list(make_source(load_recipe(path).source).plan())) == 3


@pytest.mark.parametrize("kind", ["single_video", "side_by_side", "vr180"])
def test_the_recipe_of_one_file_reads_that_file(tmp_path, kind, monkeypatch):
    left = np.stack([texture(i, 0, 128, 128) for i in range(9)])
    video = tmp_path / "data" / "clip.mp4"
    video.parent.mkdir()
    if kind == "single_video":
        video.write_bytes(encode_h264(left, crf=10, fps=20))
    elif kind == "side_by_side":
        write_packed(video, [left[:, :64], np.roll(left, -4, axis=2)[:, :64]], 2, CALIBRATION | {"cx": 63.5})
    else:
        write_spherical(video, np.concatenate([left, np.roll(left, -3, axis=2)], 2), boxes=st3d(2) + sv3d())
    monkeypatch.chdir(video.parent)
    for named in (video, Path("clip.mp4"), Path("..") / "data" / "clip.mp4"):
        recipe = tmp_path / "recipe.yaml"
        done = curate("inspect", named, "--write", recipe, "--force")
        assert done.exit_code == 0, done.output
        source = load_recipe(recipe).source
        assert source.kind == kind and "clip.mp4/clip.mp4" not in source.root
        assert next(iter(make_source(source).plan())).num_frames == 9


def test_as_json(tmp_path):
    write_pair(tmp_path, 8)
    told = json.loads(curate("inspect", tmp_path, "--json", "--no-try").output)
    assert told["candidates"][0]["kind"] == "stereo_pair" and told["candidates"][0]["loads"] is None
    assert told["candidates"][0]["recipe"]["source"]["left"] == "left"


# Nothing is run, nothing is endless

# Nothing is run, nothing is endless

def test_pickles_are_never_opened(tmp_path):
    touched = tmp_path / "touched"

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(touched),)

    np.savez(tmp_path / "a.npz", camera2world=np.array([Bomb()], object))
    np.save(tmp_path / "b.npy", np.array([Bomb()], object))
    (tmp_path / "c.yaml").write_text(f"!!python/object/apply:os.mkdir ['{touched}']\n")
    report = inspect(tmp_path)
    assert not touched.exists() and report.best is None
    assert ("table", "a.npz: arrays of Python objects, which are never read") in report.saw


def test_files_of_rubbish_do_not_stop_the_look(tmp_path):
    write_pair(tmp_path, 8)
    rng = np.random.default_rng(0)
    for name in ("a.json", "b.yaml", "c.toml", "d.npz", "e.feather", "f.txt", "g.mp4", "h.png", "i.xml", "j.bin",
                 "k.csv", "l.jsonl", "m.npy"):
        (tmp_path / name).write_bytes(rng.bytes(1000))
        (tmp_path / f"empty_{name}").touch()
        (tmp_path / f"deep_{name}").write_text("[" * 3000)
    (tmp_path / "link.json").symlink_to(tmp_path / "nowhere")
    assert inspect(tmp_path).best.kind == "stereo_pair"


def test_a_zip_that_claims_a_large_array_is_not_unpacked(tmp_path):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 4)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("points.npy", head.getvalue())
    assert any("1000000000000" in text for _, text in inspect(tmp_path).saw)


def test_the_look_has_bounds(tmp_path, monkeypatch):
    for i in range(30):
        (tmp_path / f"note{i}.txt").write_text("x\n")
    monkeypatch.setattr(surveys, "MAX_ENTRIES", 10)
    found = surveys.survey(tmp_path)
    assert len(found.files) == 10 and found.is_cut
    monkeypatch.setattr(surveys, "MAX_READ_BYTES", 5)
    limited = surveys.survey(tmp_path)
    assert sum(len(limited.head(f)) for f in limited.files) == 5


def test_links_to_folders_are_not_followed(tmp_path):
    write_pair(tmp_path / "real", 8)
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real", target_is_directory=True)
    assert not any("loop" in file for file in surveys.survey(tmp_path / "real").files)
