"""Videos of a clip's views: each in its own shape, as tall as the recipe lets them be."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from curate.engine.stage import MediaTap, video_size
from curate.geometry.cameras import Intrinsics
from curate.recipe import recipe_from_dict
from curate.shards.sample import mp4_size


def camera(width: int, height: int) -> Intrinsics:
    return Intrinsics(fx=100.0, fy=100.0, cx=width / 2, cy=height / 2, width=width, height=height)


def test_cameras_of_one_rig_keep_their_shapes():
    sizes = [(96, 64), (64, 120)]
    frames = SimpleNamespace(views=[SimpleNamespace(camera=camera(*size)) for size in sizes], time_s=np.arange(3) / 10)
    recipe = recipe_from_dict({"name": "t", "source": {"kind": "rendered"}, "media": {"max_height": 64}})
    tap = MediaTap(frames, recipe)
    images = [np.full((3, height, width, 3), 90, np.uint8) for width, height in sizes]
    tap(SimpleNamespace(start=0, overlap=0, images=images, fields={}))
    files = tap.finish()
    assert [mp4_size(files[f"v{index}.mp4"]) for index in range(2)] == [(96, 64), (34, 64)]


@pytest.mark.parametrize(("width", "height", "limit", "found"), [
    (640, 360, 480, (640, 360)), (1241, 376, 480, (1240, 376)), (1920, 1080, 480, (854, 480)), (1, 1, 480, (2, 2))])
def test_sizes_are_even_and_within_the_limit(width, height, limit, found):
    assert video_size(camera(width, height), limit) == found
