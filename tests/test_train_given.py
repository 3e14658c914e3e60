"""Training on someone's conversations, and on the stages of a mixture."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import numpy as np
import torch
import yaml
from click.testing import CliRunner

from curate.cli.main import main
from curate.marks import mark_jpeg
from curate.mixture.config import MixtureRecipe
from curate.mixture.plan import plan, write
from curate.questions.given import records
from curate.shards import ShardError, read_stage
from curate.shards.publish import publish
from curate.shards.sample import make_sample
from curate.sources.base import ClipSpec
from curate.sources.conversations import scene_without
from curate.train.answers import Words, words_of
from curate.train.clips import NothingWanted
from curate.train.config import TrainRecipe
from curate.train.data import Examples
from curate.train.data_config import DataConfig
from curate.train.frames import chosen_frames
from curate.train.mixed import from_mixture
from curate.train.students import tiny_student
from curate.train.watch import read_log
from curate.video.encode import encode_h264
from tests.test_given_conversations import as_record
from tests.train_sets import SIZE, clip_sample, clip_video, write_set

SMALL = {"image_size": 32, "patch_size": 16, "vision_width": 32, "vision_layers": 1, "width": 32, "layers": 1}
TALK = [("system", "Be brief."), ("user", "<video>\nWhat is it?"), ("assistant", "A wall."), ("user", "Sure?"),
        ("assistant", "Yes."), ("user", "Why?"), ("assistant", "I see it.")]


@pytest.fixture(scope="module")
def student():
    return tiny_student(**SMALL)


def given_sample(seed: int, num_frames: int, count: int = 1):
    """A clip with `count` conversations and a choice of someone's."""
    key, time_s, frames = f"talk{seed:04d}", np.arange(num_frames) / 12.0, clip_video(num_frames, 12.0)
    clip = ClipSpec(key, "conversations", f"{key}.mp4", f"rec{seed}", 0, num_frames)
    scene = scene_without(clip, SimpleNamespace(width=SIZE[0], height=SIZE[1]), time_s)
    plain = [{"role": role, "content": text} for role, text in TALK]
    base = {"roles": [], "options": [], "file": "q.json", "entry": 0, "id": "", "layout": "messages"}
    choice = base | {"messages": [{"role": "user", "content": "Which way?"}, {"role": "assistant", "content": "left"}],
                     "options": ["left", "right"]}
    told = records([base | {"messages": plain}] * count + [choice], clip=scene.key, recording=f"rec{seed}",
                   num_frames=num_frames, duration_s=float(scene.time_s[-1]))
    parts = {"v0.mp4": encode_h264(frames, time_s=scene.time_s, crf=4), "mark.jpg": mark_jpeg(frames[0], [])}
    return make_sample(scene, parts, told, split="train" if seed < 90 else "val")


@pytest.fixture(scope="module")
def talks(tmp_path_factory) -> str:
    """Conversations about an image and two videos."""
    return write_set(tmp_path_factory.mktemp("talks"), [given_sample(seed, n) for seed, n in ((1, 1), (2, 6), (3, 3))])


@pytest.fixture(scope="module")
def asked(tmp_path_factory) -> str:
    """Questions of ours, some of them held out."""
    return write_set(tmp_path_factory.mktemp("asked"),
                     [clip_sample(seed, split="val" if seed > 13 else "train") for seed in range(11, 16)])


# ---- conversations ----

def test_a_conversation_is_asked_and_answered_turn_by_turn():
    config = DataConfig(sets="x", tasks={"reason": 1.0}, region_dialect="box")
    said = words_of(as_record(TALK), [], config, [0.0])
    assert said == Words("What is it?", "A wall.", (("Sure?", "Yes."), ("Why?", "I see it.")), "Be brief.")


def test_every_answer_is_learned_and_nothing_else(talks, student):
    config = DataConfig(sets=talks, frames=2, short_clips="repeat", batch_size=1, forms=("open",))
    for batch in Examples(config, student.processor, epochs=1, rank=0, world_size=1):
        ids, labels = batch.inputs["input_ids"][0], batch.inputs["labels"][0]
        tokenizer = student.processor.tokenizer
        learned = tokenizer.decode(labels[labels != -100].tolist())
        assert learned == "A wall.<|im_end|>Yes.<|im_end|>I see it.<|im_end|>"
        text = tokenizer.decode(ids.tolist()).replace("<image>", "")
        assert text == ("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is it?<|im_end|>\n"
                        "<|im_start|>assistant\nA wall.<|im_end|>\n<|im_start|>user\nSure?<|im_end|>\n"
                        "<|im_start|>assistant\nYes.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
                        "<|im_start|>assistant\nI see it.<|im_end|>")
        assert ((labels == ids) | (labels == -100)).all()
        student.model(**batch.inputs).loss.backward()


def test_prompts_without_answers_end_at_the_first_one(talks, student):
    config = DataConfig(sets=talks, frames=2, short_clips="repeat", batch_size=3, forms=("open",))
    batch = next(iter(Examples(config, student.processor, epochs=1, answers=False, rank=0, world_size=1)))
    for ids in batch.inputs["input_ids"]:
        text = student.processor.tokenizer.decode(ids.tolist())
        assert text.endswith("What is it?<|im_end|>\n<|im_start|>assistant\n") and "labels" not in batch.inputs


def test_images_are_shown_more_than_once_among_videos(talks, student):
    assert chosen_frames(1, 4, repeat=True) == [0, 0, 0, 0] and chosen_frames(3, 4, repeat=True) == [0, 1, 1, 2]
    config = DataConfig(sets=talks, frames=4, short_clips="repeat", batch_size=6)
    (batch,) = Examples(config, student.processor, epochs=1, rank=0, world_size=1)
    assert batch.pixels.shape[:2] == (6, 4)
    with pytest.raises(ValueError, match=r"set data\.short_clips to skip or repeat"):
        Examples(config.model_copy(update={"short_clips": "error"}))


def test_what_is_judged_are_choices_and_questions_of_ours(talks, asked):
    config = DataConfig(sets=[talks, asked], frames=1)
    judged = Examples(config, epochs=1, shuffle=False, judged=True, rank=0, world_size=1)
    assert judged.num_questions == 3 + 4 * 3 and Examples(config).num_questions == 6 + 4 * 3
    held_out = Examples(config, split="val", epochs=1, shuffle=False, judged=True)
    assert held_out.num_questions == 4 * 2, "a set without this split is left out"
    with pytest.raises(NothingWanted):
        Examples(DataConfig(sets=talks, frames=1, forms=("open",)), judged=True)
    with pytest.raises(ShardError, match="no split 'val'"):
        Examples(DataConfig(sets=talks, frames=1), split="val", judged=True)


def test_families_may_name_what_was_given(talks):
    assert Examples(DataConfig(sets=talks, frames=1, families=("given",))).num_questions == 6
    with pytest.raises(ValueError, match="unknown question family 'givn'; did you mean 'given'"):
        DataConfig(sets=talks, families=("givn",))


# ---- stages of a mixture ----

class Stage(torch.utils.data.IterableDataset):
    def __init__(self, folder: Path) -> None:
        self.stage = read_stage(folder, "both", rank=0, world_size=1)

    def __iter__(self):
        return ((item["position"], item["key"], len(item["media"]["v0.mp4"])) for item in self.stage)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_data_loader_read_a_stage_once_together(tmp_path, talks, asked, start):
    made = Stage(mixed(tmp_path, talks, asked))
    loader = torch.utils.data.DataLoader(made, batch_size=None, num_workers=2, multiprocessing_context=start)
    assert sorted(map(tuple, loader)) == list(made)


STAGES = [
    {"name": "look", "mix": {"talks": "all"}, "train": ["vision", "projector"]},
    {"name": "both", "samples": 20, "train": {"projector": "full", "language": "lora"},
     "mix": {"talks": {"weight": 1, "forms": ["open"]}, "asked": 3}}]


def mixed(tmp_path: Path, talks: str, asked: str, stages=STAGES) -> Path:
    recipe = MixtureRecipe.model_validate({"sets": {"talks": talks, "asked": asked}, "stages": stages})
    return write(plan(recipe, tmp_path), tmp_path).parent


def recipe(folder: Path, **sections) -> TrainRecipe:
    data = {"frames": 1, "batch_size": 4, **sections.pop("data", {})}
    return from_mixture(TrainRecipe.model_validate({"mixture": str(folder), "data": data, "strategy": {"name": "sft"},
                                                    **sections}))


def test_stages_have_the_parts_sets_and_counts_of_the_mixture(tmp_path, talks, asked):
    made = recipe(mixed(tmp_path, talks, asked), optim={"accumulate": 2})
    assert [(s.name, s.parts, s.questions, s.steps) for s in made.plan()] == [
        ("look", ("vision", "projector"), 6, 1), ("both", ("projector", "llm"), 20, 3)]
    assert [s.steps for s in made.plan(num_processes=3)] == [1, 1]
    assert made.student.trained.model_dump() == {"vision": "full", "projector": "full", "llm": "lora"}
    assert made.mixture is None and from_mixture(made) is made


def test_an_epoch_of_a_stage_is_its_questions_exactly(tmp_path, talks, asked):
    made = recipe(mixed(tmp_path, talks, asked))
    both = Examples(made.data_of(made.stages[1]), epochs=1, drop_last=False, rank=0, world_size=1)
    drawn = Counter(name for batch in both for name in batch.ids)
    ours = {name: n for name, n in drawn.items() if "-given-" not in name}
    theirs = {name: n for name, n in drawn.items() if "-given-" in name}
    assert (sum(theirs.values()), sum(ours.values())) == (5, 15)
    assert set(theirs.values()) == {1, 2} and len(theirs) == 3 and set(ours.values()) <= {1, 2} and len(ours) == 12
    assert all(name.endswith("00000") for name in theirs), "conversations alone: the second of each clip is a choice"


def test_a_recipe_says_by_name_what_differs(tmp_path, talks, asked):
    made = recipe(mixed(tmp_path, talks, asked), stages=[
        {"name": "both", "lr": 0.5, "data": {"max_tokens": 99}}])
    assert [s.name for s in made.stages] == ["look", "both"] and made.stages[1].lr == 0.5
    assert len(made.stages[1].data["sets"]) == 2 and made.data_of(made.stages[1]).max_tokens == 99
    assert made.stages[1].questions == 20 and made.stages[0].lr is None


@pytest.mark.parametrize(("sections", "said"), [
    ({"stages": [{"name": "bot"}]}, "'bot' is no stage of .*; did you mean 'both'"),
    ({"data": {"split": "val"}}, "is split 'train', data.split is 'val'"),
    ({"student": {"trained": "P+LLM"}}, r"student.trained has vision frozen, .* trains it full"),
])
def test_a_recipe_that_does_not_fit_its_mixture_is_refused(tmp_path, talks, asked, sections, said):
    with pytest.raises(ValueError, match=said):
        recipe(mixed(tmp_path, talks, asked), **sections)


def test_stages_that_want_two_ways_of_training_are_refused(tmp_path, talks, asked):
    stages = [{"name": "a", "mix": {"talks": "all"}, "train": {"llm": "lora"}},
              {"name": "b", "mix": {"talks": "all"}, "train": {"llm": "full"}}]
    with pytest.raises(ValueError, match="llm is trained lora in one stage and full in another"):
        recipe(mixed(tmp_path, talks, asked, stages))


def test_a_set_that_has_changed_is_not_trained_on(tmp_path, talks):
    own = write_set(tmp_path / "own", [clip_sample(1)])
    folder = mixed(tmp_path / "m", talks, own)
    publish(tmp_path / "own", [clip_sample(2)])
    with pytest.raises(ShardError, match=r"set 'asked' of the mixture: .* has changed"):
        recipe(folder)


def test_a_run_goes_through_the_stages_and_is_judged_by_what_can_be(tmp_path, talks, asked):
    pytest.importorskip("accelerate")
    folder = mixed(tmp_path / "m", talks, asked)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({
        "mixture": str(folder), "student": {"tiny": SMALL}, "strategy": {"name": "sft"},
        "data": {"frames": 2, "short_clips": "repeat", "image_size": [32, 32], "batch_size": 5, "workers": 1},
        "stages": [{"name": "both", "lr": 0.001}], "eval": {"before": False, "method": "generate", "max_new_tokens": 2},
        "watch": {"tensorboard": False, "pictures_every": 0}}))
    done = CliRunner().invoke(main, ["train", str(path), "--out", str(tmp_path / "run"), "--quiet"])
    assert done.exit_code == 0, done.output
    assert [line["stage"] for line in read_log(tmp_path / "run" / "log.jsonl")] == ["look"] * 2 + ["both"] * 4
    judged = json.loads((tmp_path / "run" / "eval-after.json").read_text())["student"]["items"]
    assert len(judged) == 2 * 4, "the questions of ours that are held out"
