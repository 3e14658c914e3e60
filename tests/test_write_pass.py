"""The write pass: the same bytes from any number of processes, nothing left behind, a torn scene named."""

import json
import shutil
from pathlib import Path

import pytest

from curate.engine.asking import _Worker
from curate.engine.outcome import Fatal
from curate.engine.run import run
from curate.engine.write import write
from curate.recipe import recipe_from_dict
from curate.shards import read, verify

SMALL = {"source": {"kind": "rendered", "num_scenes": 3, "seed": 1, "width": 160, "height": 96},
         "clip": {"num_frames": 8, "max_clips": 3}, "engine": {"kind": "inline"}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    assert run(recipe_from_dict(SMALL), out).exit_code == 0
    return out


@pytest.fixture
def out(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "out"))


def keys(out) -> list[str]:
    return [p.name for p in (out / "scenes").iterdir()]


def published(out) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted((out / "shards").rglob("*")) if p.is_file()}


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_any_number_of_processes_and_any_order_of_keys_give_the_same_bytes(out, processes, capfd):
    info = json.loads((out / "shards/manifest.json").read_text())["run"]
    before = published(out)
    made = write(out, sorted(keys(out), reverse=processes == 2), recipe_from_dict(SMALL),
                 {name: info[name] for name in ("planned", "done", "filtered", "quarantined")}, processes=processes,
                 quiet=False)
    assert published(out) == before and made["questions"] > 0
    assert not [p for p in out.iterdir() if p.name.startswith(".asking")]
    told = capfd.readouterr().err
    assert "ask: 3/3 clips" in told and "pack: 3/3 clips" in told


@pytest.mark.parametrize("processes", [1, 2])
def test_a_torn_scene_stops_the_pass_by_name_and_the_old_set_stays(out, processes):
    before, torn = published(out), sorted(keys(out))[1]
    (out / "scenes" / torn / "scene.npz").write_bytes(b"torn")
    with pytest.raises(Fatal, match=torn):
        write(out, keys(out), recipe_from_dict(SMALL), {}, processes=processes)
    assert published(out) == before and not [p for p in out.iterdir() if p.name.startswith(".asking")]


def test_a_process_that_vanishes_is_said(out, monkeypatch):
    begin = _Worker.__init__

    def killed(self, *args):
        begin(self, *args)
        self._process.kill()

    monkeypatch.setattr(_Worker, "__init__", killed)
    with pytest.raises(Fatal, match="exit code -9"):
        write(out, keys(out), recipe_from_dict(SMALL), {}, processes=2)


def test_answers_over_their_share_are_left_out_and_counted(out):
    recipe = recipe_from_dict(SMALL, ["questions.balance.answer_floor=1", "questions.balance.max_answer_share=0.4"])
    plain = write(out, keys(out), recipe_from_dict(SMALL), {})
    made = write(out, keys(out), recipe, {})
    over = sum(d["count"] for d in made["dropped"] if d["reason"] == "answer over its share")
    assert over and made["questions"] + over == plain["questions"]
    assert verify(out) == []
    held = sum(len(item["json"]["qa"]) for split in ("train", "val") if (out / f"shards/{split}-000000.tar").exists()
               for item in read(out, split, flatten=False))
    assert held == made["questions"]
