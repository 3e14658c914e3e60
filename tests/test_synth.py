"""Rendered scenes: geometry against closed forms, stereo against depth, the distribution, the files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from curate.sources import make_source
from curate.sources.base import BadInput
from curate.sources.config import ClipConfig, RenderedConfig, SideBySideConfig
from curate.synth import SceneTruth, load_distribution, sample_scene
from curate.synth.dataset import read_askable, write_dataset
from curate.synth.distribution import packaged_distribution
from curate.synth.renderer import Renderer
from tests.synthetic import BASELINE, CAMERA, body, line, path, scene, wall


def test_depth_of_a_box_face_is_its_plane():
    made = scene(wall(), body(1, "box", [2, 1, 1], path([0.2, 0.1, 5.5])))
    depth, ids = Renderer(made).geometry(0)
    assert (ids == 1).sum() > 1000
    # the front face is at z = 5; of the sides nothing shows but slivers behind it
    np.testing.assert_allclose(np.percentile(depth[ids == 1], [1, 50, 90]), 5.0, atol=1e-4)
    np.testing.assert_allclose(depth[ids == 0], 12.0, atol=1e-4)
    v, u = np.nonzero(ids == 1)
    assert abs(u.min() - (CAMERA.cx + 300 * -0.8 / 5)) <= 1 and abs(v.max() - (CAMERA.cy + 300 * 0.6 / 5)) <= 1


def test_depth_of_a_sphere_is_the_quadratic():
    centre, radius = np.array([0.3, -0.2, 6.0]), 0.8
    depth, ids = Renderer(scene(wall(), body(1, "sphere", 2 * radius, path(centre)))).geometry(0)
    rays = CAMERA.rays()
    a, b = (rays**2).sum(-1), rays @ centre
    inside = b**2 - a * (centre @ centre - radius**2)
    well_inside = inside > 0.05 * inside.max()
    expected = (b - np.sqrt(np.maximum(inside, 0))) / a
    assert (ids[well_inside] == 1).all()
    np.testing.assert_allclose(depth[well_inside], expected[well_inside], atol=4e-3)
    assert abs((inside > 0).sum() / (ids == 1).sum() - 1) < 0.01


def test_right_view_is_the_left_one_shifted_by_disparity():
    made = scene(wall(), body(1, "box", [2, 1.5, 1], path([0.2, 0.1, 5.5])), body(2, "sphere", 1, path([-1.5, 0, 4])))
    left, right, depth, _ = Renderer(made).render(0)
    disparity = CAMERA.fx * BASELINE / depth
    rows, columns = np.mgrid[20:160, 60:300]

    def warped(extra: float) -> np.ndarray:
        x = columns - disparity[rows, columns] + extra
        low = np.floor(x).astype(int)
        part = (x - low)[..., None]
        return right[rows, low] * (1 - part) + right[rows, low + 1] * part

    errors = [np.median(np.abs(warped(extra) - left[rows, columns])) for extra in (0, 0.5, -0.5, 2)]
    assert errors[0] < 2.0
    assert min(errors[1:]) > 1.5 * errors[0]


def test_texture_moves_with_the_body():
    step = 0.2  # metres a frame; 12 px at z = 5
    made = scene(wall(), body(1, "box", [2, 1, 1], path(line([-0.4, 0, 5.5], [10 * step, 0, 0]))))
    renderer = Renderer(made)
    first, third = renderer.render(0), renderer.render(2)
    patch = first.left[70:110, 110:150].astype(int)
    moved = third.left[70:110, 134:174].astype(int)
    assert np.abs(patch - moved).max() <= 2
    assert np.abs(patch - third.left[70:110, 110:150]).mean() > 5
    assert patch.std() > 8


def test_outline_counts_what_is_hidden_or_cut_off():
    half_out = body(1, "box", [1, 1, 1], path([CAMERA.width / 2 / CAMERA.fx * 5, 0, 5.5]))
    hidden = body(2, "box", [0.5, 0.5, 0.5], path([-0.5, 0, 8.25]))
    renderer = Renderer(scene(wall(), half_out, hidden, body(3, "box", [1, 1, 1], path([-0.5, 0, 5]))))
    _, ids = renderer.geometry(0)
    assert 0.4 < (ids == 1).sum() / renderer.outline(1, 0) < 0.65
    assert (ids == 2).sum() == 0
    np.testing.assert_allclose(renderer.outline(2, 0), (300 * 0.5 / 8) ** 2, rtol=0.35)


def test_a_frame_that_is_not_there():
    with pytest.raises(IndexError, match="frame 5 of a scene with 5 frames"):
        Renderer(scene(wall())).render(5)


def test_scenes_follow_from_their_seed_and_survive_storing():
    a, b = sample_scene(3, 1), sample_scene(3, 1)
    assert a.to_bytes() == b.to_bytes() != sample_scene(3, 2).to_bytes()
    again = SceneTruth.from_bytes(a.to_bytes())
    assert again.to_bytes() == a.to_bytes() and again.seed == (3, 1)
    for frame in (0, 7):
        for x, y in zip(Renderer(a).render(frame), Renderer(again).render(frame)):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("index", range(12))
def test_drawn_scenes_keep_the_promises_of_the_distribution(index):
    made, d = sample_scene(11, index), load_distribution()
    setting = d.settings[made.setting]
    np.testing.assert_allclose(made.T_world_cam.matrix()[0], np.eye(4), atol=1e-12)
    assert setting.baseline_m[0] - 1e-3 <= made.rig.baseline_m <= setting.baseline_m[1] + 1e-3
    assert made.camera_motion in setting.cameras
    assert any(b.moves for b in made.objects) and any(not b.moves for b in made.objects)
    assert (made.camera_motion == "still") == (np.ptp(made.T_world_cam.translation, axis=0).max() == 0)
    depth, ids = Renderer(made).geometry(0)
    for item in made.objects:
        assert (ids == item.id).sum() > 0.003 * ids.size
        inside = depth[ids == item.id]
        assert 0.5 * setting.distance_m[0] < inside.min() and inside.max() < 1.5 * setting.distance_m[1]
    end = np.array([0, (made.num_frames - 1) * 8])
    for item in made.objects:
        track = made.rig.left.project(made.camera(made.num_frames - 1).inverse() @ item.points(np.zeros(3), end)[1])
        assert 0 <= track[0] < made.rig.left.width and 0 <= track[1] < made.rig.left.height


def test_distribution_errors_name_the_file_and_the_field(tmp_path):
    content = yaml.safe_load(packaged_distribution().read_text())
    for change, words in (({"fpz": 3}, "fpz"), ({"fps": [15, 10]}, "low, high"), ({"settings": {}}, "settings")):
        file = tmp_path / "scenes.yaml"
        file.write_text(yaml.safe_dump(content | change))
        with pytest.raises(ValueError, match=words) as error:
            load_distribution(file)
        assert str(file) in str(error.value)
    with pytest.raises(ValueError, match="cannot read"):
        load_distribution(tmp_path / "none.yaml")
    content["objects"]["size_px"] = [900, 900]
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match="leaves no room"):
        sample_scene(0, 0, file)


def test_truth_files_of_another_kind_are_refused(tmp_path):
    file = tmp_path / "a.truth.npz"
    for data in (b"", b"not a zip", scene(wall()).to_bytes()[:-30]):
        file.write_bytes(data)
        with pytest.raises(ValueError, match=r"a\.truth\.npz"):
            SceneTruth.load(file)


def test_rendered_source_plans_reads_and_refuses_another_seed():
    source = make_source(RenderedConfig(num_scenes=2, width=192, height=108))
    clips = list(source.plan())
    assert len({c.key for c in clips}) == 2 and [c.uri for c in clips] == ["scene-0-0000", "scene-0-0001"]
    assert [c.key for c in make_source(RenderedConfig(num_scenes=3, width=192, height=108)).plan()][:2] == [
        c.key for c in clips]
    with source.open(clips[0]) as frames:
        assert frames.num_frames == clips[0].num_frames == len(frames.time_s)
        left, right = frames.read(1, 3)
        assert left.shape == right.shape == (2, 108, 192, 3)
        np.testing.assert_array_equal(left[1], Renderer(source.scene(0)).render(2).left)
        with pytest.raises(IndexError):
            frames.read(0, frames.num_frames + 1)
    with pytest.raises(BadInput, match="plan again"):
        make_source(RenderedConfig(num_scenes=2, seed=1, width=192, height=108)).open(clips[0])


def test_long_scenes_are_cut_and_the_cuts_line_up():
    source = make_source(RenderedConfig(num_scenes=1, width=192, height=108), ClipConfig(num_frames=12, min_frames=8))
    clips = list(source.plan())
    assert len(clips) >= 2 and sum(c.num_frames for c in clips) >= source.scene(0).num_frames
    with source.open(clips[1]) as frames:
        np.testing.assert_array_equal(frames.read(0, 1)[1][0], Renderer(source.scene(0)).render(clips[1].start).right)


def test_written_videos_are_read_back_by_the_ordinary_source(tmp_path):
    done = []
    made = write_dataset(tmp_path, 1, 5, width=192, height=108, progress=done.append)
    truth = SceneTruth.load(made.truth_dir / "scene-5-0000.truth.npz")
    assert done == ["scene-5-0000"] and truth.to_bytes() == sample_scene(5, 0, width=192, height=108).to_bytes()
    recipe = yaml.safe_load(made.recipe.read_text())
    source = make_source(SideBySideConfig(**recipe["source"]))
    (clip,) = source.plan()
    with source.open(clip) as frames:
        assert frames.num_frames == truth.num_frames
        np.testing.assert_allclose(frames.time_s, truth.time_s, atol=2e-5)
        assert frames.rig.baseline_m == pytest.approx(truth.rig.baseline_m, rel=1e-12)
        assert frames.rig.left.cx == pytest.approx(truth.rig.left.cx)
        left, right = frames.read(4, 5)
    rendered = Renderer(truth).render(4)
    for view, original in ((left, rendered.left), (right, rendered.right)):
        assert np.abs(view[0].astype(float) - original).mean() < 8  # compressed, in the right place
    listed = json.loads((made.truth_dir / "scene-5-0000.truth.json").read_text())
    assert listed["baseline_m"] == truth.rig.baseline_m
    assert any(item.family == "object_camera_distance" for item in read_askable(made.truth_dir, "scene-5-0000"))
    with pytest.raises(ValueError, match="even sizes"):
        write_dataset(tmp_path, 1, 5, width=193, height=108)
