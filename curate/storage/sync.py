"""A file's content, or the names in a folder, on the disk."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Returns when it is there.

    Raises:
        OSError: where the file system refuses; of folders some network file systems do.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
