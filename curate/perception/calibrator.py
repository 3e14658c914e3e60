"""Sigma for an estimator that has none of its own: from the residuals of its check, by a calibrated table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.data import calibration
from curate.perception.error_model import sigma_px
from curate.perception.estimator import Estimator, Field, Window

# Of an estimator in no table: wide, so that nothing is thought exact, and marked, so that nothing metric is asked.
UNCALIBRATED_FLOOR_PX, UNCALIBRATED_COEFFICIENT = 0.5, 1.0


class Calibrated:
    """An estimator whose fields come without sigma, and the table of `curate.data` that gives it.

    The estimator names `residual` terms of each such field in `info["terms"]`: name to [n, H, W] px². Its sigma is
    `error_model.sigma_px` of them with the coefficients stored for "name@version"; pixels above the settings'
    `max_sigma_px` are no longer valid; `derive(window, fields)`, where the estimator has it, then adds what follows
    from values and sigma. A field of an estimator that is in no table says `info["calibrated"] = False`, and its
    scene's scale is "relative".
    """

    def __init__(self, estimator: Estimator) -> None:
        self.estimator, self.config = estimator, getattr(estimator, "config", None)
        self.name, self.version = estimator.name, estimator.version
        self.needs, self.gives = estimator.needs, estimator.gives
        self.window, self.overlap, self.resources = estimator.window, estimator.overlap, estimator.resources
        try:
            self.error_model = calibration(self.name, self.version)
        except KeyError:
            self.error_model = None

    def setup(self) -> None:
        self.estimator.setup()

    def run(self, window: Window) -> dict[str, Field]:
        return self.finish(window, self.estimator.run(window))

    def run_many(self, windows: Sequence[Window]) -> list[dict[str, Field]]:
        if not hasattr(self.estimator, "run_many"):
            return [self.run(window) for window in windows]
        return [self.finish(w, fields) for w, fields in zip(windows, self.estimator.run_many(windows), strict=True)]

    def finish(self, window: Window, fields: dict[str, Field]) -> dict[str, Field]:
        """What the estimator alone found, with sigma and what is derived."""
        for part in fields.values():
            if part.sigma is None and "terms" in part.info:
                self._fill(part, part.info.pop("terms"))
        if hasattr(self.estimator, "derive"):
            fields = fields | self.estimator.derive(window, fields)
        return fields

    def _fill(self, part: Field, terms: dict[str, np.ndarray]) -> None:
        model = self.error_model
        part.info["calibrated"] = model is not None
        if model is None:
            model = {"floor_px": UNCALIBRATED_FLOOR_PX, **dict.fromkeys(terms, UNCALIBRATED_COEFFICIENT)}
        sigma = sigma_px(model, terms)
        part.valid &= sigma <= getattr(self.config, "max_sigma_px", np.inf)
        unknown = ~part.valid
        np.copyto(sigma, np.float32(np.inf), where=unknown)
        np.copyto(part.values, np.float32(0), where=unknown.reshape(unknown.shape + (1,) * (part.values.ndim - 3)))
        part.sigma = sigma
