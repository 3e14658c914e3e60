"""Someone's conversations on their way through: published as they are, left alone by selection, audit and rewards, told
to trainers word for word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.bench.truths import shard_items
from curate.engine.audit_set import audit_set
from curate.engine.check import check_run
from curate.engine.run import run, write_again
from curate.exporters.run import export
from curate.questions.forms import rft, sft
from curate.questions.given import is_given, records, told
from curate.recipe import Recipe, recipe_from_dict
from curate.rewards import combine
from curate.shards import read, verify
from tests.stereo_media import write_side_by_side
from tests.test_source_conversations import write_media

TURNS = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": " A wall.\n"},
         {"from": "human", "value": "Sure?\t"}, {"from": "gpt", "value": "Yes – “é”."}]
TOLD = [
    {"id": "x1", "image": "a.jpg", "conversations": TURNS},
    {"id": "x2", "video": "v.mp4", "conversations": [{"from": "human", "value": "Tell me.\n<video>"},
                                                     {"from": "gpt", "value": "Colours change."}]},
    {"id": "x3", "video": "v.mp4", "question": "Which way?", "choices": ["left", "right", "none"], "answer": "right"},
    {"id": "x4", "images": ["a.jpg", "b.jpg"], "messages": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "First <image>, second <image>: same?"},
        {"role": "assistant", "content": "No."}]},
]


def recipe(root: Path, **sections) -> Recipe:
    source = {"kind": "conversations", "root": str(root), **sections.pop("source", {})}
    return recipe_from_dict({"source": source, "clip": {"num_frames": 6, "min_frames": 2},
                             "engine": {"kind": "inline", "isolate": False}, **sections})


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Path:
    root = write_media(tmp_path_factory.mktemp("media"))
    (root / "q.json").write_text(json.dumps(TOLD), "utf-8")
    return root


@pytest.fixture(scope="module")
def out(media, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "out"
    done = run(recipe(media), folder)
    assert done.exit_code == 0 and done.counts["done"] == 3 and done.families == {"given": 4}
    return folder


def by_id(out: Path) -> dict[str, dict]:
    return {item["qa"]["extra"]["source"]["id"]: item for item in read(out)}


# ---- the set ----

def test_texts_turns_and_roles_are_those_of_the_file(out):
    found = by_id(out)
    assert set(found) == {"x1", "x2", "x3", "x4"} and all(is_given(item["qa"]) for item in found.values())
    first = found["x1"]["qa"]["extra"]["conversation"]
    assert [m["content"] for m in first["messages"]] == [t["value"] for t in TURNS]
    assert first["roles"] == ["human", "gpt", "human", "gpt"]
    assert (found["x1"]["qa"]["question"], found["x1"]["qa"]["answer"]) == ("What is it?", " A wall.\n")
    of_messages = found["x4"]["qa"]["extra"]["conversation"]["messages"]
    assert [m["role"] for m in of_messages] == ["system", "user", "assistant"]
    choice = found["x3"]["qa"]
    assert (choice["form"], choice["letter"], choice["answer"]) == ("choice", "B", "right")
    assert choice["question"] == "Which way?\nA. left\nB. right\nC. none"


def test_all_samples_have_the_same_parts_and_the_set_is_whole(out):
    assert list(verify(out)) == [] and list(check_run(out, deep=True)) == []
    frames = {name: item["json"]["num_frames"] for name, item in by_id(out).items()}
    assert frames == {"x1": 1, "x2": 6, "x3": 6, "x4": 2}
    assert {tuple(sorted(item["media"])) for item in read(out)} == {("mark.jpg", "v0.mp4")}
    record = by_id(out)["x1"]["json"]
    assert record["scale"] == "relative" and record["regions"] == [] and record["camera"]["valid"] == [False]


def test_selection_and_audit_leave_them_alone(out, media):
    harsh = recipe(media, questions={"balance": {"max_per_family": 1, "max_answer_share": 0.1, "answer_floor": 1},
                                     "max_per_clip": 1, "mixture": {"shares": {"object_direction": 1.0}}})
    done = write_again(out, harsh)
    assert done.families == {"given": 4} and done.audit["families"] == []
    assert audit_set(out)["families"] == []
    write_again(out, recipe(media))


def test_a_second_pass_writes_the_same_bytes(out, media, tmp_path):
    run(recipe(media), tmp_path / "again")
    assert (tmp_path / "again/shards/manifest.json").read_bytes() == (out / "shards/manifest.json").read_bytes()


def test_free_words_have_no_reward_and_choices_have(out):
    found = by_id(out)
    with pytest.raises(ValueError, match="metric 'given' is unknown"):
        combine("A wall.", found["x1"]["qa"])
    assert combine("<answer>B</answer>", found["x3"]["qa"])["overall"] == 1.0
    assert rft(found["x3"]["qa"])["letter"] == "B"


def test_answers_are_scored_by_what_can_be_judged(out):
    assert [item.family for item in shard_items(out)] == ["given"] and next(shard_items(out)).record["letter"] == "B"


def test_text_alone_is_a_set_of_its_own(tmp_path):
    (tmp_path / "q.jsonl").write_text("".join(json.dumps({"question": f"{i} + 1?", "answer": f"{i + 1}."}) + "\n"
                                              for i in range(3)))
    done = run(recipe(tmp_path), tmp_path / "out")
    assert done.counts["done"] == 3 and list(verify(tmp_path / "out")) == []
    items = list(read(tmp_path / "out"))
    assert sorted(item["qa"]["answer"] for item in items) == ["1.", "2.", "3."]
    assert all(item["json"]["views"] == [] and not dict(item["media"]) for item in items)


@pytest.mark.parametrize("perceive", ["regions", "teacher", "all"])
def test_our_perception_adds_what_is_asked_for_and_changes_no_word(tmp_path, perceive):
    write_side_by_side(tmp_path / "s.mp4")
    (tmp_path / "q.json").write_text(json.dumps([{"id": "s", "video": "s.mp4", "conversations": [
        {"from": "human", "value": "<video>\nWhat?"}, {"from": "gpt", "value": "A wall."}]}]))
    made = recipe(tmp_path, source={"perceive": perceive, "layout": "side_by_side"}, clip={"num_frames": 8},
                  teacher={"enabled": perceive != "regions"})
    done = run(made, tmp_path / "out")
    assert done.counts["done"] == 1 and list(verify(tmp_path / "out")) == []
    items = list(read(tmp_path / "out", teacher=perceive != "regions"))
    given = [item for item in items if is_given(item["qa"])]
    assert [item["qa"]["answer"] for item in given] == ["A wall."]
    assert set(items[0]["media"]) == {"mark.jpg", "v0.mp4", "v1.mp4"} and items[0]["json"]["camera"]["valid"][0]
    if perceive == "teacher":
        assert items[0]["json"]["regions"] == [] and len(items) == 1, "nothing of ours is asked"
    else:
        assert len(items) > 1, "our own questions stand beside"
    if perceive != "regions":
        assert items[0]["teacher"].depth.shape[0] == 8


# ---- told again ----

def as_record(messages: list[tuple[str, str]]) -> dict:
    plain = [{"role": role, "content": text} for role, text in messages]
    conversation = {"messages": plain, "roles": [role for role, _ in messages], "options": [], "file": "q.json",
                    "entry": 0, "id": "", "layout": "messages"}
    return records([conversation], clip="c", recording="r", num_frames=1, duration_s=0.0)[0].to_json()


words = st.text("ab \n", max_size=6)


@given(words, words, words)
def test_own_tags_are_kept_where_the_files_are_the_same(before, after, answer):
    text = f"{before}<image>{after}<image>"
    record = as_record([("system", "s"), ("user", text), ("assistant", answer + "."), ("user", after),
                        ("assistant", "b")])
    assert [m["content"] for m in told(record, "<image><image>\n")] == ["s", text, answer + ".", after, "b"]


@pytest.mark.parametrize(("text", "media", "said"), [
    ("<video>\nWhat?", "<video>\n", "<video>\nWhat?"),
    ("<video>\nWhat?", "<image><image><image>\n", "<image><image><image>\nWhat?"),
    ("<image>\nWhat?", "<video>", "<video>\nWhat?"),
    ("What?\n<image>", "<video>", "What?\n<video>"),
    ("What?", "<image><image>\n", "<image><image>\nWhat?"),
    ("<image>\nWhat?", "", "What?"),
    ("What?\n<image>", "", "What?"),
    (" What?\n", "", " What?\n"),
    ("<image>\nWhat?", "The frame was taken at 0.00 seconds.\n", "The frame was taken at 0.00 seconds.\nWhat?"),
])
def test_tags_become_those_of_the_files(text, media, said):
    messages = sft(as_record([("user", text), ("assistant", "x")]), media=media, task="reason")["messages"]
    assert messages == [{"role": "user", "content": said}, {"role": "assistant", "content": "x"}]


def test_several_tags_for_other_files_are_refused():
    with pytest.raises(ValueError, match="speaks of 2 media and 3 files"):
        told(as_record([("user", "<image><image>?"), ("assistant", "x")]), "<image>" * 3)


@pytest.mark.parametrize("layout", ["llava", "qwen-vl"])
def test_an_export_is_the_file_again(out, tmp_path, layout):
    report = export(out, layout, tmp_path / "e", media="frames", num_frames=0)
    rows = json.loads((tmp_path / "e" / "train.json").read_text())
    found = {row["id"]: row for row in rows}
    names = {item["key"]: name for name, item in by_id(out).items()}
    assert {names[key] for key in found} == {"x1", "x2", "x3"} and report.refused == {"roles": 1}
    first = next(row for key, row in found.items() if names[key] == "x1")
    assert first["conversations"] == TURNS and len(first["image"]) == 1
    video = next(row for key, row in found.items() if names[key] == "x2")
    assert video["conversations"][0]["value"] == "Tell me.\n" + "<image>" * 6


@pytest.mark.parametrize(("to", "rows"), [("trl", 4), ("ms-swift", 4), ("llama-factory", 4)])
def test_trainers_of_messages_take_all(out, tmp_path, to, rows):
    report = export(out, to, tmp_path / "e", media="frames", num_frames=0, form="sft")
    assert report.rows == rows and not report.refused
    text = (tmp_path / "e" / report.files[0]).read_text()
    assert "Be brief." in text and '"system"' in text and text.count("Yes – “é”.") == 1


@pytest.mark.parametrize("to", ["verl", "easyr1"])
def test_reinforcement_takes_choices_alone(out, tmp_path, to):
    report = export(out, to, tmp_path / "e")
    assert report.rows == 1 and report.refused == {"given": 3}
    assert "no answer that a reward could judge" in report.named["given"][0]


def test_a_video_does_not_stand_for_two_pictures(out, tmp_path):
    report = export(out, "ms-swift", tmp_path / "e", media="video", form="sft")
    assert report.rows == 3 and report.refused == {"media": 1}
    assert "(--media frames --frames 0)" in report.named["media"][0]
