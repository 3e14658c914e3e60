"""YOLOX (Ge et al. 2021): from a frame to boxes with names. Plain numpy around an ONNX session.

Reads the usual export: input [1, 3, H, W] BGR 0..255, output [1, N, 5 + 80] before the grid is added, rows by stride
8, 16, 32 and inside by cell, with objectness and class scores already between 0 and 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from curate.sources.base import BadInput

STRIDES = (8, 16, 32)
BORDER_PX = 2  # a box this near to a part's border may be of half an object
GREY = 114  # what the network was trained to see beside the picture
# The 80 classes of COCO (Lin et al., ECCV 2014), in the order of the scores.
COCO = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush")


@dataclass(frozen=True)
class Detections:
    """Of one frame. boxes [k, 4] x0, y0, x1, y1 px of the frame; scores [k] 0..1; classes [k] indices of `COCO`."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


class YoloxSession:
    """
    Args:
        file: the exported network.
        on_gpu: whether to ask for CUDA where the package has it.

    Raises:
        BadInput: where the file is no such export.
    """

    def __init__(self, file: Path, on_gpu: bool) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # results do not depend on the cores
        options.log_severity_level = 3
        wanted = ["CUDAExecutionProvider"] if on_gpu else []
        there = onnxruntime.get_available_providers()
        try:
            self.session = onnxruntime.InferenceSession(
                str(file), options, providers=[p for p in [*wanted, "CPUExecutionProvider"] if p in there])
        except Exception as error:
            raise BadInput(f"{file}: onnxruntime cannot read it ({' '.join(str(error).split())[:120]}); "
                           "copy it again") from None
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        size, found = inputs[0].shape[2:], outputs[0].shape
        fixed = all(isinstance(s, int) and s % STRIDES[-1] == 0 for s in size) and len(size) == 2
        cells = sum((size[0] // s) * (size[1] // s) for s in STRIDES) if fixed else 0
        if not fixed or len(outputs) != 1 or list(found) != [1, cells, 5 + len(COCO)]:
            raise BadInput(f"{file}: input {inputs[0].shape}, output {found}; expected a YOLOX export for one image "
                           f"with the raw grid of the {len(COCO)} COCO classes, as [1, 3, 416, 416] to [1, 3549, 85]")
        self.input, self.size = inputs[0].name, (size[0], size[1])

    def detect(self, image: np.ndarray, min_score: float, max_overlap: float) -> Detections:
        """[H, W, 3] uint8 RGB. A wide frame would be small on the network's canvas: parts of it are looked at too."""
        found = [self._look(image, columns, min_score) for columns in parts(*image.shape[:2])]
        boxes, scores, classes = (np.concatenate(x) for x in zip(*found, strict=True))
        kept = suppress(boxes, scores, classes, max_overlap)
        return Detections(boxes[kept], scores[kept], classes[kept])

    def _look(self, image: np.ndarray, columns: tuple[int, int], min_score: float
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes px of the frame, scores and classes in some of its columns, without what the part's own border cuts."""
        height, width = image.shape[:2]
        begin, end = columns
        batch, scale = letterbox(image[:, begin:end], self.size)
        (raw,) = self.session.run(None, {self.input: batch})
        boxes, scores = decode(raw[0], self.size)
        boxes = np.clip(boxes / scale, 0, np.array([end - begin, height, end - begin, height], np.float32))
        boxes[:, [0, 2]] += begin
        classes, best = scores.argmax(1), scores.max(1)
        whole = ((begin == 0) | (boxes[:, 0] > begin + BORDER_PX)) & ((end == width) | (boxes[:, 2] < end - BORDER_PX))
        sure = (best >= min_score) & whole
        return boxes[sure], best[sure], classes[sure]


def parts(height: int, width: int) -> list[tuple[int, int]]:
    """Columns to look at: the whole frame, and where it is wider than 1.5 times its height, parts of 4:3 that share at
    least a quarter with their neighbours."""
    side = 4 * height // 3
    count = math.ceil((width - side) / (0.75 * side)) + 1 if width > 1.5 * height else 0
    return [(0, width), *((int(s), int(s) + side) for s in np.linspace(0, width - side, count))]


def letterbox(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """The frame at the upper left of a grey canvas, [1, 3, *size] float32 BGR; canvas pixels per frame pixel."""
    height, width = image.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    small = cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))),
                       interpolation=cv2.INTER_LINEAR)
    canvas = np.full((*size, 3), GREY, np.uint8)
    canvas[:small.shape[0], :small.shape[1]] = small
    return np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1)[None], np.float32), scale


def decode(raw: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [N, 4] x0, y0, x1, y1 canvas px and scores [N, 80] (objectness times class) of the raw grid [N, 85].

    A cell at (column, row) says its box as centre offset in cells and logarithm of the size in cells.
    """
    cells, stride = [], []
    for s in STRIDES:
        row, column = np.divmod(np.arange((size[0] // s) * (size[1] // s)), size[1] // s)
        cells.append(np.stack([column, row], -1))
        stride.append(np.full((len(row), 1), s))
    at, step = np.concatenate(cells).astype(np.float32), np.concatenate(stride).astype(np.float32)
    centre, half = (raw[:, :2] + at) * step, 0.5 * np.exp(np.minimum(raw[:, 2:4], 10)) * step
    return np.concatenate([centre - half, centre + half], 1), raw[:, 4:5] * raw[:, 5:]


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[n, 4], [m, 4] -> intersection over union [n, m]."""
    size = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    inter = np.clip(size, 0, None).prod(-1)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(-1) for x in (a, b))
    return inter / np.maximum(area_a[:, None] + area_b[None] - inter, 1e-9)


def suppress(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, max_overlap: float) -> np.ndarray:
    """Indices kept, the surest first: none overlaps a surer one of its class by more than `max_overlap`."""
    order = np.argsort(-scores, kind="stable")
    rivals = (box_iou(boxes[order], boxes[order]) > max_overlap) & (classes[order][:, None] == classes[order][None])
    alive = np.ones(len(order), bool)
    for i in range(len(order)):
        if alive[i]:
            alive[i + 1:] &= ~rivals[i, i + 1:]
    return order[alive]
