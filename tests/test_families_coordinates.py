"""Grounding, correspondence and stereo questions against scenes whose answers are worked out by hand.

The camera of the scenes has 640 x 360 pixels, a focal length of 576 and its centre in the middle of the image, 320 and
180 pixels from the corner; the second one is 0.12 m to its right.
"""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from curate.augment.mirror import mirror
from curate.augment.reverse import reverse
from curate.questions import QuestionsConfig, ask, gates, places
from curate.questions.coordinates import Canvas, plain_text
from curate.questions.draw import Draw
from curate.questions.families import families
from curate.questions.families.grounding import AMBIGUOUS, AT_BORDER, NOT_CARRIED
from curate.questions.families.views import INSIDE, OUTSIDE
from curate.questions.point_options import point_options
from curate.questions.view import View
from tests.family_scenes_coordinates import asked, moving_scene, straight, turning
from tests.scenes import Noise

IMAGE = ("grounding_2d", "grounding_mark", "correspondence_seen", "correspondence_still", "correspondence_many")
SPACE = ("grounding_point", "grounding_3d")
STEREO = ("disparity_order", "view_shift", "view_point", "view_box", "view_visibility")
LAST = 20  # frame; 2 s


def at_end(questions, form=""):
    return [q for q in questions if q.start_frame == LAST and form in ("", q.form)]


def one(questions, form=""):
    found = [q for q in questions if form in ("", q.form)]
    assert len(found) == 1, [q.id for q in found]
    return found[0]


def refused(scene, family, **config):
    return {d.reason for d in ask(scene, QuestionsConfig(families=[family], **config))[1]}


@pytest.mark.parametrize("name", [*IMAGE, *SPACE, *STEREO])
def test_at_least_eight_paraphrases_of_each_section(name):
    family = families()[name]
    for section in family.sections:
        assert len({p.id for p in family.wording(section)}) >= 8


# ---- grounding ----

def test_a_place_is_in_the_axes_of_the_camera_at_that_time():
    # after 2 s the object is at (1.5, 0.1, 6) and the camera at (0, 0, 2)
    scene = moving_scene((straight((.5, .1, 6), (.5, 0, 0)),), camera=straight((0, 0, 0), (0, 0, 1)),
                         noise=Noise.none())
    q = one(at_end(asked(scene, "grounding_point")))
    assert q.answer == "[1.50, 0.10, 4.00, 2.00]" and q.target == [[1.5, .1, 4.0, 2.0]]
    assert (q.answer_type, q.metric, q.frame) == ("trajectory", "st", "camera@20")
    assert q.coordinates == [{"start": 0, "end": len(q.answer), "vector": pytest.approx([1.5, .1, 4.0, 2.0])}]
    assert "in the axes of the camera at 2.00 s" in q.question and "in metres" in q.question
    assert "surface that is visible in the first frame" in q.question and "in seconds" in q.question
    q = one(at_end(asked(scene, "grounding_point", dialect="frames")))
    assert q.answer == "[1.50, 0.10, 4.00, 20]" and "the number of the frame, counted from 0" in q.question
    assert refused(replace(scene, scale="relative"), "grounding_point") == {gates.NOT_METRIC}


def test_a_pose_is_in_the_axes_of_the_first_camera():
    # turned by 40° about the axis that points down, in the world as in the first camera's axes
    def scene(sigma):
        return moving_scene((straight((.5, .1, 6), (.5, 0, 0)),), (turning((0, 20, 0)),), noise=Noise.none(),
                            camera=straight((0, 0, 0), (0, 0, 1)), camera_turn=turning((0, 5, 0)), turn_sigma=sigma)

    q = one(at_end(asked(scene(1e-3), "grounding_3d")))
    said = json.loads(q.answer)
    assert said["centre"] == pytest.approx([1.5, .1, 6.0], abs=.02) and said["orientation"] == [0, 40, 0]
    assert said == q.target and (q.answer_type, q.metric) == ("json", "st")
    place, = q.coordinates
    assert json.loads(q.answer[place["start"]:place["end"]]) == said["centre"]
    assert "in the axes of the camera at the first frame" in q.question and "null" in q.question
    assert json.loads(one(at_end(asked(scene(.2), "grounding_3d"))).answer)["orientation"] is None  # 11° is no answer


def test_a_place_whose_error_is_a_tenth_of_the_distance_is_not_asked_for():
    blurred = moving_scene((straight((0, 0, 30), (.5, 0, 0)),), noise=Noise(own_disparity_px=.6))  # disparity 2.3 px
    for name in SPACE:
        assert not asked(blurred, name) and refused(blurred, name) == {gates.UNCERTAIN}


def test_a_box_is_that_of_the_frame_asked_about():
    scene = moving_scene((straight((-.5, 0, 5), (.5, 0, 0)),), noise=Noise.none())
    q = one(at_end(asked(scene, "grounding_2d")))
    assert q.target == [float(round(v)) for v in scene.regions[0].box[LAST]] == json.loads(q.answer)
    assert (q.answer_type, q.metric, q.frame, q.reference) == ("box", "iou", "image", "")
    assert "[x0, y0, x1, y1]" in q.question and "640 × 360 image" in q.question and "2.00 s" in q.question
    assert [q.answer[c["start"]:c["end"]] for c in q.coordinates] == [
        f"{a:.0f}, {b:.0f}" for a, b in (q.target[:2], q.target[2:])]
    # a box that grows to thrice its size while the object keeps its distance is of more than the object
    boxes = scene.regions[0].box.copy()
    boxes[LAST] += np.array([-60, -60, 60, 60])
    grown = replace(scene, regions=[replace(scene.regions[0], box=boxes)])
    assert not at_end(asked(grown, "grounding_2d")) and NOT_CARRIED in refused(grown, "grounding_2d")


def test_the_mark_that_is_at_a_place():
    # two objects that change places; at the end the first one is where the second one was
    paths = straight((-.8, 0, 5), (.8, 0, 0)), straight((.8, .3, 5), (-.8, 0, 0))
    questions = at_end(asked(moving_scene(paths, noise=Noise.none()), "grounding_mark"))
    assert len(questions) == 4 and all(q.regions == [1, 2] and set(q.options) == {"<R1>", "<R2>"} for q in questions)
    found = {re.search(r"(\[[\d, ]+\])", q.question)[1]: q.answer for q in questions}
    # 0.8 m to the right at 5 m are 92 px; 0.3 m down are 35 px
    assert found["[412, 180]"] == "<R1>" and found["[228, 215]"] == "<R2>"
    assert sum(len(json.loads(place)) == 4 for place in found) == 2
    # with something nearer at the same place nothing is certain
    hidden = moving_scene((paths[0], straight((.4, 0, 2.5)), paths[1]), noise=Noise.none())
    assert AMBIGUOUS in refused(hidden, "grounding_mark")
    assert AT_BORDER in refused(moving_scene(paths, noise=Noise(drift_px=5)), "grounding_mark")
    assert not asked(moving_scene(paths), "grounding_mark", region_dialect="box")  # the question would say where


# ---- correspondence ----

def test_a_point_as_seen_and_with_the_camera_held_still():
    # the camera goes 1 m to the right past an object at rest 5 m ahead: 115.2 px to the left, or nothing
    scene = moving_scene((straight((0, 0, 5)), straight((1, .5, 8))), camera=straight((0, 0, 0), (.5, 0, 0)))
    questions = at_end(asked(scene, "correspondence_seen", "correspondence_still"))
    answers = {(q.family, q.form): q for q in questions if q.regions == [1]}
    assert answers["correspondence_seen", "open"].target == [[205.0, 180.0]]
    assert answers["correspondence_still", "open"].target == [[320.0, 180.0]]
    for (family, form), q in answers.items():
        true = np.array([204.8 if family == "correspondence_seen" else 320, 180])
        assert np.linalg.norm(np.array(json.loads(q.answer)) - true) < 1.0
        assert ("stayed where it was in the first frame" in q.question) == (family == "correspondence_still")
        assert "640 × 360" in q.question and q.metric == ("pck" if form == "open" else "accuracy")
        if form == "choice":
            assert q.options["ABCD".index(q.letter)] == q.answer and len(set(q.options)) == 4
            places_ = np.array([json.loads(o) for o in q.options])
            apart = np.linalg.norm(places_[:, None] - places_[None], axis=-1)[~np.eye(4, dtype=bool)]
            assert apart.min() >= .06 * 640 - 2
        else:
            assert q.extra["threshold_px"] == pytest.approx(.02 * 640)


def test_a_moving_object_is_placed_in_the_first_frames_image():
    # the object goes 1 m to the right at 5 m while the camera follows it: the image stays, the truth moves
    scene = moving_scene((straight((0, 0, 5), (.5, 0, 0)),), camera=straight((0, 0, 0), (.5, 0, 0)))
    found = {q.family: q.target for q in at_end(asked(scene, "correspondence_seen", "correspondence_still"), "open")}
    assert found == {"correspondence_seen": [[320.0, 180.0]], "correspondence_still": [[435.0, 180.0]]}


def test_several_points_come_in_the_order_asked_for():
    starts = (-1, 0, 5), (0, .3, 5), (1, -.3, 5)
    scene = moving_scene(tuple(straight(s, (.2, 0, 0)) for s in starts))
    questions = asked(scene, "correspondence_many")
    assert len(questions) == 4 and {q.start_frame for q in questions} == {LAST}
    orders = set()
    for q in questions:
        named = [int(n) for n in re.findall(r"<R(\d)>", re.sub(r"<R\d> (first|in)", "", q.question))]
        assert named == q.regions
        true = [[320 + 576 * (starts[i - 1][0] + .4) / 5, 180 + 576 * starts[i - 1][1] / 5] for i in q.regions]
        assert np.abs(np.array(q.target) - true).max() < 1.2
        assert [json.loads(q.answer[c["start"]:c["end"]]) for c in q.coordinates] == q.target
        orders.add(tuple(q.regions) == tuple(sorted(q.regions)))
    assert orders == {True, False}  # shuffled


def test_a_point_that_cannot_be_known_is_not_asked_for():
    scene = moving_scene((straight((0, 0, 5), (.5, 0, 0)),), noise=Noise(own_px=8.0))
    assert not [q for q in asked(scene, "correspondence_seen") if q.form == "open"]
    assert gates.UNCERTAIN in refused(scene, "correspondence_seen")


def test_options_that_are_places_do_not_tell_which_is_true():
    rng, num = np.random.default_rng(0), 3000
    centre, size = np.array([320, 200]), np.array([120, 50])
    hits = dict.fromkeys(("mean", "leftmost", "rightmost", "topmost", "hub", "middle"), 0)
    made = 0
    for k in range(num):
        truth, *others = np.clip(centre + size * rng.standard_normal((4, 2)), 25, [615, 335])
        found = point_options(truth, others, [(40, 5)] if k % 2 else [], 12.0, (640, 360), 4, Draw("fair", k))
        if found is None:
            continue
        made += 1
        order = rng.permutation(4)
        shown, true = np.array(found)[order], int(np.flatnonzero(order == 0)[0])
        apart = np.linalg.norm(shown[:, None] - shown[None], axis=-1).sum(1)
        guesses = {"mean": np.linalg.norm(shown - shown.mean(0), axis=1).argmin(), "leftmost": shown[:, 0].argmin(),
                   "rightmost": shown[:, 0].argmax(), "topmost": shown[:, 1].argmin(), "hub": apart.argmin(),
                   "middle": np.linalg.norm((shown - [320, 180]) / size, axis=1).argmin()}
        for name, guess in guesses.items():
            hits[name] += guess == true
    assert made > .9 * num
    shares = {name: hit / made for name, hit in hits.items()}
    assert all(.21 <= shares[n] <= .29 for n in ("mean", "leftmost", "rightmost", "topmost", "hub")), shares
    assert shares["middle"] < .36, shares  # objects are rather in the middle of images: a prior, not the options


def test_five_options_and_rows():
    found = point_options((100, 80), [(300, 80)], [(30, 0)], 5.0, (640, 360), 5, Draw("five"), along_row=True)
    assert len(found) == 5 and {p[1] for p in found} == {80} and tuple(found[0]) == (100, 80)
    assert point_options((2, 80), [], [], 5.0, (640, 360), 4, Draw("edge")) is None  # at the very border
    assert point_options((100, 80), [], [], 400.0, (640, 360), 4, Draw("wide")) is None  # an error as wide as the image


def test_a_centre_that_is_not_on_the_object_is_no_point_of_it():
    scene = moving_scene((straight((0, 0, 5), (.5, 0, 0)), straight((1, .3, 7))))
    ring = scene.regions[0].mask_first.copy()
    ring[178:182, 317:323] = False  # a hole in the middle
    hollow = replace(scene, regions=[replace(scene.regions[0], mask_first=ring), scene.regions[1]])
    for name in (*IMAGE, *SPACE, *STEREO):
        assert asked(scene, name) or name in ("correspondence_many", "view_visibility")
        assert not any(1 in q.regions for q in asked(hollow, name) if name != "grounding_mark")
    assert places.OFF in refused(hollow, "correspondence_seen")


# ---- two views ----

def test_the_nearer_object_shifts_more():
    # 576 · 0.12 / 4 = 17.3 px against 8.6 px
    scene = moving_scene((straight((-.5, 0, 4)), straight((1, 0, 8))))
    q = one(asked(scene, "disparity_order"))
    wants_less = re.search(r"\b(less|smaller|farther)\b", q.question) is not None
    assert q.answer == ("<R2>" if wants_less else "<R1>") and set(q.options) == {"<R1>", "<R2>"}
    assert "left view" in q.question and "surface that is visible in the first frame" in q.question
    relative = one(asked(replace(scene, scale="relative"), "disparity_order"))  # pixels need no scale
    assert relative.answer == q.answer
    for other in asked(replace(scene, scale="relative"), *IMAGE, *STEREO):
        assert not re.search(r"\d m\b", " ".join([other.question, *other.reasoning]))
    assert refused(moving_scene((straight((-.5, 0, 4)), straight((1, 0, 4.001)))), "disparity_order") == {
        gates.UNCERTAIN}


def test_both_ways_of_asking_for_the_order_come_up():
    said = set()
    for z in np.linspace(4, 6, 12):
        scene = moving_scene((straight((-.5, 0, z)), straight((1, 0, 9)), straight((0, .5, 15))))
        said |= {bool(re.search(r"\b(less|smaller|farther)\b", q.question)) for q in asked(scene, "disparity_order")}
    assert said == {True, False}


def test_the_shift_between_the_views_and_its_direction():
    scene = moving_scene((straight((-.5, 0, 4)),))
    q = next(q for q in asked(scene, "view_shift") if q.start_frame == 0)
    assert re.fullmatch(r"17\.\d+ pixels to the left", q.answer) and all("to the left" in o for o in q.options)
    assert float(q.answer.split()[0]) == pytest.approx(17.28, rel=.02)
    mirrored = next(q for q in asked(mirror(scene), "view_shift") if q.start_frame == 0)
    assert all("to the right" in o for o in mirrored.options)
    assert float(mirrored.answer.split()[0]) == pytest.approx(17.28, rel=.02)


def test_the_point_and_the_box_in_the_right_view():
    scene = moving_scene((straight((-.5, .25, 4)), straight((1, 0, 6))), noise=Noise.none())
    # left: 320 − 72 = 248, 180 + 36 = 216; right: 17.28 px farther left
    for q in asked(scene, "view_point"):
        if q.regions == [1] and q.start_frame == 0:
            assert json.loads(q.answer) == [231, 216] and "right view" in q.question
            assert q.form == "open" or {json.loads(o)[1] for o in q.options} == {216}
    box = next(q for q in asked(scene, "view_box") if q.regions == [1] and q.start_frame == 0)
    assert np.abs(np.array(box.target) - (scene.regions[0].box[0] - [17.28, 0, 17.28, 0])).max() < .6
    deep = replace(scene, regions=[replace(r, extent_m=np.array([6.0, 1, 1])) for r in scene.regions])
    assert not asked(deep, "view_box")  # its ends would shift by very different amounts


def test_what_the_right_camera_does_not_see():
    # at 2 m the right camera sees 34.6 px less at the left border: column 10 is out, column 60 is in
    def at(column):
        return straight(((column - 320) / 576 * 2, 0, 2))

    found = {q.regions[0]: q.answer for q in asked(moving_scene((at(10), at(60))), "view_visibility")}
    assert found == {1: OUTSIDE.format("right"), 2: INSIDE.format("right")}


def test_a_mirrored_clip_names_its_sides_as_they_are():
    """The first view, of which marks and boxes are, is the right one of the mirrored pair: what went left from the left
    view to the right one goes right from the right view to the left one, by as much, and lands at the mirrored column.
    """
    def at(column):
        return straight(((column - 320) / 576 * 2, 0, 2))

    whole = moving_scene((straight((-.5, .25, 4)), straight((1, 0, 6)), at(10), at(60)), noise=Noise.none())
    sides = {"left": "right", "right": "left"}

    def exchanged(text):
        return re.sub(r"\b(left|right)\b", lambda found: sides[found[0]], text)

    def by_place(scene):
        return {(q.family, q.form, *sorted(q.regions), q.start_frame): q for q in asked(scene, *STEREO)}

    plain, mirrored = by_place(whole), by_place(mirror(whole))
    assert {family for family, *_ in plain} == set(STEREO)
    for place, q in plain.items():
        other = mirrored[place]
        said, meant = " ".join([other.question, *other.reasoning]), " ".join([q.question, *q.reasoning])
        for text, seen, unseen in ((meant, "left", "right"), (said, "right", "left")):
            assert f"in the {seen} view of the same" not in text and f"to the {seen} view" not in text
            assert any(part in text for part in (f"in the {unseen} view", f"to the {unseen} view",
                                                 f"the {unseen} camera", f"the {unseen} view's", f"the {unseen} one"))
        if q.family in ("view_point", "view_box"):
            x, *_ = numbers = q.target if q.family == "view_box" else q.target[0] if q.target else json.loads(q.answer)
            there = other.target if q.family == "view_box" else (
                other.target[0] if other.target else json.loads(other.answer))
            width = numbers[2] - x if q.family == "view_box" else 0
            assert list(there[:2]) == pytest.approx([640 - x - width, numbers[1]], abs=1.0)
        elif q.family == "disparity_order":
            assert other.form == q.form
        elif q.family == "view_visibility":
            assert other.answer == exchanged(q.answer)
        else:  # a shift: as many pixels, the other way
            size, *way = q.answer.split(" ", 1)
            assert other.answer.split(" ", 1)[1] == exchanged(way[0])
            assert float(other.answer.split()[0]) == pytest.approx(float(size), rel=.02)
    assert mirror(mirror(whole)).baseline_m == whole.baseline_m and places.sides(mirror(whole)) == ("right", "left")
    for place, q in by_place(mirror(mirror(whole))).items():
        assert q.answer == plain[place].answer and q.question == plain[place].question


def test_one_view_has_no_stereo_questions():
    scene = replace(moving_scene((straight((-.5, 0, 4)), straight((1, 0, 8)))), baseline_m=0.0)
    view = View(scene, QuestionsConfig(), (), True)
    assert not places.has_second_view(scene) and not any(list(families()[name].make(view)) for name in STEREO)


# ---- dialects ----

def test_the_same_answers_in_tokens_and_thousandths():
    scene = moving_scene((straight((-.5, 0, 5), (.5, 0, 0)), straight((1, .3, 7))))
    names = ("grounding_2d", "grounding_point", "correspondence_seen", "view_point", "correspondence_many", "view_box")
    made = {dialect: {q.id: q for q in asked(scene, *names, coordinate_dialect=dialect)}
            for dialect in ("plain", "box1000", "tokens")}
    assert made["plain"].keys() == made["tokens"].keys() == made["box1000"].keys() and len(made["plain"]) > 10
    canvas = Canvas.of(scene)

    def numbers(text):
        return np.array([float(x) for x in re.findall(r"-?\d+(?:\.\d+)?", text)])

    for name, plain in made["plain"].items():
        coded, thousandths = made["tokens"][name], made["box1000"][name]
        assert "<" in coded.answer and "tokens" in coded.question and "pixels" not in coded.question.split("\n")[0]
        here, there = numbers(plain.answer), numbers(plain_text(coded.answer, canvas))
        if plain.family == "grounding_point":
            assert there == pytest.approx(here, rel=.03, abs=.03) and thousandths.answer == plain.answer
            assert {"WIDTH", "HEIGHT", "DEPTH", "TEMP"} == set(re.findall("[A-Z]+", coded.answer))
        else:
            assert np.abs(there - here).max() <= 640 / 400 + .6  # half a bin and rounding
            groups = [len(numbers(g)) for g in re.findall(r"\[[^\]]*\]", plain_text(coded.answer, canvas))]
            assert groups == [len(numbers(g)) for g in re.findall(r"\[[^\]]*\]", plain.answer)]  # none run together
            scale = np.resize([640 / 1000, 360 / 1000], len(here))
            assert np.abs(numbers(thousandths.answer) * scale - here).max() <= 1.0
            assert "thousandths" in thousandths.question
        for q in (coded, thousandths, plain):
            assert all(q.answer[c["start"]:c["end"]] for c in q.coordinates)
            if q.form == "choice":
                assert q.answer in q.options and len(set(q.options)) == len(q.options)


# ---- variants of a clip ----

def test_a_mirrored_clip_has_mirrored_answers():
    scene = moving_scene((straight((-.5, .1, 5), (.5, 0, 0)), straight((1, .3, 7))), noise=Noise.none())
    names = ("grounding_point", "correspondence_seen", "correspondence_still", "view_point")
    mirrored = {(q.family, *q.regions, q.start_frame): q.target[0] for q in asked(mirror(scene), *names) if q.target}
    for q in asked(scene, *names):
        if q.target:
            (x, *rest), (other, *same) = q.target[0], mirrored[q.family, *q.regions, q.start_frame]
            assert same == pytest.approx(rest) and other == pytest.approx(
                -x if q.family == "grounding_point" else 640 - x, abs=1.0)


def test_a_clip_played_backwards_is_asked_about_too():
    scene = moving_scene((straight((-.5, .1, 5), (.5, 0, 0)), straight((1, .3, 7))), noise=Noise.none())
    questions = asked(reverse(scene), *IMAGE, *SPACE, *STEREO)
    assert {q.family for q in questions} >= {*IMAGE, *SPACE, "disparity_order", "view_shift", "view_point"}
    # at the end it is where it was at the start
    found = {(q.family, *q.regions): q for q in at_end(questions)}
    assert found["grounding_point", 1].target[0] == pytest.approx([-.5, .1, 5, 2.0])
    assert "surface that is visible in the last frame" in found["grounding_point", 1].question
    assert json.loads(found["grounding_3d", 1].answer)["orientation"] is None  # no frame to turn from
