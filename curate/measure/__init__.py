"""Scene to Quantity: joint draws of a scene, smooth paths, and every kind of measurement with its error."""

from curate.measure.draws import SceneDraws
from curate.measure.kinds import KINDS, Kind
from curate.measure.measure import measure, probability_greater, quantity, values
from curate.measure.quantity import LEVELS, Quantity

__all__ = ["KINDS", "LEVELS", "Kind", "Quantity", "SceneDraws", "measure", "probability_greater", "quantity", "values"]
