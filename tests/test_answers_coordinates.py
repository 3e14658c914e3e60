"""The twin that judges coordinates on rendered scenes, against places worked out by hand.

A plate 0.8 m wide and 0.6 m high faces the camera 3.9 m ahead and goes 1 m/s to the right, the camera follows with
0.5 m/s; another stands still, 0.9 m right and 0.6 m below the axis, 5.9 m ahead. Focal length 300, centre (160, 90)
from the corner, views 0.2 m apart. After 0.4 s the first plate is 0.2 m right of the camera, at column
160 + 300 · 0.2 / 3.9.
"""

import json

import numpy as np
import pytest

from curate.shards.sample import encode_rle
from curate.synth.answers import Case, answers
from curate.synth.renderer import Renderer
from curate.synth.truth import Truth, match
from tests.synthetic import body, line, path, scene, wall


@pytest.fixture(scope="module")
def world():
    made = scene(wall(), body(1, "box", [.8, .6, .2], path(line([0, 0, 4], [1, 0, 0]))),
                 body(2, "box", [.5, .5, .2], path([.9, .6, 6])),
                 T_world_cam=path(line([0, 0, 0], [.5, 0, 0]), names=("world", "cam")))
    renderer = Renderer(made)
    depth, ids = renderer.geometry(0)
    subjects, regions = {}, []
    for number in (1, 2):
        mask = ids == number
        v, u = np.nonzero(mask)
        subjects[number] = match(made, mask, depth, ids)
        regions.append({"id": number, "first": 0, "mask_rle": encode_rle(mask),
                        "box": [float(x) for x in (u.min(), v.min(), u.max() + 1, v.max() + 1)]})
    return made, renderer, subjects, regions


def judged(world, family, answer="", regions=(1,), frame=4, form="open", options=(), question="", metric="", **extra):
    made, renderer, subjects, records = world
    target = json.loads(answer) if family == "grounding_3d" else None
    qa = {"family": family, "form": form, "answer": answer, "regions": list(regions), "start_frame": frame,
          "end_frame": frame, "question": question, "metric": metric, "target": target,
          "extra": {"option_values": list(options)} | extra}
    return answers()[family](Case(qa, {"regions": records}, Truth(made), subjects, renderer))


@pytest.mark.parametrize("family,right,wrong,extra", [
    ("grounding_2d", "[145, 67, 206, 113]", "[84, 67, 145, 113]", {}),
    ("view_box", "[130, 67, 191, 113]", "[160, 67, 221, 113]", {}),  # 300 · 0.2 / 3.9 = 15.4 px farther left
    ("grounding_point", "[0.20, 0.00, 3.90, 0.40]", "[0.40, 0.00, 3.90, 0.40]", {"tolerance_m": .1}),
    ("grounding_3d", '{"centre": [0.4, 0.0, 3.9], "orientation": [0, 0, 0]}',
     '{"centre": [0.2, 0.0, 3.9], "orientation": [0, 0, 0]}', {"tolerance_m": .1}),
    ("grounding_3d", '{"centre": [0.4, 0.0, 3.9], "orientation": null}',
     '{"centre": [0.4, 0.0, 3.9], "orientation": [0, 20, 0]}', {"tolerance_m": .1}),
    ("correspondence_seen", "[175, 90]", "[191, 90]", {}),
    ("correspondence_still", "[191, 90]", "[175, 90]", {}),  # 160 + 300 · 0.4 / 3.9
    ("view_point", "[160, 90]", "[175, 90]", {})])
def test_open_answers(world, family, right, wrong, extra):
    assert judged(world, family, right, **extra).right is True
    assert judged(world, family, wrong, **extra).right is False


@pytest.mark.parametrize("dialect,answer", [("box1000", "[548, 500]"), ("tokens", "<WIDTH-109><HEIGHT-100>")])
def test_other_dialects(world, dialect, answer):
    assert judged(world, "correspondence_seen", answer, coordinate_dialect=dialect).right
    place = "<WIDTH-109><HEIGHT-100><DEPTH-096><TEMP-099>"  # 0.1 · 2000^(96.5 / 200) = 3.9 m
    assert judged(world, "grounding_point", place, coordinate_dialect="tokens", metric="st", tolerance_m=.1).right


def test_several_points_count_in_their_order(world):
    there = "[195, 120] [175, 90]"  # the second plate: (0.9 − 0.2, 0.6) · 300 / 5.9
    assert judged(world, "correspondence_many", there, regions=(2, 1)).right
    assert not judged(world, "correspondence_many", there, regions=(1, 2)).right


@pytest.mark.parametrize("family,options,expected,more", [
    ("correspondence_seen", ["[191, 90]", "[174, 91]", "[100, 90]"], "[174, 91]", {}),
    ("correspondence_seen", ["[211, 90]", "[142, 91]", "[100, 90]"], "", {}),  # none is near enough
    ("view_shift", ["9.4 pixels to the left", "15.2 pixels to the left"], "15.2 pixels to the left", {}),
    ("view_shift", ["9.4 pixels to the right", "15.2 pixels to the right"], "", {}),
    ("disparity_order", ["<R1>", "<R2>"], "<R1>", {"regions": (1, 2), "question": "Which one is nearer?"}),
    ("disparity_order", ["<R1>", "<R2>"], "<R2>", {"regions": (1, 2), "question": "Which one has the smaller shift?"}),
    ("grounding_mark", ["<R2>", "<R1>"], "<R1>", {"regions": (1, 2), "question": "... at the point [175, 90] of ..."}),
    ("grounding_mark", ["<R2>", "<R1>"], "<R2>", {"regions": (1, 2), "question": "... at the point [195, 120] of ..."}),
    ("grounding_mark", ["<R2>", "<R1>"], "", {"regions": (1, 2), "question": "... at the point [20, 20] of ..."}),
    ("grounding_mark", ["<R2>", "<R1>"], "<R1>",
     {"regions": (1, 2), "question": "... inside the box [140, 65, 206, 113] of ..."}),
    ("view_visibility", ["beyond the edge", "inside the image"], "inside the image", {})])
def test_choices(world, family, options, expected, more):
    assert judged(world, family, form="choice", options=options, **more).category == expected
