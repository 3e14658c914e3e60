"""trl's own trainers collate our export and take a step on it, with a tiny vision-language model."""

from __future__ import annotations

import json

import pytest

from curate.exporters.formats.trl import load
from curate.exporters.run import export
from curate.shards.publish import publish
from tests.test_exporters import sample

trl = pytest.importorskip("trl", reason="trl is not installed; pip install 'curate4d[rl]'")
torch = pytest.importorskip("torch", reason="torch is not installed")
NUM_FRAMES = 3
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("one_thread")]


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    out = tmp_path_factory.mktemp("set")
    publish(out, [sample(seed) for seed in range(2)])
    return out


@pytest.fixture
def student():
    from tests.student_zoo import qwen2_vl

    return qwen2_vl()


def settings(tmp_path, **more):
    return {"output_dir": str(tmp_path / "out"), "per_device_train_batch_size": 2, "max_steps": 1, "report_to": [],
            "use_cpu": True, "bf16": False, "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True,
            "seed": 0, **more}


def moved(model, before: dict) -> bool:
    return any(not torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_sft_collates_frames_and_answers_and_steps(source, tmp_path, student):
    families = ("object_displacement", "view_shift")
    export(source, "trl", tmp_path / "x", num_frames=NUM_FRAMES, max_side=64, families=families)
    rows = load(tmp_path / "x")
    trainer = trl.SFTTrainer(model=student.model, args=trl.SFTConfig(**settings(tmp_path, max_length=None)),
                             train_dataset=rows, processing_class=student.processor)
    batch = trainer.data_collator([rows[0], rows[1]])
    pictures = [len(rows[i]["images"]) for i in range(2)]
    assert pictures == [NUM_FRAMES, 2 * NUM_FRAMES]  # of one view, and of two
    assert len(batch["image_grid_thw"]) == sum(pictures)
    tokenizer = student.processor.tokenizer
    pads = [(ids == tokenizer.image_token_id).sum().item() for ids in batch["input_ids"]]
    each = batch["image_grid_thw"].prod(1) // 4  # 2 x 2 patches a token
    assert pads == [each[:NUM_FRAMES].sum().item(), each[NUM_FRAMES:].sum().item()]
    for i, ids in enumerate(batch["input_ids"]):
        said = tokenizer.decode(ids, skip_special_tokens=True)
        for message in rows[i]["messages"]:
            assert "".join(message["content"].split()) in "".join(said.split())
    assert (batch["labels"] != -100).any()

    before = {name: value.clone() for name, value in student.model.state_dict().items()}
    done = trainer.train()
    assert done.global_step == 1 and done.training_loss > 0 and moved(student.model, before)


def test_grpo_shows_the_frames_and_hands_the_truth_to_the_reward(source, tmp_path, student):
    from curate.rewards.adapters.trl import reward_function

    export(source, "trl", tmp_path / "x", form="rl", num_frames=NUM_FRAMES, max_side=64,
           families=("object_displacement",))
    rows, seen = load(tmp_path / "x"), []
    ours = reward_function("score")

    def reward(prompts, completions, **columns):
        seen.append((completions, columns["ground_truth"], ours(prompts=prompts, completions=completions, **columns),
                     ours(prompts=prompts, completions=["<answer>1.8 m</answer>"] * len(prompts), **columns)))
        return [float(i) for i in range(len(prompts))]  # so that there is an advantage to learn from

    shown = []
    student.model.register_forward_pre_hook(
        lambda module, args, given: shown.append(given.get("pixel_values")), with_kwargs=True)
    config = trl.GRPOConfig(**settings(tmp_path, num_generations=2, max_completion_length=4, learning_rate=1e-2))
    trainer = trl.GRPOTrainer(model=student.model, args=config, train_dataset=rows, reward_funcs=[reward],
                              processing_class=student.processor)
    before = {name: value.clone() for name, value in student.model.state_dict().items()}
    assert trainer.train().global_step == 1 and moved(student.model, before)
    (completions, truths, scores, perfect), = seen
    assert len(completions) == len(scores) == 2 and perfect == [1.0, 1.0]
    assert json.loads(truths[0])["value"] == 1.8
    assert any(pixels is not None and len(pixels) for pixels in shown)


@pytest.mark.parametrize("sees", [True, False])
def test_sets_of_text_alone_train_models_that_see_and_that_do_not(tmp_path, student, sees):
    from curate.questions import QuestionsConfig, ask
    from curate.shards.sample import make_sample
    from tests.test_text_only import text_scene

    asked, _ = ask(text_scene(), QuestionsConfig(families=("object_displacement",)))
    (tmp_path / "s").mkdir()
    publish(tmp_path / "s", [make_sample(text_scene(), {}, asked)])
    export(tmp_path / "s", "trl", tmp_path / "x")
    rows = load(tmp_path / "x")
    assert len(rows) == len(asked) > 1 and set(rows.column_names) == {"id", "messages"}
    model, reader = (student.model, student.processor) if sees else language_model()
    trainer = trl.SFTTrainer(model=model, args=trl.SFTConfig(**settings(tmp_path, max_length=None)),
                             train_dataset=rows, processing_class=reader)
    assert trainer.train().training_loss > 0


def language_model():
    import transformers

    from tests.student_zoo import TEXT, _tokenizer

    tokenizer = _tokenizer("<image>")
    config = transformers.LlamaConfig(**TEXT, vocab_size=len(tokenizer))
    return transformers.LlamaForCausalLM(config), tokenizer
