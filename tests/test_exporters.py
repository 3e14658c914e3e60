"""Published questions in the layouts of other trainers: rows, files, and what is left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from curate import marks
from curate.cli.main import main
from curate.exporters import Exporter, MediaRefs, exporters
from curate.exporters import base as exporters_base
from curate.exporters.media import chosen
from curate.exporters.run import ExportError, export
from curate.rewards import score
from curate.shards.publish import publish
from curate.shards.sample import make_sample
from curate.video.encode import encode_h264
from tests.shard_samples import questions, samples, scene

NUM_CLIPS = 3


def sample(seed: int, asked: list | None = None, burnt: bool = False):
    """A clip whose frame i is of grey level 20 i, and 100 more in the second view, with a question on a region, one on
    the camera, one in frame indices, one on two views."""
    of = scene(seed)
    if burnt:
        of = replace(of, origin=of.origin | {"marks": marks.stated("contour", True)})
    height, width = of.camera.height, of.camera.width
    frames = np.broadcast_to(20 * np.arange(of.num_frames, dtype=np.uint8)[:, None, None, None],
                             (of.num_frames, height, width, 3)).copy()
    video, other = (encode_h264(shown, time_s=of.time_s) for shown in (frames, frames + 100))
    number, choice = questions(of)
    camera = replace(number, id=f"{of.key}-camera", family="camera_displacement", regions=[],
                     question="How far does the camera travel? Metres.")
    indexed = replace(camera, id=f"{of.key}-indexed", dialect="frames", question="How far by frame 3? Metres.")
    views = replace(choice, id=f"{of.key}-views", family="view_shift", question="Which way is <R1> in the right view?")
    asked = [number, choice, camera, indexed, views] if asked is None else asked
    media = {"v0.mp4": video, "v1.mp4": other, "mark.jpg": marks.scene_marks(frames[0], of)}
    return make_sample(of, media, asked, licence="CC0-1.0")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("set")
    publish(out, [sample(seed) for seed in range(NUM_CLIPS)])
    return out


def rows_of(folder: Path, split: str = "train") -> list[dict]:
    if (path := folder / f"{split}.jsonl").exists():
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    if (path := folder / f"{split}.json").exists():
        return json.loads(path.read_text("utf-8"))
    return pq.read_table(folder / f"{split}.parquet").to_pylist()


def refers_to(value) -> set[str]:
    """Every path of media in a row."""
    if isinstance(value, dict):
        return set().union(*(refers_to(v) for v in value.values())) if value else set()
    if isinstance(value, list):
        return set().union(*(refers_to(v) for v in value)) if value else set()
    return {value} if isinstance(value, str) and value.endswith((".jpg", ".mp4")) and "\n" not in value else set()


EVERY = [(name, form, media) for name, one in sorted(exporters().items()) if name != "scene-generation"
         for form in one.forms for media in one.media]


@pytest.mark.parametrize(("name", "form", "media"), EVERY)
def test_every_consumer_gets_rows_whose_files_are_there_once(source, tmp_path, name, form, media):
    report = export(source, name, tmp_path / "x", form=form, media=media, num_frames=4)
    rows, root = rows_of(tmp_path / "x"), tmp_path / "x"
    assert len(rows) == report.rows > 0
    named = set().union(*(refers_to(row) for row in rows))
    there = {path.relative_to(root).as_posix() for path in (root / "media").rglob("*") if path.is_file()}
    assert {Path(n).relative_to(root).as_posix() if Path(n).is_absolute() else n for n in named} <= there
    assert len(there) == report.media_files <= NUM_CLIPS * (2 * 4 + 1)
    assert len({json.dumps(sorted((k, type(v).__name__) for k, v in row.items())) for row in rows
                if "image" not in row and "video" not in row}) <= 1, "a value changes type from row to row"


@pytest.mark.parametrize("media", ["frames", "video"])
def test_as_many_tags_as_files(source, tmp_path, media):
    export(source, "llama-factory", tmp_path / "x", media=media, num_frames=4)
    for row in rows_of(tmp_path / "x"):
        text = row["messages"][0]["content"]
        assert text.count("<image>") == len(row["images"]) and text.count("<video>") == len(row["videos"])
        assert [m["role"] for m in row["messages"]] == ["user", "assistant"]
    info = json.loads((tmp_path / "x/dataset_info.json").read_text())["curate4d_train"]
    assert info["file_name"] == "train.json" and set(info["columns"]) <= set(rows_of(tmp_path / "x")[0])


def test_frames_are_those_of_the_times_stated_and_the_marked_one_leads(source, tmp_path):
    import cv2

    export(source, "trl", tmp_path / "x", num_frames=3)
    rows = rows_of(tmp_path / "x")
    region = next(row for row in rows if "object_direction" in row["id"])
    camera = next(row for row in rows if row["id"].endswith("camera"))
    assert region["images"][0].endswith("marked.jpg") and camera["images"][0].endswith("00000.jpg")
    assert region["images"][1:] == camera["images"][1:]
    levels = [cv2.imread(str(tmp_path / "x" / name)).mean() for name in camera["images"]]
    assert levels == pytest.approx([0, 40, 100], abs=4)  # frames 0, 2 and 5, 20 levels each
    times = scene(0).time_s[[0, 2, 5]] - scene(0).time_s[0]
    assert ", ".join(f"{t:.2f}" for t in times) + " s." in camera["messages"][0]["content"]
    assert "first one carries the marks" in region["messages"][0]["content"]
    assert "marks" not in camera["messages"][0]["content"]


def test_what_would_be_misread_is_left_out_and_named(source, tmp_path):
    few = export(source, "trl", tmp_path / "x", num_frames=3)
    assert dict(few.refused) == {"frame-index": NUM_CLIPS} and few.rows == 4 * NUM_CLIPS
    every = export(source, "trl", tmp_path / "x", num_frames=0)
    assert dict(every.refused) == {}
    alone = export(source, "video-r1", tmp_path / "y")
    assert alone.refused["marks"] == 2 * NUM_CLIPS and alone.refused["views"] == NUM_CLIPS
    boxes = export(source, "video-r1", tmp_path / "y", regions="box")
    assert "marks" not in boxes.refused and boxes.rows > alone.rows
    both = export(source, "vila", tmp_path / "z", media="video")
    assert both.refused["one kind"] == 2 * NUM_CLIPS and both.refused["views"] == NUM_CLIPS
    written = json.loads((tmp_path / "z/export.json").read_text())
    assert written["refused"] == dict(both.refused) and len(written["named"]["one kind"]) == 2 * NUM_CLIPS


@pytest.mark.parametrize("name", ["ms-swift", "llama-factory", "qwen-vl", "verl"])
def test_a_question_on_two_views_gets_both_of_the_same_instants(source, tmp_path, name):
    import cv2

    families = ("view_shift", "camera_displacement")
    export(source, name, tmp_path / "x", media="frames", num_frames=3, families=families)
    export(source, name, tmp_path / "y", media="video", families=families)
    for row in rows_of(tmp_path / "x"):
        text, paths = json.dumps(row), [str(tmp_path / "x" / p) for p in ordered(row) if p.endswith(".jpg")]
        levels = [round(cv2.imread(p).mean() / 20) for p in paths]
        if "right view?" in text:
            assert paths[0].endswith("marked.jpg") and levels[1:] == [2, 5, 5, 7, 10] and text.count("<image>") == 6
            assert "first 3 images are frames of the left view" in text and "other 3 those of the right view" in text
        else:
            assert levels == [0, 2, 5] and text.count("<image>") == 3 and "right view" not in text
    for row in rows_of(tmp_path / "y"):
        text, videos = json.dumps(row), [p for p in ordered(row) if p.endswith(".mp4")]
        assert len(videos) == text.count("<video>") == 1 + ("right view?" in text)
        assert [p.endswith(".v1.mp4") for p in videos] == [False, True][:len(videos)]
        assert ("the left and the right view" in text) == (len(videos) == 2)


def ordered(value) -> list[str]:
    """Paths of media in a row, as they come."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return [path for one in inner for path in ordered(one)]
    return sorted(refers_to(value))


def test_an_instant_of_two_views_that_is_not_shown_is_not_asked(tmp_path):
    _, choice = questions(scene(0))
    asked = [replace(choice, id=f"{scene(0).key}-{at}", family="view_shift", start_frame=at, end_frame=at,
                     question=f"Which way is <R1> in the right view of frame {at}?") for at in (0, 3)]
    (tmp_path / "s").mkdir()
    publish(tmp_path / "s", [sample(0, asked)])
    report = export(tmp_path / "s", "trl", tmp_path / "x", num_frames=3)  # frames 0, 2 and 5
    assert dict(report.refused) == {"views": 1} and "--frames 0" in report.named["views"][0]
    assert export(tmp_path / "s", "trl", tmp_path / "x", num_frames=0).rows == 2


def test_pixels_are_asked_of_pictures_of_their_size_alone(tmp_path):
    number, choice = questions(scene(0))
    asked = [number, replace(choice, id=f"{scene(0).key}-px", question="Where is the box, in pixels of the image?")]
    (tmp_path / "s").mkdir()
    publish(tmp_path / "s", [sample(0, asked)])
    small = export(tmp_path / "s", "trl", tmp_path / "x", max_side=scene(0).camera.width // 2)
    assert dict(small.refused) == {"pixels": 1} and small.rows == 1
    assert export(tmp_path / "s", "trl", tmp_path / "x").rows == export(tmp_path / "s", "verl", tmp_path / "y",
                                                                        media="video").rows == 2


def test_columns_have_their_types_whatever_the_first_rows_hold(source, tmp_path):
    """A set whose first questions have no pictures beside the video, and one that has none at all."""
    camera = replace(questions(scene(0))[0], id="c", family="camera_displacement", regions=[], question="How far?")
    (tmp_path / "s").mkdir()
    publish(tmp_path / "s", [sample(0, [camera])])
    export(tmp_path / "s", "verl", tmp_path / "one", media="video")
    export(source, "verl", tmp_path / "many", media="video")
    export(source, "verl", tmp_path / "frames")
    schemas = [pq.read_schema(tmp_path / name / "train.parquet") for name in ("one", "many", "frames")]
    assert schemas[0] == schemas[1] == schemas[2] and "null" not in str(schemas[0])


def test_a_video_with_marks_burnt_in_needs_no_picture_beside_it(tmp_path):
    (tmp_path / "s").mkdir()
    publish(tmp_path / "s", [sample(seed, burnt=True) for seed in range(NUM_CLIPS)])
    for name in ("vila", "video-r1"):
        report = export(tmp_path / "s", name, tmp_path / name, media="video")
        assert set(report.refused) == {"views"} and report.rows == 4 * NUM_CLIPS  # of one video a row
    rows = rows_of(tmp_path / "vila")
    said = [row["conversations"][0]["value"] for row in rows]
    assert all("image" not in row for row in rows)
    assert ["first frame carries the marks" in text for text in said] == ["<R" in text for text in said]


def test_rewards_judge_by_what_each_rl_layout_carries(source, tmp_path):
    where = {"trl": lambda r: r["ground_truth"], "ms-swift": lambda r: r["solution"], "easyr1": lambda r: r["answer"],
             "verl": lambda r: r["reward_model"]["ground_truth"]}
    for name, truth in where.items():
        export(source, name, tmp_path / name, form="rl", families=("object_displacement",))
        records = [json.loads(truth(row)) for row in rows_of(tmp_path / name)]
        assert len(records) == NUM_CLIPS
        assert [score("<answer>1.8 m</answer>", record) for record in records] == [1.0] * NUM_CLIPS
        assert all(score("<answer>18 m</answer>", record) < 0.2 for record in records)


def test_a_scene_for_generation_has_its_path_and_unmarked_frames(tmp_path):
    caption = replace(questions(scene(0))[1], id="c", family="dense_caption", form="open", options=[], letter="",
                      answer="A box slides to the right.", answer_type="text", target={"facts": []}, extra={})
    of = scene(0)
    (tmp_path / "s").mkdir()
    publish(tmp_path / "s", [sample(0, [caption])])
    export(tmp_path / "s", "scene-generation", tmp_path / "x", num_frames=3, max_side=of.camera.width // 2)
    row, = rows_of(tmp_path / "x")
    assert row["caption"] == "A box slides to the right." and row["first_frame"].endswith("00000.jpg")
    assert len(row["target_frames"]) == 2 and len(row["T_world_cam"]) == 3
    assert np.allclose(np.array(row["T_world_cam"][2])[:, 3], of.T_world_cam.translation[5], atol=1e-6)
    assert row["K"][0][0] == pytest.approx(of.camera.fx / 2, rel=0.02)


def test_trl_reads_its_rows(source, tmp_path):
    """The trainer's own preparation: images become the content blocks of the first user turn."""
    trl_data = pytest.importorskip("trl.data_utils")
    from curate.exporters.formats.trl import load

    export(source, "trl", tmp_path / "x", num_frames=3)
    export(source, "trl", tmp_path / "rl", form="rl", num_frames=3)
    example = load(tmp_path / "x")[0]
    blocks = trl_data.prepare_multimodal_messages(example["messages"], example["images"])[0]["content"]
    assert [b["type"] for b in blocks] == ["image"] * 3 + ["text"] and blocks[0]["image"].size[0] > 8
    example = load(tmp_path / "rl")[0]
    assert len(example["prompt"]) == 1 and score("<answer>1.8 m</answer>", json.loads(example["ground_truth"])) == 1.0
    with pytest.raises(FileNotFoundError, match="curate export OUT --to trl"):
        load(tmp_path / "x", "val")


class TestBadInput:
    def test_a_folder_of_something_else_is_left_alone(self, source, tmp_path):
        (tmp_path / "thesis.txt").write_text("mine")
        with pytest.raises(ExportError, match="something else"):
            export(source, "trl", tmp_path)
        assert (tmp_path / "thesis.txt").read_text() == "mine"

    def test_an_older_export_is_replaced_whole(self, source, tmp_path):
        export(source, "trl", tmp_path / "x", num_frames=5)
        export(source, "trl", tmp_path / "x", num_frames=2)
        assert len(list((tmp_path / "x/media").rglob("0*.jpg"))) == 2 * 2 * NUM_CLIPS  # of both views
        assert not list(tmp_path.glob(".*"))

    def test_wrong_names(self, source, tmp_path):
        with pytest.raises(ExportError, match=r"unknown consumer 'tlr'; known: .*trl"):
            export(source, "tlr", tmp_path / "x")
        with pytest.raises(ExportError, match="easyr1 takes media frames, not 'video'"):
            export(source, "easyr1", tmp_path / "x", media="video")
        with pytest.raises(ExportError, match="llava takes form sft"):
            export(source, "llava", tmp_path / "x", form="rl")
        with pytest.raises(ExportError, match="no question of split"):
            export(source, "trl", tmp_path / "x", families=("object_rotation",))
        assert not (tmp_path / "x").exists() and not list(tmp_path.glob(".*"))

    def test_sets_of_text_alone(self, tmp_path):
        (tmp_path / "s").mkdir()
        publish(tmp_path / "s", samples(2, text_only=True))
        with pytest.raises(ValueError, match="no part"):
            export(tmp_path / "s", "trl", tmp_path / "x")

    def test_plug_ins_must_be_exporters_with_names_of_their_own(self, monkeypatch):
        import curate.exporters as module

        class Point:
            name = "mine"

            def __init__(self, given):
                self.given = given

            def load(self):
                return self.given

        for given, said in ((object(), "gives object"), (exporters()["trl"], "is taken")):
            monkeypatch.setattr(module, "entry_points", lambda group, given=given: [Point(given)])
            module.exporters.cache_clear()
            with pytest.raises(ValueError, match=said):
                exporters()
        monkeypatch.undo()
        module.exporters.cache_clear()
        assert isinstance(exporters()["trl"], Exporter)


def test_command(source, tmp_path):
    run = CliRunner().invoke
    assert "llama-factory" in run(main, ["export", "--list"]).output
    done = run(main, ["export", str(source), "--to", "verl", "--out", str(tmp_path / "x"), "--frames", "3"])
    assert done.exit_code == 0 and f"rows:    {4 * NUM_CLIPS} of {NUM_CLIPS} clips" in done.output
    assert f"refused: {NUM_CLIPS} by frame-index" in done.output
    wrong = run(main, ["export", str(source), "--to", "nobody", "--out", str(tmp_path / "y")])
    assert wrong.exit_code == 2 and "known:" in wrong.stderr


def test_frames_are_spread_with_both_ends():
    for num in (1, 2, 7, 25):
        for most in (1, 2, 5, 30):
            found = chosen(num, most)
            assert found == sorted(set(found)) and found[0] == 0 and len(found) == min(num, most)
            assert most == 1 or found[-1] == num - 1


def test_marks_are_found_in_words_of_every_dialect():
    def speaks(text: str) -> bool:
        qa = {"question": text, "answer": "", "options": []}
        return exporters_base.Example(qa, {}, MediaRefs(), Path(), "train").speaks_of_marks

    assert all(speaks(f"How far is the object marked {m}?") for m in ("<R3>", "[R3]", "region 3", "<obj_3>"))
    assert not speaks("How far is the object in the box [3, 4, 50, 60] of the first frame?")
