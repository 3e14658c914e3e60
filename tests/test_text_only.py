"""Clips without pictures: perceived as their source gives them, asked with a table in the text, published and read.

The source here is a scene made by hand; `test_source_annotated` has real ones.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from curate.geometry.cameras import Intrinsics
from curate.questions import QuestionsConfig, ask
from curate.questions.gates import NO_PICTURES
from curate.questions.region_words import in_dialect
from curate.questions.text_alone import FAMILIES
from curate.recipe import Recipe
from curate.scene import Region, Scene
from curate.shards import read
from curate.shards.schema import encode_question
from curate.sources.base import BadInput, ClipSpec
from tests.scenes import make_scene

NUM_FRAMES = 24
RECIPE = {"source": {"kind": "rendered"}, "engine": {"kind": "inline", "isolate": False},
          "shards": {"val_share": 0}, "marks": {"burn": True}}


def bare(region: Region) -> Region:
    num = len(region.seen)
    return replace(region, box=np.full((num, 4), np.nan), centroid_px=np.full((num, 2), np.nan),
                   flow_px=np.full((num, 2), np.nan), mask_first=np.zeros((0, 0), bool), point="cuboid",
                   size_m=np.array([4.0, 1.8, 1.5]), label="car", seen=np.ones(num, bool))


@cache
def text_scene(seed: int = 3, key: str = "a" * 24) -> Scene:
    made, _ = make_scene(seed=seed, num_frames=NUM_FRAMES, num_regions=3)
    return replace(made, key=key, clip=spec(key).to_json(), camera=Intrinsics(1, 1, 0, 0, 1, 1), baseline_m=0.0,
                   baseline_sigma_m=0.0, regions=[bare(region) for region in made.regions], has_pictures=False)


def spec(key: str) -> ClipSpec:
    return ClipSpec(key, "rendered", f"{key}.json", key, 0, NUM_FRAMES, {"licence": "CC0-1.0"})


class TextFrames:
    views, rig, scale, is_grey, num_frames = (), None, "calibrated", False, NUM_FRAMES

    def __init__(self, scene: Scene) -> None:
        self.time_s, self.given = scene.time_s, {"scene": lambda: scene}

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        raise AssertionError("there is nothing to read")

    def close(self) -> None:
        pass


class TextSource:
    kind = "rendered"

    def open(self, clip: ClipSpec) -> TextFrames:
        return TextFrames(text_scene(int(clip.key[0], 16), clip.key))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Three clips of places alone through both passes."""
    from curate.engine import run as engine

    folder = tmp_path_factory.mktemp("text") / "out"
    keys = [c * 24 for c in "123"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.sources.make_source", lambda *_: TextSource())
        patch.setattr("curate.engine.ledger.planned", lambda recipe: iter([(spec(key), None) for key in keys]))
        summary = engine.run(Recipe.model_validate(RECIPE), folder, quiet=True)
    assert summary.exit_code == 0, summary
    return folder


def test_a_scene_without_pictures_is_stored_and_read_as_it_is() -> None:
    scene = text_scene()
    again = Scene.from_bytes(scene.to_bytes())
    assert again.to_bytes() == scene.to_bytes() and not again.has_pictures
    assert again.regions[0].reference == "cuboid centre" and again.regions[0].size_m.tolist() == [4.0, 1.8, 1.5]
    pictured, _ = make_scene(seed=3, num_frames=6, num_regions=1)
    assert b"has_pictures" not in pictured.to_bytes()


def cells(question: str, who: str, what: str) -> list[list[float] | None]:
    line = next(line for line in question.splitlines() if line.startswith(f"| {who}") and f"| {what} |" in line)
    return [json.loads(cell) if cell.strip() != "-" else None for cell in line.strip("| ").split(" | ")[3:]]


def test_every_question_can_be_answered_from_its_own_text() -> None:
    questions, dropped = ask(text_scene(), QuestionsConfig())
    assert {q.family for q in questions} <= FAMILIES
    assert {"object_displacement", "object_camera_distance"} <= {q.family for q in questions}
    assert any(d.family == "grounding_2d" and d.reason == NO_PICTURES for d in dropped)
    for q in questions:
        words = q.question.rpartition("|\n\n")[2]
        assert not re.search(r"first frame|surface|image|picture|video|visible", words), words
        header = next(line for line in q.question.splitlines() if line.startswith("| | what"))
        times = [float(t.split()[0]) for t in header.strip("| ").split(" | ")[2:]]
        assert {round(q.start_s, 2), round(q.end_s, 2)} <= set(times)
        if q.family in ("object_displacement", "object_camera_distance") and q.form == "numeric":
            places = cells(q.question, f"<R{q.regions[0]}>", "place")
            i, j = times.index(round(q.start_s, 2)), times.index(round(q.end_s, 2))
            other = places[i] if q.family == "object_displacement" else cells(q.question, "camera", "place")[j]
            found = np.linalg.norm(np.subtract(places[j], other))
            assert q.low - 0.02 <= found <= q.high + 0.02, q.question


def test_the_table_has_what_the_words_name_and_no_more() -> None:
    questions, _ = ask(text_scene(), QuestionsConfig())
    for q in questions:
        table, _, words = q.question.rpartition("|\n\n")
        named = set(re.findall(r"<R\d+>", words)) | {f"<R{i}>" for i in q.regions}
        assert set(re.findall(r"<R\d+>", table)) == named


@pytest.mark.parametrize("dialect", ["box", "point1000"])
def test_no_dialect_of_places_in_a_picture(dialect: str) -> None:
    questions, _ = ask(text_scene(), QuestionsConfig(region_dialect=dialect, families=("object_displacement",)))
    assert questions and all("<R" in q.question for q in questions)


def test_a_text_only_set_is_published_verified_and_read(out) -> None:
    from curate.engine.check import check_run
    from curate.shards import verify

    assert list(verify(out)) == [] and list(check_run(out, deep=True)) == []
    items = list(read(out, "train", flatten=False))
    assert len(items) == 3
    for item in items:
        assert dict(item["media"]) == {} and item["json"]["views"] == [] and item["json"]["qa"]
        qa, regions = item["json"]["qa"][0], item["json"]["regions"]
        assert in_dialect(qa, regions, "box") == qa
    assert {path.name for path in (out / "scenes" / ("1" * 24)).iterdir()} == {"scene.npz", "digest"}


def test_the_preview_shows_it(out) -> None:
    from curate.report import build_report

    page = build_report(out).read_text()
    assert "<video" not in page and "<R1>" not in page and 'class="chip"' in page


@pytest.mark.parametrize("to", ["trl", "verl", "ms-swift", "qwen-vl", "easyr1"])
def test_exports_have_text_and_no_tags(out, tmp_path, to: str) -> None:
    from curate.exporters.run import export

    report = export(out, to, tmp_path / to)
    assert report.rows and not report.refused and report.media_files == 0
    text = b"".join(path.read_bytes() for path in (tmp_path / to).iterdir())
    assert b"<image>" not in text and b"<video>" not in text


def test_consumers_of_pictures_refuse_it(out, tmp_path) -> None:
    from curate.exporters.run import ExportError, export

    with pytest.raises(ExportError, match="no pictures"):
        export(out, "video-r1", tmp_path / "video")


def test_teacher_tensors_cannot_be_made_of_a_given_scene(tmp_path) -> None:
    from curate.engine.stage import ClipWorker

    worker = ClipWorker(Recipe.model_validate(RECIPE | {"teacher": {"enabled": True}}), str(tmp_path))
    worker._source = TextSource()
    outcome = worker.perceive(spec("1" * 24))
    assert outcome.kind == "bad-input" or "teacher.enabled" in outcome.reason


def test_replay_shows_what_there_is(tmp_path) -> None:
    from curate.engine.replay import replay

    recipe = Recipe.model_validate(RECIPE)
    files = replay(spec("1" * 24), TextSource(), recipe, "questions", tmp_path / "all", 1, {})
    assert files == ["questions.json", "regions.csv", "scene.npz"]
    with pytest.raises(ValueError, match="gives the scene"):
        replay(spec("1" * 24), TextSource(), recipe, "depth", tmp_path / "depth", 1, {})


def test_variants_of_it_have_no_media_either(tmp_path) -> None:
    from curate.augment import Variant, apply
    from curate.augment.media import media

    scene = text_scene()
    for variant in (Variant(mirror=True), Variant(reverse=True)):
        other = apply(scene, variant)
        assert not other.has_pictures and other.regions[0].reference == "cuboid centre"
        assert media(tmp_path, variant, other.time_s, (1, 1), 20) == {}
        assert ask(other, QuestionsConfig(families=("object_displacement",)))[0]


def test_a_question_of_it_is_of_the_schema() -> None:
    question = ask(text_scene(), QuestionsConfig())[0][0]
    assert encode_question(question.to_json())["question"].startswith("There is no video.")
    assert issubclass(BadInput, Exception)
