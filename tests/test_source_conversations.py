"""Someone's conversations about images and videos: all layouts, read in pieces, kept as they are, one clip a medium."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.recipe import RecipeError, recipe_from_dict
from curate.sources import conversations_read, make_source
from curate.sources.base import BadInput
from curate.sources.config import ClipConfig
from curate.sources.config_conversations import ConversationsConfig
from curate.sources.conversations_parse import parse
from curate.sources.conversations_read import entries, read_entry
from curate.video.encode import encode_h264, jpeg
from tests.source_media import assert_same_picture, texture, write_packed
from tests.source_media import eyes as stereo_eyes

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
ASK, SAY = {"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": " A wall.\n"}


def write_media(root: Path) -> Path:
    """Two images of one size and one of another, a video of 20 frames at 10 frames/s, a folder of 5 images."""
    (root / "frames").mkdir(parents=True)
    for name, number, size in (("a.jpg", 0, (60, 80)), ("b.jpg", 1, (60, 80)), ("small.png.jpg", 2, (30, 40))):
        (root / name).write_bytes(jpeg(texture(number, height=size[0], width=size[1]), 97))
    (root / "v.mp4").write_bytes(encode_h264(np.stack([texture(i) for i in range(20)]), fps=10, crf=4))
    for i in range(5):
        (root / "frames" / f"{i}.jpg").write_bytes(jpeg(texture(i + 50), 97))
    return root


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Path:
    return write_media(tmp_path_factory.mktemp("media"))


def source(media: Path, texts: Path, told: list, clip: ClipConfig | None = None, **fields):
    texts.mkdir(exist_ok=True)
    (texts / "q.json").write_text(json.dumps(told, ensure_ascii=False), "utf-8")
    return make_source(ConversationsConfig(root=str(media), texts=str(texts), **fields), clip)


def about(path: str | list[str], name: str = "image", **more) -> dict:
    return {name: path, "conversations": [ASK, SAY], **more}


# ---- reading ----

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.lists(st.dictionaries(texts, st.one_of(texts, st.integers(), st.lists(texts, max_size=3))), max_size=12),
       st.integers(1, 40), st.sampled_from([None, 0, 3]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_list_is_read_in_pieces_of_any_size(tmp_path_factory, values, piece, indent, has_mark):
    path = tmp_path_factory.mktemp("read") / "q.json"
    path.write_bytes(b"\xef\xbb\xbf" * has_mark + json.dumps(values, indent=indent, ensure_ascii=False).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversations_read, "CHUNK", piece)
        found = list(entries(path))
    assert [entry.value for entry in found] == values
    assert [read_entry(path, entry.offset, entry.size) for entry in found] == values, "and each again by its place"


def test_lines_are_read_and_a_bad_one_is_an_entry_with_its_fault(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"a": "é"}\n\n{"b": \n{"c": 1}')
    found = list(entries(path))
    assert [entry.value for entry in found] == [{"a": "é"}, None, {"c": 1}]
    assert "line at byte 13: not json" in found[1].fault
    assert read_entry(path, found[2].offset, found[2].size) == {"c": 1}


@pytest.mark.parametrize(("text", "said"), [
    (b'[{"a": 1}, {"b": 2', "entry 1 at byte 11: not json within 8 MiB .*is the file cut"),
    (b'[{"a": 1} {"b": 2}]', "found '{' after entry 0, expected ',' or ']'"),
    (b'[{"a": 1}', "found 'the end' after entry 0"),
    (b'[{"a": "\xff"}]', "not text in UTF-8"),
    (b"[" * 100_000, "nested too deeply"),
    (b"question,answer\nWhat,That\n", "not json .*expected a json list, or one conversation a line"),
])
def test_files_that_are_no_lists_say_where(tmp_path, text, said):
    (tmp_path / "q.json").write_bytes(text)
    with pytest.raises(BadInput, match=f"q.json: .*{said}"):
        list(entries(tmp_path / "q.json"))


def test_entries_have_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(conversations_read, "MAX_ENTRY", 1000)
    for name, text in (("a.json", json.dumps([{"x": "y" * 2000}])), ("b.jsonl", json.dumps({"x": "y" * 2000}))):
        (tmp_path / name).write_text(text)
        with pytest.raises(BadInput, match="longer than"):
            list(entries(tmp_path / name))


# ---- what an entry says ----

def test_turns_are_kept_as_they_are():
    told = parse({"id": 7, "image": "a.jpg", "conversations": [
        {"from": "system", "value": "Be brief."}, ASK, SAY, {"from": "Human", "value": "\tSure?"},
        {"from": "chatgpt", "value": "Yes"}]})
    assert [m["content"] for m in told.messages] == ["Be brief.", ASK["value"], SAY["value"], "\tSure?", "Yes"]
    assert [m["role"] for m in told.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert told.roles == ["system", "human", "gpt", "Human", "chatgpt"] and told.id == "7"
    assert told.media == [("<image>", "a.jpg")]


@pytest.mark.parametrize(("entry", "text", "media"), [
    ({"messages": [{"role": "user", "content": "<video>What?"}, {"role": "assistant", "content": "x"}],
      "videos": ["v.mp4"]}, "<video>What?", [("<video>", "v.mp4")]),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a.jpg"}},
                                                {"type": "text", "text": "What?"}]},
                   {"role": "assistant", "content": [{"type": "text", "text": "x"}]}]},
     "<image>\nWhat?", [("<image>", "a.jpg")]),
    ({"messages": [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "What?"}]},
                   {"role": "assistant", "content": "x"}], "videos": "v.mp4"},
     "<video>\nWhat?", [("<video>", "v.mp4")]),
    ({"conversations": [{"from": "user", "value": "Picture 1: <img>a.jpg</img>\nWhat?"},
                        {"from": "assistant", "value": "x"}]}, "Picture 1: <image>\nWhat?", [("<image>", "a.jpg")]),
    ({"question": "What?", "answer": "x", "video": "v.mp4"}, "What?", [("<video>", "v.mp4")]),
    ({"question": "What?", "answer": "x"}, "What?", []),
])
def test_every_layout_is_read(entry, text, media):
    told = parse(entry)
    assert told.messages == [{"role": "user", "content": text}, {"role": "assistant", "content": "x"}]
    assert told.media == media and told.options == []


@pytest.mark.parametrize("answer", ["right", "B", "(B)", "B."])
def test_choices_are_kept_in_their_order(answer):
    told = parse({"question": "Which way?", "choices": {"A": "left", "B": "right"}, "answer": answer})
    assert told.options == ["left", "right"] and told.messages[1]["content"] == "right"


def test_numbers_as_choices_are_told_as_text():
    told = parse({"question": "How often?", "options": [1, 2, 0], "answer": 0})
    assert told.options == ["1", "2", "0"] and told.messages[1]["content"] == "0"


@pytest.mark.parametrize(("entry", "said"), [
    (3, "a int, expected an object"),
    ({"text": "x"}, "has the keys 'text'; expected 'conversations', 'messages', or 'question' and 'answer'"),
    ({"conversations": []}, "no list, or an empty one"),
    ({"conversations": [ASK]}, "an answer last"),
    ({"conversations": [SAY, ASK]}, "turns are from assistant, user; expected user and assistant by turns"),
    ({"image": "a.jpg", "conversations": [ASK, {"from": "gpt", "value": " "}]}, "an answer is empty"),
    ({"conversations": [{"from": "tool", "value": "x"}, SAY]}, "a turn is from 'tool', expected human"),
    ({"conversations": [{"who": "human"}, SAY]}, "a turn has the keys 'who', expected 'from' and 'value'"),
    ({"conversations": [ASK, SAY]}, "has 1 media tags in its questions and 0 media"),
    ({"images": ["a", "b"], "conversations": [ASK, SAY]}, "has 1 media tags in its questions and 2 media"),
    ({"image": "a.jpg", "conversations": [ASK, {"from": "gpt", "value": "See <image>"}]}, "outside of the questions"),
    ({"image": 5, "conversations": [ASK, SAY]}, "'image' is not a path"),
    ({"question": "What?", "answer": None}, "without an answer"),
    ({"question": "What?", "choices": ["a", "b"], "answer": "c"}, "its answer 'c' is none of its choices"),
    ({"question": "What?", "choices": ["a", "a"], "answer": "a"}, "two of its choices are the same"),
    ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "a part of type 'audio'"),
])
def test_what_is_no_conversation_says_why(entry, said):
    with pytest.raises(ValueError, match=said):
        parse(entry)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from(
        ["human", "gpt", "user", "assistant", "text", "image", "<image>", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["conversations", "messages", "from", "value", "role", "content", "type", "text", "image", "images", "video",
         "question", "answer", "choices", "id"]), inner, max_size=4), max_leaves=12)


@given(anything)
@settings(max_examples=400)
def test_whatever_a_file_holds_is_read_or_refused(entry):
    try:
        told = parse(entry)
    except ValueError as error:
        assert str(error)
    else:
        assert told.messages[-1]["role"] == "assistant" and json.dumps(told.to_json(), ensure_ascii=False).encode()


def test_half_a_character_is_refused():
    with pytest.raises(ValueError, match="half of a character"):
        parse({"question": "What \ud83d?", "answer": "x"})


# ---- what is planned ----

def test_all_conversations_about_a_medium_are_one_clip(media, tmp_path):
    made = source(media, tmp_path / "t", [about("a.jpg"), about("v.mp4", "video"), about("a.jpg"), about("b.jpg")])
    clips = list(made.plan())
    assert [(c.uri, c.num_frames, len(c.params["conversations"])) for c in clips] == [
        ("a.jpg", 1, 2), ("v.mp4", 20, 1), ("b.jpg", 1, 1)]
    assert len({c.key for c in clips}) == 3 and all(c.params["sha256"] for c in clips)


def test_keys_are_of_media_and_texts_and_not_of_places(media, tmp_path):
    def keys(where: str, told: list) -> list[str]:
        return [clip.key for clip in source(media, tmp_path / where, told).plan()]

    first = keys("one", [about("a.jpg"), about("b.jpg")])
    assert keys("two", [about("a.jpg"), about("b.jpg")]) == first
    changed = about("a.jpg") | {"conversations": [ASK, {"from": "gpt", "value": "A door."}]}
    assert keys("three", [changed, about("b.jpg")])[0] != first[0]
    assert keys("three", [changed, about("b.jpg")])[1] == first[1]


def test_what_cannot_be_shown_is_named_and_the_rest_stays(media, tmp_path):
    (tmp_path / "secret.jpg").write_bytes((media / "a.jpg").read_bytes())
    told = [about("a.jpg"), about("gone.jpg"), about("../secret.jpg"), about("/etc/passwd"),
            about("."), about("https://x.org/a.jpg"), about("data:image/png;base64,AA"), {"id": 5},
            about(["a.jpg", "v.mp4"], "images"),
            {"question": "1+1", "answer": 2}]
    (tmp_path / "t").mkdir()
    good, bad = [], []
    for item in source(media, tmp_path / "t", told).plan():
        (bad if isinstance(item, tuple) else good).append(item)
    assert [clip.uri for clip in good] == ["a.jpg"]
    reasons = "\n".join(reason for _, reason in bad)
    for said in ("gone.jpg: no such file", "'../secret.jpg' is not a path below source.root", "'/etc/passwd' is not",
                 "'.' is not", "https://x.org/a.jpg is an address; fetch the media",
                 "data:image/png;base64,AA is an address",
                 "entry 7: has the keys 'id'", "has 1 media tags in its questions and 2 media",
                 "1 conversations have no media, others have some"):
        assert said in reasons
    assert len(bad) == len({clip.key for clip, _ in bad}) == 9


def test_links_out_of_the_root_are_refused(media, tmp_path):
    root = tmp_path / "media"
    root.mkdir()
    (root / "a.jpg").symlink_to(media / "a.jpg")
    with pytest.raises(BadInput, match="leads out of"):
        list(source(root, tmp_path / "t", [about("a.jpg")]).plan())


def test_addresses_below_which_the_media_were_published_are_taken_off(media, tmp_path):
    told = [about("https://x.org/data/v.mp4", "video")]
    assert [c.uri for c in source(media, tmp_path / "t", told, strip="https://x.org/data/").plan()] == ["v.mp4"]


@pytest.mark.parametrize(("files", "said"), [("none.json", "cannot be read"), ("*.txt", "no file matches"),
                                             ("/etc/passwd", "expected a name or a pattern")])
def test_missing_files_are_named(media, tmp_path, files, said):
    with pytest.raises(BadInput, match=said):
        list(source(media, tmp_path / "t", [about("a.jpg")], files=files).plan())


# ---- what is opened ----

def test_an_image_is_a_clip_of_one_frame(media, tmp_path):
    made = source(media, tmp_path / "t", [about("a.jpg")])
    frames = made.open(next(made.plan()))
    assert frames.num_frames == 1 and frames.time_s.tolist() == [0.0]
    assert frames.scale == "relative" and frames.rig is None and len(frames.views) == 1
    assert_same_picture(frames.read(0, 1)[0][0], texture(0, height=60, width=80))
    scene = frames.given["scene"]()
    assert not scene.regions and not scene.camera_valid.any() and scene.origin["camera"] == "unknown"


def test_several_images_are_the_frames_of_a_clip(media, tmp_path):
    ask = {"from": "human", "value": "<image> and <image>?"}
    made = source(media, tmp_path / "t", [{"images": ["a.jpg", "b.jpg"], "conversations": [ask, SAY]}])
    frames = made.open(next(made.plan()))
    assert frames.num_frames == 2 and frames.time_s.tolist() == [0.0, 1.0]
    assert_same_picture(frames.read(1, 2)[0][0], texture(1, height=60, width=80))


def test_images_of_two_sizes_are_refused(media, tmp_path):
    made = source(media, tmp_path / "t", [{"images": ["a.jpg", "small.png.jpg"], "question": "Same?", "answer": "No"}])
    with pytest.raises(BadInput, match=r"small\.png\.jpg: another size than a\.jpg of the same conversation"):
        made.open(next(made.plan()))


@pytest.mark.parametrize(("name", "fields", "times"), [("v.mp4", {}, [0, 0.6, 1.3, 1.9]),
                                                       ("frames", {"fps": 2}, [0, 0.5, 1.5, 2.0])])
def test_a_long_medium_is_thinned_over_the_whole_of_it(media, tmp_path, name, fields, times):
    made = source(media, tmp_path / "t", [about(name, "video")], ClipConfig(num_frames=4, min_frames=2), **fields)
    frames = made.open(next(made.plan()))
    assert np.allclose(frames.time_s, times)
    first = 50 if name == "frames" else 0
    last = 54 if name == "frames" else 19
    assert_same_picture(frames.read(0, 1)[0][0], texture(first))
    assert_same_picture(frames.read(3, 4)[0][0], texture(last))


def test_of_packed_stereo_the_first_eye_is_shown(tmp_path):
    write_packed(tmp_path / "m" / "s.mp4", stereo_eyes(), 2)
    made = source(tmp_path / "m", tmp_path / "t", [about("s.mp4", "video")], layout="side_by_side")
    frames = made.open(next(made.plan()))
    assert frames.views[0].camera.width == texture(0).shape[1]
    assert_same_picture(frames.read(4, 5)[0][0], texture(4))


def test_packed_stereo_is_opened_as_such_where_it_is_perceived(tmp_path):
    write_packed(tmp_path / "m" / "s.mp4", stereo_eyes(), 2)
    told = [about("s.mp4", "video")]
    made = source(tmp_path / "m", tmp_path / "t", told, layout="side_by_side", perceive="regions")
    frames = made.open(next(made.plan()))
    assert frames.rig is not None and len(frames.views) == 2 and "scene" not in frames.given
    assert [m["content"] for m in frames.given["conversations"][0]["messages"]] == [ASK["value"], SAY["value"]]
    short = source(tmp_path / "m", tmp_path / "t", told, ClipConfig(num_frames=8), layout="side_by_side",
                   perceive="regions")
    with pytest.raises(BadInput, match=r"10 frames; conversations are about the whole.* raise clip\.num_frames \(8\)"):
        list(short.plan())


def test_texts_that_have_changed_since_are_noticed(media, tmp_path):
    made = source(media, tmp_path / "t", [about("a.jpg"), about("b.jpg")])
    clip = list(made.plan())[1]
    (tmp_path / "t" / "q.json").write_text("[]")
    with pytest.raises(BadInput, match="no longer there"):
        made.open(clip)


# ---- recipes ----

@pytest.mark.parametrize(("settings", "said"), [
    ({"source": {"perceive": "regions"}}, "perceive: regions wants depth, which layout: mono does not give"),
    ({"source": {"perceive": "teacher", "layout": "side_by_side"}}, r"teacher\.enabled is False"),
    ({"teacher": {"enabled": True}}, r"source\.perceive is 'none' and teacher\.enabled is True"),
    ({"augment": ["mirror"]}, "conversations are about the clip as it is"),
    ({"source": {"perceive": "some"}}, "should be 'none', 'regions', 'teacher' or 'all'"),
])
def test_recipes_that_cannot_be_are_refused(settings, said):
    made = {**settings, "source": {"kind": "conversations", "root": "x", **settings.get("source", {})}}
    with pytest.raises(RecipeError, match=said):
        recipe_from_dict(made)


def test_where_texts_lie_is_in_no_fingerprint():
    def fingerprint(**fields) -> str:
        return recipe_from_dict({"source": {"kind": "conversations", **fields}}).perception_fingerprint()

    assert fingerprint(root="a") == fingerprint(root="b", texts="c", licence="d") != fingerprint(root="a", fps=3)


@pytest.mark.skipif(not (SHARED / "benchmarks").is_dir(), reason="no ../shared/data/benchmarks")
def test_a_real_benchmark_file_is_read():
    found = [parse(entry.value) for entry in entries(next((SHARED / "benchmarks").glob("*.json")))]
    assert len(found) == 20 and all(len(told.options) == 4 and told.media for told in found)
    assert found[0].messages[1]["content"] in found[0].options


def test_order_of_entries_is_that_of_the_file(media, tmp_path):
    told = [about(random.Random(i).choice(["a.jpg", "b.jpg"]), id=str(i)) for i in range(20)]
    made = source(media, tmp_path / "t", told)
    for clip in made.plan():
        ids = [int(each["id"]) for each in made.open(clip).given["conversations"]]
        assert ids == sorted(ids) and all(told[i]["image"] == clip.uri for i in ids)


def test_a_file_may_stand_for_its_folder(media, tmp_path):
    root = write_media(tmp_path / "m")
    for name in ("mine.json", "other.json"):
        (root / name).write_text(json.dumps([about("a.jpg")]))
    made = make_source(ConversationsConfig(root=str(root / "mine.json")))
    (clip,) = made.plan()
    assert clip.params["conversations"][0][0] == "mine.json" and made.open(clip).num_frames == 1
