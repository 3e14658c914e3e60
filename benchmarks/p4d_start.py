"""The student that every arm of `benchmarks.p4d` starts from: its language model can read a question, from text alone.

A model that is distilled into in earnest knows language. A few minutes of video questions would not even teach a random
one that "B" means what stands behind "B."; all arms would then be told apart by luck. So the start is taught, without
any video, to give back an answer that the text states: as the letter of the option that says it, or as its number.
Options are drawn and shuffled anew each time; wording, categories and sizes of numbers are the training split's.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.campaign import put

LETTERS = "ABCDE"
DONE = "start.json"
WHOLE = 0.3  # share of the examples with the whole question; the others have its options or its lead alone
CHOICES = 0.75  # share of the examples that are choices
FACTOR = 3.0  # numbers are moved by up to this factor, so that they are read and not remembered


def examples(records: Sequence[dict[str, Any]], seed: int) -> Iterator[tuple[str, str]]:
    """(text, answer) without end: the answer in words, then the question, or the end of it.

    Args:
        records: of choices and numbers.
    """
    draw = random.Random(f"start {seed}")
    kinds = [kind for form in ("choice", "numeric") if (kind := [r for r in records if r["form"] == form])]
    while True:  # letters are harder to learn than numbers
        record = draw.choice(draw.choices(kinds, (CHOICES, 1 - CHOICES)[:len(kinds)])[0])
        if record["form"] == "choice":
            options = [_moved(option, draw) for option in record["options"]]
            draw.shuffle(options)
            truth = draw.randrange(len(options))
            stem = record["question"].rsplit("\n", len(options))[0]  # with "Answer with the letter .."
            listed = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options))
            told, answer = options[truth], LETTERS[truth]
            asked = f"{stem}\n{listed}" if draw.random() < WHOLE else listed
        else:
            told = answer = _moved(f"{record['answer']} {record['unit']}".strip(), draw)
            asked = record["question"] if draw.random() < WHOLE else "Give one number."
        yield f"{told}.\n{asked}", answer


def _moved(text: str, draw: random.Random) -> str:
    """A number with its unit, moved by a factor and written with as many digits; any other text as it is."""
    head, _, unit = text.partition(" ")
    try:
        value = float(head)
    except ValueError:
        return text
    decimals = len(head.partition(".")[2])
    return f"{value * math.exp(draw.uniform(-1, 1) * math.log(FACTOR)):.{decimals}f} {unit}".strip()


def make_start(folder: Path, shards: Path, student: dict[str, Any], steps: int, batch: int = 32, lr: float = 2e-3,
               seed: int = 0) -> dict[str, float]:
    """Trains and saves it, unless it is there.

    Args:
        student: of `TinyConfig`.

    Returns:
        {"choice", "number": share of right answers to new examples, "loss": of the last steps}
    """
    if (folder / DONE).is_file():
        return json.loads((folder / DONE).read_text("utf-8"))
    import torch

    from curate.shards import read
    from curate.train.students import StudentConfig, load_student

    torch.set_num_threads(os.cpu_count() or 1)  # nothing else runs yet
    learner = load_student(StudentConfig.model_validate({"tiny": {**student, "seed": seed}, "trained": "LLM"}))
    records = [item["qa"] for item in read(shards, "train") if item["qa"]["form"] in ("choice", "numeric")]
    drawn, losses = examples(records, seed), []
    parameters = [p for p in learner.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, (s + 1) / 50, 2 * (1 - s / steps)))
    learner.model.train()
    for step in range(steps):
        inputs = as_inputs(learner, [next(drawn) for _ in range(batch)])
        loss = learner.model(**inputs, use_cache=False).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if (step + 1) % max(1, steps // 10) == 0:
            print(f"start: step {step + 1}/{steps}  loss {sum(losses[-20:]) / len(losses[-20:]):.3f}", flush=True)
    learner.model.eval()
    learner.save(folder)
    found = right(learner, examples(records, seed + 1)) | {"loss": sum(losses[-20:]) / len(losses[-20:])}
    put(folder / DONE, json.dumps(found).encode())
    return found


def as_inputs(student: Any, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Text alone to the model's inputs, labels on the answer."""
    from torch import full, ones, tensor

    from curate.train.students.processor import IGNORED, collate

    tokenizer, samples = student.processor.tokenizer, []
    for text, answer in pairs:
        asked = tokenizer(student.processor.prompt(text, 0), add_special_tokens=False)["input_ids"]
        said = tokenizer(answer, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        ids = tensor([asked + said])
        samples.append({"input_ids": ids, "attention_mask": ones(1, ids.shape[1]).long(),
                        "labels": full((1, len(asked)), IGNORED).new_tensor([[IGNORED] * len(asked) + said])})
    return collate(samples, tokenizer.pad_token_id, "right")


def right(student: Any, drawn: Iterator[tuple[str, str]], num: int = 256) -> dict[str, float]:
    """Share of examples whose every answer token is the likeliest one."""
    import torch

    counts: dict[str, list[bool]] = {"choice": [], "number": []}
    pairs = [next(drawn) for _ in range(num)]
    with torch.no_grad():
        for first in range(0, num, 64):
            part = pairs[first:first + 64]
            inputs = as_inputs(student, part)
            said = student.model(**inputs, use_cache=False).logits[:, :-1].argmax(-1)
            labels = inputs["labels"][:, 1:]
            fits = ((said == labels) | (labels < 0)).all(1).tolist()
            for (_, answer), fit in zip(part, fits):
                counts["choice" if answer in LETTERS else "number"].append(fit)
    return {kind: sum(fits) / max(len(fits), 1) for kind, fits in counts.items()}
