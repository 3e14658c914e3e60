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


def test_each_style_marks_what_it_says():
    frame = np.full((240, 320, 3), 90, np.uint8)
    region, colour = {"id": 2, "mask": disc(100, 120, 50)}, np.array(marks.colour_of(2))
    inside = 120, 70  # in the disc, clear of the label in its middle
    outline, fill, box = (marks.draw_marks(frame, [region], style) for style in ("contour", "mask", "box"))
    assert np.abs(fill[inside] - (90 + colour) / 2).max() <= 1 and np.abs(outline[inside] - fill[inside]).max() > 20
    assert (box[inside] == 90).all()
    for made, at_edge in ((outline, True), (fill, False), (box, True)):
        assert near(made, colour)[120, 46:55].any() == at_edge
    corner = np.s_[66:76, 46:56]  # of the box; no part of the disc
    assert near(box, colour)[corner].any() and not near(outline, colour)[corner].any()
    for made in (outline, fill, box):
        assert near(made, (255, 255, 255)).sum() > 20  # the label
    with pytest.raises(ValueError, match="no style of marks; expected contour, mask, box"):
        marks.draw_marks(frame, [], "stars")


@pytest.mark.parametrize("style", ["contour", "mask", "box"])
def test_no_label_hides_a_small_region_of_another(style):
    """A large region whose middle is where a small one lies, and small ones side by side."""
    frame = np.full((240, 320, 3), 90, np.uint8)
    small = [disc(100 + 26 * k, 150, 7) for k in range(5)]
    regions = [{"id": 1, "mask": disc(160, 150, 80) & ~np.any(small, 0)}, *({"id": k + 2, "mask": m, "label": "obj_22"}
                                                                           for k, m in enumerate(small))]
    out = marks.draw_marks(frame, regions, style)
    for mask in small:
        assert not (out[mask & disc(*np.argwhere(mask).mean(0)[::-1], 4)] == 0).any()


def record_of(scene, questions=None) -> dict:
    from curate.questions import ask
    from curate.shards.sample import make_sample
    from curate.shards.schema import decode

    return decode(make_sample(scene, {}, ask(scene)[0] if questions is None else questions).json)


def test_marks_are_drawn_into_the_first_frame_from_the_record_alone():
    scene, _ = make_scene(seed=1, num_frames=12)
    record = record_of(scene)
    frames = np.random.default_rng(0).integers(0, 255, (3, 360, 640, 3), dtype=np.uint8)
    before = frames.copy()
    out = marks.burn(frames, record)
    assert (frames == before).all() and (out[1:] == frames[1:]).all()
    asked = {i for qa in record["qa"] for i in qa["regions"]}
    own = [{"id": r.id, "mask": r.mask_first, "box": r.box[0]} for r in scene.regions if r.id in asked]
    assert asked and (out[0] == marks.draw_marks(frames[0], own)).all()
    assert (marks.burn(frames, record, only=[]) == frames).all()
    burnt = record | {"origin": record["origin"] | {"marks": marks.stated("mask", True)}}
    assert marks.in_video(burnt) and not marks.in_video(record) and (marks.burn(frames, burnt) == frames).all()


def test_marks_go_with_the_size_of_the_video():
    scene, _ = make_scene(seed=1, num_frames=12)
    record = record_of(scene)
    half = marks.record_regions(record, (320, 180))
    for region, whole in zip(half, marks.record_regions(record, (640, 360)), strict=True):
        np.testing.assert_allclose(region["box"], whole["box"] / 2)
        assert region["mask"].shape == (180, 320)
        assert region["mask"].sum() == pytest.approx(whole["mask"].sum() / 4, rel=.25)
    out = marks.burn(np.zeros((1, 180, 320, 3), np.uint8), record, "box", label=lambda i: f"obj_{i}")
    assert near(out[0], marks.colour_of(half[0]["id"])).any()
