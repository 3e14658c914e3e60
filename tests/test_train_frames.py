"""What a student is shown: exactly the frames chosen, at their real times, with times drawn on them where asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.marks import mark_jpeg
from curate.train.frames import GLYPHS, chosen_frames, decode_image, decode_video, draw_times
from curate.video.encode import encode_h264
from tests.train_sets import clip_video, level


@given(st.integers(1, 300), st.data())
def test_chosen_frames_are_even_and_hold_both_ends(num_frames, data):
    wanted = data.draw(st.integers(1, num_frames))
    chosen = chosen_frames(num_frames, wanted)
    assert len(chosen) == wanted and chosen[0] == 0
    assert wanted == 1 or chosen[-1] == num_frames - 1
    steps = np.diff(chosen)
    assert (steps > 0).all() and (not len(steps) or steps.max() - steps.min() <= 1)


def test_all_frames_are_chosen_where_none_are_counted_and_too_many_are_refused():
    assert chosen_frames(5, None) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"9 frames are asked for, the clip has 5; lower data.frames"):
        chosen_frames(5, 9)


@pytest.mark.parametrize("fps", [5, 12, 30])
def test_decoded_frames_are_those_asked_for(fps):
    times = np.arange(20) / fps
    video = encode_h264(clip_video(20, fps), time_s=times, crf=4)
    frames = decode_video(video, times, [0, 7, 19], (32, 40))
    assert frames.shape == (3, 32, 40, 3) and frames.dtype == np.uint8
    assert np.allclose(frames.reshape(3, -1).mean(1), [level(i) for i in (0, 7, 19)], atol=2)


def test_frames_at_uneven_times_are_found():
    times = np.array([0, 0.05, 0.3, 0.31, 0.9])
    frames = decode_video(encode_h264(clip_video(5, 12), time_s=times, crf=4), times, [1, 3], (16, 16))
    assert np.allclose(frames.reshape(2, -1).mean(1), [level(1), level(3)], atol=2)


def test_the_whole_image_stays_when_it_is_stretched():
    image = np.zeros((1, 48, 64, 3), np.uint8)
    image[:, :, 32:, 0], image[:, 24:, :, 2] = 200, 200
    small = decode_video(encode_h264(image, time_s=np.zeros(1), crf=1), [0.0], [0], (32, 32))[0]
    quarters = [small[y:y + 8, x:x + 8].mean((0, 1)) for y in (4, 20) for x in (4, 20)]
    assert np.allclose(quarters, [[0, 0, 0], [200, 0, 0], [0, 0, 200], [200, 0, 200]], atol=12)


def test_a_video_of_another_clip_or_none_is_refused():
    times = np.arange(6) / 12
    video = encode_h264(clip_video(6, 12), time_s=times)
    with pytest.raises(ValueError, match=r"video frame 1 is at 0.083 s, the record has 0.200 s; .* the same clip"):
        decode_video(video, np.arange(6) / 5, range(6), (16, 16))
    with pytest.raises(ValueError, match="ends after 6 frames, the record has 8"):
        decode_video(video, np.arange(8) / 12, range(8), (16, 16))
    with pytest.raises(ValueError, match="does not decode"):
        decode_video(video[:len(video) // 3], times, range(6), (16, 16))
    with pytest.raises(ValueError, match="does not decode"):
        decode_video(b"nothing", times, range(6), (16, 16))


def test_the_marked_picture_is_decoded_as_the_frames_are():
    frame = clip_video(1, 12)[0]
    picture = decode_image(mark_jpeg(frame, [{"id": 1, "box": (8, 8, 40, 40)}]), (48, 64))
    assert picture.shape == (48, 64, 3)
    assert abs(picture[-4:, -8:].mean() - level(0)) < 3  # away from the mark
    assert abs(picture[8:40, 8:40].astype(int) - level(0)).max() > 50
    with pytest.raises(ValueError, match="no JPEG picture"):
        decode_image(b"\xff\xd8 torn", (8, 8))


def read_mark(image: np.ndarray, scale: int) -> str:
    """The text of a time mark, read from its pixels by an eye of its own."""
    rows = image[scale // 2::scale, scale // 2::scale, 0] > 128
    found = {"".join(str(int(v)) for v in np.array([[g >> 2 & 1, g >> 1 & 1, g & 1] for g in glyph]).ravel()): letter
             for letter, glyph in GLYPHS.items()}
    text = ""
    for x in range(1, rows.shape[1] - 3, 4):
        bits = "".join(str(int(v)) for v in rows[1:6, x:x + 3].ravel())
        text += found.get(bits, "?")
        if text.endswith("s"):
            return text
    return text


@pytest.mark.parametrize(("size", "scale"), [(64, 1), (112, 2), (224, 4)])
def test_times_are_drawn_legibly_and_nothing_else_changes(size, scale):
    frames = np.full((4, size, size, 3), 90, np.uint8)
    times = [0.0, 1.07, 2.38, 45.96]
    drawn = draw_times(frames, times)
    assert [read_mark(frame, scale) for frame in drawn] == ["0.00s", "1.07s", "2.38s", "45.96s"]
    assert (frames == 90).all(), "the frames given stay as they are"
    assert (drawn[:, 7 * scale:] == 90).all() and (drawn[:, :, 30 * scale:] == 90).all()


def test_every_digit_is_drawn_differently():
    assert len(set(GLYPHS.values())) == len(GLYPHS)
