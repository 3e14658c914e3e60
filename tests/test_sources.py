"""Sources: what is planned, what frames and cameras come out, and what is refused with which words."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from curate.sources import SOURCES, make_source
from curate.sources.base import BadInput, ClipSpec
from curate.sources.config import (
    ClipConfig,
    SideBySideConfig,
    SourceConfig,
    StereoPairConfig,
    TopBottomConfig,
)
from curate.sources.cut import spans
from curate.sources.times import check_in_step, read_times
from curate.video.encode import encode_h264
from tests.source_media import (
    CALIBRATION,
    HEIGHT,
    WIDTH,
    assert_same_picture,
    eyes,
    pair,
    refused,
    texture,
    write_packed,
    write_pair,
)

# Settings

def test_every_kind_is_made_by_name():
    assert set(TypeAdapter(SourceConfig).json_schema()["discriminator"]["mapping"]) == set(SOURCES)


@pytest.mark.parametrize(("field", "value", "words"), [
    ("baseline_m", 0, "greater than 0"), ("baseline_m", -0.1, "greater than 0"), ("baseline_m", float("nan"), "."),
    ("fx", float("nan"), "."), ("fx", float("inf"), "."), ("fx", -5, "greater than 0"), ("cx", float("nan"), "finite"),
    ("doffs_px", float("nan"), "finite"), ("baseline_m", None, "baseline_m .* is missing"),
    ("distortion", [0.1, 0.2], "0, 4, 5, 8, 12 or 14"), ("translation_right_left_m", [0.1, 0, 0], "swapped")])
def test_calibration_in_the_recipe_is_checked(field, value, words):
    with pytest.raises(ValidationError, match=words):
        StereoPairConfig(root=".", calibration=CALIBRATION | {field: value})


def test_unknown_fields_are_refused():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        StereoPairConfig(root=".", lefd="x")


# Cutting

@given(st.integers(2, 2000), st.integers(2, 64), st.integers(2, 64))
@settings(max_examples=200, deadline=None)
def test_every_frame_is_in_a_clip_of_bounded_length(total, a, b):
    clip = ClipConfig(num_frames=max(a, b), min_frames=min(a, b))
    if total < clip.min_frames:
        return
    cut = spans(total, clip)
    seen = np.zeros(total, int)
    for start, count in cut:
        assert clip.min_frames <= count <= clip.num_frames
        seen[start : start + count] += 1
    assert seen.min() == 1
    assert [s for s, _ in cut] == sorted({s for s, _ in cut})
    if total // len(cut) >= clip.min_frames:
        assert seen.max() == 1


# Two folders

def test_folders_of_images(tmp_path):
    source = pair(write_pair(tmp_path, 20), ClipConfig(num_frames=8, min_frames=4))
    clips = list(source.plan())
    assert [(c.start, c.num_frames) for c in clips] == [(0, 6), (6, 7), (13, 7)]
    with source.open(clips[1]) as frames:
        np.testing.assert_allclose(frames.time_s, np.arange(7) / 10, atol=1e-12)
        left, right = frames.read(2, 5)
        np.testing.assert_array_equal(left, [texture(i, 0) for i in (8, 9, 10)])
        np.testing.assert_array_equal(right, [texture(i, 1) for i in (8, 9, 10)])
        assert frames.scale == "calibrated" and not frames.is_grey
        assert frames.rig.baseline_m == pytest.approx(0.1) and frames.rig.left.cx == (WIDTH - 1) / 2
        assert frames.baseline_sigma_m == pytest.approx(0.0005)
        with pytest.raises(IndexError):
            frames.read(5, 8)


def test_plans_repeat_and_do_not_depend_on_where_the_root_is(tmp_path):
    first = list(pair(write_pair(tmp_path / "a")).plan())
    assert first == list(pair(tmp_path / "a").plan())
    (tmp_path / "a").rename(tmp_path / "b")
    assert first == list(pair(tmp_path / "b").plan())
    assert ClipSpec(**json.loads(json.dumps(first[0].to_json()))) == first[0]


def test_another_calibration_is_another_clip(tmp_path):
    first = list(pair(write_pair(tmp_path)).plan())
    (tmp_path / "calib.json").write_text(json.dumps(CALIBRATION | {"fx": 81.0}))
    assert first[0].key != next(iter(pair(tmp_path).plan())).key


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("grey", [False, True])
def test_grey_colour_and_deep_images_become_the_same_rgb(tmp_path, grey, bits):
    source = pair(write_pair(tmp_path, grey=grey, bits=bits))
    with source.open(next(iter(source.plan()))) as frames:
        left = frames.read(3, 4)[0][0]
        assert frames.is_grey == grey
    expected = np.repeat(texture(3)[..., 1:2], 3, -1) if grey else texture(3)
    np.testing.assert_array_equal(left, expected)


def test_recordings_below_the_root_and_one_bad_among_good(tmp_path):
    for name in ("run2", "run10", "run1"):
        write_pair(tmp_path / name)
    (tmp_path / "run2" / "right" / "000004.png").unlink()
    planned = list(pair(tmp_path, recordings="run*").plan())
    assert [p[0].uri if isinstance(p, tuple) else p.uri for p in planned] == ["run1", "run2", "run10"]
    assert len({(p[0] if isinstance(p, tuple) else p).key for p in planned}) == 3
    assert "10 left but 9 right frames, expected the same number: 000004.png is only on the left" in planned[1][1]


def test_missing_right_view(tmp_path):
    write_pair(tmp_path)
    for path in (tmp_path / "right").iterdir():
        path.unlink()
    assert "right" in refused(pair(tmp_path), "right: found nothing, expected images")
    (tmp_path / "right").rmdir()
    refused(pair(tmp_path), "right: no such folder or file, expected a folder of images")


def test_empty_and_missing_root(tmp_path):
    refused(pair(tmp_path / "gone"), r"gone: no such folder \(source\.root\)")
    refused(pair(tmp_path), "left: no such folder or file")
    refused(pair(tmp_path, recordings="*"), r"no folder matches recordings: '\*'")
    refused(make_source(SideBySideConfig(root=str(tmp_path))), r"no video matches '\*\*/\*\.mp4'")
    refused(make_source(SideBySideConfig(root=str(tmp_path), videos="/elsewhere/x.mp4")), r"relative to source\.root")


def test_counts_that_agree_by_chance(tmp_path):
    write_pair(tmp_path)
    (tmp_path / "left" / "000003.png").unlink()
    (tmp_path / "right" / "000007.png").unlink()
    refused(pair(tmp_path), "do not pair up: 000007.png is only on the left")


def test_different_sizes(tmp_path):
    write_pair(tmp_path)
    for path in (tmp_path / "right").iterdir():
        cv2.imwrite(str(path), texture(0, width=100))
    refused(pair(tmp_path), "left is 96x64 but right is 100x64, expected the same size")


def test_size_that_changes_on_the_way(tmp_path):
    source = pair(write_pair(tmp_path))
    cv2.imwrite(str(tmp_path / "right" / "000005.png"), texture(0, width=100))
    with source.open(next(iter(source.plan()))) as frames:
        frames.read(0, 5)
        with pytest.raises(BadInput, match=r"000005\.png: 100x64, expected 96x64 as 000000\.png"):
            frames.read(5, 6)


def test_unreadable_images(tmp_path):
    source = pair(write_pair(tmp_path))
    clip = next(iter(source.plan()))
    (tmp_path / "right" / "000006.png").write_bytes(b"no image")
    with source.open(clip) as frames, pytest.raises(BadInput, match=r"right/000006\.png: not readable as an image"):
        frames.read(4, 8)
    (tmp_path / "right" / "000006.png").write_bytes(b"")
    refused(source, r"right/000006\.png: empty \(0 bytes\)")


def test_too_few_frames(tmp_path):
    refused(pair(write_pair(tmp_path, 5)), r"5 frames, expected at least 8 \(clip\.min_frames\)")


def test_max_clips(tmp_path):
    assert len(list(pair(write_pair(tmp_path, 40), ClipConfig(num_frames=8, max_clips=2)).plan())) == 2


# Times

def test_seconds_and_nanoseconds(tmp_path):
    (tmp_path / "s.txt").write_text("# a comment\n1403715273.262142976\n\n1403715273.312143104, x.png\n")
    (tmp_path / "ns.csv").write_text("1403715273262142976,a.png\n1403715273312143104,b.png\n")
    np.testing.assert_array_equal(read_times(tmp_path / "s.txt"), read_times(tmp_path / "ns.csv"))


@pytest.mark.parametrize(("text", "words"), [
    ("0\n0.1\nfoo\n", r"t\.txt:3: found 'foo', expected seconds"), ("0\nnan\n", "found 'nan'"),
    ("0\n0.2\n0.1\n", "time 2 .* is not after time 1")])
def test_bad_times(tmp_path, text, words):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(BadInput, match=words):
        read_times(tmp_path / "t.txt")


def test_times_decide_not_the_frame_rate(tmp_path):
    write_pair(tmp_path)
    times = np.cumsum(np.linspace(0.05, 0.3, 10))
    (tmp_path / "times.txt").write_text("\n".join(f"{t:.9f}" for t in times))
    source = pair(tmp_path, timestamps="times.txt", fps=None)
    with source.open(next(iter(source.plan()))) as frames:
        np.testing.assert_allclose(frames.time_s, times - times[0], atol=1e-8)
    (tmp_path / "times.txt").write_text("0\n1\n")
    refused(source, r"times\.txt: 2 times, expected 10 \(one a frame\)")


def test_images_without_times(tmp_path):
    refused(pair(write_pair(tmp_path), fps=None), r"images without times; give timestamps \(a file\) or fps")


def test_out_of_step(tmp_path):
    write_pair(tmp_path)
    for name, offset in (("l.txt", 0), ("r.txt", 0.06)):
        (tmp_path / name).write_text("\n".join(str(0.1 * i + offset) for i in range(10)))
    refused(pair(tmp_path, timestamps="l.txt", timestamps_right="r.txt"),
            r"out of step: at frame 0 the right one is \+60\.00 ms from the left one, expected within half a frame "
            r"\(50\.00 ms\)")


def test_drift_is_found_and_called_so():
    left = np.arange(100) * 100_000_000
    check_in_step(left, left + 49_000_000, "x")
    with pytest.raises(BadInput, match=r"at frame 51 the right one is \+51\.00 ms from the left one growing"):
        check_in_step(left, left + np.arange(100) * 1_000_000, "x")


def test_images_named_by_their_times(tmp_path):
    write_pair(tmp_path)
    for side, late in (("left", 0), ("right", 128)):
        for i, path in enumerate(sorted((tmp_path / side).iterdir())):
            path.rename(path.with_name(f"{1403715273262142976 + i * 50_000_000 + late}.png"))
    source = pair(tmp_path, fps=None)
    with source.open(next(iter(source.plan()))) as frames:
        np.testing.assert_allclose(frames.time_s, np.arange(10) * 0.05, atol=1e-9)


# Two videos

def write_videos(root: Path, counts=(12, 12), times=None) -> Path:
    root.mkdir(exist_ok=True)
    for side, name in enumerate(("l.mp4", "r.mp4")):
        frames = np.stack([texture(i, side) for i in range(counts[side])])
        timing = {"fps": 20} if times is None else {"time_s": times[side]}
        (root / name).write_bytes(encode_h264(frames, crf=4, **timing))
    (root / "calib.json").write_text(json.dumps(CALIBRATION))
    return root


def test_two_videos_with_a_variable_frame_rate(tmp_path):
    times = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.2, 12))
    source = pair(write_videos(tmp_path, times=(times, times)), left="l.mp4", right="r.mp4", fps=None)
    with source.open(next(iter(source.plan()))) as frames:
        np.testing.assert_allclose(frames.time_s, times - times[0], atol=1e-4)
        left, right = frames.read(4, 9)
    assert_same_picture(left[0], texture(4, 0))
    assert_same_picture(right[-1], texture(8, 1))


def test_two_videos_that_do_not_fit(tmp_path):
    source = pair(write_videos(tmp_path / "a", (12, 10)), left="l.mp4", right="r.mp4", fps=None)
    refused(source, "12 left but 10 right frames, expected the same number")
    times = np.arange(12) * 0.1
    source = pair(write_videos(tmp_path / "b", times=(times, times * 1.2)), left="l.mp4", right="r.mp4", fps=None)
    refused(source, "out of step: at frame 3 the right one is .* growing")


# Packed video

@pytest.mark.parametrize(("kind", "axis"), [("side_by_side", 2), ("top_bottom", 1)])
@pytest.mark.parametrize("first", ["left", "right"])
def test_full_packing(tmp_path, kind, axis, first):
    both = eyes()
    path = write_packed(tmp_path / "v.mp4", both if first == "left" else both[::-1], axis)
    config = {"side_by_side": SideBySideConfig, "top_bottom": TopBottomConfig}[kind]
    source = make_source(config(root=str(path), first=first))
    clips = list(source.plan())
    assert len(clips) == 1 and clips[0].kind == kind
    with source.open(clips[0]) as frames:
        got = frames.read(0, 10)
        np.testing.assert_allclose(frames.time_s, np.arange(10) / 20, atol=1e-4)
        assert (frames.rig.left.width, frames.rig.left.height, frames.rig.left.fx) == (WIDTH, HEIGHT, 80.0)
    for eye, expected in zip(got, both):
        assert_same_picture(eye, expected)


@pytest.mark.parametrize(("kind", "size"), [("side_by_side", (160, 90)), ("top_bottom", (320, 180))])
def test_half_packing_keeps_points_where_its_camera_says(tmp_path, kind, size):
    """Blobs drawn in full-size eyes, squeezed and packed, are found where the opened cameras project them."""
    width, height, fx, baseline = 320, 180, 260.0, 0.12
    points = np.array([[-0.5, -0.2, 2.0], [0.6, 0.3, 2.5], [0.1, -0.05, 1.2]])
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    packed = []
    for centre in (0.0, baseline):
        image = np.full((height, width), 20.0)
        for x, y, z in points:
            at = fx * (x - centre) / z + (width - 1) / 2, fx * y / z + (height - 1) / 2
            image += 200 * np.exp(-((u - at[0]) ** 2 + (v - at[1]) ** 2) / (2 * 5.0**2))
        squeezed = (width // 2, height) if kind == "side_by_side" else (width, height // 2)
        image = cv2.resize(image, squeezed, interpolation=cv2.INTER_AREA)
        packed.append(np.repeat(np.clip(image, 0, 255).astype(np.uint8)[None, ..., None], 3, -1))
    path = write_packed(tmp_path / "v.mp4", [np.repeat(p, 8, 0) for p in packed], 2 if "side" in kind else 1, None)
    config = SideBySideConfig if kind == "side_by_side" else TopBottomConfig
    source = make_source(config(root=str(path), packing="half", calibration={"fx": fx, "baseline_m": baseline}))
    with source.open(next(iter(source.plan()))) as frames:
        images, rig = frames.read(0, 1), frames.rig
    assert (rig.left.width, rig.left.height) == size and rig.left.fx == pytest.approx(rig.left.fy)
    for view, image in enumerate(images):
        grey = image[0, ..., 0].astype(float) - 20
        for x, y, z in points:
            at = rig.left.project([x - view * rig.baseline_m, y, z])
            r = 9 if kind == "side_by_side" else 16
            rows, columns = (np.arange(round(c) - r, round(c) + r + 1) for c in at[::-1])
            patch = np.clip(grey[np.ix_(rows, columns)], 0, None)
            found = (patch.sum(0) @ columns / patch.sum(), patch.sum(1) @ rows / patch.sum())
            np.testing.assert_allclose(found, at, atol=0.15)


def test_odd_width_cannot_hold_two_eyes():
    from curate.sources.packed import Layout

    with pytest.raises(BadInput, match="width of 97 px cannot hold two eyes"):
        Layout("side_by_side", "full", "left", 97, 64, "v.mp4")


def test_bad_videos_among_good_ones(tmp_path):
    write_packed(tmp_path / "b_good.mp4", eyes(), 2)
    (tmp_path / "a_empty.mp4").touch()
    data = (tmp_path / "b_good.mp4").read_bytes()
    (tmp_path / "c_cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    (tmp_path / "c_cut.calib.json").write_text(json.dumps(CALIBRATION))
    (tmp_path / "d_bare.mp4").write_bytes(data)
    (tmp_path / "e_calib.mp4").write_bytes(data)
    (tmp_path / "e_calib.calib.json").write_text('{"fx": NaN, "baseline_m": 0.1}')
    planned = list(make_source(SideBySideConfig(root=str(tmp_path))).plan())
    reasons = {p[0].uri: p[1] for p in planned if isinstance(p, tuple)}
    assert [p.uri for p in planned if isinstance(p, ClipSpec)] == ["b_good.mp4"]
    assert "a_empty.mp4: empty (0 bytes), expected a video" in reasons["a_empty.mp4"]
    assert "truncated: holds" in reasons["c_cut.mp4"] and "expected 10 by its index" in reasons["c_cut.mp4"]
    assert "no calibration: d_bare.calib.json is not there" in reasons["d_bare.mp4"]
    assert "e_calib.calib.json: fx:" in reasons["e_calib.mp4"] and "found nan" in reasons["e_calib.mp4"]
    assert len({(p[0] if isinstance(p, tuple) else p).key for p in planned}) == 5


def test_a_named_video_that_is_missing(tmp_path):
    source = make_source(SideBySideConfig(root=str(tmp_path), videos="mine.mp4", calibration=CALIBRATION))
    refused(source, r"mine\.mp4: no such file")


def test_windows_of_a_long_video_give_the_same_pixels(tmp_path):
    path = write_packed(tmp_path / "v.mp4", eyes(40), 2)
    source = make_source(SideBySideConfig(root=str(path)), ClipConfig(num_frames=16, min_frames=4))
    clips = list(source.plan())
    assert [(c.start, c.num_frames) for c in clips] == [(0, 13), (13, 13), (26, 14)]
    for clip in clips:
        with source.open(clip) as frames:
            assert frames.time_s[0] == 0
            whole = frames.read(0, clip.num_frames)[1]
            parts = [frames.read(i, min(i + 5, clip.num_frames))[1] for i in range(0, clip.num_frames, 5)]
            np.testing.assert_array_equal(whole, np.concatenate(parts))
            assert_same_picture(whole[0], texture(clip.start, 1))
