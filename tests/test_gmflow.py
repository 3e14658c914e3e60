"""GMFlow as flow and as stereo: right on real and shifted images, honest about what is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from curate.cli.main import main
from curate.geometry.cameras import Intrinsics, StereoRig
from curate.measure import measure
from curate.perception import check_estimators, make_estimators
from curate.perception.calibrator import Calibrated
from curate.perception.config import PerceptionConfig
from curate.perception.depth.gmflow import GmflowStereo
from curate.perception.depth.refine import local_step
from curate.perception.estimator import Field, Resources, Window
from curate.perception.flow.dis import forward_backward_residual
from curate.perception.flow.gmflow import GmflowFlow
from curate.perception.learned import weights as files
from curate.perception.learned.config import GmflowFlowConfig, GmflowStereoConfig
from curate.perception.pipeline import perceive
from curate.recipe import recipe_from_dict
from curate.sources.base import BadInput, ClipSpec
from tests.analytic_scene import AnalyticFrames, Exact, ExactTracks, Plate, clip
from tests.test_perceive_rendered import RenderedFrames
from tests.textured import Texture, grid, picture

SHARED = Path(__file__).resolve().parents[2] / "shared"
WEIGHTS = SHARED / "weights" / "gmflow.safetensors"
PAIR = SHARED / "data" / "stereopair_middlebury_motorcycle_quarter"

needs_torch = pytest.mark.skipif(files.find_spec("torch") is None or files.find_spec("safetensors") is None,
                                 reason="torch and safetensors are not installed: pip install 'curate4d[learned]'")
needs_weights = pytest.mark.skipif(not WEIGHTS.is_file(), reason="no ../shared/weights/gmflow.safetensors here")


def textured(height: int, width: int) -> np.ndarray:
    """[H, W] uint8."""
    return picture(Texture((width, height), seed=3).at(*grid((width, height))), np.random.default_rng(3))


def window_of(*views: np.ndarray, rig: StereoRig | None = None) -> Window:
    """Views [n, H, W] grey or [n, H, W, 3]."""
    images = [v if v.ndim == 4 else np.repeat(v[..., None], 3, -1) for v in views]
    n, height, width = images[0].shape[:3]
    camera = Intrinsics(400.0, 400.0, width / 2, height / 2, width, height)
    return Window(start=0, overlap=0, is_last=True, images=images, grey=[i[..., 1] for i in images],
                  time_s=np.arange(n) / 10, rig=rig, camera=camera, seed=0)


def made(slot: str, **settings) -> Calibrated:
    config = PerceptionConfig.model_validate({slot: {"kind": "gmflow", "weights": str(WEIGHTS), "device": "cpu",
                                                     **settings}})
    estimator = make_estimators(config)[0 if slot == "depth" else 1]
    estimator.setup()
    return estimator


@needs_torch
@needs_weights
class TestEstimators:
    def test_flow_of_a_shifted_image(self):
        """The second frame is the first one moved by a whole number of pixels: what leaves the image is not valid."""
        scene = textured(200, 240)
        step = np.array([6, -4])  # of the content, px a frame
        frames = np.stack([scene[40 + 4 * i:40 + 4 * i + 96, 40 - 6 * i:40 - 6 * i + 160] for i in range(2)])
        part = made("flow").run(window_of(frames))["flow"]
        assert part.values.shape == (2, 96, 160, 2) and part.filled_by == "gmflow-flow@1"
        assert not part.valid[1].any() and not part.values[1].any()
        inside = np.zeros((96, 160), bool)
        inside[4:, :154] = True
        assert part.valid[0, inside].mean() > 0.85 and part.valid[0, ~inside].mean() < 0.3
        error = np.linalg.norm(part.values - step, axis=-1)[part.valid & inside]
        assert np.median(error) < 0.5 and np.quantile(error, 0.95) < 1.0
        assert np.isinf(part.sigma[~part.valid]).all() and (part.sigma[part.valid] > 0).all()

    def test_batches_and_windows_change_nothing(self):
        scene = textured(160, 200)
        frames = np.stack([scene[10 + i:74 + i, 20:116] for i in range(4)])
        one, many = made("flow", batch=1), made("flow", batch=8)
        whole = one.run(window_of(frames))["flow"]
        first, second = many.run_many([window_of(frames[:3]), window_of(frames[2:])])
        joined = np.concatenate([first["flow"].values[:2], second["flow"].values[:1]])
        np.testing.assert_allclose(joined, whole.values[:3], atol=2e-3)
        np.testing.assert_array_equal(one.run(window_of(frames))["flow"].values, whole.values)

    @pytest.mark.shared
    def test_stereo_of_a_real_pair(self):
        """A part of Middlebury's motorcycle, both views cut alike with the smallest disparities taken off."""
        if not PAIR.is_dir():
            pytest.skip("no ../shared/data/stereopair_middlebury_motorcycle_quarter here")
        import cv2

        calib = json.loads((PAIR / "calib.json").read_text())
        left, right = (cv2.imread(str(PAIR / f"motorcycle_{s}.png"))[..., ::-1] for s in ("left", "right"))
        with np.load(PAIR / "motorcycle_disp.npz") as npz:
            truth = npz[npz.files[0]]
        rows, columns = slice(150, 310), slice(260, 516)
        fx = calib["fx"]
        rig = StereoRig(Intrinsics(fx, fx, 51.2, 104.9, 256, 160), calib["baseline_m"], calib["doffs_px"])
        window = window_of(left[None, rows, columns], right[None, rows, columns], rig=rig)
        fields = made("depth").run(window)
        part, truth = fields["disparity"], truth[rows, columns]
        seen = np.isfinite(truth) & (np.arange(256) - truth >= 0)  # what the right view shows too, but for the hidden
        inner = part.valid[0] & seen
        assert inner.sum() > 0.7 * seen.sum()
        error = np.abs(part.values[0] - truth)[inner]
        assert np.median(error) < 0.5 and np.mean(error > 2) < 0.06
        assert np.mean(error < 2 * part.sigma[0][inner]) > 0.85
        depth = fields["depth"]
        np.testing.assert_allclose(depth.values[depth.valid], rig.depth(part.values)[depth.valid], rtol=1e-4)
        assert np.isinf(depth.values[~depth.valid]).all() and part.filled_by == "gmflow-stereo@1"

    def test_half_precision_is_within_a_tenth_of_a_pixel(self):
        """As on a GPU, with the same casts on a CPU."""
        import torch

        from curate.perception.learned.gmflow_net import Gmflow

        scene = torch.from_numpy(textured(100, 140)).float()
        pair = [scene[y:y + 64, x:x + 96].expand(1, 3, 64, 96) for y, x in ((10, 20), (12, 16))]
        flows = []
        for precision in (torch.float32, torch.float16):
            net = Gmflow(precision)
            files.load_strictly(net, WEIGHTS, "gmflow")
            with torch.inference_mode():
                flows.append(net.eval()(*pair)[0])
        assert flows[1].dtype == torch.float32
        assert 0 < (flows[0] - flows[1]).abs().quantile(0.95) < 0.1

    def test_the_pipeline_takes_both(self):
        """Two small rendered frames to a scene: every dense field from the network, its sigma calibrated."""
        from curate.synth import sample_scene

        truth = sample_scene(100, 1, width=160, height=96)
        frames = RenderedFrames(truth)
        frames.num_frames, frames.time_s = 2, frames.time_s[:2]
        settings = {"kind": "gmflow", "weights": str(WEIGHTS), "device": "cpu"}
        config = PerceptionConfig(depth=settings, flow=settings, rig={"kind": "as-published"})
        taken: dict = {}
        scene = perceive(ClipSpec("ab" * 12, "rendered", "scene", "scene", 0, 2), frames, config,
                         [lambda window: taken.update(window.fields)])
        assert scene.origin["disparity"] == scene.origin["depth"] == "gmflow-stereo@1"
        assert scene.origin["flow"] == "gmflow-flow@1" and scene.scale == "calibrated"
        part = taken["disparity"]
        expected = truth.rig.disparity(frames.depth[:2])
        error = (part.values - expected)[part.valid & np.isfinite(expected)]
        assert part.valid.mean() > 0.5 and np.median(np.abs(error)) < 0.7

    def test_stereo_wants_a_pair(self):
        with pytest.raises(ValueError, match="needs a rectified stereo pair; this window has 1 view"):
            made("depth").run(window_of(textured(64, 64)[None]))

    def test_a_file_of_another_network_is_refused(self, tmp_path):
        import torch
        from safetensors.torch import save_file

        save_file({"backbone.conv1.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
        with pytest.raises(BadInput, match=r"another network than gmflow's: .* is missing"):
            made("flow", weights=str(tmp_path / "other.safetensors"))
        torn = tmp_path / "torn.safetensors"
        torn.write_bytes(WEIGHTS.read_bytes()[:100_000])
        with pytest.raises(BadInput, match=r"torn\.safetensors: not a safetensors file"):
            made("flow", weights=str(torn))


@needs_torch
class TestParts:
    """Pieces of the network against slow twins, with random numbers for weights."""

    def test_windows_and_their_mask(self):
        import torch

        from curate.perception.learned.gmflow_transformer_net import from_windows, shift_mask, to_windows

        x = torch.randn(2, 8, 12, 3)
        assert torch.equal(from_windows(to_windows(x, 2), 2, 8, 12), x)
        # pixels of one window may attend to each other where rolling did not bring them from opposite borders
        y, x = (torch.roll(t[None, ..., None], (-2, -3), (1, 2)) for t in
                torch.meshgrid(torch.arange(8), torch.arange(12), indexing="ij"))
        y, x = (to_windows(t, 2)[:, 0, :, 0] for t in (y, x))
        near = ((y[:, :, None] - y[:, None]).abs() < 4) & ((x[:, :, None] - x[:, None]).abs() < 6)
        assert torch.equal(shift_mask(8, 12, 2, torch.device("cpu")), near)

    def test_local_match_is_the_mean_over_neighbours(self):
        import torch

        from curate.perception.learned.gmflow_matching_net import local_match

        a, b = torch.randn(1, 16, 5, 6), torch.randn(1, 16, 5, 6)
        flow = local_match(a, b, 2)[0]
        for y, x in ((0, 0), (2, 3), (4, 5)):
            steps = [(j - x, i - y) for i in range(5) for j in range(6) if abs(i - y) <= 2 and abs(j - x) <= 2]
            score = torch.stack([(a[0, :, y, x] * b[0, :, y + dy, x + dx]).sum() / 4 for dx, dy in steps])
            mean = (torch.softmax(score, 0)[:, None] * torch.tensor(steps, dtype=torch.float32)).sum(0)
            torch.testing.assert_close(flow[:, y, x], mean)

    def test_slices_of_the_global_match_change_nothing(self, monkeypatch):
        import torch

        from curate.perception.learned import gmflow_matching_net as net

        a, b = torch.randn(2, 16, 6, 7), torch.randn(2, 16, 6, 7)
        whole = net.global_match(a, b)
        monkeypatch.setattr(net, "MAX_SCORES", 200)
        torch.testing.assert_close(net.global_match(a, b), whole)

    def test_warp_reads_where_the_flow_points(self):
        import torch

        from curate.perception.learned.gmflow_matching_net import warp

        x = torch.arange(35.0).reshape(1, 1, 5, 7)
        moved = warp(x, torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1).expand(1, 2, 5, 7))
        torch.testing.assert_close(moved[0, 0, :3, :6], x[0, 0, 2:, 1:])
        assert not moved[0, 0, 3:].any()

    def test_the_check_of_a_flow_is_the_classical_one(self):
        import torch

        from curate.perception.learned.gmflow import _judged

        rng = np.random.default_rng(0)
        forward, backward = np.repeat(rng.normal(0, 3, (2, 1, 2, 20, 6)), 5, -1).astype(np.float32)
        judged = _judged(torch.tensor(forward), torch.tensor(backward))
        values, residual2, step2, inside = (x.numpy()[0] for x in judged)
        f, b = (np.ascontiguousarray(x[0].transpose(1, 2, 0)) for x in (forward, backward))
        np.testing.assert_array_equal(values, f)
        residual, expected = forward_backward_residual(f, b)
        np.testing.assert_array_equal(inside, expected)
        np.testing.assert_allclose(np.sqrt(residual2), residual, atol=0.4)  # OpenCV reads at 1/32 px
        yes = np.ones((20, 30), bool)
        np.testing.assert_allclose(step2, local_step(f[..., 0], yes) ** 2 + local_step(f[..., 1], yes) ** 2, rtol=1e-4)

    def test_padding_is_even_and_enough(self):
        from curate.perception.learned.gmflow import padding

        for height, width in ((375, 1242), (64, 64), (40, 33)):
            left, right, top, bottom = padding(height, width)
            assert (height + top + bottom) % 32 == 0 and (width + left + right) % 32 == 0
            assert min(height + top + bottom, width + left + right) >= 64
            assert 0 <= right - left <= 1 and 0 <= bottom - top <= 1


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "some.safetensors"
    path.write_bytes(b"\0" * 64)
    return path


def recipe(weights: object, **settings):
    return recipe_from_dict({"source": {"kind": "rendered"},
                             "perception": {"flow": {"kind": "gmflow", "weights": str(weights), **settings}}})


class TestWeights:
    def test_the_content_counts_and_not_the_place(self, file, tmp_path):
        before = recipe(file).perception_parts()
        moved = tmp_path / "elsewhere.safetensors"
        shutil.copy(file, moved)
        assert recipe(moved).perception_parts() == before == recipe(file, batch=9).perception_parts()
        assert list(before["weights"]) == ["flow"] and before["estimators"]["flow"] == "gmflow-flow@1"
        moved.write_bytes(b"\1" * 64)
        assert recipe(moved).perception_fingerprint() != recipe(file).perception_fingerprint()
        assert recipe(file, max_sigma_px=1).perception_fingerprint() != recipe(file).perception_fingerprint()

    def test_recipes_without_weights_keep_their_fingerprint(self):
        parts = recipe_from_dict({"source": {"kind": "rendered"}}).perception_parts()
        assert "weights" not in parts and "torch" not in parts["packages"]
        assert None not in parts["perception"].values()

    @pytest.mark.parametrize(("name", "content", "words"), [
        (None, b"", "does not exist; gmflow needs a .safetensors file .* --set perception.flow.weights=PATH"),
        ("a.pth", b"PK\x03\x04rest", "a pickled checkpoint .* gmflow reads .safetensors only: convert it"),
        ("a.safetensors", b"\x80\x02}q", "a pickled checkpoint"), ("a.bin", b"\0" * 9, "is no .safetensors file")])
    def test_an_unusable_file_is_named_before_anything_runs(self, tmp_path, monkeypatch, name, content, words):
        monkeypatch.setattr(files, "find_spec", lambda name: object())
        if name:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=words):
            check_estimators(recipe(tmp_path / (name or "none.safetensors")).perception)

    def test_the_command_line_says_what_is_missing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(files, "find_spec", lambda name: object())
        text = "source: {kind: rendered}\nperception: {depth: {kind: gmflow, weights: nowhere.safetensors}}\n"
        (tmp_path / "mine.yaml").write_text(text)
        done = CliRunner().invoke(main, ["validate", str(tmp_path / "mine.yaml")])
        assert done.exit_code == 2 and "perception.depth.weights: nowhere.safetensors does not exist" in done.output
        monkeypatch.setattr(files, "find_spec", lambda name: None if name == "torch" else object())
        done = CliRunner().invoke(main, ["validate", str(tmp_path / "mine.yaml")])
        assert done.exit_code == 1 and "torch is not installed; pip install 'curate4d[learned]'" in done.output

    def test_doctor_says_the_line_and_is_content_without(self, monkeypatch):
        from curate.cli import doctor

        version = doctor.metadata.version

        def without(name):
            if name == "onnxruntime":
                raise doctor.metadata.PackageNotFoundError(name)
            return version(name)

        wanted = ["numpy>=2", "onnxruntime>=1.18; extra == 'learned'"]
        monkeypatch.setattr(doctor.metadata, "requires", lambda name: wanted)
        monkeypatch.setattr(doctor.metadata, "version", without)
        levels = {f.name: (f.level, f.found) for f in doctor.packages()}
        assert levels["onnxruntime >=1.18"][0] == "note"
        assert "pip install 'curate4d[learned]'" in levels["onnxruntime >=1.18"][1]

    def test_a_missing_key_names_its_line(self, tmp_path):
        (tmp_path / "mine.yaml").write_text("source: {kind: rendered}\nperception:\n  flow:\n    kind: gmflow\n")
        done = CliRunner().invoke(main, ["validate", str(tmp_path / "mine.yaml")])
        assert done.exit_code == 2 and "mine.yaml:3: the key 'perception.flow.weights' is missing" in done.output


class TestCalibrator:
    class Bare:
        name, version, needs, gives, window, overlap = "bare", "1", (), ("disparity",), 2, 0
        resources = Resources()
        config = SimpleNamespace(max_sigma_px=2.0)

        def setup(self) -> None: ...

        def run(self, window: Window) -> dict[str, Field]:
            terms = {"forward_backward": np.array([[[0.0, 1.0, 9.0]]], np.float32)}
            return {"disparity": Field(np.full((1, 1, 3), 5, np.float32), np.ones((1, 1, 3), bool), None, "bare@1",
                                       {"terms": terms})}

    def test_sigma_from_residuals_by_the_table(self, monkeypatch):
        monkeypatch.setattr("curate.perception.calibrator.calibration",
                            lambda name, version: {"floor_px": 0.3, "forward_backward": 0.4})
        part = Calibrated(self.Bare()).run(window_of(np.zeros((1, 1, 3), np.uint8)))["disparity"]
        np.testing.assert_allclose(part.sigma, [[[0.3, 0.5, np.hypot(0.3, 1.2)]]], rtol=1e-6)
        assert part.valid.all() and part.info["calibrated"] and "terms" not in part.info

    def test_in_no_table_it_is_wide_and_says_so(self):
        part = Calibrated(self.Bare()).run(window_of(np.zeros((1, 1, 3), np.uint8)))["disparity"]
        assert not part.info["calibrated"] and part.sigma[0, 0, 0] >= 0.5
        assert not part.valid[0, 0, 2] and part.values[0, 0, 2] == 0 and np.isinf(part.sigma[0, 0, 2])

    def test_a_scene_without_calibration_has_no_lengths(self):
        class Uncalibrated(Exact):
            def disparity(self, window):
                part = super().disparity(window)
                part.info["calibrated"] = False
                return part

        frames = AnalyticFrames([Plate(lambda t: [0.05 * t, 0.2, 4.0])], 9, size=(160, 120))
        scenes = [perceive(clip(9), frames, PerceptionConfig(rig={"kind": "as-published"}), estimators=[
            kind(frames, "disparity"), Exact(frames, "flow"), Exact(frames, "camera", "motion"), ExactTracks(frames)])
            for kind in (Exact, Uncalibrated)]
        assert [scene.scale for scene in scenes] == ["calibrated", "relative"]
        lengths = [[q for q in measure(scene) if q.unit == "m"] for scene in scenes]
        assert lengths[0] and not lengths[1]

    def test_the_slots_are_wrapped_and_keep_their_contract(self):
        for inner in (GmflowFlow(GmflowFlowConfig(weights="x.safetensors")),
                      GmflowStereo(GmflowStereoConfig(weights="x.safetensors"))):
            outer = Calibrated(inner)
            for name in ("name", "version", "needs", "gives", "window", "overlap", "resources"):
                assert getattr(outer, name) == getattr(inner, name)
            assert outer.error_model is not None, "calibrated in the package's data"


class TestBenchmark:
    def test_what_is_missing_is_a_row(self, tmp_path, monkeypatch):
        from benchmarks import learned

        names = [r["name"] for r in learned.rows(tmp_path / "data")]
        assert [n.split(":")[0] for n in names] == ["gmflow", "yolox"] and all("skipped, " in n for n in names)
        monkeypatch.setattr(learned, "find_spec", lambda name: None)
        assert "pip install 'curate4d[learned]'" in learned.rows(tmp_path / "data")[0]["name"]

    def test_colours_are_found_again(self, tmp_path):
        """A pair is kept grey; its pictures are the ones whose grey it is."""
        import cv2

        from benchmarks.learned import colours

        rng = np.random.default_rng(0)
        pictures = [rng.integers(0, 255, (8, 12, 3), np.uint8) for _ in range(2)]
        for name, picture_ in zip("ab", pictures):
            cv2.imwrite(str(tmp_path / f"{name}.png"), picture_)
        grey = [cv2.cvtColor(p, cv2.COLOR_BGR2GRAY) for p in pictures]
        left, right = colours(SimpleNamespace(folder=tmp_path, left=grey[1], right=255 - grey[0]))
        np.testing.assert_array_equal(left, pictures[1][..., ::-1])
        assert (right == (255 - grey[0])[..., None]).all(), "grey where there is none"
