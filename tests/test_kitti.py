"""Real driving video from the recipe to the shard, against the published poses of the camera."""

from pathlib import Path

import numpy as np
import pytest

import curate
from curate.geometry.poses import Pose

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
NUM_FRAMES = 10


@pytest.mark.shared
@pytest.mark.parametrize("name", ["stereo_kitti06_gray", "stereo_kitti02_color"])
def test_driving_video_becomes_questions_whose_answers_fit_the_published_poses(name, tmp_path):
    if not (DATA / name).is_dir():
        pytest.skip(f"no real sequence {name}: ../shared/data is not beside the checkout")
    recipe = curate.load_recipe(ROOT / "recipes/kitti_odometry.yaml", [
        f"source.root={DATA / name}", f"clip.num_frames={NUM_FRAMES}", "clip.max_clips=1", "engine.kind=inline"])
    summary = curate.run(recipe, tmp_path, quiet=True)
    assert summary.exit_code == 0 and summary.counts["done"] == summary.planned == 1
    assert curate.shards.verify(tmp_path) == []
    poses = Pose.from_matrix("world", "cam", np.loadtxt(
        next((DATA / name).glob("poses*.txt"))).reshape(-1, 3, 4)).translation
    seen = set()
    for item in curate.shards.read(tmp_path):
        qa = item["qa"]
        way = poses[qa["start_frame"]: qa["end_frame"] + 1]
        truth = {"camera_displacement": np.linalg.norm(way[-1] - way[0]),
                 "camera_path_length": np.linalg.norm(np.diff(way, axis=0), axis=1).sum()}.get(qa["family"])
        if truth is not None and qa["form"] == "numeric":
            assert qa["value"] == pytest.approx(truth, rel=0.015)
        elif truth is not None:
            values = np.array(qa["extra"]["option_values"])
            assert np.argmin(abs(values - truth)) == "ABCDE".index(qa["letter"])
        elif qa["family"] == "camera_direction":
            assert qa["answer"] == "forward"
        seen.add(qa["family"])
    assert {"camera_displacement", "camera_path_length", "camera_direction"} <= seen
    record = next(iter(curate.shards.read(tmp_path, flatten=False)))["json"]
    assert record["scale"] == "calibrated" and record["source"]["licence"]
