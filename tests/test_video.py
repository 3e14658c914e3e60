"""Decoding and encoding: times, random access, determinism, and every kind of file that is no good video."""

from __future__ import annotations

import gc
import os
import tempfile
from fractions import Fraction

import av
import numpy as np
import pytest

from curate.sources.base import BadInput
from curate.video.decode import open_video
from curate.video.encode import H264Encoder, encode_h264, jpeg


def numbered(num_frames: int, height: int = 64, width: int = 96) -> np.ndarray:
    """Frames that say their number in 6 blocks of black and white, on a slowly changing ground."""
    frames = np.zeros((num_frames, height, width, 3), np.uint8)
    for i in range(num_frames):
        frames[i] = 90 + i % 40
        for bit in range(6):
            frames[i, : height // 2, bit * 16 : bit * 16 + 16] = 235 if i >> bit & 1 else 16
    return frames


def numbers(frames: np.ndarray) -> list[int]:
    levels = frames[:, : frames.shape[1] // 2, :96].mean((1, 3)).reshape(len(frames), 6, 16).mean(2)
    return (((levels > 128) << np.arange(6)).sum(1)).tolist()


def write(path, frames, **settings):
    path.write_bytes(encode_h264(frames, **(settings or {"fps": 30})))
    return path


def test_same_pixels_same_bytes():
    frames = numbered(20)
    assert encode_h264(frames, fps=25) == encode_h264(frames, fps=25)
    assert jpeg(frames[0]) == jpeg(frames[0])


def test_batches_do_not_change_the_bytes():
    frames = numbered(20)
    encoder = H264Encoder(96, 64, fps=25)
    for part in (frames[:3], frames[3:4], frames[4:]):
        encoder.add(part)
    assert encoder.finish() == encode_h264(frames, fps=25)


def test_index_is_in_front_and_nothing_is_dated():
    data = encode_h264(numbered(8), fps=25)
    assert data.index(b"moov") < data.index(b"mdat")
    assert b"Lavf" not in data


def test_variable_frame_rate_survives(tmp_path):
    time_s = np.cumsum(np.random.default_rng(0).uniform(0.005, 0.4, 40))
    with open_video(write(tmp_path / "v.mp4", numbered(40), time_s=time_s)) as video:
        np.testing.assert_allclose(video.time_s, time_s - time_s[0], atol=1e-5)
        assert video.num_frames == 40
        assert numbers(video.read(0, 40)) == list(range(40))


@pytest.mark.parametrize(("height", "width"), [(63, 97), (64, 97), (63, 96)])
def test_odd_sizes_are_padded_at_the_far_edges(tmp_path, height, width):
    frames = numbered(6, height, width)
    with open_video(write(tmp_path / "v.mp4", frames, fps=10, crf=4)) as video:
        out = video.read(0, 6)
    assert out.shape[1:3] == (height + height % 2, width + width % 2)
    assert np.abs(out[:, :height, :width].astype(int) - frames).mean() < 3


def test_colours_survive(tmp_path):
    frames = np.zeros((4, 64, 64, 3), np.uint8)
    frames[:, :32, :32], frames[:, :32, 32:], frames[:, 32:] = (220, 30, 60), (20, 200, 60), (30, 40, 230)
    with open_video(write(tmp_path / "v.mp4", frames, fps=10, crf=4)) as video:
        out = video.read(3, 4)[0].astype(int)
    for y, x in ((16, 16), (16, 48), (48, 32)):
        assert np.abs(out[y, x] - frames[0, y, x]).max() <= 4


def with_b_frames(path, num_frames=50, gop=12):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = 3
        stream.codec_context.options = {"x264-params": "threads=1:open-gop=1:scenecut=0:b-adapt=0:b-pyramid=strict"}
        for i, image in enumerate(numbered(num_frames)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_random_access_is_exact_with_b_frames_and_open_groups(tmp_path, suffix):
    with open_video(with_b_frames(tmp_path / f"v.{suffix}")) as video:
        assert video.num_frames == 50
        np.testing.assert_allclose(np.diff(video.time_s), 1 / 30, atol=1e-3)
        sequence = video.read(0, 50)
        assert numbers(sequence) == list(range(50))
        for start in np.random.default_rng(1).permutation(48):
            got = video.read(int(start), int(start) + 2)
            np.testing.assert_array_equal(got, sequence[start : start + 2])


def test_windows_in_sequence_never_seek(tmp_path, monkeypatch):
    with open_video(write(tmp_path / "v.mp4", numbered(48), fps=30)) as video:
        monkeypatch.setattr(video, "_seek_and_decode", lambda *a: pytest.fail("seeks while reading onwards"))
        assert numbers(np.concatenate([video.read(i, i + 8) for i in range(0, 48, 8)])) == list(range(48))


def test_avi_without_presentation_times(tmp_path):
    path = tmp_path / "v.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=20)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for image in numbered(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    with open_video(path) as video:
        assert video.num_frames == 12
        np.testing.assert_allclose(np.diff(video.time_s), 0.05, atol=1e-6)
        assert numbers(video.read(5, 12)) == list(range(5, 12))


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (-90, -1)])
def test_rotation_in_the_container_is_honoured(tmp_path, degrees, turns):
    frames = np.zeros((4, 64, 96, 3), np.uint8)
    frames[:, :20, :30] = 255  # marks the top left corner
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.set_display_rotation(degrees)  # anticlockwise
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    with open_video(path) as video:
        got = video.read(1, 2)[0].astype(int)
        expected = np.rot90(frames[0], turns)
        assert (video.height, video.width) == expected.shape[:2] == got.shape[:2]
        assert np.abs(got - expected).mean() < 6


def test_no_such_file(tmp_path):
    with pytest.raises(BadInput, match=r"gone\.mp4: no such file"):
        open_video(tmp_path / "gone.mp4")


def test_zero_bytes(tmp_path):
    (tmp_path / "v.mp4").touch()
    with pytest.raises(BadInput, match=r"v\.mp4: empty \(0 bytes\), expected a video"):
        open_video(tmp_path / "v.mp4")


@pytest.mark.parametrize("name", ["v.mp4", "notes.txt"])
def test_not_a_video(tmp_path, name):
    (tmp_path / name).write_text("this is no video\n" * 50)
    with pytest.raises(BadInput, match=rf"{name}: not readable as a video"):
        open_video(tmp_path / name)


def test_playlists_do_not_open_other_files(tmp_path):
    write(tmp_path / "v.mp4", numbered(8))
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nv.mp4\n#EXT-X-ENDLIST\n")
    with pytest.raises(BadInput, match="not readable as a video"):
        open_video(tmp_path / "list.m3u8")


def test_audio_only(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        for i in range(8):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, i * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(BadInput, match=r"sound\.mp4: no video stream \(found audio\), expected a video"):
        open_video(path)


@pytest.mark.parametrize("share", [0.4, 0.7, 0.95])
def test_truncated_with_the_index_in_front(tmp_path, share):
    noise = np.random.default_rng(0).integers(0, 255, (30, 64, 96, 3), np.uint8)
    data = encode_h264(noise, fps=30)
    (tmp_path / "v.mp4").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BadInput, match=r"v\.mp4: truncated: holds \d+ whole frames, expected 30 by its index"):
        open_video(tmp_path / "v.mp4")


def test_truncated_with_the_index_at_the_end(tmp_path):
    data = with_b_frames(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "v.mp4").write_bytes(data[: data.rindex(b"moov") - 40])
    with pytest.raises(BadInput, match=r"v\.mp4: not readable as a video: an mp4 without its index \(moov\)"):
        open_video(tmp_path / "v.mp4")


def test_truncated_matroska(tmp_path):
    data = with_b_frames(tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "v.mkv").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(BadInput, match=r"v\.mkv: truncated: its last frame is at .* expected frames up to 1\.\d+ s"):
        open_video(tmp_path / "v.mkv")


def test_damage_inside_is_an_error_not_a_picture(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (30, 64, 96, 3), np.uint8)
    data = bytearray(encode_h264(noise, fps=30))
    start = data.index(b"mdat") + 4
    middle = start + (len(data) - start) // 2
    data[middle : middle + 4000] = bytes(4000)
    (tmp_path / "v.mp4").write_bytes(data)
    with open_video(tmp_path / "v.mp4") as video, pytest.raises(BadInput, match=r"v\.mp4: .*frame \d+"):
        video.read(0, 30)


def test_absurd_sizes_are_refused(tmp_path):
    frames = np.zeros((1, 16, 8208, 3), np.uint8)
    (tmp_path / "wide.mp4").write_bytes(encode_h264(frames, fps=10))
    with pytest.raises(BadInput, match=r"wide\.mp4: frames of 8208x16, expected 1 to 8192 pixels a side"):
        open_video(tmp_path / "wide.mp4")


def textured(num_frames: int, height: int = 96, width: int = 160) -> np.ndarray:
    wave = np.indices((height, width)).sum(0)[None] * 3 + np.arange(num_frames)[:, None, None] * 5
    return np.stack([wave % 256, wave * 2 % 256, 255 - wave % 256], -1).astype(np.uint8)


def tagged(path, frames, matrix, pixels="yuv420p", codec="libx264", interlaced=False, degrees=0):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = matrix
        context.max_b_frames = 3
        context.gop_size = 12
        context.options = {"flags": "+ilme+ildct"} if interlaced else {}
        if degrees:
            stream.set_display_rotation(degrees)
        for i, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("matrix", [1, 2, 6])  # BT.709, untagged, BT.601
@pytest.mark.parametrize("size", [(90, 160), (90, 150)])
def test_decord_gives_the_same_bytes_and_times(tmp_path, matrix, size):
    pytest.importorskip("decord")
    path = tagged(tmp_path / "v.mp4", textured(40, *size), matrix)
    with open_video(path) as one, open_video(path, "decord") as other:
        assert (one.decoder, other.decoder) == ("av", "decord")
        np.testing.assert_array_equal(one.time_s, other.time_s)
        sequence = one.read(0, 40)
        np.testing.assert_array_equal(sequence, other.read(0, 40))
        for start in np.random.default_rng(0).permutation(38):
            np.testing.assert_array_equal(other.read(int(start), int(start) + 2), sequence[start : start + 2])
        assert other.read(5, 5).shape == (0, *size, 3)
        with pytest.raises(IndexError):
            other.read(39, 41)


@pytest.mark.parametrize(("name", "settings"), [
    ("v.mkv", {}), ("v.mp4", {"pixels": "yuv420p10le"}), ("v.mp4", {"interlaced": True}), ("v.mp4", {"degrees": 90}),
    ("v.mp4", {"codec": "mpeg4"})])
def test_decord_is_left_out_where_it_would_differ(tmp_path, name, settings):
    path = tagged(tmp_path / name, textured(6), 1, **settings)
    with open_video(path, "decord") as video, open_video(path) as expected:
        assert video.decoder == "av"
        np.testing.assert_array_equal(video.read(0, 6), expected.read(0, 6))


def test_decord_refuses_bad_files_as_pyav_does(tmp_path):
    data = write(tmp_path / "whole.mp4", numbered(30)).read_bytes()
    (tmp_path / "v.mp4").write_bytes(data[: len(data) * 2 // 3])
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name in ("v.mp4", "empty.mp4", "gone.mp4"):
        with pytest.raises(BadInput) as plain:
            open_video(tmp_path / name)
        with pytest.raises(BadInput) as probed:
            open_video(tmp_path / name, "decord")
        assert str(plain.value) == str(probed.value)


def test_decord_damage_after_the_probe_is_bad_input(tmp_path):
    pytest.importorskip("decord")
    noise = np.random.default_rng(0).integers(0, 255, (120, 64, 96, 3), np.uint8)
    data = bytearray(encode_h264(noise, fps=30))
    start = data.index(b"mdat") + 4
    middle = start + (len(data) - start) * 3 // 4
    data[middle:] = bytes(len(data) - middle)
    (tmp_path / "v.mp4").write_bytes(data)
    with open_video(tmp_path / "v.mp4", "decord") as video, pytest.raises(BadInput, match=r"v\.mp4: .*frame"):
        assert video.decoder == "decord"
        video.read(0, 120)


def test_closed_readers_leave_no_frame_to_the_collector(tmp_path):
    path = write(tmp_path / "v.mp4", numbered(8))
    gc.collect()
    gc.disable()
    try:
        with open_video(path) as video:
            video.read(0, 8)
        del video
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        assert not [o for o in gc.garbage if isinstance(o, av.VideoFrame)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def test_encoder_says_what_it_wants():
    with pytest.raises(ValueError, match="either fps or time_s"):
        H264Encoder(64, 64)
    with pytest.raises(ValueError, match="increase strictly"):
        H264Encoder(64, 64, time_s=[0, 0.1, 0.1])
    encoder = H264Encoder(64, 64, time_s=[0, 0.1])
    with pytest.raises(ValueError, match=r"expected uint8 frames \[n, 64, 64, 3\]"):
        encoder.add(np.zeros((2, 32, 64, 3), np.uint8))
    encoder.add(np.zeros((1, 64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="1 frames were added, expected 2"):
        encoder.finish()


def test_encoding_leaves_no_file_behind_even_when_the_process_is_killed(tmp_path, monkeypatch):
    """And a system that cannot name files in memory gives the same bytes through a folder of its own."""
    if not hasattr(os, "memfd_create"):
        pytest.skip("files in memory have no names on this system")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    frames = np.random.default_rng(0).integers(0, 255, (3, 48, 64, 3), np.uint8)
    begun = H264Encoder(64, 48, fps=10)
    begun.add(frames)
    assert list(tmp_path.iterdir()) == []
    in_memory = begun.finish()
    begun.close()
    monkeypatch.delattr(os, "memfd_create")
    assert encode_h264(frames, fps=10) == in_memory and list(tmp_path.iterdir()) == []
