"""What moves in the world: a test of each pixel's flow and disparity change against the camera's motion alone."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.special import chdtri

from curate.data import calibration
from curate.geometry.cameras import StereoRig
from curate.geometry.poses import Pose, relative
from curate.geometry.rotations import skew
from curate.geometry.trajectories import step_totals
from curate.perception.estimator import Field, Resources, Window
from curate.perception.motion.config import RigidResidualConfig
from curate.perception.motion.photometric import fits_still

UPPER = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
FAR_PX = 0.5  # of flow beside the still world's: more than a match of the right thing errs


class RigidResidual:
    """Gives `motion` [n, H, W]: chi-square per degree of freedom of "this pixel is still in the world".

    For a pixel with disparity d and flow f from frame i to i + 1, the camera's motion predicts where a still
    point goes, (u', v', d'). The residual r = (f - (u' - u, v' - v), d_{i+1}(u + f) - d') has the covariance

        C = diag(sigma_f², sigma_f², sigma_d_{i+1}²) + J_d sigma_d² J_dᵀ + J_x Sigma_camera J_xᵀ

    and r is averaged over a small window; the pixels' own part of C shrinks with the number of pixels that are
    independent (region correlation of the calibration), the floor of the calibration and the camera's part do not.
    Where the disparity of the next frame is unknown the test has two degrees of freedom; its statistic is scaled
    so that one threshold serves both. Median over the image above its expectation raises C (the errors were
    larger than stated), never lowers it; it is taken low enough in the distribution (the lower quartile) that
    objects which fill up to half of the image do not hide themselves, and is bounded.
    Where the flow is far off, the image is asked: if it fits the still world about as well as the flow, the flow is
    wrong there and the pixel is unknown.
    """

    name = "rigid-residual"
    version = "3"
    needs = ("disparity", "flow", "camera")
    gives = ("motion",)
    window = 2
    overlap = 1
    resources = Resources(cpu=1.0, memory_bytes=400 << 20)

    def __init__(self, config: RigidResidualConfig | None = None) -> None:
        self.config = config or RigidResidualConfig()
        if self.config.window % 2 == 0:
            raise ValueError(f"rigid-residual: window must be odd, got {self.config.window}")
        self.threshold = float(chdtri(3, self.config.p_value) / 3)
        # brings two degrees of freedom to the scale of three, equal at the threshold
        self._two_to_three = self.threshold / float(chdtri(2, self.config.p_value) / 2)

    def setup(self) -> None:
        cv2.setNumThreads(1)

    def run(self, window: Window) -> dict[str, Field]:
        """
        Raises:
            ValueError: where the window has no stereo rig.
            FrameError: where the camera field is not T_world_cam.
        """
        if window.rig is None:
            raise ValueError("rigid-residual needs the stereo rig to turn disparity into space; this window has none")
        disparity, flow, camera = (window.fields[name] for name in self.needs)
        shape = disparity.values.shape
        values, valid = np.zeros(shape, np.float32), np.zeros(shape, bool)
        inflation = np.ones(shape[0])
        poses: Pose = camera.values.expect("world", "cam")
        models = [_error_model(field) for field in (disparity, flow)]
        frame_cov = camera.info.get("frame_cov")
        steps = camera.sigma if frame_cov is None else step_totals(poses, camera.sigma, frame_cov)
        for i in range(shape[0] - 1):
            if not camera.valid[i + 1] or not camera.valid[i]:
                continue
            statistic, known, inflation[i] = self.test(
                relative(poses, i, i + 1), steps[i + 1], window.rig,
                (disparity.values[i], disparity.sigma[i], disparity.valid[i]),
                (disparity.values[i + 1], disparity.sigma[i + 1], disparity.valid[i + 1]),
                (flow.values[i], flow.sigma[i], flow.valid[i]), models,
                (window.grey[0][i], window.grey[0][i + 1]) if window.grey else None)
            size = (shape[2], shape[1])
            values[i] = cv2.resize(statistic, size, interpolation=cv2.INTER_NEAREST)
            valid[i] = cv2.resize(known.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
            valid[i] &= disparity.valid[i] & flow.valid[i]
        return {"motion": Field(values, valid, None, f"{self.name}@{self.version}",
                                {"threshold": self.threshold, "p_value": self.config.p_value,
                                 "inflation": inflation})}

    def test(self, T_i_j: Pose, motion_covariance: np.ndarray, rig: StereoRig, disparity_i, disparity_j, flow,
             models: list[dict[str, float]],
             images: tuple[np.ndarray, np.ndarray] | None = None) -> tuple[np.ndarray, np.ndarray, float]:
        """One pair of frames.

        Args:
            T_i_j: motion of the camera from i to j = i + 1.
            motion_covariance: [6, 6], rotation vector and translation in the axes of camera i.
            disparity_i, disparity_j, flow: (values, sigma, valid) of the two frames and between them.
            models: calibration of disparity and of flow.
            images: the two frames [H, W] uint8, to look again where the flow is far off.

        Returns:
            statistic and validity on the coarser grid, and the factor it was divided by.
        """
        stride = max(self.config.stride, round(disparity_i[0].shape[1] / self.config.work_width))
        window = max(1, 2 * round(self.config.window * disparity_i[0].shape[1] / 640 / stride / 2) + 1)
        residual, parts, known, has_disparity = residuals(T_i_j, motion_covariance, rig, disparity_i, disparity_j,
                                                          flow, stride)
        own, common = parts
        weight = known / np.maximum(own[..., 0] + own[..., 3] + 1e-4, 1e-4)
        weight_d = weight * has_disparity
        size = (window, window)
        total, total_d = (cv2.boxFilter(w, -1, size) + 1e-12 for w in (weight, weight_d))
        squares = cv2.boxFilter(weight * weight, -1, size)
        # effective number of independent pixels, at least one
        cells = stride**2 * window**2 * total**2 / np.maximum(squares, 1e-20)
        correlation = max(model["region_correlation_px"] for model in models)
        shrink = np.minimum(1, correlation / np.maximum(cells, 1))
        mean = np.stack([cv2.boxFilter(weight * residual[..., 0], -1, size) / total,
                         cv2.boxFilter(weight * residual[..., 1], -1, size) / total,
                         cv2.boxFilter(weight_d * residual[..., 2], -1, size) / total_d], -1)
        covariance = own * shrink[..., None] + common
        floor_d, floor_f = models[0]["region_floor_px"] ** 2, models[1]["region_floor_px"] ** 2
        covariance[..., (0, 3)] += np.float32(floor_f)
        covariance[..., 5] += np.float32(2 * floor_d)
        three, two = _mahalanobis(mean, covariance)
        statistic = np.where(has_disparity, three / 3, two / 2)
        inflation = self._inflation(statistic[known], has_disparity[known])
        statistic = np.where(has_disparity, statistic, statistic * np.float32(self._two_to_three))
        statistic = (statistic / np.float32(inflation)).astype(np.float32)
        far = known & (statistic > self.threshold) & (mean[..., 0] ** 2 + mean[..., 1] ** 2 > FAR_PX**2)
        if far.any():
            at_u, at_v = (np.arange(n, dtype=np.float32) * stride + stride // 2 for n in far.shape[::-1])
            moved = flow[0][stride // 2::stride, stride // 2::stride]
            flowed = at_u[None] + moved[..., 0], at_v[:, None] + moved[..., 1]
            still = flowed[0] - residual[..., 0], flowed[1] - residual[..., 1]
            height, width = flow[2].shape
            # what would have left the image cannot be seen to be still: the flow found something like it
            doubtful = (still[0] < 0) | (still[0] > width - 1) | (still[1] < 0) | (still[1] > height - 1)
            if images is not None:
                doubtful |= fits_still(*images, flowed, still, stride, window + 2)
            known &= ~(far & doubtful)
        return statistic, known, inflation

    def _inflation(self, statistic: np.ndarray, has_disparity: np.ndarray) -> float:
        """How much larger the image's own errors are than stated, at least 1."""
        factors = [1.0]
        for dof, values in ((3, statistic[has_disparity]), (2, statistic[~has_disparity])):
            if len(values) >= 1000 and len(values) > 0.3 * len(statistic):
                factors.append(float(np.quantile(values, 0.25)) / float(chdtri(dof, 0.75) / dof))
        return float(min(max(factors), self.config.max_inflation))


def _error_model(field: Field) -> dict[str, float]:
    """The calibration of whoever filled a field, or what its source states; a source that states nothing, and a field
    of no table, has independent pixels."""
    if stated := field.info.get("error_model"):
        return {"region_correlation_px": 1.0, "region_floor_px": 0.0, **stated}
    name, _, version = field.filled_by.partition("@")
    if not version or not field.info.get("calibrated", True):
        return {"region_correlation_px": 1.0, "region_floor_px": 0.0}
    return calibration(name, version)


def residuals(T_i_j: Pose, motion_covariance: np.ndarray, rig: StereoRig, disparity_i, disparity_j, flow, stride: int):
    """Residual of flow and disparity change against a still world, on every `stride`-th pixel.

    Returns:
        residual [h, w, 3] float32 px (u, v, disparity),
        its covariance in two parts, of the pixel and of the camera, [h, w, 6] px² each, upper triangle
        (uu, uv, ud, vv, vd, dd),
        known [h, w] bool, and where the disparity of the next frame takes part [h, w] bool.
    """
    cut = (slice(stride // 2, None, stride),) * 2
    camera = rig.left
    d, sigma_d, valid_d = (np.ascontiguousarray(a[cut]) for a in disparity_i)
    f, sigma_f, valid_f = (np.ascontiguousarray(a[cut]) for a in flow)
    total = d + np.float32(rig.doffs_px)
    known = valid_d & valid_f & (total > 0.25)
    total = np.where(known, total, np.float32(1))
    height, width = disparity_i[0].shape
    u = np.arange(width, dtype=np.float32)[cut[1]][None]
    v = np.arange(height, dtype=np.float32)[cut[0]][:, None]

    # scaled by the inverse depth: q = p / z, and the translation over z
    inverse = total / np.float32(camera.fx * rig.baseline_m)
    x, y = (u - np.float32(camera.cx)) / np.float32(camera.fx), (v - np.float32(camera.cy)) / np.float32(camera.fy)
    R, t = T_i_j.rotation.astype(np.float32), T_i_j.translation.astype(np.float32)
    q = (x - t[0] * inverse, y - t[1] * inverse, 1 - t[2] * inverse)
    X, Y, Z = (R[0, k] * q[0] + R[1, k] * q[1] + R[2, k] * q[2] for k in range(3))
    known &= Z > 0.05
    Z = np.where(known, Z, np.float32(1))
    predicted_u = np.float32(camera.fx) * X / Z + np.float32(camera.cx)
    predicted_v = np.float32(camera.fy) * Y / Z + np.float32(camera.cy)
    predicted_total = total / Z

    target_u, target_v = u + f[..., 0], v + f[..., 1]
    next_d, next_sigma, has = _sample(disparity_j, target_u, target_v)
    has &= known
    r = np.stack([target_u - predicted_u, target_v - predicted_v,
                  np.where(has, next_d + np.float32(rig.doffs_px) - predicted_total, 0)], -1)
    r[~known] = 0

    def row(dX, dY, dZ, dtotal):
        """Change of (u', v', d') with the scaled point."""
        return (np.float32(camera.fx) * (dX - X / Z * dZ) / Z, np.float32(camera.fy) * (dY - Y / Z * dZ) / Z,
                dtotal / Z - predicted_total / Z * dZ)

    turned = -(R.T @ t) / np.float32(camera.fx * rig.baseline_m)
    by_d = row(turned[0], turned[1], turned[2], np.float32(1))
    variance_f, variance_d = _finite(sigma_f, known) ** 2, _finite(sigma_d, known) ** 2
    own = np.empty((6, *d.shape), np.float32)
    for k, (a, b) in enumerate(UPPER):
        np.multiply(by_d[a] * by_d[b], variance_d, out=own[k])
    own[0] += variance_f
    own[3] += variance_f
    own[5] += _finite(next_sigma, has) ** 2

    # R = exp(δ) R0: d(Rᵀ q) = Rᵀ [q]x δ; translation: -Rᵀ δt / z
    jacobian = np.zeros((3, 6, *d.shape), np.float32)
    for k in range(3):
        m = -(R.T @ skew(np.eye(3)[k]).astype(np.float32))  # [q]x e_k = -[e_k]x q
        turn = row(*(m[j, 0] * q[0] + m[j, 1] * q[1] + m[j, 2] * q[2] for j in range(3)), np.float32(0))
        shift = row(-R[k, 0] * inverse, -R[k, 1] * inverse, -R[k, 2] * inverse, np.float32(0))
        for a in range(3):
            jacobian[a, k], jacobian[a, 3 + k] = turn[a], shift[a]
    spread = _root(motion_covariance).astype(np.float32).T @ jacobian.reshape(3, 6, -1)
    common = np.stack([(spread[a] * spread[b]).sum(0) for a, b in UPPER]).reshape(6, *d.shape)
    return r, (np.moveaxis(own, 0, -1), np.moveaxis(common, 0, -1)), known, has


def _root(covariance: np.ndarray) -> np.ndarray:
    """[6, 6] A with A Aᵀ = covariance, positive semi-definite."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return vectors * np.sqrt(np.maximum(values, 0))


def _finite(sigma: np.ndarray, known: np.ndarray) -> np.ndarray:
    return np.where(known & np.isfinite(sigma), sigma, np.float32(1))


def _sample(disparity, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Disparity and sigma at [h, w] positions: bilinear among four valid neighbours of one surface, else unknown."""
    values, sigma, valid = disparity
    u, v = (np.ascontiguousarray(np.broadcast_to(a, np.broadcast_shapes(u.shape, v.shape))) for a in (u, v))
    border = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": 0}
    share = cv2.remap(valid.astype(np.float32), u, v, cv2.INTER_LINEAR, **border)
    value = cv2.remap(values, u, v, cv2.INTER_LINEAR, **border)
    nearest = cv2.remap(values, u, v, cv2.INTER_NEAREST, **border)
    spread = cv2.remap(np.where(valid, sigma, 0).astype(np.float32), u, v, cv2.INTER_LINEAR, **border)
    return value, spread, (share > 0.999) & (np.abs(value - nearest) < 0.5)


def _mahalanobis(r: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """rᵀ C⁻¹ r [h, w] of all three components, and of the first two, by Cholesky on the upper triangle [h, w, 6]."""
    tiny = np.float32(1e-8)
    l00 = np.sqrt(np.maximum(c[..., 0], tiny))
    l10, l20 = c[..., 1] / l00, c[..., 2] / l00
    l11 = np.sqrt(np.maximum(c[..., 3] - l10**2, tiny))
    l21 = (c[..., 4] - l20 * l10) / l11
    l22 = np.sqrt(np.maximum(c[..., 5] - l20**2 - l21**2, tiny))
    y0 = r[..., 0] / l00
    y1 = (r[..., 1] - l10 * y0) / l11
    y2 = (r[..., 2] - l20 * y0 - l21 * y1) / l22
    two = y0**2 + y1**2
    return two + y2**2, two
