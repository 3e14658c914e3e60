"""Each architecture's adapter: where tokens and features of a frame are, found by planting; what learns; what is saved.

The vision encoders are random and small, so that a changed cell of a frame changes its own token most. What enters the
projector is planted exactly: a token depends on its own features alone until the language model.
"""

from __future__ import annotations

import inspect
import json
from functools import cache

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.0")

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, BertConfig

from curate.train.students import Student, StudentConfig, adapter_for, load_student
from curate.train.students.adapter import PARTS
from curate.train.timestamps import add_timestamps, encode_times, stamps
from tests.student_zoo import ZOO, Animal

BATCH, FRAMES = 2, 3
QUESTIONS = ("How fast is it?", "Which of them is nearer, A or B?")


@cache
def animal(name: str) -> Animal:
    return ZOO[name]()


def student_of(name: str, **settings) -> Student:
    """One per test: settings change what is trained, hooks are left on."""
    made = ZOO[name]()
    return Student(made.model, made.processor, StudentConfig(image_size=made.image_size, **settings))


@cache
def still(name: str) -> Student:
    """Shared by tests that change nothing."""
    made = animal(name)
    return Student(made.model, made.processor, StudentConfig(image_size=made.image_size))


def pictures(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (BATCH, FRAMES, *size, 3), dtype=np.uint8)


def inputs_of(student: Student, shown: np.ndarray, answers=("1.8 m", "B")) -> dict[str, torch.Tensor]:
    texts = [student.processor.prompt(q, shown.shape[1]) for q in QUESTIONS[:len(shown)]]
    return student.processor(texts, [list(frames) for frames in shown], answers and answers[:len(shown)])


def entering(student: Student, inputs) -> torch.Tensor:
    """Visual tokens as they enter the language model, [B, N, gh, gw, D]."""
    with torch.no_grad():
        return student.visual_tokens(inputs, student.forward(inputs).hidden_states[0])


every = pytest.mark.parametrize("name", ZOO)


@every
@pytest.mark.parametrize("place", [(0, 0, 0, 3), (1, 2, 2, 1), (0, 1, 3, 0)])
def test_the_token_of_a_changed_cell_is_where_the_cell_is(name, place):
    """Row-major, frame by frame, sample by sample; the features before the projector too."""
    student, made = still(name), animal(name)
    sample, frame, row, column = place
    shown = pictures(made.size)
    changed = shown.copy()
    cell = (slice(row * made.patch, (row + 1) * made.patch), slice(column * made.patch, (column + 1) * made.patch))
    changed[(sample, frame, *cell)] = 255 - changed[(sample, frame, *cell)]

    seen: list[torch.Tensor] = []
    with student.projector_input(lambda features: seen.append(features) or features):
        before, after = (entering(student, inputs_of(student, each)) for each in (shown, changed))
    assert before.shape == (BATCH, FRAMES, made.size[0] // made.patch, made.size[1] // made.patch, student.hidden_size)

    moved = (after - before).norm(dim=-1)
    assert tuple(int(i) for i in np.unravel_index(int(moved.argmax()), moved.shape)) == place
    elsewhere = moved.clone()
    elsewhere[sample, frame] = 0
    # To the last bits only: batched arithmetic may round another frame's rows differently.
    assert elsewhere.max() < 1e-5 * moved.max(), "another frame has changed"

    assert seen[0].shape[:2] == (BATCH, FRAMES) and seen[0].shape[-1] == student.vision_width
    moved = (seen[1] - seen[0]).norm(dim=-1)
    fine = [int(i) for i in np.unravel_index(int(moved.argmax()), moved.shape)]
    factor = seen[0].shape[2] // before.shape[2]
    assert (*fine[:2], fine[2] // factor, fine[3] // factor) == place


@every
def test_changed_features_change_their_own_token_and_no_other(name):
    student = still(name)
    inputs = inputs_of(student, pictures(animal(name).size))
    before = entering(student, inputs)
    sample, frame, row, column = 1, 1, 2, 3

    def plant(features: torch.Tensor) -> torch.Tensor:
        factor = features.shape[2] // before.shape[2]
        planted = features.clone()
        # A vector, not a constant: a normalisation at the projector's entrance would take a constant out again.
        planted[sample, frame, row * factor, column * factor] += torch.linspace(-1, 1, features.shape[-1])
        return planted

    with student.projector_input(plant):
        moved = (entering(student, inputs) - before).abs().amax(-1)
    assert moved[sample, frame, row, column] > 1e-3
    moved[sample, frame, row, column] = 0
    assert moved.max() < 1e-6


@every
def test_an_idle_hook_changes_nothing_and_is_gone_when_removed(name):
    student = still(name)
    inputs = inputs_of(student, pictures(animal(name).size))
    with torch.no_grad():
        plain = student.forward(inputs).logits
        with student.projector_input(lambda features: features):
            assert torch.equal(student.forward(inputs).logits, plain)
        with student.projector_input(lambda features: features + 1 + features.flip(-1)):
            assert not torch.allclose(student.forward(inputs).logits, plain)
        assert torch.equal(student.forward(inputs).logits, plain)


@every
def test_every_parameter_belongs_to_one_part_and_modules_do_not_overlap(name):
    student = still(name)
    named = [n for part in PARTS for n, _ in student.part_parameters(part)]
    assert sorted(named) == sorted(n for n, _ in student.model.named_parameters())
    parts = student.parts()
    ids = [id(p) for part in PARTS for module in parts[part] for p in module.parameters()]
    tied = {id(student.model.get_input_embeddings().weight)}
    assert len({*ids} - tied) == len([i for i in ids if i not in tied])
    assert all(parts[part] for part in PARTS)


@every
def test_gradients_reach_projector_and_llm_and_leave_vision(name):
    student = student_of(name)
    inputs = inputs_of(student, pictures(animal(name).size))
    out = student.forward(inputs)
    student.visual_tokens(inputs, out.hidden_states[-1]).square().mean().backward()
    got = {part: [p.grad is not None and bool(p.grad.abs().sum() > 0) for _, p in student.part_parameters(part)]
           for part in PARTS}
    assert not any(got["vision"]) and any(got["projector"]) and any(got["llm"])


@every
def test_all_that_is_trained_gets_a_gradient(name):
    """A parameter that never does would stop distributed training."""
    student = student_of(name, trained="V+P+LLM")
    student.forward(inputs_of(student, pictures(animal(name).size))).loss.backward()
    without = [n for n, p in student.model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without


@every
def test_logits_of_the_answers_alone_give_the_same_loss_and_gradients(name):
    losses, gradients = [], []
    student = student_of(name)
    inputs = inputs_of(student, pictures(animal(name).size))
    for answers_only in (False, True):
        student.model.zero_grad()
        out = student.forward(inputs, answers_only=answers_only)
        out.loss.backward()
        losses.append(out.loss.detach())
        gradients.append({n: p.grad.clone() for n, p in student.model.named_parameters() if p.grad is not None})
    answers = int((inputs["labels"] != -100).any(0).sum())
    assert out.logits.shape[1] == answers < inputs["input_ids"].shape[1]
    assert torch.allclose(*losses, atol=1e-6)
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.allclose(g, gradients[1][n], atol=1e-6) for n, g in gradients[0].items())


@every
def test_all_of_a_wide_frame_is_seen(name):
    """Squashed, not cropped or padded: its corners are the corners of the grid."""
    student = still(name)
    wide = pictures((96, 240))[:1, :2]
    before = entering(student, inputs_of(student, wide))
    rows, columns = before.shape[2:4]
    for row, column in ((0, 0), (rows - 1, columns - 1)):
        changed = wide.copy()
        cell = (slice(row * 96 // rows, (row + 1) * 96 // rows), slice(column * 240 // columns,
                                                                      (column + 1) * 240 // columns))
        changed[(0, 1, *cell)] = 255 - changed[(0, 1, *cell)]
        moved = (entering(student, inputs_of(student, changed)) - before).norm(dim=-1)
        assert int(moved.argmax()) == (rows + row) * columns + column


@every
def test_frames_of_another_shape_are_one_grid_each(name):
    """No tiles: a frame that the processor would cut has as many tokens as any other."""
    student, made = still(name), animal(name)
    if made.image_size is None:
        wide = inputs_of(student, pictures((3 * made.size[0], 5 * made.size[1])))
        assert wide["input_ids"].shape == inputs_of(student, pictures(made.size))["input_ids"].shape
        assert entering(student, wide).shape[:4] == (BATCH, FRAMES, 4, 4)
    else:  # one that takes any size: resized to the one that is set
        assert entering(student, inputs_of(student, pictures((90, 400)))).shape[:4] == (BATCH, FRAMES, 4, 6)


@every
@pytest.mark.parametrize("parts", ["P+LLM", "P+LLM-LoRA"])
def test_a_checkpoint_loads_in_plain_transformers(name, parts, tmp_path):
    student = student_of(name, trained=parts, lora={"rank": 2})
    with torch.no_grad():
        draw = torch.Generator().manual_seed(0)
        for _, p in student.model.named_parameters():
            if p.requires_grad:
                p.add_(0.02 * torch.randn(p.shape, generator=draw))
    inputs = inputs_of(student, pictures(animal(name).size))
    student.save(tmp_path)
    model, report = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    with torch.no_grad():
        mine, plain = student.forward(inputs).logits, model.eval()(**inputs).logits
    assert torch.allclose(mine, plain, atol=1e-5) if "LoRA" in parts else torch.equal(mine, plain)


@every
def test_a_saved_processor_still_cuts_no_frames(name, tmp_path):
    student, made = student_of(name), animal(name)
    student.save(tmp_path)
    again = load_student(StudentConfig(name_or_path=str(tmp_path), image_size=made.image_size))
    shown = pictures(made.size)
    first, second = inputs_of(student, shown), inputs_of(again, shown)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)
    if "video_processor" not in inspect.signature(type(made.processor)).parameters:  # that half wants torchvision
        text = student.processor.prompt("How fast?", 2)
        plain = AutoProcessor.from_pretrained(tmp_path)(text=[text], images=[list(shown[0, :2])], return_tensors="pt")
        assert torch.equal(plain["input_ids"], student.processor([text], [list(shown[0, :2])])["input_ids"])


@pytest.mark.parametrize("nested", [False, True])
def test_settings_for_whole_videos_go_from_checkpoint_to_checkpoint(nested, tmp_path):
    """Nothing here reads them without torchvision, but whoever loads the checkpoint where it is, wants them."""
    student_of("qwen2_vl").save(tmp_path / "base")
    video = {"video_processor_type": "Qwen2VLVideoProcessor", "fps": 2.0}
    path = tmp_path / "base" / ("processor_config.json" if nested else "video_preprocessor_config.json")
    there = json.loads(path.read_text()) if nested else {}
    path.write_text(json.dumps({**there, "video_processor": video} if nested else video))
    try:
        load_student(StudentConfig(name_or_path=str(tmp_path / "base"))).save(tmp_path / "next")
    except ValueError as error:  # with torchvision these few settings may not make a processor
        pytest.skip(str(error))
    files = [json.loads(p.read_text()) for p in sorted((tmp_path / "next").glob("*processor_config.json"))]
    assert any(f.get("video_processor", f).get("fps") == 2.0 for f in files)


# ---- timestamps, on each architecture ----

@every
def test_timestamps_are_added_to_each_frame(name):
    student = student_of(name)
    inputs = inputs_of(student, pictures(animal(name).size))
    times = torch.tensor([[0.0, 0.4, 1.7], [0.0, 2.0, 60.5]])
    seen: list[torch.Tensor] = []
    with torch.no_grad():
        for stamped in (False, True):
            if stamped:
                student.add_timestamps()
            with student.projector_input(lambda features: seen.append(features) or features):
                student.forward(inputs, times if stamped else None)
    code = encode_times(times, student.vision_width)[:, :, None, None]
    assert torch.allclose(seen[1] - seen[0], code.expand_as(seen[0]), atol=1e-5)


@every
def test_times_that_do_not_fit_the_frames_are_refused(name):
    student = student_of(name)
    student.add_timestamps()
    inputs = inputs_of(student, pictures(animal(name).size))
    for wrong in ([[0.0, 1.0]], [[0.0, 1.0, 2.0]], [[0.0] * 12] * 2, [[0.0]]):
        with pytest.raises(ValueError, match="for 6 frames"):
            student.forward(inputs, torch.tensor(wrong))
    with pytest.raises(ValueError, match="none are given"):
        student.forward(inputs)


@every
def test_plain_transformers_with_the_hook_is_the_trained_model(name, tmp_path):
    student = student_of(name)
    student.add_timestamps()
    inputs = inputs_of(student, pictures(animal(name).size))
    times = torch.tensor([[0.0, 0.1, 0.2], [0.0, 3.0, 9.0]])
    student.save(tmp_path)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    prompts = inputs_of(student, pictures(animal(name).size), answers=None)
    add_timestamps(model)
    with torch.no_grad(), stamps(times):
        assert torch.equal(model(**inputs).logits, student.forward(inputs, times).logits)
        out = model.generate(**prompts, max_new_tokens=4, do_sample=False)[:, prompts["input_ids"].shape[1]:]
    said = student.processor.tokenizer.batch_decode(out, skip_special_tokens=True)
    assert said == student.generate(prompts, 4, times)


@every
def test_generation_goes_on_from_what_training_sees(name):
    """The first generated token is the likeliest by the forward pass, padded or not."""
    student = still(name)
    prompts = inputs_of(student, pictures(animal(name).size), answers=None)
    with torch.no_grad():
        likeliest = student.forward(prompts).logits[:, -1].argmax(-1)
    expected = student.processor.tokenizer.batch_decode(likeliest[:, None], skip_special_tokens=True)
    assert student.generate(prompts, 1) == expected


# ---- what is refused ----

def test_an_unknown_architecture_says_what_is_known_and_what_to_write():
    with pytest.raises(ValueError, match="no adapter for model type 'bert'") as told:
        adapter_for(BertConfig())
    for word in ("qwen2_5_vl", "llava_onevision", "smolvlm", "internvl", "projector", "grid", "tiles"):
        assert word in str(told.value)


def test_frames_of_two_sizes_in_a_batch_are_refused():
    made = animal("qwen2_vl")
    student = Student(ZOO["qwen2_vl"]().model, made.processor)
    texts = [student.processor.prompt(q, 1) for q in QUESTIONS]
    small, large = (np.zeros((size, 56, 3), np.uint8) for size in (56, 112))
    inputs = student.processor(texts, [[small], [large]], ["A", "B"])
    with pytest.raises(ValueError, match=r"differ in size.*student\.image_size"):
        student.visual_tokens(inputs, student.forward(inputs).hidden_states[-1])


@pytest.mark.parametrize("name, size, said", [
    ("qwen2_vl", (100, 84), "multiples of 28"), ("llava_clip", (112, 112), "56 × 56 only"),
    ("idefics3", (64, 48), "squares of a multiple of 16"), ("internvl", (32, 32), "64 × 64 only"),
    ("llava_onevision", (28, 28), "56 × 56 only")])
def test_a_size_that_the_vision_encoder_cannot_take_is_refused(name, size, said):
    made = animal(name)
    with pytest.raises(ValueError, match=said):
        Student(made.model, ZOO[name]().processor, StudentConfig(image_size=size))


def test_a_smaller_square_gives_fewer_tokens_where_the_encoder_takes_it():
    made = ZOO["idefics3"]()
    student = Student(made.model, made.processor, StudentConfig(image_size=32))
    inputs = inputs_of(student, pictures((64, 64)))
    assert entering(student, inputs).shape[:4] == (BATCH, FRAMES, 2, 2)


def test_a_single_frame_is_refused_where_it_would_be_cut_into_tiles():
    student = still("llava_onevision")
    with pytest.raises(ValueError, match="at least 2"):
        inputs_of(student, pictures((56, 56))[:, :1])


def test_text_that_was_cut_is_refused():
    student = still("tiny")
    inputs = inputs_of(student, pictures((64, 64)))
    hidden = student.forward(inputs).hidden_states[-1]
    short = {**inputs, "input_ids": inputs["input_ids"][:, 20:]}
    with pytest.raises(ValueError, match="cut no text"):
        student.visual_tokens(short, hidden[:, 20:])
