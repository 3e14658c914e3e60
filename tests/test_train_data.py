"""Batches from shards: exact resume, nothing lost or doubled, labels, real times, marks, cues, and every bad input."""

from __future__ import annotations

import json
import os
import pickle
from collections import Counter
from itertools import islice

import numpy as np
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from curate.train.answers import time_line  # noqa: E402
from curate.train.data import Examples  # noqa: E402
from curate.train.data_config import DataConfig  # noqa: E402
from curate.train.frames import draw_times  # noqa: E402
from curate.train.students import tiny_student  # noqa: E402
from tests.train_sets import clip_sample, level, write_set  # noqa: E402


@pytest.fixture(scope="module")
def student():
    return tiny_student(image_size=32, patch_size=16, vision_layers=1, layers=1)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Seven clips of 6 to 12 frames at 5, 12 and 30 a second, with 3 to 5 questions; two more held out."""
    samples = [clip_sample(i, num_frames=6 + i, fps=(5, 12, 30)[i % 3], questions=3 + i % 3) for i in range(7)]
    held_out = [clip_sample(i, num_frames=8, questions=3, split="val") for i in (20, 21)]
    return write_set(tmp_path_factory.mktemp("set"), [*samples, *held_out], max_samples=3)


def config(path, **changes) -> DataConfig:
    settings = {"frames": 4, "image_size": (32, 32), "batch_size": 3, "pool_clips": 3, "prefetch": 2}
    return DataConfig(sets=path, **settings | changes)


def same(a, b) -> bool:
    return (a.ids == b.ids and a.keys == b.keys and torch.equal(a.times_s, b.times_s) and torch.equal(a.video, b.video)
            and all(torch.equal(a.inputs[name], b.inputs[name]) for name in a.inputs | b.inputs))


# ---- what is in a batch ----

def test_a_batch_has_the_shapes_of_the_contract_and_a_student_takes_it(path, student):
    batch = next(iter(Examples(config(path), student.processor)))
    length = batch.inputs["input_ids"].shape[1]
    assert batch.inputs["labels"].shape == batch.inputs["attention_mask"].shape == (3, length)
    assert batch.times_s.shape == (3, 4) and batch.times_s.dtype == torch.float32
    assert batch.video.shape == (3, 4, 3, 32, 32) and batch.video.min() >= 0 and batch.video.max() <= 1
    assert batch.signals is None and batch.latent is None and batch.cameras is None
    assert [r["id"] for r in batch.records] == batch.ids
    assert all(i.startswith(key) for i, key in zip(batch.ids, batch.keys))
    assert {r["recording"] for r in batch.records} <= {f"rec{i}" for i in range(7)}
    out = student.forward(batch.to("cpu").inputs)
    assert torch.isfinite(out.loss)
    assert student.visual_tokens(batch.inputs, out.hidden_states[-1]).shape[:2] == (3, 4)


def test_frames_and_times_are_those_of_each_clip(path):
    examples = Examples(config(path, marks="none"), epochs=1, shuffle=False)
    durations = {}
    for batch in examples:
        for times, video, key in zip(batch.times_s, batch.video, batch.keys):
            number = int(key[4:])
            num_frames, fps = 6 + number, (5, 12, 30)[number % 3]
            index = [round(float(t) * fps) for t in times]
            assert index[0] == 0 and index[-1] == num_frames - 1
            assert np.allclose(times, np.array(index) / fps, atol=1e-3), "the clip's own clock"
            assert np.allclose(video.mean((1, 2, 3)) * 255, [level(i) for i in index], atol=2)
            durations[number] = float(times[-1])
    assert durations == pytest.approx({i: (5 + i) / (5, 12, 30)[i % 3] for i in range(7)}, abs=1e-3)


def test_equally_many_frames_of_other_rates_have_other_times(tmp_path):
    samples = [clip_sample(i, num_frames=8, fps=fps, questions=1) for i, fps in enumerate((5, 12, 30))]
    path = write_set(tmp_path, samples)
    batch = next(iter(Examples(config(path, frames=None), epochs=1, shuffle=False)))
    assert torch.allclose(batch.times_s, torch.arange(8)[None] / torch.tensor([5.0, 12.0, 30.0])[:, None], atol=1e-3)


def test_labels_are_on_the_answer_and_its_end_alone(path, student):
    tokenizer = student.processor.tokenizer
    for batch in islice(Examples(config(path), student.processor), 5):
        for ids, labels, mask, record in zip(batch.inputs["input_ids"], batch.inputs["labels"],
                                             batch.inputs["attention_mask"], batch.records):
            answer = "B" if record["form"] == "choice" else "1.8 m"
            labelled = labels != -100
            assert tokenizer.decode(ids[labelled]) == answer + tokenizer.eos_token
            assert torch.equal(ids[labelled], labels[labelled])
            last = int(labelled.nonzero().max())
            assert not mask[last + 1:].any() and mask[:last + 1].all(), "nothing but padding follows"
            prompt = tokenizer.decode(ids[:int(labelled.nonzero().min())])
            assert record["question"] in prompt and prompt.endswith("<|im_start|>assistant\n")


def test_thinking_and_cold_starts_are_learned_too(path, student):
    def learned(**changes):
        batch = next(iter(Examples(config(path, **changes), student.processor)))
        return [student.processor.tokenizer.decode(row[row != -100]) for row in batch.inputs["labels"]]

    assert all(t.startswith("<think>It goes") and "</think><answer>" in t for t in learned(tasks={"reason": 1}))
    cold = learned(tasks={"cold_start": 1})
    assert all(t.startswith('<think><state>{"R1": [[0, 0, 3]') for t in cold), cold
    mixed = Examples(config(path, tasks={"answer": 1, "reason": 1}), student.processor, epochs=1, drop_last=False)
    texts = [student.processor.tokenizer.decode(row[row != -100]) for b in mixed for row in b.inputs["labels"]]
    assert 0 < sum(t.startswith("<think>") for t in texts) < len(texts)


def test_prompts_without_answers_end_where_a_student_goes_on(path, student):
    batch = next(iter(Examples(config(path), student.processor, answers=False)))
    assert "labels" not in batch.inputs and batch.inputs["attention_mask"][:, -1].all()
    assert len(student.generate(batch, max_new_tokens=2)) == 3


def test_frames_are_of_the_students_size_else_the_videos_own(path, student, tmp_path):
    assert next(iter(Examples(config(path, image_size=None), student.processor))).video.shape[-2:] == (32, 32)
    assert next(iter(Examples(config(path, image_size=None)))).video.shape[-2:] == (48, 64)


# ---- time cues and marks ----

def test_times_are_written_in_the_prompt(path, student):
    batch = next(iter(Examples(config(path, time_cue="prompt"), student.processor)))
    for ids, times in zip(batch.inputs["input_ids"], batch.times_s.tolist()):
        assert time_line(times) in student.processor.tokenizer.decode(ids)
    plain = next(iter(Examples(config(path), student.processor)))
    assert "seconds" not in student.processor.tokenizer.decode(plain.inputs["input_ids"][0])


def test_times_are_drawn_on_the_students_frames_alone(path, student):
    plain = next(iter(Examples(config(path), student.processor)))
    drawn = next(iter(Examples(config(path, time_cue="marks"), student.processor)))
    assert torch.equal(plain.video, drawn.video), "a teacher sees no marks"
    changed = (plain.inputs["pixel_values"] != drawn.inputs["pixel_values"]).any(1)
    assert changed[:, :7].any((1, 2)).all() and not changed[:, 7:].any()


def test_the_marked_picture_stands_for_the_first_frame_or_before_it(path, student):
    def pixels(marks):
        batch = next(iter(Examples(config(path, marks=marks), student.processor)))
        return batch, batch.inputs["pixel_values"].unflatten(0, (3, -1))

    none, plain = pixels("none")
    replaced, marked = pixels("replace")
    extra, more = pixels("extra")
    assert torch.equal(none.video, replaced.video) and torch.equal(none.times_s, replaced.times_s)
    assert torch.equal(plain[:, 1:], marked[:, 1:]) and (plain[:, 0] != marked[:, 0]).any()
    assert torch.equal(more[:, 1:], plain) and torch.equal(more[:, 0], marked[:, 0])
    assert torch.equal(extra.times_s[:, 1:], none.times_s) and not extra.times_s[:, 0].any()
    assert torch.equal(extra.video[:, 1:], none.video) and torch.equal(extra.video[:, 0], none.video[:, 0])


def test_time_lines_and_marks_are_of_the_same_times():
    assert time_line([0.0, 1 / 3]) == "The 2 frames were taken at 0.00, 0.33 seconds."
    frames = np.zeros((1, 64, 64, 3), np.uint8)
    assert not np.array_equal(draw_times(frames, [0.33]), draw_times(frames, [0.34]))


# ---- resume, ranks, epochs ----

@pytest.mark.parametrize("done", [0, 1, 4, 13])
def test_a_resume_goes_on_exactly(path, student, done):
    """13 batches of 3 are past an epoch of 27 questions; two batches are made ahead all the while."""
    whole = Examples(config(path), student.processor)
    batches = []
    for batch in islice(iter(whole), done + 4):
        batches.append(batch)
        if len(batches) == done:
            state = json.loads(json.dumps(whole.state_dict()))
    again = Examples(config(path), student.processor)
    again.load_state_dict(state if done else again.state_dict())
    assert all(same(a, b) for a, b in zip(islice(iter(again), 4), batches[done:], strict=True))
    assert again.state_dict()["batches"] == done + 4 and again.epoch == pytest.approx((done + 4) * 3 / 27)


def test_a_resume_is_exact_whoever_else_has_read(path):
    """The state is that of the batch given, not of what is made ahead; each `iter` begins anew but the one resumed."""
    examples = Examples(config(path, prefetch=8))
    first = [b.ids for b in islice(iter(examples), 3)]
    state = examples.state_dict()
    assert [b.ids for b in islice(iter(examples), 3)] == first
    examples.load_state_dict(state)
    resumed = [b.ids for b in islice(iter(examples), 2)]
    assert [b.ids for b in islice(iter(examples), 5)] == first + resumed


def test_ranks_and_epochs_lose_and_double_nothing(path):
    def read(rank, world, **settings):
        examples = Examples(config(path), rank=rank, world_size=world, **settings)
        batches = [b.ids for b in examples]
        assert len(batches) == len(examples)
        return batches

    for world in (1, 2, 3):
        for shuffle in (True, False):
            seen = Counter(i for rank in range(world) for b in read(rank, world, epochs=2, shuffle=shuffle,
                                                                    drop_last=False) for i in b)
            assert len(seen) == 27 and set(seen.values()) == {2}
        whole = [read(rank, world, epochs=2) for rank in range(world)]
        assert len({len(batches) for batches in whole}) == 1, "ranks that step together give equally many batches"
        assert {len(b) for batches in whole for b in batches} == {3}


def test_data_loader_workers_share_the_questions(path):
    data = _Iterable(config(path))
    next(iter(data.examples))  # its threads are not those of the workers
    loader = torch.utils.data.DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="fork")
    assert len(pickle.loads(pickle.dumps(data.examples))) == 9, "spawned workers take it too"
    seen = Counter(i for batch in loader for i in batch.ids)
    assert len(seen) == 27 and set(seen.values()) == {1}


class _Iterable(torch.utils.data.IterableDataset):
    def __init__(self, settings):
        self.examples = Examples(settings, epochs=1, drop_last=False)

    def __iter__(self):
        return iter(self.examples)


def test_the_same_seed_gives_the_same_batches_however_they_are_made_and_another_seed_others(path, student):
    def batches(**changes):
        return list(islice(iter(Examples(config(path, **changes), student.processor)), 12))

    alone, many = batches(workers=1, prefetch=1, cache_mb=1), batches(workers=8, prefetch=8)
    assert all(same(a, b) for a, b in zip(alone, many, strict=True))
    assert [b.ids for b in batches(seed=1)] != [b.ids for b in alone]


def test_a_clip_is_decoded_once_for_all_its_questions(path, monkeypatch):
    examples = Examples(config(path), epochs=3, drop_last=False)
    decoded, decode = [], examples._show
    monkeypatch.setattr(examples, "_show", lambda *clip: decoded.append(clip) or decode(*clip))
    assert sum(len(b.ids) for b in examples) == 81
    assert len(decoded) == len(set(decoded)) == 7


def test_clips_are_kept_within_their_bound():
    from concurrent.futures import ThreadPoolExecutor

    from curate.train.cache import Cache

    loaded = []
    with ThreadPoolExecutor(1) as pool:
        cache = Cache(pool, lambda n: loaded.append(n) or n, lambda n: 10, room=35)
        for n in (1, 2, 3, 1, 4, 1, 2):
            assert cache.get(n).result() == n
            pool.submit(lambda: None).result()  # what follows a result has happened
            assert cache.num_bytes <= 35
    assert loaded == [1, 2, 3, 4, 2], "the one used longest ago makes room"


# ---- what is chosen ----

def test_families_forms_bounds_and_splits(path, tmp_path):
    def ids(**changes):
        return {i for b in Examples(config(path, **changes), epochs=1, drop_last=False) for i in b.ids}

    every = ids()
    assert len(every) == 27
    assert ids(forms=["choice"]) == {i for i in every if "direction" in i}
    assert ids(families=["object_displacement"]) == {i for i in every if "displacement" in i}
    assert all(i.startswith(("clip0020", "clip0021")) for i in ids(split="val"))
    few, more = ids(max_questions=5), ids(max_questions=9)
    assert len(few) == 5 and few < more, "a larger bound adds to a smaller one"
    assert Counter(i[:8] for i in ids(max_per_clip=2)) == Counter({f"clip{n:04d}": 2 for n in range(7)})
    half = ids(family_shares={"object_direction": 0.5})
    assert {i for i in every if "displacement" in i} < half < every
    assert ids(frames=9, short_clips="skip") == {i for i in every if int(i[4:8]) + 6 >= 9}


def test_sets_are_mixed_by_their_weights(path, tmp_path):
    other = write_set(tmp_path, [clip_sample(i, questions=4) for i in (30, 31)])
    settings = config([{"path": path}, {"path": other, "weight": 2}])
    examples = Examples(settings, epochs=1, drop_last=False)
    assert examples.questions_per_epoch == 27 + 16 and examples.num_questions == 27 + 8
    seen = Counter(i for b in examples for i in b.ids)
    assert {n for i, n in seen.items() if i.startswith(("clip0030", "clip0031"))} == {2}
    assert len(seen) == 35


def test_one_sample_a_question_is_read_as_clips(tmp_path):
    path = write_set(tmp_path, [clip_sample(i, questions=4) for i in range(3)], layout="question")
    examples = Examples(config(path), epochs=1, drop_last=False)
    assert len(examples.sets[0].clips) == 3
    assert len({i for b in examples for i in b.ids}) == 12


def test_prompts_name_regions_in_the_dialect_asked_for(path, student):
    batch = next(iter(Examples(config(path, region_dialect="box"), student.processor)))
    text = student.processor.tokenizer.decode(batch.inputs["input_ids"][0])
    assert "<R1>" not in text and "[" in text


# ---- bad input ----

def test_bad_input_says_what_to_change(path, student, tmp_path):
    def refused(**changes):
        with pytest.raises(ValueError) as caught:
            next(iter(Examples(config(path, **changes), student.processor)))
        return str(caught.value)

    assert "no split 'test'; there is train, val" in refused(split="test")
    assert "lower data.frames, or set data.short_clips to skip" in refused(frames=9)
    assert "7 clips are too short" in refused(frames=99, short_clips="skip")
    assert "a batch needs equally many: set data.frames, 6 at most" in refused(frames=None)
    assert "no question of families ('object_direction',) and forms numeric" in refused(
        families=["object_direction"], forms=["numeric"])
    long = refused(max_tokens=40)
    assert long.startswith("clip0") and "data.max_tokens is 40; raise it" in long
    assert "no teacher tensors" in refused(teacher=True)
    assert "did you mean 'object_direction'" in refused(families=["object_directoin"])
    assert "positive number" in refused(tasks={"reason": 0})
    assert "at most 1 (data.families leaves one out)" in refused(family_shares={"object_direction": 2})


def test_sets_without_media_are_refused(tmp_path):
    path = write_set(tmp_path, [clip_sample(0, media=False)])
    with pytest.raises(ValueError, match=r"no part v0.mp4 .* write the set with its media"):
        Examples(config(path))


def test_questions_that_count_frames_want_all_of_them(tmp_path, student):
    path = write_set(tmp_path, [clip_sample(0, dialect="frames")])
    with pytest.raises(ValueError, match=r"clip0000.* speaks of frames by number.* data.frames to null"):
        next(iter(Examples(config(path), student.processor)))
    assert next(iter(Examples(config(path, frames=None), student.processor))).times_s.shape == (3, 6)


def test_an_error_in_a_thread_names_the_clip(path, monkeypatch):
    from curate.train import shown

    def broken(data, time_s, *rest):
        if len(time_s) == 9:
            raise ValueError("the video is torn")
        return decode(data, time_s, *rest)

    decode = shown.decode_video
    monkeypatch.setattr(shown, "decode_video", broken)
    with pytest.raises(ValueError, match=f"{path}: clip clip0003: the video is torn"):
        list(Examples(config(path), epochs=1))


def test_a_place_of_other_data_or_settings_is_refused(path, tmp_path):
    state = Examples(config(path)).state_dict()
    other = write_set(tmp_path, [clip_sample(30)])
    for examples, what in ((Examples(config(path, batch_size=4)), "batch_size is 4, there 3"),
                           (Examples(config(path), rank=0, world_size=2), "processes is 2, there 1"),
                           (Examples(config(other)), "the sets hold other questions")):
        with pytest.raises(ValueError, match=what):
            examples.load_state_dict(state)


def test_a_set_replaced_meanwhile_is_noticed(tmp_path):
    path = write_set(tmp_path, [clip_sample(i, questions=1 + i) for i in range(3)])
    examples = Examples(config(path))
    write_set(tmp_path, [clip_sample(i + 5, questions=3) for i in range(3)])
    with pytest.raises(ValueError, match=r"replaced|altered|cut"):
        list(islice(iter(examples), 4))
