"""Names for regions by a detector (YOLOX): looks at keyframes, and a region is called what most of them call it."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.perception.estimator import Field, Resources, Window
from curate.perception.learned.config import YoloxConfig
from curate.perception.learned.weights import check_packages, check_weights
from curate.perception.learned.yolox import COCO, Detections, YoloxSession

WHERE = "perception.detector"


class Yolox:
    """Needs regions; gives `labels`: region id to (name, confidence 0..1), over all keyframes so far.

    In a keyframe a detection names the region it overlaps best, if that region overlaps none better and both agree
    on most of their pixels. A region is named where its detections of one class, weighted by their scores, make up
    enough of the keyframes it is seen in, and nearly all of its detections; else it has no name.
    """

    name = "yolox"
    version = "1"
    needs = ("regions",)
    gives = ("labels",)
    window = 2
    overlap = 0
    resources = Resources(cpu=1.0, memory_bytes=200 << 20)
    packages = ("onnxruntime",)

    def __init__(self, config: YoloxConfig) -> None:
        self.config = config
        self.session: YoloxSession | None = None

    @staticmethod
    def check(config: YoloxConfig) -> None:
        check_packages("yolox", *Yolox.packages)
        check_weights("yolox", f"{WHERE}.weights", config.weights, ".onnx")

    def setup(self) -> None:
        """
        Raises:
            BadInput: no usable file of weights. ModuleNotFoundError: no onnxruntime.
        """
        self.check(self.config)
        file = check_weights("yolox", f"{WHERE}.weights", self.config.weights, ".onnx")
        self.session = YoloxSession(file, on_gpu=self.config.device != "cpu")

    def run(self, window: Window) -> dict[str, Field]:
        assert self.session is not None, "setup() was not called"
        votes = window.carry.setdefault(self.name, {})
        for j in range(window.overlap, window.num_frames):
            if (window.start + j) % self.config.every == 0:
                found = self.session.detect(window.images[0][j], self.config.min_score, self.config.max_overlap)
                vote(window.fields["regions"].values[j], found, votes, self.config.min_iou)
        labels = {region: name for region in votes if (name := decide(votes[region], self.config))}
        return {"labels": Field(labels, None, None, f"{self.name}@{self.version}")}


def vote(regions: np.ndarray, found: Detections, votes: dict[int, dict[str, Any]], min_iou: float) -> None:
    """Adds one keyframe to `votes`: region id -> {"seen": keyframes, "scores": class -> [scores]}.

    Args:
        regions: [H, W] int, 0 = none.
    """
    ids = np.unique(regions[regions > 0])
    for region in ids:
        votes.setdefault(int(region), {"seen": 0, "scores": {}})["seen"] += 1
    if not len(ids) or not len(found.boxes):
        return
    overlap = mask_box_iou(regions, ids, found.boxes)  # [regions, detections]
    for r, region in enumerate(ids):
        d = int(overlap[r].argmax())
        if overlap[r, d] >= min_iou and overlap[:, d].argmax() == r:
            votes[int(region)]["scores"].setdefault(int(found.classes[d]), []).append(float(found.scores[d]))


def mask_box_iou(regions: np.ndarray, ids: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of each region's pixels and each box's, [len(ids), len(boxes)]."""
    corners = np.rint(boxes).astype(int)
    area = np.array([np.count_nonzero(regions == i) for i in ids])
    out = np.zeros((len(ids), len(boxes)))
    for d, (x0, y0, x1, y1) in enumerate(corners):
        inside = regions[y0:y1, x0:x1]
        shared = np.array([np.count_nonzero(inside == i) for i in ids])
        out[:, d] = shared / np.maximum(area + inside.size - shared, 1)
    return out


def decide(votes: dict[str, Any], config: YoloxConfig) -> tuple[str, float] | None:
    """(name, confidence), or None where it is not sure. Confidence: summed scores of the class over the keyframes the
    region is seen in and one more, in which nothing was found: a single look is not much."""
    totals = {c: sum(scores) for c, scores in votes["scores"].items()}
    if not totals:
        return None
    best = max(totals, key=lambda c: (totals[c], -c))
    confidence = totals[best] / (votes["seen"] + 1)
    agreed = totals[best] >= config.min_agreement * sum(totals.values())
    return (COCO[best], confidence) if agreed and confidence >= config.min_confidence else None
