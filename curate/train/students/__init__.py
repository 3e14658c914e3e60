"""Students: any image-text model of transformers, seen through one small adapter for each architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.lazy import lazy_names

if TYPE_CHECKING:
    from curate.train.students.adapter import Adapter, adapter_for
    from curate.train.students.config import StudentConfig, TinyConfig, TrainedParts
    from curate.train.students.student import Student, load_student, tiny_student

_PLACES = {
    "Adapter": "adapter", "adapter_for": "adapter",
    "StudentConfig": "config", "TinyConfig": "config", "TrainedParts": "config",
    "Student": "student", "load_student": "student", "tiny_student": "student",
}
__all__ = ["Adapter", "Student", "StudentConfig", "TinyConfig", "TrainedParts", "adapter_for", "load_student",
           "tiny_student"]
__getattr__, __dir__ = lazy_names(__name__, _PLACES)
