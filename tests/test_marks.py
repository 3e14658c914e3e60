"""Pictures with marks: every region outlined in its colour, labels apart, the same bytes again."""

from __future__ import annotations

import numpy as np
import pytest

from curate import marks
from tests.scenes import make_scene

cv2 = pytest.importorskip("cv2", reason="opencv is not installed (pip install 'curate4d[run]')")


def disc(x, y, r, shape=(240, 320)):
    v, u = np.mgrid[: shape[0], : shape[1]]
    return (u - x) ** 2 + (v - y) ** 2 < r * r


def near(image, colour, tolerance=40):
    return (np.abs(image.astype(int) - np.array(colour)) < tolerance).all(-1)


def test_outline_is_on_the_edge_and_far_pixels_are_untouched():
    frame = np.full((240, 320, 3), 90, np.uint8)
    before = frame.copy()
    out = marks.draw_marks(frame, [{"id": 2, "mask": disc(100, 120, 50)}])
    assert (frame == before).all()
    assert near(out, marks.colour_of(2))[120, 48:54].any() and near(out, marks.colour_of(2))[67:73, 100].any()
    assert (out[:, 200:] == 90).all()
    assert near(out, (255, 255, 255)).sum() > 20  # the label


def test_box_where_there_is_no_mask():
    frame = np.zeros((240, 320, 3), np.uint8)
    out = marks.draw_marks(frame, [{"id": 1, "mask": None, "box": [40, 50, 200, 180]}])
    assert near(out, marks.colour_of(1))[115, 38:43].any() and near(out, marks.colour_of(1))[48:53, 120].any()


def test_labels_of_neighbours_do_not_cover_each_other():
    frame = np.full((240, 320, 3), 90, np.uint8)
    regions = [{"id": i, "mask": disc(150 + 2 * i, 120, 12)} for i in range(1, 5)]
    out = marks.draw_marks(frame, regions)
    black = (out == 0).all(-1).astype(np.uint8)
    assert cv2.connectedComponents(black)[0] >= 5  # four boxes of labels and the background


def test_a_label_at_the_border_stays_inside():
    marks.draw_marks(np.zeros((60, 80, 3), np.uint8), [{"id": 12, "mask": disc(79, 0, 5, (60, 80))}])


def test_same_bytes_and_a_jpeg():
    scene, _ = make_scene(seed=1, num_frames=6)
    frame = np.random.default_rng(0).integers(0, 255, (360, 640, 3), dtype=np.uint8)
    first, second = marks.scene_marks(frame, scene), marks.scene_marks(frame, scene)
    assert first == second and first[:3] == b"\xff\xd8\xff"
    assert marks.scene_marks(frame, scene, only=[]) != first


@pytest.mark.parametrize("regions, message", [
    ([{"id": 1, "mask": np.ones((3, 3), bool)}], "mask of"),
    ([{"id": 1, "mask": None, "box": [np.nan] * 4}], "neither a mask"),
])
def test_bad_regions(regions, message):
    with pytest.raises(ValueError, match=message):
        marks.draw_marks(np.zeros((60, 80, 3), np.uint8), regions)


def test_depth_colour_orders_by_depth_and_leaves_the_unknown_black():
    depth = np.tile(np.linspace(2, 20, 64), (8, 1))
    depth[0, 0], depth[1, 1], depth[2, 2] = np.inf, np.nan, -1
    out = marks.depth_colour(depth)
    assert (out[[0, 1, 2], [0, 1, 2]] == 0).all()
    near_end, far_end = out[5, 3].astype(int), out[5, 60].astype(int)
    assert near_end[0] > near_end[2] and far_end[2] > far_end[0]
    assert (marks.depth_colour(np.full((4, 4), np.inf)) == 0).all()
    assert cv2.imdecode(np.frombuffer(marks.depth_jpeg(np.full((720, 1280), 3.0)), np.uint8), 1).shape[1] <= 480


def test_a_label_does_not_hide_a_small_region():
    frame = np.full((240, 320, 3), 90, np.uint8)
    mask = disc(160, 120, 9)
    out = marks.draw_marks(frame, [{"id": 1, "mask": mask}])
    assert not (out[disc(160, 120, 5)] == 0).any()


def test_jpeg_comes_back_and_rubbish_does_not():
    frame = np.full((40, 60, 3), (200, 30, 90), np.uint8)
    assert np.abs(marks.read_jpeg(marks.mark_jpeg(frame, [])).astype(int) - frame).max() < 6
    for rubbish in (b"", b"no picture"):
        with pytest.raises(ValueError, match="not a JPEG"):
            marks.read_jpeg(rubbish)
