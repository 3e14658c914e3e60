"""What is wrong with an output folder, said to the person who named it."""

from __future__ import annotations


class OutError(ValueError):
    """The output folder cannot be used; the text says why and what to do."""
