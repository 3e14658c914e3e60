"""Shards: what is written, and how to read it. Importing this needs PyYAML, never torch, ray, cv2 or pyarrow."""

from curate.shards.errors import ShardError
from curate.shards.index import Index
from curate.shards.reader import Media, Reader, read
from curate.shards.remote import Published, publish_set
from curate.shards.stage import Stage, read_stage
from curate.shards.teacher import TeacherTensors
from curate.shards.verify import Problem, verify

__all__ = ["Index", "Media", "Problem", "Published", "Reader", "ShardError", "Stage", "TeacherTensors", "publish_set",
           "read", "read_stage", "verify"]
