"""Perception from several calibrated cameras that stand still: sparse, without dense depth (`perceive.perceive_views`).

Features are tracked in each view, matched across views at key frames under the epipolar geometry, triangulated, and
what moves is parted into rigid bodies whose poses and points are adjusted together, in all views and frames.
"""

VERSION = "3"
NAME = "multiview"
