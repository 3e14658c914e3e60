"""Reinforcement fine-tuning: the questions as trl wants them, its settings, and two steps of a tiny student."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

from curate.rewards import combine  # noqa: E402
from curate.shards.sample import Sample  # noqa: E402
from curate.train import rft  # noqa: E402
from curate.train.data_config import DataConfig  # noqa: E402
from curate.train.rft_config import RftConfig, RftRecipe  # noqa: E402
from curate.train.students import tiny_student  # noqa: E402
from tests.train_sets import clip_sample, level, write_set  # noqa: E402


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("rft") / "set", [clip_sample(i, questions=2) for i in range(2)])


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory):
    """Two clips that look alike, of which other answers are true: what is learned of them is a draw."""
    one, two = (clip_sample(i, questions=2) for i in range(2))
    number, letter = two.json["qa"]
    number |= {"answer": "4.9", "value": 4.9, "low": 4.8, "high": 5.0}
    letter |= {"answer": "left", "letter": "A"}
    return write_set(tmp_path_factory.mktemp("rft") / "doubtful", [one, Sample(two.key, two.parts, two.json)])


@pytest.fixture(scope="module")
def small():
    torch.set_num_threads(1)
    return tiny_student(image_size=32, patch_size=16, width=64, vision_width=32, layers=2, vision_layers=1, heads=2)


def settings(shards, **data):
    return {"sets": shards, "frames": 3, "image_size": (32, 32), **data}


def recipe(shards, folder, **own):
    return RftRecipe.model_validate({"student": {"name_or_path": str(folder), "trained": "P+LLM"},
                                     "data": settings(shards), "rft": own})


# ---- what trl is given ----

def test_a_prompt_is_a_cold_start_with_its_frames_and_the_record_to_judge_by(shards):
    prompts = rft.Prompts(recipe(shards, "checkpoint").data)
    assert len(prompts) == 4
    row = prompts[0]
    assert list(row) == ["prompt", "images", "ground_truth", "question"]
    (message,) = row["prompt"]
    assert message["role"] == "user" and "<video>" not in message["content"]
    assert message["content"].startswith("How far does <R1> travel") and "<state>" in message["content"]
    assert [image.size for image in row["images"]] == [(32, 32)] * 3
    assert np.asarray(row["images"][-1]).mean() == pytest.approx(level(5), abs=3)  # the clip's last frame
    right = "<think><state>{}</state> So.</think><answer>1.8 m</answer>"
    truth = json.loads(row["ground_truth"])
    assert combine(right, truth, "accuracy-format")["overall"] == 1 and truth["tags"] == ["think", "answer"]
    assert combine("4 m", truth, "accuracy-format")["overall"] < 0.5


def test_times_and_tasks_are_those_of_the_data_settings(shards):
    config = DataConfig.model_validate(settings(shards, time_cue="prompt", tasks={"answer": 1}))
    text = rft.Prompts(config)[0]["prompt"][0]["content"]
    assert text.startswith("The 3 frames were taken at 0.00,") and "<think>" not in text


@pytest.mark.parametrize("reward, parts", [
    ("mllm4d-paper", ["format", "st_camera", "st_object"]),
    ("mllm4d-code", ["format_mllm4d", "st_camera", "st_object"]),
    ("format", []), ({"mra": 1.0, "format": 0.5}, ["mra", "format"])])
def test_the_parts_of_a_reward_are_seen_and_only_the_whole_counts(reward, parts):
    functions, weights = rft.rewards_of(reward)
    assert [f.__name__ for f in functions][1:] == [f"curate_{name}" for name in parts]
    assert weights == [1.0] + [0.0] * len(parts)


def test_settings_reach_the_trainer(shards, tmp_path):
    made = rft.arguments(recipe(shards, "checkpoint", kl=0.1, group_size=6, prompts=2, micro_batch=4, steps=7, lr=2e-6,
                                max_new_tokens=33, clip=0.1, tensorboard=False), tmp_path, [1.0])
    assert (made.beta, made.num_generations, made.max_steps, made.epsilon) == (0.1, 6, 7, 0.1)
    assert made.per_device_train_batch_size * made.gradient_accumulation_steps == 12
    assert made.per_device_train_batch_size == 4 and made.max_completion_length == 33
    assert made.learning_rate == 2e-6 and made.bf16 is False and made.report_to in ([], ["none"])


@pytest.mark.parametrize("change, says", [
    ({"rft": {"reward": "kindness"}}, "neither a preset"),
    ({"rft": {"group_size": 4, "micro_batch": 3}}, "does not divide the 4 completions"),
    ({"rft": {"group_size": 1}}, "greater than or equal to 2"),
    ({"student": {}}, "starts from an SFT checkpoint")])
def test_settings_that_cannot_be_are_refused(change, says):
    with pytest.raises(ValidationError, match=says):
        RftRecipe.model_validate({"student": {"name_or_path": "x"}, "data": {"sets": "x"}} | change)
    assert RftConfig().kl > 0


def test_a_checkpoint_that_reads_timestamps_is_refused(shards, small, tmp_path):
    handle = small.add_timestamps()
    try:
        small.save(tmp_path / "sft")
    finally:
        handle.remove()
    with pytest.raises(ValueError, match=r"reads timestamps .* data.time_cue prompt"):
        rft.run(recipe(shards, tmp_path / "sft"), tmp_path / "out")


# ---- a run ----

def taught(student, shards, steps):
    """The student after some steps on the cold starts, so that what it samples is rewarded now and then."""
    from curate.train.data import Examples

    config = recipe(shards, "checkpoint").data.model_copy(update={"batch_size": 4})
    optimizer = torch.optim.AdamW(student.model.parameters(), 5e-3)
    student.model.train()
    losses = []
    for _, batch in zip(range(steps), Examples(config, student.processor)):
        loss = student.forward(batch.inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4
    return student


@pytest.mark.slow
def test_two_steps_reward_what_was_said_and_leave_a_plain_checkpoint(doubtful, small, tmp_path, monkeypatch):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    taught(small, doubtful, 100).save(tmp_path / "sft")
    seen, made = [], rft.reward_function

    def watched(**given):
        earned = made("mllm4d-paper")(**given)
        seen.append((given["completions"], given["ground_truth"], earned))
        return earned

    monkeypatch.setattr(rft, "reward_function", lambda name: watched if name == "mllm4d-paper" else made(name))
    asked = recipe(doubtful, tmp_path / "sft", steps=2, group_size=4, kl=0.02, lr=1e-3, max_new_tokens=120,
                   warmup_share=0, tensorboard=False)
    before = torch.get_rng_state()
    found = rft.run(asked, tmp_path / "out")
    assert torch.equal(before, torch.get_rng_state())  # the global draws stay as they were
    assert found["steps"] == 2 and found["questions"] == 4 and len(seen) == 2
    for completions, truths, earned in seen:
        assert len(set(truths)) == 1 and len(completions) == 4  # one group
        texts = [said[0]["content"] for said in completions]
        assert earned == [combine(t, json.loads(truths[0]), "mllm4d-paper")["overall"] for t in texts]
    everything = [reward for _, _, earned in seen for reward in earned]
    assert max(everything) > 0.2 and len(set(everything)) > 1  # they change with the completions
    assert found["reward"] == pytest.approx([np.mean(earned) for _, _, earned in seen])
    logged = [json.loads(line) for line in (tmp_path / "out/log.jsonl").read_text().splitlines()]
    assert any(np.isfinite(line["kl"]) for line in logged if "kl" in line)

    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "out/model")
    AutoProcessor.from_pretrained(tmp_path / "out/model")
    old = AutoModelForImageTextToText.from_pretrained(tmp_path / "sft").state_dict()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, old[name])}
    assert any("language_model" in name for name in changed)
    assert not any("vision_tower" in name for name in changed)  # frozen by student.trained


# ---- the command ----

def test_the_command_says_what_is_wrong_with_a_recipe(tmp_path):
    from click.testing import CliRunner

    from curate.cli.main import main

    path = tmp_path / "rft.yaml"
    path.write_text("student: {name_or_path: sft}\ndata: {sets: [shards]}\nrft: {reward: kindness}\n")
    found = CliRunner().invoke(main, ["train", "rft", str(path), "--out", str(tmp_path / "out")])
    assert found.exit_code == 2 and "rft.yaml:3" in found.output and "neither a preset" in found.output
    path.write_text("student: {name_or_path: no/such/folder}\ndata: {sets: [shards]}\n")
    found = CliRunner().invoke(main, ["train", "rft", str(path), "--out", str(tmp_path / "out")])
    assert found.exit_code == 2 and "no/such/folder" in found.output
