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


def fractal(uv: np.ndarray, footprint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Noise at surface coordinates; surfaces far apart in uv look unlike each other.

    Args:
        uv: [n, 2] float32 coordinates in units of the longest wavelength.
        footprint: [n] float32 extent of one pixel in the same units; octaves with under 2.5 pixels a
            wavelength are left out, those above 4 are whole.

    Returns:
        All octaves, and the two longest alone, [n] float32 each, about unit variance.
    """
    n = len(uv)
    total, low = np.zeros(n, np.float32), np.zeros(n, np.float32)
    power = 0.0
    for octave in range(NUM_OCTAVES):
        amplitude, rate = np.float32(PERSISTENCE**octave), np.float32(2**octave)
        power += amplitude**2
        seen = footprint * rate < 0.4
        count = int(np.count_nonzero(seen))
        if count == 0:
            continue
        # lists are only taken apart where that saves work
        seen = slice(None) if count == n else np.flatnonzero(seen)
        rows = -(-count // COLUMNS)
        texel = np.zeros((rows * COLUMNS, 2), np.float32)
        turns = uv[seen] * (rate * np.float32(TEXELS / SIZE))
        turns += np.float32(0.377 * octave)
        turns -= np.floor(turns)
        np.multiply(turns, np.float32(SIZE), out=texel[:count])
        value = cv2.remap(band_noise(), texel.reshape(rows, COLUMNS, 2), None, cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_WRAP).reshape(-1)[:count]
        value *= np.minimum((0.4 - footprint[seen] * rate) / np.float32(0.15), 1)
        if octave < 2:
            low[seen] += value
        total[seen] += value * amplitude
    return total / np.float32(np.sqrt(power)), low / np.float32(np.sqrt(2))
