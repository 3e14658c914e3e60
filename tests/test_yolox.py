"""A detector names regions: boxes in the right place, names only where they are sure, marks untouched."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from curate.api import ask
from curate.cli.main import main
from curate.marks import scene_marks
from curate.perception import make_estimators
from curate.perception.config import PerceptionConfig
from curate.perception.estimator import Field
from curate.perception.learned import weights as files
from curate.perception.learned.config import YoloxConfig
from curate.perception.learned.yolox import COCO, Detections, YoloxSession, box_iou, decode, letterbox, parts, suppress
from curate.perception.pipeline import perceive
from curate.perception.regions.yolox import decide, mask_box_iou, vote
from curate.recipe import recipe_from_dict
from curate.sources.base import BadInput
from tests.analytic_scene import AnalyticFrames, Exact, ExactTracks, Plate, clip

SHARED = Path(__file__).resolve().parents[2] / "shared"
WEIGHTS = SHARED / "weights" / "yolox_nano.onnx"
CONFIG = YoloxConfig(weights="x.onnx")
CAR, PERSON, BUS = COCO.index("car"), COCO.index("person"), COCO.index("bus")

needs_network = pytest.mark.skipif(files.find_spec("onnxruntime") is None or not WEIGHTS.is_file(),
                                   reason="needs onnxruntime (pip install 'curate4d[learned]') and "
                                          "../shared/weights/yolox_nano.onnx")


def detections(*found: tuple[int, float, tuple[int, int, int, int]]) -> Detections:
    return Detections(np.array([f[2] for f in found], float).reshape(-1, 4), np.array([f[1] for f in found]),
                      np.array([f[0] for f in found], int))


class TestNumbers:
    def test_a_cell_says_its_box(self):
        """One cell of each stride, against the formula written out."""
        raw = np.zeros((3549, 85), np.float32)
        for row, (index, column, line, stride) in enumerate([(52 * 3 + 5, 5, 3, 8), (2704 + 26 * 2 + 7, 7, 2, 16),
                                                             (2704 + 676 + 13 + 4, 4, 1, 32)]):
            raw[index, :6] = [0.25, 0.5, np.log(2), np.log(3), 0.8, 0.5]
            boxes, scores = decode(raw, (416, 416))
            x, y = (column + 0.25) * stride, (line + 0.5) * stride
            np.testing.assert_allclose(boxes[index], [x - stride, y - 1.5 * stride, x + stride, y + 1.5 * stride],
                                       rtol=1e-5)
            assert scores[index, 0] == pytest.approx(0.4) and np.count_nonzero(scores) == row + 1

    def test_the_letterbox_keeps_the_shape(self):
        image = np.zeros((100, 300, 3), np.uint8)
        image[..., 0] = 200  # red
        batch, scale = letterbox(image, (416, 416))
        assert batch.shape == (1, 3, 416, 416) and scale == pytest.approx(416 / 300)
        assert (batch[0, :, :138, :] == np.array([0, 0, 200])[:, None, None]).all(), "BGR at the upper left"
        assert (batch[0, :, 140:] == 114).all()

    @pytest.mark.parametrize(("height", "width"), [(375, 1242), (360, 640), (1080, 1920), (480, 640), (100, 900)])
    def test_wide_frames_are_looked_at_in_parts_too(self, height, width):
        whole, *more = parts(height, width)
        assert whole == (0, width)
        assert bool(more) == (width > 1.5 * height)
        if more:
            assert more[0][0] == 0 and more[-1][1] == width
            assert all(a < b and b - a <= 1.34 * height for a, b in more)
            assert all(next_[0] < part[1] for part, next_ in pairwise(more)), "they overlap"

    def test_overlaps(self):
        a, b = np.array([[0, 0, 10, 10]]), np.array([[5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 10, 10]])
        np.testing.assert_allclose(box_iou(a, b), [[1 / 3, 0, 1]], atol=1e-6)

    def test_the_surer_of_two_boxes_stays(self):
        boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [50, 50, 60, 60], [2, 0, 12, 10]], float)
        kept = suppress(boxes, np.array([0.6, 0.9, 0.5, 0.4, 0.3]), np.array([2, 2, 0, 2, 2]), 0.45)
        assert kept.tolist() == [1, 2, 3], "another class and another place are no rivals"
        assert suppress(boxes[:0], np.zeros(0), np.zeros(0, int), 0.45).tolist() == []


class TestNames:
    regions = np.zeros((60, 100), np.int16)
    regions[10:30, 10:40] = 1
    regions[35:55, 60:70] = 2

    def test_pixels_against_boxes(self):
        boxes = np.array([[10, 10, 40, 30], [10, 10, 40, 50], [60, 35, 70, 55]], float)
        np.testing.assert_allclose(mask_box_iou(self.regions, np.array([1, 2]), boxes), [[1, 0.5, 0], [0, 0, 1]])

    def named(self, *keyframes: Detections) -> dict[int, tuple[str, float] | None]:
        votes: dict = {}
        for found in keyframes:
            vote(self.regions, found, votes, CONFIG.min_iou)
        return {region: decide(v, CONFIG) for region, v in votes.items()}

    def test_several_keyframes_agree(self):
        frame = detections((CAR, 0.8, (9, 9, 41, 31)), (PERSON, 0.6, (60, 34, 71, 56)))
        names = self.named(frame, frame)
        assert names[1] == ("car", pytest.approx(1.6 / 3)) and names[2] == ("person", pytest.approx(0.4))

    @pytest.mark.parametrize(("keyframes", "why"), [
        ([((CAR, 0.8),), ((BUS, 0.7),)], "they disagree"),
        ([((CAR, 0.8),), (), (), ()], "seen once in four"),
        ([((CAR, 0.31),), (), ((CAR, 0.31),)], "not sure enough"), ([(), ()], "nothing found"),
        ([((CAR, 0.55),)], "one look")])
    def test_what_is_not_sure_has_no_name(self, keyframes, why):
        frames = [detections(*((c, s, (10, 10, 40, 30)) for c, s in frame)) for frame in keyframes]
        assert self.named(*frames)[1] is None, why

    def test_a_clear_look_makes_up_for_a_missed_one(self):
        assert self.named(detections((CAR, 0.95, (10, 10, 40, 30))), detections())[1][0] == "car"

    def test_a_box_names_one_region_and_only_what_fills_it(self):
        wide = detections((CAR, 0.9, (0, 0, 100, 60)))
        assert self.named(wide, wide) == {1: None, 2: None}, "both are small parts of it"
        split = self.regions.copy()
        split[10:30, 32:40] = 3
        votes: dict = {}
        for _ in range(2):
            vote(split, detections((CAR, 0.9, (10, 10, 40, 30))), votes, 0.1)
        assert {r for r in votes if decide(votes[r], CONFIG)} == {1}, "the larger part"

    def test_scenes_carry_the_names_and_marks_do_not(self):
        """The last window's names are the regions'; questions speak of the named mark, and it is drawn as before."""
        plain, named = scene_of(), scene_of(Names)
        region, = named.regions
        assert region.label == "car" and named.stats[f"label_confidence_R{region.id}"] == 0.75
        assert plain.regions[0].label == "" and named.origin["labels"] == "names@1"
        assert scene_marks(np.zeros((120, 160, 3), np.uint8), named) == scene_marks(np.zeros((120, 160, 3), np.uint8),
                                                                                  plain)
        asked = [[q.question for q in ask(scene)] for scene in (plain, named)]
        assert len(asked[0]) == len(asked[1]) and any(f"the object marked <R{region.id}>" in text for text in asked[0])
        assert any(f"the car marked <R{region.id}>" in text for text in asked[1])
        assert not any("the object marked" in text for text in asked[1])


class Names(Exact):
    """Another name in every window; the last one holds."""

    def __init__(self, frames: AnalyticFrames) -> None:
        super().__init__(frames, "labels")
        self.name, self.needs = "names", ("regions",)

    def run(self, window) -> dict[str, Field]:
        names = {1: ("car" if window.is_last else "bus", 0.75), 9: ("dog", 1.0)}
        return {"labels": Field(names, None, None, "names@1")}


def scene_of(*more: type):
    frames = AnalyticFrames([Plate(lambda t: [0.05 * t, 0.2, 4.0])], 9, size=(160, 120))
    estimators = [Exact(frames, "disparity"), Exact(frames, "flow"), Exact(frames, "camera", "motion"),
                  ExactTracks(frames), *(kind(frames) for kind in more)]
    config = PerceptionConfig(window=5, rig={"kind": "as-published"})
    return perceive(clip(9), frames, config, estimators=estimators)


@needs_network
class TestNetwork:
    @pytest.fixture(scope="class")
    def session(self) -> YoloxSession:
        return YoloxSession(WEIGHTS, on_gpu=False)

    @staticmethod
    def picture(folder: str, number: int) -> np.ndarray:
        import cv2

        found = sorted((SHARED / "data" / folder).glob("*.*g"))
        if not found:
            pytest.skip(f"no ../shared/data/{folder} here")
        return cv2.imread(str(found[number]))[..., ::-1]

    @pytest.mark.shared
    def test_finds_cars_and_people(self, session):
        street = session.detect(self.picture("mono_kitti_leadcar_lidar_A/image_02", 10), 0.3, 0.45)
        cars = street.boxes[street.classes == CAR]
        assert len(cars) >= 2 and box_iou(cars, np.array([[547, 184, 712, 348]])).max() > 0.7
        square = session.detect(self.picture("mono_pets_s2l1_A/frames", 37), 0.3, 0.45)
        people = square.boxes[square.classes == PERSON]
        assert len(people) >= 4
        height = people[:, 3] - people[:, 1]
        assert (height > 1.5 * (people[:, 2] - people[:, 0])).all() and (height < 130).all()

    def test_an_empty_picture_has_nothing(self, session):
        found = session.detect(np.full((90, 160, 3), 128, np.uint8), 0.3, 0.45)
        assert found.boxes.shape == (0, 4) and len(found.scores) == len(found.classes) == 0

    @pytest.mark.shared
    def test_only_keyframes_are_looked_at_and_windows_add_up(self, monkeypatch):
        image = self.picture("mono_kitti_leadcar_lidar_A/image_02", 10)
        regions = np.zeros((1, *image.shape[:2]), np.int16)
        regions[0, 190:345, 550:710] = 4
        config = PerceptionConfig.model_validate({"detector": {"kind": "yolox", "weights": str(WEIGHTS), "every": 3}})
        estimator = make_estimators(config)[-1]
        estimator.setup()
        looked = []
        inner = estimator.session.detect
        monkeypatch.setattr(estimator.session, "detect", lambda *a: looked.append(1) or inner(*a))
        carry: dict = {}
        for start, overlap, n in ((0, 0, 4), (3, 1, 4)):  # frames 0..3 and 3..6; keyframes 0, 3, 6
            window = SimpleNamespace(start=start, overlap=overlap, num_frames=n, images=[np.repeat(image[None], n, 0)],
                                     fields={"regions": Field(np.repeat(regions, n, 0), None, None, "x")}, carry=carry)
            part = estimator.run(window)["labels"]
        assert len(looked) == 3 and part.values[4][0] == "car" and part.values[4][1] > 0.4
        assert part.filled_by == "yolox@1"

    def test_another_network_is_refused(self, tmp_path):
        torn = tmp_path / "torn.onnx"
        torn.write_bytes(WEIGHTS.read_bytes()[:50_000])
        with pytest.raises(BadInput, match=r"torn\.onnx: onnxruntime cannot read it"):
            YoloxSession(torn, on_gpu=False)


def test_the_slot_is_empty_unless_asked_for(tmp_path, monkeypatch):
    assert "detector" not in PerceptionConfig().estimators()
    plain = recipe_from_dict({"source": {"kind": "rendered"}}).perception_parts()
    assert "detector" not in plain["perception"] and "detector" not in plain["estimators"]
    monkeypatch.setattr(files, "find_spec", lambda name: object())
    (tmp_path / "mine.yaml").write_text("source: {kind: rendered}\n"
                                        "perception: {detector: {kind: yolox, weights: nowhere.onnx}}\n")
    done = CliRunner().invoke(main, ["validate", str(tmp_path / "mine.yaml")])
    assert done.exit_code == 2 and "perception.detector.weights: nowhere.onnx does not exist" in done.output
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    done = CliRunner().invoke(main, ["validate", str(tmp_path / "mine.yaml")])
    assert done.exit_code == 1 and "onnxruntime is not installed; pip install 'curate4d[learned]'" in done.output
