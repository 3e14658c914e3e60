"""The questions of one split by number, in constant time: all, or those of some families and forms.

Which there are is read from the set's sidecars, so that no shard is opened before one of its questions is asked for;
what is kept of each is 8 bytes.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curate.shards import manifest, tar
from curate.shards.errors import ShardError
from curate.shards.index import Index
from curate.shards.reader import find_root
from curate.shards.sidecars import CHECKSUMS
from curate.storage import RemotePath

TABLE = "samples.parquet"
CACHED_CLIPS = 32  # decoded records: the questions of a clip share one


class Chosen(Sequence):
    """
    Args:
        path: as `curate.shards.read` takes it, but for a single tar.
        split: of the set. families, forms: of its questions; None takes all.

    Raises:
        ShardError: where the set or the split is not there, or a sidecar is not what the manifest says.
    """

    def __init__(self, path: Path | str | RemotePath, split: str = "train", *, families: Sequence[str] | None = None,
                 forms: Sequence[str] | None = None, max_part_bytes: int = tar.MAX_PART_BYTES) -> None:
        self.root = find_root(path)
        content = manifest.load(self.root)
        self.digest = content["digest"]
        self._clips = Index(self.root, split, max_part_bytes=max_part_bytes)
        self._where = self._read(content, split, families, forms)  # [questions, 2] clip of the split, question of it
        self._held: OrderedDict[int, dict[str, Any]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._where)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """An item as `curate.shards.read` gives it, of one question.

        Raises:
            ShardError: where its shard is torn, or not what the manifest says.
        """
        clip, question = map(int, self._where[number])
        if clip in self._held:
            self._held.move_to_end(clip)
        else:
            self._held[clip] = self._clips[clip]
            if len(self._held) > CACHED_CLIPS:
                self._held.popitem(last=False)
        item = self._held[clip]
        asked = item["json"]["qa"]
        if question >= len(asked):
            raise ShardError(f"{self.root}: {item['key']} has {len(asked)} questions, {TABLE} names number {question}; "
                             "fetch the set again")
        return item | {"key": asked[question]["id"], "qa": asked[question]}

    def _read(self, content: dict[str, Any], split: str, families: Sequence[str] | None,
              forms: Sequence[str] | None) -> np.ndarray:
        """Clips are numbered by the list of checksums, which has those without questions too; the table has its order.
        """
        own = {shard["name"] for shard in content["shards"] if shard["split"] == split}
        rows, clips, found = self._rows(content), 0, []
        row = next(rows, None)
        for line in self._sidecar(content, CHECKSUMS).decode("ascii", "replace").splitlines():
            shard, key = line.split(" ")[2:4]
            while row is not None and row[:2] == (shard, key):
                if shard in own and (families is None or row[3] in families) and (forms is None or row[4] in forms):
                    found.append((clips, row[2]))
                row = next(rows, None)
            clips += shard in own
        if row is not None or clips != len(self._clips):
            raise ShardError(f"{self.root}: {TABLE} and {CHECKSUMS} are not of the same samples; fetch the set again")
        return np.array(found, np.uint32).reshape(-1, 2)

    def _rows(self, content: dict[str, Any]) -> Iterator[tuple[str, str, int, str, str]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = ["shard", "key", "index", "family", "form"]
        table = pq.ParquetFile(pa.BufferReader(self._sidecar(content, TABLE)))
        for batch in table.iter_batches(columns=columns):
            yield from zip(*(batch.column(name).to_pylist() for name in columns))

    def _sidecar(self, content: dict[str, Any], name: str) -> bytes:
        try:
            data = (self.root / name).read_bytes()
        except OSError as error:
            raise ShardError(f"{self.root / name}: cannot be read ({error.strerror}); fetch the set again") from None
        if hashlib.sha256(data).hexdigest() != content["sidecars"].get(name, {}).get("sha256"):
            raise ShardError(f"{self.root / name}: not what the manifest says; fetch the set again")
        return data

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_held": OrderedDict()}
