"""The language of every family: each of its paraphrases, filled with what questions of handmade scenes say."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from curate.questions import QuestionsConfig, ask
from curate.questions.asker import CHOICE_LEAD, NUMBER_LEAD
from curate.questions.families import families
from curate.questions.region_words import of_scene, respeak
from curate.questions.wording import Paraphrase
from curate.scene import Scene
from tests.family_scenes_motion import motion_scene, straight, turning
from tests.scenes import make_scene

DIALECTS = ("seconds", "frames")
MARKS = {"<R1>": "<R{}>", "[R1]": "[R{}]", "region 1": "region {}", "<obj_1>": "<obj_{}>"}
LABELS = ("person", "umbrella", "", "an old car")
UNTIMED = {"video_duration", "object_size"}  # of the whole clip, and of what does not change: they name no instant


def labelled(scene: Scene) -> Scene:
    return replace(scene, regions=[replace(r, label=LABELS[i % len(LABELS)]) for i, r in enumerate(scene.regions)])


@cache
def scenes() -> tuple[Scene, ...]:
    """A hand-held camera, one that drives, a turning object whose height is seen, and objects that are annotated."""
    objects = straight((0, 0, 4), (.3, 0, 0), (1, 0, 0)), straight((-1, 0, 6)), straight((1, 0, 7), (0, 0, 1))
    turns = motion_scene(objects, (turning((0, 20, 0)),), camera=straight((0, 0, 0), (.2, 0, .3)),
                         camera_turn=turning((5, 10, 5)))
    tall = turns.regions[0]
    box, middle = tall.box.copy(), tall.centroid_px[0]
    box[0] = [middle[0] - 20, middle[1] - 100, middle[0] + 20, middle[1] + 100]
    turns = replace(turns, regions=[replace(tall, box=box), *turns.regions[1:]])
    ahead = np.tile([0.0, 0.0, 1.0], (turns.num_frames, 1))
    given = replace(turns, key=f"{turns.key}given", origin={"scene": "source"}, regions=[
        replace(r, point="cuboid", size_m=np.array([4.0, 1.8, 1.5]), heading_cam=ahead) for r in turns.regions])
    return tuple(map(labelled, (make_scene(0, "hand-held", 24)[0], make_scene(1, "driving", 24)[0], turns, given)))


@cache
def said(dialect: str, num_options: int):
    """Questions asked of the scenes, and the fields that the wording of each section was filled with."""
    filled, questions = defaultdict(list), []
    render = Paraphrase.render

    def listen(self, fields):
        filled[tuple(self.id.split("/")[:2])].append(dict(fields))
        return render(self, fields)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Paraphrase, "render", listen)
        for scene in scenes():
            questions += ask(scene, QuestionsConfig(dialect=dialect, num_options=num_options, reasoning=False))[0]
    return questions, filled


def stems(dialect: str):
    """(paraphrase, what it was filled with, its text), for all paraphrases of what each section was asked of."""
    _, filled = said(dialect, 4)
    for (family, section), all_fields in filled.items():
        for paraphrase in families()[family].wording(section):
            for fields in all_fields[:: max(len(all_fields) // 12, 1)]:
                yield paraphrase, fields, paraphrase.render(fields)


FAULTS = {
    "two spaces": r"\s\s|[\n\t]", "braces": r"[{}]", "a word twice": r"(?i)\b([a-z]+) \1\b",
    "two articles": r"(?i)\b(a|an|the) (a|an|the)\b", "a before a vowel": r"(?i)\ba (?!one|uni|use)[aeiou]",
    "an before a consonant": r"(?i)\ban [^aeiouh\W]", "space before a stop": r" [,.;:?!)]",
    "two stops": r"[,.;:?!][,.;:?!]", "no space after a stop": r"[,;?][^\s)\"]",
    "brackets in brackets": r"\([^()]*\(", "brackets after brackets": r"\) \(", "no capital": r"\A[^A-Z]",
    "no capital after a stop": r"[.?] (?!s\b)[a-z]", "no end": r"(?<![.?])\Z", "no value": r"\b(nan|None|undefined)\b",
    "the frame of an object": r"visible in the (first|last) frame of\b"}


def faults(text: str) -> list[str]:
    found = [name for name, pattern in FAULTS.items() if re.search(pattern, text)]
    return found + ["odd brackets"] * (text.count("(") != text.count(")"))


@pytest.mark.parametrize("text,fault", [
    ("How far is the the object?", "a word twice"), ("How far is a the object?", "two articles"),
    ("How far  is it?", "two spaces"), ("How far is {{ region }}?", "braces"), ("how far is it?", "no capital"),
    ("How far is it", "no end"), ("How far is it??", "two stops"), ("How far is it , at 0.1 s?", "space before a stop"),
    ("Is it a umbrella?", "a before a vowel"), ("At frame 1 (between 0 (of 9) and 3)?", "brackets in brackets"),
    ("How far is it? answer in metres.", "no capital after a stop"),
    ("Take the centre of what is visible in the first frame of the car.", "the frame of an object")])
def test_a_fault_is_seen(text, fault):
    assert fault in faults(text)


def test_every_section_of_every_family_is_asked_of_the_scenes():
    expected = {(f.name, section) for f in families().values() for section in f.sections}
    for dialect in DIALECTS:
        assert not expected - set(said(dialect, 4)[1])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_paraphrase_is_without_a_fault(dialect):
    wrong = {f"{paraphrase.id}: {found}: {text}" for paraphrase, _, text in stems(dialect) if (found := faults(text))}
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_span_is_told_twice(dialect):
    for paraphrase, fields, text in stems(dialect):
        assert text.lower().count(fields["span"].lower()) <= 1, f"{paraphrase.id}: {text}"


def test_frames_are_counted_from_a_stated_number_and_no_instant_is_in_seconds():
    for paraphrase, _, text in stems("frames"):
        if paraphrase.id.split("/")[0] not in UNTIMED:
            assert re.search(r"of frames 0 to \d+, counting from 0", text), f"{paraphrase.id}: {text}"
        assert not re.search(r"\d\.\d\d s\b", text), f"{paraphrase.id}: {text}"
        assert re.search(r"\bframe \d", text) or paraphrase.id.split("/")[0] in UNTIMED


def test_seconds_name_no_frame_by_its_number():
    for paraphrase, _, text in stems("seconds"):
        assert not re.search(r"\bframes? \d|counting from", text), f"{paraphrase.id}: {text}"


def test_what_is_asked_as_a_choice_too_does_not_ask_to_write():
    for paraphrase, _, text in stems("seconds"):
        family, section, _ = paraphrase.id.split("/")
        if "choice" in families()[family].forms and section == families()[family].choice_of:
            assert not re.search(r"\b[Aa]nswer (in|with)\b|\b[Ss]tate in\b", text), f"{paraphrase.id}: {text}"


def test_units_and_regions_are_named():
    for paraphrase, fields, text in stems("seconds"):
        if "/number/" in paraphrase.id and fields.get("unit_name"):
            assert text.count(fields["unit_name"]) == 1, f"{paraphrase.id}: {text}"
        assert "the an old car" not in text and "the object marked <R1>" not in text  # region 1 is a person


@pytest.mark.parametrize("dialect,num_options", [("seconds", 4), ("frames", 5)])
def test_the_question_leads_to_its_options(dialect, num_options):
    sizes = set()
    for q in said(dialect, num_options)[0]:
        head, *lines = q.question.split("\n")
        if q.form == "choice":
            assert lines == [CHOICE_LEAD, *(f"{x}. {o}" for x, o in zip("ABCDE", q.options))]
            assert 2 <= len(q.options) <= num_options and len(set(q.options)) == len(q.options)
            for option in q.options:
                assert option and option == option.strip() and "  " not in option and not option.endswith(".")
            sizes.add(len(q.options))
        elif q.form == "numeric":
            assert not lines and head.endswith(f" {NUMBER_LEAD}")
        else:
            assert not lines and re.search(r"[.?] Answer\b", head) and not re.search(r"\s\s", head), head
    assert max(sizes) == num_options


@pytest.mark.parametrize("dialect", [*MARKS, "box", "box1000", "point", "point1000"])
def test_every_region_dialect_keeps_the_sentence_whole(dialect):
    names = ["object_displacement", "object_object_distance", "speed_comparison", "grounding_2d", "whose_motion"]
    questions, _ = ask(scenes()[0], QuestionsConfig(families=names, region_dialect=dialect, reasoning=False))
    assert {q.family for q in questions} == set(names)
    for q in questions:
        head = q.question.split("\n")[0]
        assert not {"two articles", "a word twice", "two spaces", "odd brackets"} & set(faults(head)), head
        if dialect in MARKS:
            assert all(MARKS[dialect].format(i) in head for i in q.regions), head


@pytest.mark.parametrize("dialect", DIALECTS)
def test_questions_can_begin_with_the_duration_but_where_it_is_asked_for(dialect):
    """Without it nothing in the words of the frames' dialect tells how fast anything is."""
    scene = scenes()[0]
    names = ["camera_displacement", "object_mean_speed", "whose_motion", "event_time", "video_duration"]
    config = QuestionsConfig(families=names, dialect=dialect, state_duration=True, reasoning=False)
    asked, plain = ask(scene, config)[0], ask(scene, config.model_copy(update={"state_duration": False}))[0]
    said_first = f"The video lasts {scene.time_s[-1] - scene.time_s[0]:.2f} s from its first frame to its last. "
    assert {q.family for q in asked} == set(names)
    for with_it, without in zip(asked, plain, strict=True):
        is_asked = with_it.family == "video_duration"
        assert with_it.question == without.question if is_asked else with_it.question == said_first + without.question
        assert (with_it.answer, with_it.options) == (without.answer, without.options)


@pytest.mark.parametrize("dialect,where", [
    ("<R1>", "The marks are those in the first frame."), ("<obj_1>", "The marks are those in the marked image."),
    ("box", "boxes [x0, y0, x1, y1] of the first frame, in pixels of 640 x 360."),
    ("point1000", "points (x, y) of the first frame, in thousandths of its width and height.")])
def test_names_that_stand_alone_are_explained(dialect, where):
    config = QuestionsConfig(families=["dense_caption", "correspondence_many"], region_dialect=dialect)
    questions, _ = ask(scenes()[0], config)
    assert {q.family for q in questions} == {"dense_caption", "correspondence_many"}
    assert all(q.question.count(where) == 1 for q in questions)


@pytest.mark.parametrize("dialect", ["[R1]", "region 1", "<obj_1>", "box", "point1000"])
def test_a_question_respoken_is_the_one_asked_in_that_dialect(dialect):
    scene, names = scenes()[0], ["object_displacement", "speed_comparison", "depth_order", "count_moving",
                                 "whose_motion", "dense_caption", "correspondence_many", "viewpoint_relation"]
    known = [of_scene(scene, region) for region in scene.regions]
    given, wanted = (ask(scene, QuestionsConfig(families=names, region_dialect=d))[0] for d in ("<R1>", dialect))
    assert {q.family for q in given} == set(names)
    for one, other in zip(given, wanted, strict=True):
        assert respeak(one.question, known, dialect) == other.question
        assert [respeak(step, known, dialect) for step in one.reasoning] == other.reasoning


def test_own_wording_can_state_how_long_the_clip_is():
    own = ("The video lasts {{ duration }}. How far does the camera move {{ span }}, in {{ unit_name }}, {{ axes }}, "
           "at {{ reference }}?")
    scene = scenes()[0]
    questions, _ = ask(scene, QuestionsConfig(families=["camera_displacement"], own_wording_only=True,
                                              wording={"camera_displacement": {"number": (own,)}}))
    length = f"{scene.time_s[-1] - scene.time_s[0]:.2f} s"
    assert questions and all(q.question.startswith(f"The video lasts {length}. ") for q in questions)


@pytest.mark.parametrize("dialect", ["region 1", "box", "point"])
def test_steps_print_no_part_of_a_region_s_name(dialect):
    """A name of several words, where only a number belongs."""
    questions, _ = ask(scenes()[0], QuestionsConfig(families=["whose_motion"], region_dialect=dialect))
    assert questions
    for q in questions:
        assert re.match(r"The object gets up to \d+\.\d % of its distance", q.reasoning[0]), q.reasoning[0]
