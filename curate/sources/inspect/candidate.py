"""What a sniffer says: this may be a source of that kind, for these reasons, and here is how to read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any


@dataclass
class Candidate:
    """
    Attributes:
        kind: of source; "" where the data fit none, and `missing` says why.
        score: 0..1, how sure the sniffer is: 0.9 a layout that names itself, 0.6 parts that fit together, 0.3 a guess.
        why: what it was told by.
        source: settings of `source:` without kind and root; nothing in them is made up.
        missing: what the user must still say or fetch.
        notes: what is there but not used, or was assumed by default.
        root: folder below the one looked at, or a file in it; "" the folder itself.
        clip: settings of `clip:`.
        loads: whether its plan has a clip; None: not tried. planned: that clip in words.
        together: sub-folders of the one looked at that this takes as one: none of them is a recording by itself.
    """

    kind: str
    score: float
    why: list[str]
    source: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    root: str = ""
    clip: dict[str, Any] = field(default_factory=dict)
    loads: bool | None = None
    planned: str = ""
    together: frozenset[str] = frozenset()

    def recipe(self, path: str, name: str) -> dict[str, Any]:
        """The recipe as plain data.

        Args:
            path: the folder that was looked at, or that holds the file, as the user named it.
            name: of the data set.
        """
        root = str(PurePath(path) / self.root)
        recipe: dict[str, Any] = {"name": name, "source": {"kind": self.kind, "root": root, **self.source}}
        return recipe | ({"clip": self.clip} if self.clip else {})


def few_frames(count: int | None) -> dict[str, int]:
    """Settings of `clip:` for a recording shorter than a clip is by default."""
    return {"min_frames": count} if count is not None and 2 <= count < 8 else {}
