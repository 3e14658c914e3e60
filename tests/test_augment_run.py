"""The write pass with variants: media, keys, splits, the same bytes, and answers that are right of what is shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from curate.augment import Variant
from curate.augment.media import media
from curate.cli.score import find_truth
from curate.engine.augmented import load, with_variants
from curate.engine.check import check_run
from curate.engine.compact import compact
from curate.engine.run import run
from curate.engine.write import write
from curate.marks import read_jpeg
from curate.recipe import recipe_from_dict
from curate.recipe.load import RecipeError
from curate.report import build_report
from curate.shards import read, verify
from curate.synth.score import score_samples
from curate.video.decode import open_video

SMALL = {"source": {"kind": "rendered", "num_scenes": 2, "seed": 1, "width": 160, "height": 96},
         "clip": {"num_frames": 20, "max_clips": 2}, "engine": {"kind": "inline"},
         "questions": {"families": ["camera_displacement", "camera_direction", "object_camera_distance",
                                    "object_direction", "object_mean_speed", "object_camera_distance_change"]}}
ALL = [{"mirror": True}, {"reverse": True}, {"playback": 2}, {"mirror": True, "reverse": True, "playback": 0.5}]
SUFFIXES = ["", "-m", "-mrx0p5", "-r", "-x2"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("augmented") / "out"
    assert run(recipe_from_dict(SMALL), out).exit_code == 0
    return out


@pytest.fixture
def out(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "out"))


def staged(out) -> list[str]:
    return sorted(p.name for p in (out / "scenes").iterdir())


def ask_again(out, variants, processes=None, **more):
    info = json.loads((out / "shards/manifest.json").read_text())["run"]
    recipe = recipe_from_dict(SMALL | {"augment": variants} | more)
    return write(out, staged(out), recipe, {name: info[name] for name in ("planned", "done")}, processes=processes)


def published(out) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted((out / "shards").rglob("*")) if p.is_file()}


def samples(out, split="train") -> dict[str, dict]:
    return {item["json"]["key"]: item for item in read(out, split, flatten=False)}


def frames(data: bytes, tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """[T, H, W, 3] and [T] of an mp4's bytes."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    with open_video(path) as reader:
        return reader.read(0, reader.num_frames).astype(int), reader.time_s


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """Encoded twice, and still the same picture."""
    return float(np.abs(a - b).mean()) < 6 < float(np.abs(a - b[..., ::-1, :]).mean())


def test_media_show_what_the_scene_says(whole, tmp_path):
    key = staged(whole)[0]
    folder = whole / "scenes" / key
    plain, time_s = frames((folder / "v0.mp4").read_bytes(), tmp_path)
    for variant in (Variant(mirror=True), Variant(reverse=True), Variant(rate=2), Variant(True, True, .5)):
        scene = load(whole, key + variant.suffix).scene
        made = media(folder, variant, scene.time_s, (160, 96), crf=23)
        assert sorted(made) == ["frame.jpg", "v0.mp4", "v1.mp4"]
        shown, times = frames(made["v0.mp4"], tmp_path)
        expected = plain[::-1] if variant.reverse else plain
        expected = expected[:, :, ::-1] if variant.mirror else expected
        assert close(shown, expected), variant
        np.testing.assert_allclose(times, scene.time_s - scene.time_s[0], atol=1e-4)
        assert times[-1] == pytest.approx((time_s[-1] - time_s[0]) / variant.rate, abs=1e-4)
        frame = read_jpeg(made["frame.jpg"]).astype(int)
        assert frame.shape == (96, 160, 3) and close(frame, expected[0])


def test_a_frame_smaller_than_its_scene_is_brought_to_its_size(whole):
    folder = whole / "scenes" / staged(whole)[0]
    made = media(folder, Variant(reverse=True), load(whole, staged(whole)[0]).scene.time_s, (321, 193), crf=23)
    assert read_jpeg(made["frame.jpg"]).shape == (193, 321, 3)


def test_variants_are_asked_about_beside_their_clip(out):
    before = {name: (out / "scenes" / key / name).read_bytes() for key in staged(out)
              for name in ("scene.npz", "v0.mp4", "digest")}
    made = ask_again(out, ALL)
    found = samples(out)
    assert sorted(found) == sorted(key + suffix for key in staged(out) for suffix in SUFFIXES)
    assert made["manifest"]["totals"]["samples"] == 2 * len(SUFFIXES) and verify(out) == []
    for key in staged(out):
        group = [found[key + suffix] for suffix in SUFFIXES]
        assert len({item["json"]["recording"] for item in group}) == 1  # never two independent recordings
        assert len({item["media"]["v0.mp4"] for item in group}) == len(group)
        assert all(item["json"]["qa"] for item in group)
        sides = [np.sign(item["json"]["views"][1]["T_rig_view"][0][3]) for item in group]
        assert sides == [1, -1, -1, 1, 1]  # in the mirror the second view is the left one
    ids = [qa["id"] for item in found.values() for qa in item["json"]["qa"]]
    assert len(set(ids)) == len(ids)
    assert before == {name: (out / "scenes" / key / name).read_bytes() for key in staged(out)
                      for name in ("scene.npz", "v0.mp4", "digest")}


def test_the_same_bytes_from_any_number_of_processes_and_with_or_without_what_was_made(out):
    ask_again(out, ALL)
    once = published(out)
    ask_again(out, ALL, processes=2)
    assert published(out) == once
    shutil.rmtree(out / "augmented")
    ask_again(out, ALL, processes=2)
    assert published(out) == once
    plain = recipe_from_dict(SMALL)
    assert plain.writing_fingerprint() != recipe_from_dict(SMALL | {"augment": ALL}).writing_fingerprint()


def test_a_group_is_on_one_side_of_the_split(out):
    ask_again(out, ALL, shards={"val_share": .5})
    names = [p.name for p in (out / "shards").glob("*.tar")]
    for split in {name.split("-")[0] for name in names}:
        assert not len(samples(out, split)) % len(SUFFIXES)


def test_a_share_of_the_clips_is_told_by_their_keys_alone():
    keys = [f"{i:04x}" for i in range(2000)]
    wanted = recipe_from_dict(SMALL | {"augment": [{"mirror": True, "share": .25}, "reverse"]}).augment
    found = with_variants(keys, wanted)
    assert sum(key.endswith("-m") for key in found) == pytest.approx(500, abs=80)
    assert sum(key.endswith("-r") for key in found) == 2000 and found == sorted(found)
    assert set(with_variants(keys[::-1][:1000], wanted)) <= set(found)


def test_a_torn_clip_stops_the_pass_by_name(out):
    torn = staged(out)[1]
    (out / "scenes" / torn / "v0.mp4").write_bytes(b"torn")
    before = published(out)
    with pytest.raises(RuntimeError, match=torn):
        ask_again(out, [{"reverse": True}])
    assert published(out) == before
    assert not [p for p in (out / "augmented").glob(".*")]


def test_what_a_killed_pass_had_begun_is_removed(out):
    begun = out / "augmented" / f".{staged(out)[0]}-m.123"
    begun.mkdir(parents=True)
    ask_again(out, ["mirror"])
    assert not begun.exists() and len(samples(out)) == 4


def test_compact_leaves_the_variants_that_the_shards_hold(tmp_path):
    out, recipe = tmp_path / "out", recipe_from_dict(SMALL | {"augment": ["mirror"]})
    assert run(recipe, out).exit_code == 0
    own, before = sorted(p.name for p in (out / "augmented").iterdir()), published(out)
    assert own == [key for key in sorted(samples(out)) if key.endswith("-m")] and len(own) == 2
    ask_again(out, ["reverse"])
    (out / "augmented" / f"{'0' * 24}-m").mkdir()
    run(recipe, out)
    compact(out)
    assert sorted(p.name for p in (out / "augmented").iterdir()) == own and published(out) == before


@pytest.mark.parametrize("augment, found", [
    (["turn"], "is no operation"), ([{"mirror": False}], "changes nothing"), ([{"playback": 20}], "less than or equal"),
    ([{"playback": 1 / 3}], "three decimals"), (["mirror", {"mirror": True, "share": .5}], "comes twice"),
    ([{"flip": True}], "flip"), ([{"mirror": True, "share": 0}], "greater than 0")])
def test_what_cannot_be_made_is_refused_with_the_recipe(augment, found):
    with pytest.raises(RecipeError, match=found):
        recipe_from_dict(SMALL | {"augment": augment})


def test_the_sample_names_its_group_and_what_reads_a_run_knows_variants(out):
    ask_again(out, ALL)
    for item in samples(out).values():
        record = item["json"]
        assert record["group"] in staged(out) and record["key"].startswith(record["group"])
        assert record["origin"].get("augmented", "") == ", ".join(
            Variant.split(record["key"])[1].operations if record["key"] != record["group"] else ())
    assert not [problem for problem in check_run(out) if problem.file == "shards"]
    report = score_samples([item["json"] for item in samples(out).values()], find_truth(out, None))
    assert len(report.judged) == sum(len(item["json"]["qa"]) for item in samples(out).values())
    recorded = [judged.right for judged in report.judged if judged.right is not None
                and not any(f"{suffix}-" in judged.id for suffix in SUFFIXES[1:])]
    for suffix in SUFFIXES[1:]:
        choices = [judged.right for judged in report.judged if f"{suffix}-" in judged.id and judged.right is not None]
        assert len(choices) > 10 and np.mean(choices) > np.mean(recorded) - .05
    page = build_report(out).read_text()
    for key in staged(out):
        assert f"../scenes/{key}/v0.mp4" in page and f"../augmented/{key}-mrx0p5/v0.mp4" in page
    assert "cannot be read" not in page
