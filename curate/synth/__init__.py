"""Scenes with exactly known motion: drawn from a distribution, rendered, written as videos, and judged against."""

from curate.synth.distribution import Distribution, load_distribution
from curate.synth.sample import sample_scene
from curate.synth.scene import Body, SceneTruth

__all__ = ["Body", "Distribution", "Renderer", "SceneTruth", "load_distribution", "render", "sample_scene"]


def __getattr__(name: str):
    """The renderer needs open3d and cv2, which a base install lacks: imported on first use."""
    if name in ("Renderer", "render"):
        from curate.synth import renderer as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
