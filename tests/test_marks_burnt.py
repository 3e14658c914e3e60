"""Marks burnt into the video by the write pass, in each style, and labels in the dialect of the questions."""

from __future__ import annotations

import numpy as np
import pytest

from curate import marks
from curate.exporters.run import export
from curate.recipe import recipe_from_dict
from curate.recipe.load import RecipeError
from tests.test_augment_run import frames
from tests.test_later_run import NUM, RECIPE, SIZE, grey, published, stage, written


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("burnt") / "out"
    stage(out, {"a": 5, "b": None})
    return out


def coloured(image: np.ndarray) -> np.ndarray:
    """[H, W] of a grey picture: where something was drawn in colour."""
    return np.ptp(image.astype(int), -1) > 40


@pytest.mark.parametrize("style", ["contour", "mask", "box"])
def test_the_first_frame_of_the_first_view_shows_the_marks_and_the_record_says_so(out, tmp_path, style):
    plain = written(out)
    made = written(out, marks={"style": style, "burn": True})
    assert list(made) == list(plain)  # those cut for what enters later too
    for key, item in made.items():
        assert marks.in_video(item["json"]) and not marks.in_video(plain[key]["json"])
        assert [q["question"] for q in item["json"]["qa"]] == [q["question"] for q in plain[key]["json"]["qa"]]
        shown, time_s = frames(item["media"]["v0.mp4"], tmp_path)
        own, own_s = frames(plain[key]["media"]["v0.mp4"], tmp_path)
        np.testing.assert_array_equal(time_s, own_s)
        there = marks.record_regions(item["json"], SIZE)
        assert there and not coloured(own[0]).any()
        for region in there:
            x0, y0, x1, y1 = np.clip(np.round(region["box"]).astype(int), 0, [*SIZE, *SIZE])
            assert coloured(shown[0])[max(y0 - 2, 0):y1 + 2, max(x0 - 2, 0):x1 + 2].any(), (key, region["id"])
        assert np.abs(shown[1:] - own[1:]).mean() < 1 and not coloured(shown[2:]).any()
        assert item["media"]["v1.mp4"] == plain[key]["media"]["v1.mp4"]
        marked = marks.read_jpeg(item["media"]["mark.jpg"]).astype(int)
        assert np.abs(marked - shown[0]).mean() < 8 < np.abs(marked - own[0]).mean() + 8


def test_the_same_bytes_again_and_from_any_number_of_processes(out):
    written(out, marks={"burn": True})
    once = published(out)
    written(out, marks={"burn": True}, processes=2)
    assert published(out) == once


def test_labels_are_those_that_the_questions_speak_of(out):
    by_dialect = {}
    for dialect in ("<R1>", "<obj_1>"):
        found = written(out, questions=RECIPE["questions"] | {"region_dialect": dialect})
        by_dialect[dialect] = found["b" * 24]["media"]["mark.jpg"]
    wide, narrow = (marks.read_jpeg(by_dialect[d]) for d in ("<obj_1>", "<R1>"))
    black = [(image.max(-1) < 30).sum() for image in (wide, narrow)]  # behind the labels
    assert black[0] > 1.4 * black[1]  # obj_1 is longer than R1


def test_a_trainer_that_takes_one_video_alone_is_given_the_marks_in_it(out, tmp_path):
    rows = {}
    for burn in (False, True):
        written(out, marks={"burn": burn})
        rows[burn] = export(out, "video-r1", tmp_path / str(burn))
    assert rows[True].rows > rows[False].rows and "marks" in rows[False].refused and "marks" not in rows[True].refused


def test_styles_are_of_the_writing_and_checked_with_the_recipe(out):
    plain, same, other = (recipe_from_dict(RECIPE | more) for more in (
        {}, {"marks": {"style": "contour"}}, {"marks": {"style": "mask"}}))
    assert plain.writing_fingerprint() == same.writing_fingerprint() != other.writing_fingerprint()
    with pytest.raises(RecipeError, match="style"):
        recipe_from_dict(RECIPE | {"marks": {"style": "stars"}})


def test_a_clip_without_questions_about_regions_has_its_plain_frame(out, tmp_path):
    made = written(out, marks={"burn": True}, questions={"families": ["camera_displacement", "camera_rotation"]},
                   augment=[])
    for item in made.values():
        shown, _ = frames(item["media"]["v0.mp4"], tmp_path)
        assert not coloured(shown[0]).any() and abs(shown[0].mean() - grey(0)) < 4 and len(shown) == NUM
