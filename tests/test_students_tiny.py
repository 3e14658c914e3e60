"""The tiny student: its tokenizer, its weights, its way through a folder; and the layout of its inputs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from hypothesis import given
from hypothesis import strategies as st

from curate.train.students import StudentConfig, TinyConfig, load_student, tiny_student
from curate.train.students.config import VARIANTS, TrainedParts
from curate.train.students.tiny import tiny_model
from curate.train.students.tokenizer import tiny_tokenizer, words

SMALL = {"image_size": 32, "patch_size": 16, "vision_width": 32, "vision_layers": 1, "width": 32, "layers": 1}
TOKENIZER = tiny_tokenizer()


@pytest.fixture(scope="module")
def student():
    return tiny_student(**SMALL)


def frames(num: int, seed: int = 0, size: tuple[int, int] = (32, 32)) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(num)]


def batch(student, num: int = 3, answers=("1.8 m/s", "B")):
    texts = [student.processor.prompt(q, num) for q in ("How fast is it?", "Which of them, A or B?")]
    return student.processor(texts, [frames(num, 1), frames(num, 2)], answers)


# ---- tokenizer ----

@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_comes_back(text):
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text


def test_numbers_are_read_digit_by_digit_and_letters_are_one_token():
    assert TOKENIZER.tokenize("12.75") == ["1", "2", ".", "7", "5"]
    for letter in "ABCDE":
        assert len(TOKENIZER(letter)["input_ids"]) == len(TOKENIZER(f" {letter}")["input_ids"]) == 1


def test_words_of_the_templates_are_single_tokens():
    """The list is a file; where templates have outgrown it, most of their words are still in it."""
    import re
    from pathlib import Path

    import curate.questions

    folder = Path(curate.questions.__file__).parent / "templates"
    text = re.sub(r"\{[{%].*?[}%]\}", " ", " ".join(p.read_text("utf-8") for p in sorted(folder.glob("*.yaml"))))
    found = re.findall(r"[A-Za-z]+", text)
    known = set(words())
    assert sum(w in known for w in found) > 0.97 * len(found)
    assert words() == sorted(known)


# ---- weights ----

def test_same_seed_same_weights_and_the_global_draw_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = (tiny_model(TinyConfig(**SMALL)).state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[k], second[k]) for k in first)
    other = tiny_model(TinyConfig(**SMALL, seed=1)).state_dict()
    assert any(not torch.equal(first[k], other[k]) for k in first)


def test_the_default_has_a_few_million_parameters():
    assert 1e6 < sum(p.numel() for p in tiny_model(TinyConfig()).parameters()) < 6e6


@pytest.mark.parametrize("size, patch", [(64, 8), (112, 14), (96, 16)])
def test_grid_follows_the_patch(size, patch):
    student = tiny_student(**{**SMALL, "image_size": size, "patch_size": patch})
    inputs = batch(student, 1)
    out = student.forward(inputs)
    assert student.visual_tokens(inputs, out.hidden_states[-1]).shape == (2, 1, size // patch, size // patch, 32)


def test_settings_that_do_not_fit_are_refused():
    for wrong in ({"image_size": 60, "patch_size": 16}, {"width": 30, "heads": 4}, {"heads": 4, "kv_heads": 3}):
        with pytest.raises(ValueError, match="no multiple"):
            TinyConfig(**wrong)
    with pytest.raises(ValueError, match="leave one out"):
        StudentConfig(name_or_path="folder", tiny={})


# ---- inputs ----

def test_labels_are_the_answer_and_the_end_of_the_turn(student):
    inputs = batch(student)
    for row, answer in enumerate(("1.8 m/s", "B")):
        target = inputs["labels"][row]
        assert TOKENIZER.decode(target[target != -100]) == answer + "<|im_end|>"
        assert (inputs["attention_mask"][row][target != -100] == 1).all()
    assert (inputs["input_ids"] == student.model.config.image_token_id).sum() == 2 * 3 * 4


def test_loss_is_that_of_the_answers_tokens(student):
    inputs = batch(student)
    out = student.forward(inputs)
    chance = out.logits[:, :-1].log_softmax(-1)
    target = inputs["labels"][:, 1:]
    picked = chance.gather(-1, target.clamp(min=0)[..., None])[..., 0][target != -100]
    assert torch.allclose(out.loss, -picked.mean(), atol=1e-6)


def test_cues_stand_before_their_frames(student):
    text = student.processor.prompt("How fast?", 2, ["0.0 s:", "0.5 s:"])
    assert text.index("0.0 s:") < text.index("<image>") < text.index("0.5 s:") < text.rindex("<image>")
    with pytest.raises(ValueError, match="one a frame"):
        student.processor.prompt("How fast?", 2, ["0.0 s:"])


def test_bad_frames_are_refused(student):
    texts = [student.processor.prompt("?", 2)] * 2
    with pytest.raises(ValueError, match="same number of frames"):
        student.processor(texts, [frames(2), frames(1)])
    with pytest.raises(ValueError, match="uint8"):
        student.processor(texts, [[f / 255 for f in frames(2)]] * 2)


def test_generation_takes_answers_out_and_pads_left(student):
    """The same text from prompts alone, from a training batch, and from each sample by itself."""
    texts = [student.processor.prompt(q, 3) for q in ("How fast is it?", "Which of them, A or B?")]
    shown = [frames(3, 1), frames(3, 2)]
    prompts = student.processor(texts, shown)
    assert (prompts["attention_mask"][:, -1] == 1).all()
    answers = student.generate(prompts, 5)
    assert answers == student.generate(batch(student), 5)
    assert answers == [student.generate(student.processor([t], [f]), 5)[0] for t, f in zip(texts, shown)]


# ---- what is trained ----

@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_trains_its_parts_alone(variant):
    student = load_student(StudentConfig(tiny=SMALL, trained=variant, lora={"rank": 2}))
    trained = TrainedParts.model_validate(variant)
    student.forward(batch(student)).loss.backward()
    for part in ("vision", "projector", "llm"):
        how = getattr(trained, part)
        learns = {name for name, p in student.part_parameters(part) if p.requires_grad}
        moved = {name for name, p in student.part_parameters(part) if p.grad is not None and p.grad.abs().sum() > 0}
        assert bool(moved) == (how != "frozen"), part
        assert moved <= learns
        assert all((".lora_" in name) == (how == "lora") for name in learns)


def test_projector_and_llm_are_trained_unless_said_otherwise():
    assert StudentConfig().trained == TrainedParts.model_validate("P+LLM")
    with pytest.raises(ValueError, match="V\\+P\\+LLM"):
        StudentConfig(trained="everything")


def test_the_schema_knows_both_forms_of_a_setting():
    jsonschema = pytest.importorskip("jsonschema")
    schema = StudentConfig.model_json_schema()
    for good in ({"trained": "P+LLM"}, {"trained": {"llm": "lora"}}, {"image_size": 224}, {"image_size": [224, 336]},
                 {"image_size": None}, {}):
        StudentConfig.model_validate(good)
        jsonschema.validate(good, schema)
    for bad in ({"trained": "all"}, {"image_size": "224"}, {"image_size": [1, 2, 3]}, {"trained": {"head": "full"}}):
        with pytest.raises(ValueError):
            StudentConfig.model_validate(bad)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema)


def test_a_later_stage_trains_other_parts():
    student = load_student(StudentConfig(tiny=SMALL, trained="P"))
    student.train_parts(TrainedParts(projector="frozen", llm="lora"))
    learns = [name for name, p in student.model.named_parameters() if p.requires_grad]
    assert learns and all(".lora_" in name and "language_model" in name for name in learns)


# ---- through a folder ----

def test_a_checkpoint_is_plain_transformers(student, tmp_path):
    """Loaded in a process that never imports this package."""
    inputs = batch(student)
    student.save(tmp_path)
    code = f"""
import sys, torch, numpy as np
from transformers import AutoModelForImageTextToText, AutoProcessor
model = AutoModelForImageTextToText.from_pretrained({str(tmp_path)!r}).eval()
processor = AutoProcessor.from_pretrained({str(tmp_path)!r})
text = processor.apply_chat_template([{{"role": "user", "content": [{{"type": "image"}}] * 2 + [
    {{"type": "text", "text": "How fast?"}}]}}], add_generation_prompt=True)
draw = np.random.default_rng(0)
inputs = processor(text=[text], images=[draw.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(2)],
                   return_tensors="pt")
with torch.no_grad():
    print(model(**inputs).logits.double().abs().sum().item())
assert not any(name.startswith("curate") for name in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    mine = student.processor([student.processor.prompt("How fast?", 2)], [frames(2, 0)])
    with torch.no_grad():
        assert float(done.stdout) == student.forward(mine).logits.double().abs().sum().item()
    again = load_student(StudentConfig(name_or_path=str(tmp_path)))
    assert torch.equal(again.forward(inputs).logits, student.forward(inputs).logits)


def test_low_rank_updates_are_merged_into_the_checkpoint(tmp_path):
    student = load_student(StudentConfig(tiny=SMALL, trained="P+LLM-LoRA", lora={"rank": 2, "alpha": 3}))
    with torch.no_grad():
        draw = torch.Generator().manual_seed(0)
        for name, p in student.model.named_parameters():
            if ".lora_B." in name:
                p.copy_(torch.randn(p.shape, generator=draw))
    inputs = batch(student)
    changed = student.forward(inputs).logits
    assert (changed - tiny_student(**SMALL).forward(inputs).logits).abs().max() > 0.1
    student.save(tmp_path)
    plain = load_student(StudentConfig(name_or_path=str(tmp_path)))
    assert not any("lora" in name or "base_layer" in name for name, _ in plain.model.named_parameters())
    assert torch.allclose(plain.forward(inputs).logits, changed, atol=1e-5)
    assert torch.equal(student.forward(inputs).logits, changed), "saving leaves the student as it was"


def test_a_folder_without_a_checkpoint_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"name_or_path .*config\.json"):
        load_student(StudentConfig(name_or_path=str(tmp_path)))


def test_checkpointing_of_gradients_changes_no_gradient(student):
    inputs = batch(student)
    plain, saving = (load_student(StudentConfig(tiny=SMALL, gradient_checkpointing=on)) for on in (False, True))
    for each in (plain, saving):
        each.model.train()
        each.forward(inputs).loss.backward()
    gradients = [{n: p.grad for n, p in s.model.named_parameters() if p.grad is not None} for s in (plain, saving)]
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.allclose(gradients[0][n], gradients[1][n], atol=1e-6) for n in gradients[0])


def test_every_layer_of_the_language_model_is_trained_however_few_the_vision_tower_has():
    made = tiny_student(image_size=32, patch_size=16, vision_width=32, vision_layers=1, width=32, layers=3)
    trained = {name for name, p in made.model.named_parameters() if p.requires_grad}
    assert all(any(f"language_model.layers.{i}." in name for name in trained) for i in range(3))
