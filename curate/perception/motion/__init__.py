"""Motion masks: what moves in the world, as a statistical test."""
