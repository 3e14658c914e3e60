"""One record, every region dialect: marks, boxes, points."""

import re
from dataclasses import replace

import numpy as np
import pytest

from curate.questions import QuestionsConfig, ask
from curate.questions.region_words import clean_name, in_dialect, inner_point, of_scene, respeak, short
from curate.shards.sample import make_sample
from curate.shards.schema import decode
from tests.scenes import make_scene

FAMILIES = ("object_displacement", "object_camera_distance", "object_object_distance", "object_direction")


@pytest.fixture(scope="module")
def sample():
    scene, _ = make_scene(0)
    questions, _ = ask(scene, QuestionsConfig(families=FAMILIES))
    return scene, decode(make_sample(scene, {}, questions).json)


@pytest.mark.parametrize("label,noun", [
    ("A dolphin with", "dolphin"), ("The traffic_light", "traffic light"), ("SUV", "SUV"), ("Polar Bear", "polar bear"),
    ("", ""), ("<b>x</b>", ""), ("x" * 41, ""), ("of the", ""), ("cat {{ region }}", ""), ("dog\nB. cat", "")])
def test_names_are_safe_in_a_sentence(label, noun):
    assert clean_name(label) == noun


def test_a_labelled_region_goes_by_its_name():
    scene, _ = make_scene(0)
    scene.region(2).label = "A person"
    asked, _ = ask(scene, QuestionsConfig(families=["object_displacement"]))
    assert any("the person marked <R2> in the first frame" in q.question for q in asked)
    assert not any("object marked <R2>" in q.question for q in asked)


def test_a_point_lies_inside_of_its_region_whatever_the_shape():
    ring = np.zeros((40, 60), bool)
    ring[5:35, 10:50] = True
    ring[10:30, 15:45] = False  # its middle is not part of it
    x, y = inner_point(ring)
    assert ring[int(y), int(x)]
    assert np.isnan(inner_point(np.zeros((3, 3), bool))).all()


def test_a_box_is_that_of_the_mask_in_pixels_and_in_thousandths(sample):
    scene, _ = sample
    region = scene.region(2)
    x0, y0, x1, y1 = region.box[0]
    width, height = scene.camera.width, scene.camera.height
    assert short(of_scene(scene, region), "box") == f"[{x0:.0f}, {y0:.0f}, {x1:.0f}, {y1:.0f}]"
    expected = [round(1000 * v / n) for v, n in zip((x0, y0, x1, y1), (width, height) * 2)]
    assert short(of_scene(scene, region), "box1000") == str(expected)


@pytest.mark.parametrize("dialect", ["[R1]", "region 1", "<obj_1>", "box", "box1000", "point", "point1000"])
def test_a_stored_question_reads_as_if_it_had_been_asked_in_the_dialect(sample, dialect):
    scene, record = sample
    asked, _ = ask(scene, QuestionsConfig(families=FAMILIES, region_dialect=dialect))
    converted = [in_dialect(qa, record["regions"], dialect) for qa in record["qa"]]
    assert len(asked) == len(converted) > 10
    for direct, read in zip(asked, converted):
        assert read["question"] == direct.question and read["options"] == direct.options
        assert read["letter"] == direct.letter and read["reasoning"] == direct.reasoning
        assert not re.search(r"<R\d", read["question"])


def test_marks_of_many_digits_are_not_confused(sample):
    scene, _ = sample
    first = of_scene(scene, scene.region(2))
    regions = [replace(first, id=1), replace(first, id=12, box=(1, 2, 3, 4))]
    assert respeak("<R12> and <R1>", regions, "<obj_1>") == "<obj_12> and <obj_1>"
    assert respeak("region 12 and region 1", regions, "<R1>", "region 1") == "<R12> and <R1>"


def test_boxes_cannot_be_read_back(sample):
    with pytest.raises(ValueError, match="write the shards in '<R1>'"):
        respeak("[1, 2, 3, 4]", [], "<R1>", "box")
