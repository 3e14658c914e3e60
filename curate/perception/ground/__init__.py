"""One camera without depth: what moves before a camera that stands still, and where it stands on the ground."""

VERSION = "1"
