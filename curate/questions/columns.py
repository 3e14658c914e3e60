"""Which column of which benchmark a question family belongs to. Data, for mixtures and for scores by column.

A scheme names columns; every family is in one column of each scheme, or in "other".

- `mllm4d`: the seven scenarios of MLLM-4D (arXiv 2603.00515); its SFT set has one seventh of each (it prints the
  two scenarios of relative direction as one of 28.5 %).
- `r4d`: the nine columns of R4D-Bench (arXiv 2512.17012), which asks about marked regions: camera families are "other".
  Of its 1,419 questions 388 are static (VG, DM, SR), 1,031 dynamic; within each the shares here are equal.
- `group`: what a question is about, in our own words.
"""

from __future__ import annotations

from typing import Literal

Scheme = Literal["mllm4d", "r4d", "group"]
OTHER = "other"

_STATIC, _DYNAMIC = 388 / 1419 / 3, 1031 / 1419 / 6
# Scheme -> column -> target share; they sum to 1. "group" has no published shares.
SHARES: dict[str, dict[str, float]] = {
    "mllm4d": dict.fromkeys(("camera_displacement", "camera_direction", "object_displacement", "object_camera_distance",
                             "object_camera_distance_change", "lateral_shift", "longitudinal_shift"), 1 / 7),
    "r4d": {**dict.fromkeys(("VG", "DM", "SR"), _STATIC), **dict.fromkeys(("T", "R", "C", "FP", "SA", "DP"), _DYNAMIC)},
}
TITLES = {"VG": "3D video grounding", "DM": "dimension measurement", "SR": "spatial relation", "T": "translation",
          "R": "rotation", "C": "counting", "FP": "false premise", "SA": "speed and acceleration",
          "DP": "displacement and path length"}

# family: (mllm4d, r4d, group)
_ROWS: dict[str, tuple[str, str, str]] = {
    "camera_displacement": ("camera_displacement", OTHER, "camera"),
    "camera_path_length": (OTHER, OTHER, "camera"),
    "camera_speed": (OTHER, OTHER, "camera"),
    "camera_mean_speed": (OTHER, OTHER, "camera"),
    "camera_peak_speed": (OTHER, OTHER, "camera"),
    "camera_acceleration": (OTHER, OTHER, "camera"),
    "camera_speed_trend": (OTHER, OTHER, "camera"),
    "camera_direction": ("camera_direction", OTHER, "camera"),
    "camera_rotation": (OTHER, OTHER, "camera"),
    "camera_turn": (OTHER, OTHER, "camera"),
    "camera_yaw": (OTHER, OTHER, "camera"),
    "camera_pitch": (OTHER, OTHER, "camera"),
    "camera_roll": (OTHER, OTHER, "camera"),
    "camera_pose": (OTHER, OTHER, "camera"),
    "camera_orientation": (OTHER, OTHER, "camera"),
    "camera_trajectory": (OTHER, OTHER, "camera"),
    "object_displacement": ("object_displacement", "DP", "motion"),
    "object_path_length": (OTHER, "DP", "motion"),
    "object_mean_speed": (OTHER, "SA", "motion"),
    "object_peak_speed": (OTHER, "SA", "motion"),
    "object_acceleration": (OTHER, "SA", "motion"),
    "object_speed_trend": (OTHER, "SA", "motion"),
    "speed_trend": (OTHER, "SA", "motion"),
    "object_direction": (OTHER, "T", "direction"),
    "apparent_direction": (OTHER, "T", "direction"),
    "object_camera_distance": ("object_camera_distance", "DM", "distance"),
    "object_camera_distance_change": ("object_camera_distance_change", "DM", "distance"),
    "lateral_shift": ("lateral_shift", "T", "direction"),
    "longitudinal_shift": ("longitudinal_shift", "T", "direction"),
    "object_object_distance": (OTHER, "DM", "distance"),
    "object_object_distance_change": (OTHER, "DM", "distance"),
    "object_object_relation": (OTHER, "SR", "relation"),
    "object_relation": (OTHER, "SR", "relation"),
    "viewpoint_relation": (OTHER, "SR", "relation"),
    "viewpoint_shift": (OTHER, "SR", "relation"),
    "viewpoint_heading": (OTHER, "SR", "relation"),
    "depth_order": (OTHER, "SR", "relation"),
    "comparison": (OTHER, OTHER, "comparison"),
    "speed_comparison": (OTHER, "SA", "comparison"),
    "distance_comparison": (OTHER, "DM", "comparison"),
    "displacement_comparison": (OTHER, "DP", "comparison"),
    "order_comparison": (OTHER, OTHER, "comparison"),
    "object_rotation": (OTHER, "R", "rotation"),
    "object_rotation_angle": (OTHER, "R", "rotation"),
    "object_rotation_direction": (OTHER, "R", "rotation"),
    "object_trajectory": (OTHER, OTHER, "procedure"),
    "trajectory_description": (OTHER, OTHER, "procedure"),
    "procedural_change": (OTHER, OTHER, "procedure"),
    "speed_phases": (OTHER, "SA", "procedure"),
    "object_size": (OTHER, "DM", "size"),
    "object_length": (OTHER, "DM", "size"),
    "object_width": (OTHER, "DM", "size"),
    "object_height": (OTHER, "DM", "size"),
    "counting": (OTHER, "C", "counting"),
    "count_present": (OTHER, "C", "counting"),
    "count_moving": (OTHER, "C", "counting"),
    "count_direction": (OTHER, "C", "counting"),
    "event_time": (OTHER, OTHER, "time"),
    "event_order": (OTHER, OTHER, "time"),
    "event_duration": (OTHER, OTHER, "time"),
    "event_span": (OTHER, OTHER, "time"),
    "fastest_time": (OTHER, "SA", "time"),
    "appearance_order": (OTHER, OTHER, "time"),
    "video_duration": (OTHER, OTHER, "time"),
    "grounding": (OTHER, "VG", "grounding"),
    "grounding_2d": (OTHER, "VG", "grounding"),
    "grounding_3d": (OTHER, "VG", "grounding"),
    "grounding_point": (OTHER, "VG", "grounding"),
    "grounding_mark": (OTHER, "VG", "grounding"),
    "correspondence": (OTHER, OTHER, "grounding"),
    "correspondence_seen": (OTHER, OTHER, "grounding"),
    "correspondence_still": (OTHER, OTHER, "grounding"),
    "correspondence_many": (OTHER, OTHER, "grounding"),
    "false_premise": (OTHER, "FP", "premise"),
    "cannot_be_determined": (OTHER, "FP", "premise"),
    "forecast": (OTHER, OTHER, "forecast"),
    "forecast_direction": (OTHER, OTHER, "forecast"),
    "forecast_position": (OTHER, OTHER, "forecast"),
    "disparity_order": (OTHER, OTHER, "views"),
    "view_visibility": (OTHER, OTHER, "views"),
    "view_match": (OTHER, OTHER, "views"),
    "view_shift": (OTHER, OTHER, "views"),
    "view_point": (OTHER, OTHER, "views"),
    "view_box": (OTHER, OTHER, "views"),
    "dense_caption": (OTHER, OTHER, "caption"),
    "caption": (OTHER, OTHER, "caption"),
    "whose_motion": (OTHER, OTHER, "motion"),
    "egocentric_orientation": (OTHER, OTHER, "camera"),
    "ego_pose": (OTHER, OTHER, "camera"),
}
_PLACE = {"mllm4d": 0, "r4d": 1, "group": 2}


def column(family: str, scheme: Scheme) -> str:
    """The column of a family; "other" where the scheme has none for it, or the family is not known here.

    >>> column("object_displacement", "r4d"), column("camera_displacement", "r4d"), column("mine", "mllm4d")
    ('DP', 'other', 'other')
    """
    row = _ROWS.get(family)
    return row[_PLACE[scheme]] if row else OTHER


def columns(scheme: Scheme) -> tuple[str, ...]:
    """Every column of a scheme but "other", in the order of its own table."""
    return tuple(SHARES[scheme] if scheme in SHARES else dict.fromkeys(row[_PLACE[scheme]] for row in _ROWS.values()))
