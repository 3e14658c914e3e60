"""Every kind of measurement by name. To add one: a function (draws, subjects, span) -> Sample, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from curate.measure import camera, change, objects, pairs, shift
from curate.measure.draws import SceneDraws
from curate.measure.magnitude import Sample


@dataclass(frozen=True)
class Kind:
    """What is measured, and of what.

    Args:
        sample: (draws, subjects, (first, last)) -> Sample.
        unit: of the value.
        of: "camera", "object" or "pair".
        instant: asked of one frame rather than a span.
        metric: needs a scene whose scale is known.
        frame: "world", "camera" (axes of the camera at the span's first frame) or "image".
        vector: name in `Sample.extra` of the vector whose direction is the value; "" for numbers.
    """

    sample: Callable[[SceneDraws, tuple[int, ...], tuple[int, int]], Sample]
    unit: str
    of: str
    instant: bool = False
    metric: bool = True
    frame: str = "world"
    vector: str = ""


KINDS: dict[str, Kind] = {
    "camera_displacement": Kind(camera.camera_displacement, "m", "camera"),
    "camera_path_length": Kind(camera.camera_path_length, "m", "camera"),
    "camera_mean_speed": Kind(camera.camera_mean_speed, "m/s", "camera"),
    "camera_peak_speed": Kind(camera.camera_peak_speed, "m/s", "camera"),
    "camera_acceleration": Kind(change.camera_acceleration, "m/s²", "camera"),
    "camera_direction": Kind(camera.camera_direction, "", "camera", metric=False, frame="camera", vector="vector_m"),
    "camera_rotation": Kind(camera.camera_rotation, "rad", "camera", metric=False, frame="camera"),
    "camera_yaw": Kind(camera.camera_yaw, "rad", "camera", metric=False, frame="camera"),
    "camera_pitch": Kind(camera.camera_pitch, "rad", "camera", metric=False, frame="camera"),
    "camera_roll": Kind(camera.camera_roll, "rad", "camera", metric=False, frame="camera"),
    "object_displacement": Kind(objects.object_displacement, "m", "object"),
    "object_path_length": Kind(objects.object_path_length, "m", "object"),
    "object_mean_speed": Kind(objects.object_mean_speed, "m/s", "object"),
    "object_peak_speed": Kind(objects.object_peak_speed, "m/s", "object"),
    "object_acceleration": Kind(change.object_acceleration, "m/s²", "object"),
    "lateral_shift": Kind(shift.lateral_shift, "m", "object", frame="camera"),
    "longitudinal_shift": Kind(shift.longitudinal_shift, "m", "object", frame="camera"),
    "object_direction": Kind(objects.object_direction, "", "object", metric=False, frame="camera", vector="vector_m"),
    "apparent_direction": Kind(objects.apparent_direction, "", "object", metric=False, frame="image",
                               vector="vector_px"),
    "object_camera_distance": Kind(objects.object_camera_distance, "m", "object", instant=True, frame="camera"),
    "object_camera_distance_change": Kind(objects.object_camera_distance_change, "m", "object", frame="camera"),
    "object_object_distance": Kind(pairs.object_object_distance, "m", "pair", instant=True),
    "object_object_distance_change": Kind(pairs.object_object_distance_change, "m", "pair"),
}
