"""The rewards of this package by name."""

from __future__ import annotations

from curate.rewards import form, numbers, places, words
from curate.rewards.judged import Reward

# Metric of a record -> the reward that judges it.
METRICS: dict[str, Reward] = {
    "mra": numbers.mra, "accuracy": words.accuracy, "sequence": words.sequence, "tiou": places.tiou, "iou": places.iou,
    "pck": places.pck, "facts": words.facts, "st": places.st,
}
# Every reward of this package by name; plug-ins join them (`curate.rewards.rewards`).
REWARDS: dict[str, Reward] = {
    **METRICS, "format": form.format, "format_mllm4d": form.format_mllm4d, "choice": words.choice,
    "regression": numbers.regression, "calibration": numbers.calibration, "direction": words.direction,
    "fields": places.fields, "st_camera": places.st_camera, "st_object": places.st_object,
}
SCORE = "score"  # among weights: the reward of the record's own metric
