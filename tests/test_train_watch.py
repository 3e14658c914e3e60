"""What is watched over training: pictures in known colours, a log that a resumed run does not double."""

from __future__ import annotations

import json

import numpy as np
import pytest

from curate.train.config import WatchConfig
from curate.train.pictures import UNKNOWN, depth_picture, flow_picture, motion_picture, picture
from curate.train.watch import LOG, Watch, keep_until, read_log


def test_depth_goes_from_yellow_to_violet_by_logarithm():
    pixels = depth_picture(np.array([[1.0, 10.0, 100.0, np.nan, -1.0]]), near=1.0, far=100.0)
    assert pixels[0, 0].tolist() == [253, 231, 37] and pixels[0, 2].tolist() == [68, 1, 84]
    middle = depth_picture(np.array([[50.5]]), near=1.0, far=100.0)[0, 0]
    assert abs(pixels[0, 1].astype(int) - middle).max() > 20, "10 m is the middle of 1 and 100, not 50.5"
    assert pixels[0, 3].tolist() == pixels[0, 4].tolist() == [UNKNOWN] * 3


@pytest.mark.parametrize("flow, colour", [((4, 0), [255, 0, 0]), ((-4, 0), [0, 255, 255]), ((0, 0), [255, 255, 255]),
                                          ((np.nan, 0), [UNKNOWN] * 3), ((40, 0), [255, 0, 0])])
def test_flow_is_a_hue_of_its_direction(flow, colour):
    assert flow_picture(np.array([[flow]], float), largest=4.0)[0, 0].tolist() == colour


def test_motion_is_black_to_orange():
    assert motion_picture(np.array([[0.0, 1.0, np.nan]]))[0].tolist() == [[0, 0, 0], [255, 150, 20], [UNKNOWN] * 3]


def test_a_clips_picture_has_a_row_for_frames_and_two_a_signal():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (8, 32, 64, 3), dtype=np.uint8)
    true = {"depth": np.full((8, 7, 14, 1), np.nan), "flow": rng.normal(size=(8, 7, 14, 2)),
            "camray": np.zeros((8, 7, 14, 6))}
    pixels = picture(frames, true, {name: np.zeros_like(v) for name, v in true.items()}, max_frames=4)
    assert pixels.dtype == np.uint8 and pixels.shape == (5 * (96 + 2), 4 * (192 + 2), 3)


def records(steps):
    return [{"step": s, "stage": "all", "lr": 0.1, "loss": 1.0 / s, "seconds": 0.1, "wait_seconds": 0.0} for s in steps]


def test_what_was_logged_after_the_checkpoint_is_logged_anew(tmp_path):
    config = WatchConfig(tensorboard=False)
    with Watch(tmp_path, config, 10) as watch:
        for record in records(range(1, 8)):
            watch.step(record)
    with (tmp_path / LOG).open("a") as file:
        file.write('{"step": 8, "lo')  # the process was killed here
    with Watch(tmp_path, config, 10, done=5) as watch:
        for record in records(range(6, 11)):
            watch.step(record)
    assert [r["step"] for r in read_log(tmp_path / LOG)] == list(range(1, 11))


def test_every_so_many_steps_and_the_last(tmp_path):
    with Watch(tmp_path, WatchConfig(tensorboard=False, log_every=4), 10) as watch:
        for record in records(range(1, 11)):
            watch.step(record, last=record["step"] == 10)
    assert [r["step"] for r in read_log(tmp_path / LOG)] == [4, 8, 10]


def test_a_log_that_is_not_there_stays_so(tmp_path):
    keep_until(tmp_path / LOG, 3)
    assert read_log(tmp_path / LOG) == [] and not list(tmp_path.iterdir())


def test_other_processes_write_nothing(tmp_path):
    with Watch(tmp_path / "run", WatchConfig(), 10, main=False) as watch:
        watch.step(records([1])[0])
        watch.picture(1, "clip", np.zeros((4, 4, 3), np.uint8))
    assert not (tmp_path / "run").exists()


def test_tensorboard_has_scalars_and_pictures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Watch(tmp_path, WatchConfig(), 2) as watch:
        for record in records([1, 2]):
            watch.step(record)
        watch.picture(2, "clip-0", np.zeros((4, 6, 3), np.uint8))
        watch.accuracy(2, {"all": 0.5})
    assert (tmp_path / "pictures" / "clip-0-000002.png").read_bytes().startswith(b"\x89PNG")
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert {"loss/loss", "optim/lr", "time/seconds", "accuracy/all"} <= set(board.Tags()["scalars"])
    assert [event.step for event in board.Scalars("loss/loss")] == [1, 2] and board.Tags()["images"] == ["clip-0"]


def test_progress_without_a_terminal_is_a_few_plain_lines(tmp_path):
    from io import StringIO

    from rich.console import Console

    out = StringIO()
    with Watch(tmp_path, WatchConfig(tensorboard=False), 100, console=Console(file=out, width=120)) as watch:
        for record in records(range(1, 101)):
            watch.step(record)
    lines = out.getvalue().splitlines()
    assert len(lines) == 20 and lines[-1].startswith("step 100/100  all: loss 0.01") and "s a step" in lines[-1]
    assert json.loads((tmp_path / LOG).read_text().splitlines()[0])["step"] == 1
