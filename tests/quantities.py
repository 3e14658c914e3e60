"""Quantities as a scene would give them, with the error a test asks for, and what is asked of them."""

from dataclasses import replace

import numpy as np

from curate.measure.quantity import Quantity
from curate.questions import QuestionsConfig, ask
from curate.questions.families import families
from tests.scenes import make_scene


def length(value=2.0, relative=0.05, p_zero=0.0, kind="object_displacement", **changes):
    deviations = np.array([-2.576, -1.96, -1.28, -0.67, 0, 0.67, 1.28, 1.96, 2.576]) / 1.96
    known = {"kind": kind, "subjects": (2,), "span": (0, 23), "value": value, "unit": "m", "frame": "world",
             "reference": "surface@t0", "quantiles": tuple(value * (1 + relative * deviations)), "error": {"own": 1e-4},
             "p_zero": p_zero}
    return Quantity(**(known | changes))


def direction(share=1.0, p_zero=0.0, kind="object_direction"):
    rest = (1 - share) / 5
    names = ("forward", "backward", "left", "right", "up", "down")
    shares = {n: share if n == "left" else rest for n in names}
    return replace(length(kind=kind, unit="", frame="camera@0", p_zero=p_zero), value=[-1.0, 0.0, 0.0],
                   quantiles=tuple(np.linspace(0, .1, 9)),
                   extra={"category": "left", "probabilities": shares, "vector_m": [-2.0, 0.1, 0.2]})


def asked_of(quantity, scene=None, **config):
    """What the families of this quantity's kind ask, and what they drop."""
    names = [name for name, family in families().items() if getattr(family, "kind", "") == quantity.kind]
    return ask(scene or make_scene(0)[0], QuestionsConfig(**{"families": names} | config), [quantity])
