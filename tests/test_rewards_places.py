"""Rewards of places, directions, runs and facts: closed forms, and what earlier implementations paid wrongly."""

import math

import pytest

from curate.rewards import REWARDS, score
from curate.rewards.formulas import box_iou, scene_scale

SPAN = {"answer_type": "span", "metric": "tiou", "target": [1.0, 3.0]}
BOX = {"answer_type": "box", "metric": "iou", "target": [10, 20, 30, 60]}
POINTS = {"answer_type": "points", "metric": "pck", "target": [[100, 100], [200, 100], None], "tolerance": 10}
CENTRES = {"camera": [[0, 0, 0], [0, 0, 2]], "R1": [[1, 0, 5], None], "R2": [[2, 0, 8], [2, 0, 9]]}
STATE = {"answer_type": "json", "metric": "st", "target": CENTRES, "extra": {"st_scale_m": 1.0}}
RUNS = {"answer_type": "sequence", "metric": "sequence", "target": ["grows", "constant", "shrinks"]}
STEPS = {"answer_type": "sequence", "metric": "sequence", "target": ["move forward 3 m", "turn left 80°"]}
FACTS = {"answer_type": "text", "metric": "facts",
         "target": ["<R1> moves 3.2 m to the left.", "The camera turns right by 20°.", "<R2> does not move."]}


@pytest.mark.parametrize("text,expected", [
    ("from 1 s to 3 s", 1), ("[1.0, 3.0]", 1), ("1–3 s", 1), ("1000 to 3000 ms", 1), ("3 s to 1 s", 1),
    ("2 s to 4 s", 1 / 3), ("0 s to 4 s", 0.5), ("5 s to 6 s", 0), ("2 s", 0), ("null", 0),
    ("At 2 s it is closest; it is closer than 5 m from 1 s to 3 s.", 1), ("2 s. 1 s. 3 s.", 0)])
def test_temporal_iou(text, expected):
    assert score(text, SPAN) == pytest.approx(expected)


def test_an_instant_is_as_long_as_its_tolerance():
    instant = {**SPAN, "target": [2.0, 2.0], "tolerance": 0.5}
    assert score("2 s to 2 s", instant) == 1 and score("2.25 s to 2.25 s", instant) == pytest.approx(1 / 3)
    assert score("2 s to 2 s", {**instant, "tolerance": None}) == 1


@pytest.mark.parametrize("text,expected", [
    ("[10, 20, 30, 60]", 1), ("(30, 60, 10, 20)", 1), ("10, 20, 30, 60", 1), ('{"box": [20, 20, 40, 60]}', 1 / 3),
    ("[10, 20, 30]", 0), ("[50, 60, 70, 80]", 0), ("[10, 20, 10, 20]", 0), ("there is none", 0)])
def test_box_iou(text, expected):
    assert score(text, BOX) == pytest.approx(expected)


def test_box_in_space_and_its_heading():
    cube = {"answer_type": "json", "metric": "iou", "target": {"centre": [0, 0, 5], "size": [2, 2, 2]}}
    assert score('{"centre": [0, 0, 5], "size": [2, 2, 2]}', cube) == 1
    assert score('```json\n{"Center": [1, 0, 5], "dimension": [2, 2, 2]}\n```', cube) == pytest.approx(1 / 3)
    assert score('{"centre": [0, 0, 5]}', cube) == score("{", cube) == score("[0, 0, 5]", cube) == 0
    headed = {**cube, "target": {**cube["target"], "yaw": 350}}
    turned = score('{"centre": [0, 0, 5], "size": [2, 2, 2], "yaw": 10}', headed)  # 20° away, over the turn
    assert turned == pytest.approx(0.5 + 0.5 * (1 - 20 / 90))
    assert score('{"centre": [0, 0, 5], "size": [2, 2, 2]}', headed) == 0.5
    assert box_iou([0, 0, 0, 2, 2, 2], [1, 1, 1, 3, 3, 3]) == pytest.approx(1 / 15)


@pytest.mark.parametrize("text,expected", [
    ("[[100, 100], [200, 100], null]", 1), ("[105, 100], [200, 109], null", 1),
    ("(100, 100), (200, 111), not visible", 2 / 3),
    ("[[200, 100], [100, 100], null]", 1 / 3), ("[[100, 100]]", 1 / 3), ("[[100, 100], [200, 100], [5, 5]]", 2 / 3),
    ("[[100, 100], [200, 100], null, [1, 1]]", 3 / 4), ("", 0)])
def test_points_within_a_distance_in_the_order_asked_for(text, expected):
    assert score(text, POINTS) == pytest.approx(expected)


def test_centres_by_name():
    """exp(−mean distance), scale 1: the camera's second centre is 1 m off, <R2>'s both are 0.5 m off."""
    text = ("Camera Center: [0, 0, 0]. Object Center of <R2>: [2, 0, 8.5]. Object Center of <R1>: [1, 0, 5].\n"
            "Camera Center: [0, 0, 1]. Object Center of <R1>: null. Object Center of <R2>: [2, 0.5, 9].")
    camera, objects = math.exp(-0.5), (1 + math.exp(-0.5)) / 2
    assert REWARDS["st_camera"](text, STATE) == pytest.approx(camera)
    assert REWARDS["st_object"](text, STATE) == pytest.approx(objects)  # whatever order they are named in
    assert score(text, STATE) == pytest.approx((camera + objects) / 2)
    said = '{"R2": [[2, 0, 8.5], [2, 0.5, 9]], "camera": [[0, 0, 0], [0, 0, 1]], "R1": [[1, 0, 5], null]}'
    assert score(said, STATE) == pytest.approx((camera + objects) / 2)
    assert score(f"<think>{text}</think><answer>B</answer>", STATE) == pytest.approx((camera + objects) / 2)


def test_null_earns_where_the_truth_is_null_and_only_there():
    lone = {**STATE, "target": {"R1": [[1, 0, 5], None]}}
    assert score("R1: [1, 0, 5], null", lone) == 1
    assert score("Object Center: [1, 0, 5]\nObject Center: null", lone) == 1  # a lone object needs no mark
    assert score("R1: [1, 0, 5], [1, 0, 6]", lone) == 0.5 and score("R1: null, null", lone) == 0.5
    assert score("", {**STATE, "target": {"R1": [None, None]}}) == 1
    assert score("R1: [0, 0, 1], [0, 0, 1]", {**STATE, "target": {"R1": [None, None]}}) == 0


def test_a_missing_object_earns_nothing_and_costs_the_others_nothing():
    text = "Camera Center: [0, 0, 0]\nCamera Center: [0, 0, 2]\nR2: [2, 0, 8], [2, 0, 9]"
    assert REWARDS["st_camera"](text, STATE) == 1 and REWARDS["st_object"](text, STATE) == 0.5
    assert REWARDS["st_object"]("R9: [1, 0, 5], null", STATE) == 0  # the right places under another name


def test_the_last_statement_counts_not_the_number_of_them():
    once = {**STATE, "target": {"camera": [[0, 0, 0]]}}
    assert score("Camera Center: [5, 5, 5], no: Camera Center: [0, 0, 0]", once) == 1


def test_the_scale_is_that_of_the_scene():
    """Of 4 m and of 40 m: errors of the same share earn the same; the truth's own error costs less."""
    def state(size, **extra):
        return {"answer_type": "json", "metric": "st", "extra": extra, "target": {"camera": [[0, 0, 0], [0, 0, size]]}}

    assert score("camera: [0, 0, 0], [0, 0, 4.4]", state(4)) == pytest.approx(
        score("camera: [0, 0, 0], [0, 0, 44]", state(40)))
    assert score("camera: [0, 0, 0], [0, 0, 4.4]", state(4)) == pytest.approx(math.exp(-0.2 / 0.4))
    assert score("camera: [0, 0, 0], [0, 0, 4.4]", state(4, sigma_m=1.0)) > 0.9
    assert scene_scale({}) > 0 and scene_scale({"camera": [[0, 0, 0]]}) > 0
    with pytest.raises(ValueError, match="metres above zero"):
        score("camera: [0, 0, 0]", state(4, st_scale_m=0))


def test_a_path_in_space_and_time():
    path = {"answer_type": "trajectory", "metric": "st", "target": [[0, 0, 0, 0], [0, 0, 4, 2]],
            "extra": {"st_scale_m": 1.0}}
    assert score("[[0, 0, 0, 0], [0, 0, 4, 2]]", path) == 1
    assert score("[[0, 0, 0, 0], [0, 0, 5, 2]]", path) == pytest.approx(math.exp(-0.5))
    assert score("[[0, 0, 0, 0], [0, 0, 4, 2.2]]", path) == pytest.approx(math.exp(-0.1 / 0.2))
    assert score("[[0, 0, 0, 0]]", path) == pytest.approx(0.25)  # half of the places, half of the times
    assert score("nowhere", path) == 0


@pytest.mark.parametrize("text,expected", [
    ("(1) grows (2) constant (3) shrinks", 1), ("I would say, so: (1) grows (2) constant (3) shrinks.", 1),
    ("The order is: 1. grows 2. constant 3. shrinks", 1), ("grows, then stays constant, then shrinks", 1),
    ('["grows", "constant", "shrinks"]', 1), ("1. It grows.\n2. It is constant.\n3. It shrinks.", 1),
    ("First, it grows, next it is constant. Finally, it shrinks.", 1), ("grows -> constant -> shrinks", 1),
    ("grows; shrinks", 2 / 3), ("(1) shrinks (2) constant (3) grows", 1 / 3),
    ("grows, grows, constant, shrinks", 1), ("grows or shrinks or is constant", 0), ("does not grow", 0), ("", 0),
    ("grows, constant, shrinks, grows, constant, shrinks", 0.5)])
def test_ordered_runs(text, expected):
    """1 − Levenshtein distance / length of the longer list, over runs."""
    assert score(text, RUNS) == pytest.approx(expected)


def test_runs_with_numbers_are_as_near_as_their_numbers():
    assert score("(1) move forward 3 m (2) turn left 80°", STEPS) == 1
    assert score("(1) move forward 3.3 m (2) turn left 80°", STEPS) == pytest.approx((0.9 + 1) / 2)
    assert score("(1) move forward 3 m (2) turn right 80°", STEPS) == 0.5
    assert score("(1) move forward (2) turn left", STEPS) == 0


def test_facts_are_recalled_by_what_they_say():
    all_three = "R1 moves about 3.1 m to the left. The camera turns right by 21 degrees. R2 is not moving."
    assert score(all_three, FACTS) == 1 and score("R2 does not move.", FACTS) == pytest.approx(1 / 3)
    for wrong in ("R1 moves 3.2 m to the right.", "R2 moves 3.2 m to the left.", "R1 moves 5 m to the left.",
                  "R2 moves.", "R1 does not move 3.2 m to the left.", ""):
        assert score(wrong, FACTS) == 0, wrong


def test_saying_everything_does_not_pay():
    everything = " ".join(f"R1 moves {n / 10} m to the {side}. The camera turns {side} by {n}°. R2 does not move."
                          for n in range(100) for side in ("left", "right"))
    assert score(everything, FACTS) < 0.1


@pytest.mark.parametrize("answer,text,expected", [
    ("left", "left", 1), ("left", "to the left", 1), ("left", "right", 0), ("forward-left", "left", math.sqrt(0.5)),
    ("forward-left", "forward and to the left", 1), ("still", "not moving", 1), ("still", "left", 0),
    ("left", "still", 0), ("still", "left and right", 0), ("left", "left or forward", 0),
    ("forward", "away from the camera", 1), ("backward", "towards the camera", 1),
    ("left", "[-2, 0, 0]", 1), ("left", "", 0)])
def test_directions_earn_their_cosine(answer, text, expected):
    options = ["left", "right", "forward-left", "still", "forward"]
    record = {"answer_type": "text", "answer": answer}
    assert REWARDS["direction"](text, record) == pytest.approx(expected)
    if answer in options:
        choice = {"answer_type": "choice", "answer": answer, "options": options, "unit": ""}
        assert REWARDS["direction"]("ABCDE"[options.index(answer)], choice) == 1
    assert REWARDS["direction"]("left", {"answer_type": "number", "value": 1.0}) is None


def test_a_vector_is_compared_with_a_vector():
    record = {"answer_type": "points", "target": [0, 0, 2], "answer": "[0, 0, 2]"}
    assert REWARDS["direction"]("[0, 0, 1]", record) == 1
    assert REWARDS["direction"]("[1, 0, 1]", record) == pytest.approx(math.sqrt(0.5))
    assert REWARDS["direction"]("[0, 0, 0]", record) == 0


def test_json_is_judged_field_by_field():
    record = {"answer_type": "json", "metric": "st", "target": {"speed": 2.0, "moving": True, "label": "car"}}
    assert score('{"speed": 2.2, "moving": true, "label": "Car"}', record) == pytest.approx((0.9 + 1 + 1) / 3)
    assert score('{"speed": 2.0}', record) == pytest.approx(1 / 3)
    for wrong in ("[]", "{'speed': 2}", '{"speed": {"speed": 2}}', "{" * 100, '{"speed": NaN}', '{"speed": 1e999}'):
        assert score(wrong, record) == 0, wrong


def test_coordinate_tokens_are_read_as_what_they_decode_to():
    from curate.questions.coordinates import Canvas, Writer

    writer = Writer("tokens", Canvas(400, 200, 2.0, 300.0, 300.0, 199.5, 99.5))
    extra = {"coordinate_dialect": "tokens", "canvas": writer.canvas.to_json()}
    box = {"answer_type": "box", "target": writer.numbers(100, 50, 200, 150), "extra": extra}
    assert score(writer.box(100, 50, 200, 150), box) == pytest.approx(1, abs=0.01)
    assert score(writer.box(150, 50, 250, 150), box) == pytest.approx(1 / 3, abs=0.02)
    place = {"answer_type": "trajectory", "metric": "st", "target": [[1.0, 0.0, 10.0, 1.0]],
             "extra": {**extra, "tolerance_m": 1.0}}
    right = writer.place((1, 0, 10), 1.0, 2)
    assert score(right, place) > 0.7 and score("[1, 0, 10, 1]", place) == 1
    assert score(right, {**place, "answer": right}) == 1  # no finer than the tokens are
    assert score(writer.place((1, 0, 20), 1.0, 2), place) < 0.01


def test_what_is_not_known_of_an_object_earns_nothing_by_itself():
    record = {"answer_type": "json", "metric": "st",
              "target": {"size": None, "centre": [1.0, 0.0, 10.0], "orientation": [0.0, 90.0, 0.0]}}
    assert score('{"size": null, "centre": [1, 0, 10], "orientation": [0, 90, 0]}', record) == 1
    assert score('{"centre": [1, 0, 10], "orientation": [0, 45, 0]}', record) == pytest.approx(0.75)
    assert score('{"size": null, "centre": null, "orientation": null}', record) == 0
    assert score('{"size": [1, 1, 1], "centre": [1, 0, 10], "orientation": [0, 90, 0]}', record) == pytest.approx(2 / 3)


def test_numbers_of_runs_have_units_and_tolerances():
    assert score("(1) move forward 300 cm (2) turn left 80 degrees", STEPS) == 1
    assert score("move forward 3 s, turn left 80°", STEPS) == 0.5
    within = {**STEPS, "extra": {"tolerance": [0.3, 10.0]}}
    assert score("move forward 3.3 m, turn left 71°", within) == 1 > score("move forward 3.3 m, turn left 71°", STEPS)


def test_facts_have_units_too():
    assert score("R1 moves 320 cm to the left.", FACTS) == pytest.approx(1 / 3)
    assert score("R1 moves 3.2 degrees to the left.", FACTS) == 0
