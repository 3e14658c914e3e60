"""Teacher tensors from a rendered run to a reader: kept, staged, published beside the samples, read back."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from curate.cli.main import main
from curate.engine.run import run
from curate.engine.teacher import staged_teacher
from curate.recipe import recipe_from_dict
from curate.shards import ShardError, TeacherTensors, manifest, read, verify
from curate.shards.latents import add_latents

SMALL = {"source": {"kind": "rendered", "num_scenes": 2, "seed": 1, "width": 160, "height": 96},
         "clip": {"num_frames": 8, "max_clips": 2}, "engine": {"kind": "inline", "isolate": False},
         "perception": {"window": 4}, "shards": {"max_samples": 1}, "teacher": {"enabled": True, "height": 24}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("teacher") / "out"
    assert run(recipe_from_dict(SMALL), out).exit_code == 0
    return out


@pytest.fixture
def out(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "out"))


def same(a: TeacherTensors, b: TeacherTensors) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True)
               for name in ("time_s", "depth", "flow", "dynamic", "K", "T_world_cam")) and a.source == b.source


def test_what_is_staged_is_what_is_read(made):
    assert verify(made) == []
    items = list(read(made, flatten=False, teacher=True))
    assert len(items) == 2
    for item in items:
        tensors, record = item["teacher"], item["json"]
        assert same(tensors, staged_teacher(made / "scenes" / item["key"]))
        assert tensors.grid == (24, 40) and tensors.num_frames == record["num_frames"] == 8
        assert tensors.metric and "depth=sgm@" in tensors.source and "flow=dis@" in tensors.source
        np.testing.assert_array_equal(tensors.time_s, record["time_s"])
        known = np.logical_and.accumulate(record["camera"]["valid"])
        poses = np.where(known[:, None, None], record["camera"]["T_world_cam"], np.nan)
        np.testing.assert_allclose(tensors.T_world_cam, poses, atol=1e-6)
        assert np.isfinite(tensors.depth).mean() > 0.3 and np.isfinite(tensors.flow[1:]).mean() > 0.3
        assert np.isnan(tensors.flow[0]).all()


def test_the_manifest_counts_the_twins_and_a_set_without_says_nothing(made, tmp_path):
    content = manifest.load(made / "shards")
    assert [t["name"] for t in content["teacher"]["shards"]] == ["teacher-train-000000.tar", "teacher-train-000001.tar"]
    assert [t["of"] for t in content["teacher"]["shards"]] == [s["name"] for s in content["shards"]]
    assert content["teacher"]["totals"]["samples"] == 2
    assert "teacher-" in (made / "shards/README.md").read_text()


@pytest.mark.parametrize("flatten", [True, False])
def test_every_item_comes_with_its_own_tensors_shuffled_and_shared_by_workers(made, flatten):
    expected = {key.name: staged_teacher(key) for key in (made / "scenes").iterdir()}
    found = []
    for worker in range(3):
        for item in read(made, flatten=flatten, teacher=True, shuffle_seed=3, worker=worker, num_workers=3):
            assert repr(item["teacher"]) == "TeacherTensors(not read yet)"
            assert same(item["teacher"], expected[item["json"]["key"]])
            found.append(item["key"])
    assert sorted(found) == sorted(item["key"] for item in read(made, flatten=flatten))


def test_a_set_without_says_how_to_get_them(out):
    shutil.rmtree(out)
    out.mkdir()
    assert run(recipe_from_dict(SMALL, ["teacher.enabled=false", "clip.max_clips=1"]), out).exit_code == 0
    assert "teacher" not in manifest.load(out / "shards") and not list(out.rglob("teacher*"))
    with pytest.raises(ShardError, match=r"no teacher tensors.*--set teacher\.enabled=true"):
        read(out, teacher=True)
    assert "teacher" not in next(iter(read(out)))


def test_a_write_pass_says_that_stored_latents_are_gone(out):
    recipe = out.parent / "r.yaml"
    recipe.write_text(json.dumps(SMALL))

    def asked() -> str:
        done = CliRunner().invoke(main, ["ask", str(out), "--recipe", str(recipe)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return " ".join(done.output.split())

    told = "warning: the shards before these held latents of a teacher, these do not"
    add_latents(out, lambda item: np.ones((2, 2, 3, 4)), "tiny-1")
    assert told in asked()
    assert next(iter(read(out, teacher=True)))["teacher"].latent is None
    assert told not in asked()


def test_a_plan_says_what_they_will_take(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(json.dumps(SMALL | {"teacher": {}}))
    plain, enabled = (" ".join(CliRunner().invoke(main, ["plan", str(recipe), *more]).stdout.split())
                      for more in ([], ["--set", "teacher.enabled=true"]))
    assert "teacher" not in plain and "of it teacher tensors), and about as much again" in enabled
