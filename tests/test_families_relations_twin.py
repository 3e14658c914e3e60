"""The twin that judges questions about several marked objects on rendered scenes, held against a world worked out by
hand."""

from dataclasses import replace

import numpy as np
import pytest

from curate.questions.families.false_premise import ABSENT, STILL
from curate.questions.families.undetermined import UNKNOWN
from curate.synth.answers import Case, answers
from curate.synth.renderer import Renderer
from curate.synth.truth import Subject, Truth
from tests.synthetic import body, line, path, scene, wall


def case(family, regions, span=(0, 4), **qa):
    """A question about a world of five frames: 1 and 2 as <R1> and <R2>, still; 3 moves right, 4 forward, at 1 m/s."""
    made = scene(wall(), body(1, "sphere", .2, path([-1, 0, 4])), body(2, "sphere", .2, path([1, .2, 6])),
                 body(3, "sphere", .2, path(line([-.5, -.3, 5], [1, 0, 0]))),
                 body(4, "sphere", .2, path(line([.5, .3, 5], [0, 0, 1]))))
    record = {"regions": regions, "start_frame": span[0], "end_frame": span[1], "family": family, "mark_frame": 0,
              "extra": {"marks": [f"<R{i}>" for i in regions]}, "options": [], "id": ""} | qa
    subjects = {i: Subject(i, np.zeros(3), 1.0) for i in regions}
    return Case(record, {}, Truth(made), subjects, Renderer(made))


@pytest.mark.parametrize("family,regions,qa,expected", [
    ("object_object_distance_change", [1, 3], {}, "farther apart"),
    ("object_object_distance_change", [2, 4], {}, "closer together"),
    ("object_object_relation", [1, 2], {"options": ["left", "right"], "span": (0, 0)}, "left"),
    ("object_object_relation", [1, 2], {"options": ["left and behind", "left and in front"]}, "left and in front"),
    ("speed_comparison", [1, 3], {"id": "x.fastest2-choice"}, "<R3>"),
    ("displacement_comparison", [1, 4], {"id": "x.least2-choice"}, "<R1>"),
    ("distance_comparison", [1, 2, 3], {"id": "x.farthest3-choice"}, "<R2>"),
    ("depth_order", [2, 3, 1], {"id": "x.order3-choice"}, "<R1>, <R3>, <R2>"),
    ("viewpoint_relation", [1, 3, 2], {}, "ahead"),  # <R2> is 45° to the right of forward, <R3> 27°
    ("viewpoint_shift", [4, 1], {}, "to the left"),  # from (0.5, 5.4), facing forward, <R1> at (-1, 4) is 133° left
    ("count_moving", [1, 2, 3, 4], {"id": "x.moving4-choice"}, "2"),
    ("count_moving", [1, 2, 3], {"id": "x.still3-choice"}, "2"),
    ("count_direction", [1, 3, 4], {"id": "x.right3-choice"}, "1"),
    ("whose_motion", [3], {}, "only the object"), ("whose_motion", [1], {}, "neither of them"),
    ("false_premise", [1], {"id": "x.direction-choice"}, STILL),
    ("false_premise", [4], {"id": "x.direction-choice"}, "forward"),
    ("false_premise", [4], {"id": "x.length-choice", "options": ["0.25 m", "0.40 m", "0.64 m", STILL]}, "0.40 m"),
    ("false_premise", [], {"extra": {"absent": 7}}, ABSENT),
    ("cannot_be_determined", [1, 2], {"id": "x.speed-choice", "extra": {"tolerance": .1, "marks": ["<R1>", "<R2>"]}},
     UNKNOWN),
    ("cannot_be_determined", [1, 2], {"id": "x.distance-choice", "extra": {"tolerance": .1, "marks": ["<R1>", "<R2>"]}},
     "<R1>")])
def test_the_twin_knows_the_answer(family, regions, qa, expected):
    assert answers()[family](case(family, regions, **qa)).category == expected


def test_the_twin_finds_two_marks_on_one_object():
    two = case("speed_comparison", [3, 4], id="x.fastest2-choice")
    same = replace(two, subjects={3: two.subjects[3], 4: two.subjects[3]})
    assert answers()["speed_comparison"](same).problem
