"""The reference trainer: 4D perception distilled into a multimodal model, beside the alternatives.

Importing this package loads neither torch nor transformers: names load their module when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.train.timestamps import add_timestamps, encode_times, stamps

_PLACES = {
    "add_timestamps": "curate.train.timestamps",
    "encode_times": "curate.train.timestamps",
    "stamps": "curate.train.timestamps",
}
__all__ = ["add_timestamps", "encode_times", "stamps"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
