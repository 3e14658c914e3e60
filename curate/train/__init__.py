"""The reference trainer: 4D perception distilled into a multimodal model, beside the alternatives.

Importing this package loads neither torch nor transformers: names load their module when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.lazy import lazy_names

if TYPE_CHECKING:
    from curate.train.timestamps import add_timestamps, encode_times, stamps

_PLACES = {"add_timestamps": "timestamps", "encode_times": "timestamps", "stamps": "timestamps"}
__all__ = ["add_timestamps", "encode_times", "stamps"]
__getattr__, __dir__ = lazy_names(__name__, _PLACES)
