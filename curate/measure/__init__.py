"""Scene to Quantity: joint draws of a scene, smooth paths, and every kind of measurement with its error."""

import sys
import types

from curate.measure.draws import SceneDraws
from curate.measure.kinds import KINDS, Kind
from curate.measure.measure import measure, probability_greater, quantity, values
from curate.measure.quantity import LEVELS, Quantity

__all__ = ["KINDS", "LEVELS", "Kind", "Quantity", "SceneDraws", "measure", "probability_greater", "quantity", "values"]


class _Callable(types.ModuleType):
    """Lets `curate.measure(scene)` work beside `curate.measure.kinds`: folder and main function share a name."""

    def __call__(self, *args, **kwargs):
        return measure(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
