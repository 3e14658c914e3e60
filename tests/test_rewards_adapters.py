"""The rewards in the signatures of trl, verl, ms-swift and EasyR1, called as those call them."""

import importlib.util
import inspect
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from curate.questions import rft
from curate.rewards import PRESETS
from curate.rewards.adapters import easyr1, swift, trl, verl
from tests.shard_samples import questions
from tests.shard_samples import scene as shard_scene

NUMBER, CHOICE = (rft(q) for q in questions(shard_scene(0)))  # 1.8 m; "right" is B
TEXTS = ["<think>x</think><answer>1.8 m</answer>", "B", "<think>x</think><answer>left</answer>", "180 cm"]
RECORDS = [NUMBER, CHOICE, CHOICE, NUMBER]
SCORES, FORMS = [1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0]
AS_JSON = [json.dumps(record) for record in RECORDS]


def messages(texts):
    return [[{"role": "assistant", "content": text}] for text in texts]


@pytest.mark.parametrize("completions", [TEXTS, messages(TEXTS)], ids=["texts", "messages"])
def test_trl_calls_with_keywords_and_all_columns(completions):
    """GRPOTrainer: reward_func(prompts=, completions=, completion_ids=, trainer_state=, **columns) -> list."""
    given = {"prompts": ["q"] * 4, "completions": completions, "completion_ids": [[1]] * 4, "trainer_state": object(),
             "images": [None] * 4, "log_extra": print, "ground_truth": AS_JSON}
    assert trl.score(**given) == SCORES and trl.format(**given) == FORMS
    assert trl.reward_function({"choice": 1, "format": 1})(**given) == [1.0, 0.5, 0.5, 0.0]
    assert trl.reward_function("regression")(**given) == [1.0, None, None, 1.0]  # None: not for this sample
    assert trl.score.__name__ == "curate_score" and trl.mllm4d_paper.__name__ == "curate_mllm4d_paper"
    with pytest.raises(ValueError, match="neither a preset"):
        trl.reward_function("kindness")


def test_trl_with_the_columns_of_the_rft_form():
    columns = {name: [record[name] for record in RECORDS] for name in NUMBER}
    assert trl.score(completions=TEXTS, **columns) == SCORES
    columns["options"] = [np.array(o, object) for o in columns["options"]]
    assert trl.score(completions=TEXTS, **columns) == SCORES


def test_a_data_set_without_truth_is_an_error():
    with pytest.raises(ValueError, match=r"no column tells the truth: .* got images, problem"):
        trl.score(completions=TEXTS, problem=["q"] * 4, images=[None] * 4)
    with pytest.raises(ValueError, match="3 rows for 4 completions"):
        trl.score(completions=TEXTS, solution=AS_JSON[:3])
    with pytest.raises(ValueError, match="expected a list with one entry a completion"):
        trl.score(completions=TEXTS, solution=AS_JSON[0])


def test_verl_scores_one_sample_by_keyword():
    """verl: compute_score(data_source=, solution_str=, ground_truth=, extra_info=, **reward_kwargs)."""
    found = [verl.compute_score(data_source="curate", solution_str=text, ground_truth=truth, extra_info={"index": 1},
                                reward_router_address=None, reward_model_tokenizer=None)
             for text, truth in zip(TEXTS, AS_JSON)]
    assert [f["score"] for f in found] == [f["acc"] for f in found] == SCORES
    assert [f["format"] for f in found] == FORMS and len({tuple(f) for f in found}) == 1
    assert verl.compute_score("curate", TEXTS[1], CHOICE, None, reward="accuracy-format")["score"] == pytest.approx(0.9)
    assert verl.compute_score("curate", TEXTS[0], {"style": "rule", "ground_truth": AS_JSON[0]})["score"] == 1
    assert list(inspect.signature(verl.compute_score).parameters)[:4] == ["data_source", "solution_str", "ground_truth",
                                                                        "extra_info"]


def test_verl_in_batches_scores_each_sample_by_itself():
    """verl's manager `batch`: compute_score(data_sources=, solution_strs=, ground_truths=, extra_infos=)."""
    found = verl.compute_scores(data_sources=np.array(["d"] * 4), solution_strs=TEXTS, ground_truths=AS_JSON,
                                extra_infos=[{}] * 4)
    assert [f["score"] for f in found] == SCORES


def test_every_sample_has_the_same_names_whatever_it_has_truths_for():
    """verl and EasyR1 gather the parts of a batch in lists by name."""
    for reward in PRESETS:
        assert len({tuple(verl.compute_score("d", t, r, reward=reward)) for t, r in zip(TEXTS, RECORDS)}) == 1


@pytest.mark.parametrize("module", [easyr1, verl])
def test_easyr1_and_verl_load_the_function_from_a_file(module):
    path = Path(module.__file__)
    spec = importlib.util.spec_from_file_location("custom_reward_fn", path)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules["custom_reward_fn"] = loaded
    try:
        spec.loader.exec_module(loaded)
        assert callable(loaded.compute_score)
    finally:
        del sys.modules["custom_reward_fn"]


def test_easyr1_scores_a_batch_or_one_sample():
    """EasyR1: compute_score([{"response", "response_length", "ground_truth"}], **reward_function_kwargs)."""
    inputs = [{"response": text, "response_length": len(text), "ground_truth": truth}
              for text, truth in zip(TEXTS, AS_JSON)]
    found = easyr1.compute_score(inputs)
    assert easyr1.REWARD_TYPE == "batch" and easyr1.REWARD_NAME
    assert [f["overall"] for f in found] == [f["accuracy"] for f in found] == SCORES
    assert [f["format"] for f in found] == FORMS
    assert easyr1.compute_score(inputs[1], reward="accuracy-format")["overall"] == pytest.approx(0.9)
    assert all(isinstance(v, float) for f in found for v in f.values())


def test_ms_swift_registers_classes_and_makes_them_itself():
    """ms-swift: orms[name](args=...), then reward(completions, **columns) -> list of numbers."""
    orms = {"accuracy": object}
    swift.register(orms)
    assert {"curate_score", "curate_format", "curate_mllm4d_paper", "accuracy"} <= set(orms)
    made = {name: kind(args=object()) for name, kind in orms.items() if name.startswith("curate_")}
    given = {"solution": AS_JSON, "messages": [[]] * 4, "trainer_state": object()}
    assert made["curate_score"](TEXTS, **given) == SCORES and made["curate_format"](TEXTS, **given) == FORMS
    assert made["curate_regression"](TEXTS, **given) == [1.0, None, None, 1.0]  # None: not for this sample
    assert made["curate_score"](completions=TEXTS, solution=[[record] for record in RECORDS]) == SCORES
    assert "args" in inspect.signature(orms["curate_score"].__init__).parameters


def test_a_reward_never_looks_at_the_other_samples():
    one_by_one = [trl.score(completions=[t], ground_truth=[r]) for t, r in zip(TEXTS, AS_JSON)]
    assert [x[0] for x in one_by_one] == trl.score(completions=TEXTS, ground_truth=AS_JSON) == SCORES
    assert trl.score(completions=TEXTS[::-1], ground_truth=AS_JSON[::-1]) == SCORES[::-1]
    assert trl.score(completions=[], ground_truth=[]) == []


@pytest.mark.slow
def test_installed_trl_trains_with_them(tmp_path):
    """Two steps of GRPO with a model of a thousand weights: what the trainer logs is what the functions return."""
    trainer = pytest.importorskip("trl", reason="trl is not installed")
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    Dataset = pytest.importorskip("datasets").Dataset
    names = ["<pad>", "<eos>", "<unk>", *"ABCD12.m "]
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    words.decoder = tokenizers.decoders.Fuse()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>",
                                                     unk_token="<unk>")
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=len(names), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64, pad_token_id=0, eos_token_id=1, bos_token_id=None))
    rows = [{"prompt": "A", "ground_truth": truth} for truth in AS_JSON[:2] * 4]
    seen = []

    def watched(**given):
        seen.append((given["completions"], given["ground_truth"], trl.score(**given)))
        return seen[-1][2]

    config = trainer.GRPOConfig(output_dir=str(tmp_path), per_device_train_batch_size=4, num_generations=4, max_steps=2,
                                max_completion_length=3, report_to=[], use_cpu=True, bf16=False, logging_steps=1,
                                save_strategy="no")
    made = trainer.GRPOTrainer(model=model, processing_class=tokenizer, args=config,
                               train_dataset=Dataset.from_list(rows),
                               reward_funcs=[watched, trl.reward_function("regression"), trl.mllm4d_paper])
    made.train()
    assert len(seen) == 2 and all(len(t) == len(r) == len(s) == 4 for t, r, s in seen)
    logged = [row["rewards/watched/mean"] for row in made.state.log_history if "rewards/watched/mean" in row]
    assert logged == pytest.approx([np.mean(s) for _, _, s in seen])
