"""Regions: which pixels belong together as one object, with an id that is stable over the clip."""
