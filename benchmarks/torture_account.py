"""What a finished run left: every byte of scenes and shards, and how each clip ended."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

FOLDERS = ("scenes", "shards")
NOTES = {".workers"}  # what workers note of themselves while they live; the next run with workers clears it


def account(out: Path) -> dict[str, tuple[str, str | None, str]]:
    """Key to (state, kind, reason): the last line of each clip in the ledger.

    Raises:
        ValueError: on a line that is none and is not the last of a process that was killed.
    """
    ends = {}
    for line in (out / "ledger.jsonl").read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # torn by a kill; what it was to say is said again by the next run
        if "key" in entry and "state" in entry:
            ends[entry["key"]] = (entry["state"], entry.get("kind"), entry.get("reason") or "")
    return ends


def digests(out: Path) -> dict[str, str]:
    """Relative path to sha256, of everything staged and published."""
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for name in FOLDERS for path in sorted((out / name).rglob("*")) if path.is_file()}


class Reference:
    """The run that was left alone."""

    def __init__(self, out: Path) -> None:
        self.out, self.account, self.digests = out, account(out), digests(out)
        self.asked = (out / "questions.json").read_bytes()
        self.questions = json.loads(self.asked)["questions"]

    def differences(self, out: Path) -> list[str]:
        """What is different in another run's folder, one line each."""
        from curate.shards import verify

        found = []
        try:
            theirs, ends = digests(out), account(out)
            asked = (out / "questions.json").read_bytes()
        except OSError as error:
            return [f"{error}"]
        for name in sorted({*theirs, *self.digests}):
            if theirs.get(name) != self.digests.get(name):
                what = "missing" if name not in theirs else "too many" if name not in self.digests else "other bytes"
                found.append(f"{name}: {what}")
        for key in sorted({*ends, *self.account}):
            if ends.get(key) != self.account.get(key):
                found.append(f"clip {key}: ended {ends.get(key)}, expected {self.account.get(key)}")
        if asked != self.asked:
            found.append("questions.json: other bytes")
        found += [f"verify: {problem}" for problem in verify(out / "shards")]
        there, expected = ({p.relative_to(o).as_posix() for part in (o, o / "scenes") for p in part.iterdir()}
                           for o in (out, self.out))
        return found + [f"{name}: left behind" for name in sorted(there - expected - NOTES)]
