"""Band-limited noise of many octaves, painted by surface coordinates and faded out before it aliases."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

SIZE = 512
TEXELS = 4  # per wavelength of an octave
NUM_OCTAVES = 8
PERSISTENCE = 0.82  # amplitude of each octave by that of the one before: near the 1/f of natural images
COLUMNS = 1024  # pixel lists are folded to this width for cv2.remap, which bounds both sides at 32767


@cache
def band_noise() -> np.ndarray:
    """[SIZE, SIZE] float32, periodic, unit variance, only wavelengths of TEXELS to 2 TEXELS pixels."""
    white = np.random.default_rng(20240229).normal(size=(SIZE, SIZE))
    f = np.fft.fftfreq(SIZE)
    radius = np.hypot(f[:, None], f[None])
    band = (radius > 0.5 / TEXELS) & (radius < 1 / TEXELS)
    noise = np.fft.ifft2(np.fft.fft2(white) * band).real
    return (noise / noise.std()).astype(np.float32)


def fractal(uv: np.ndarray, footprint: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Noise at surface coordinates.

    Args:
        uv: [n, 2] float32 coordinates in units of the longest wavelength.
        footprint: [n] float32 extent of one pixel in the same units; octaves with under about 2.5 pixels a
            wavelength are left out, those above 4 are whole.
        offset: [n, 2] float32 shifts that make the noise of one surface unlike that of another.

    Returns:
        All octaves, and the two longest alone, [n] float32 each, about unit variance.
    """
    n = len(uv)
    rows = -(-max(n, 1) // COLUMNS)
    total, low = np.zeros(n, np.float32), np.zeros(n, np.float32)
    power = 0.0
    for octave in range(NUM_OCTAVES):
        amplitude = PERSISTENCE**octave
        power += amplitude**2
        rate = np.float32(2**octave)
        weight = np.clip((0.4 - footprint * rate) / 0.15, 0, 1)
        if octave > 1 and not weight.any():
            continue
        texel = np.zeros((rows * COLUMNS, 2), np.float32)
        texel[:n] = np.mod(uv * (rate * TEXELS) + offset * np.float32(octave + 1), SIZE)
        value = cv2.remap(band_noise(), texel.reshape(rows, COLUMNS, 2), None, cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_WRAP).reshape(-1)[:n]
        value *= weight
        if octave < 2:
            low += value
        value *= amplitude
        total += value
    return total / np.float32(np.sqrt(power)), low / np.float32(np.sqrt(2))
