"""Shards: what is written, and how to read it. Importing this needs numpy and PyYAML, never torch, ray or cv2."""

from curate.shards.errors import ShardError

__all__ = ["ShardError"]
