"""What goes wrong with a shard set."""

from __future__ import annotations


class ShardError(ValueError):
    """A shard set, a shard or a sample that cannot be trusted. The text names the file, what and how to mend it."""
