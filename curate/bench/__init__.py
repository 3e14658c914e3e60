"""Scores a model's answers: against a shard set, or in the layouts that benchmarks publish."""

from curate.bench.predictions import Predictions, read_predictions
from curate.bench.scorer import Report, Scored, score_items
from curate.bench.truths import BadFile, Item, published_items, shard_items

__all__ = ["BadFile", "Item", "Predictions", "Report", "Scored", "published_items", "read_predictions", "score_items",
           "shard_items"]
