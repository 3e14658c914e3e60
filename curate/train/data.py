"""Batches of questions about clips: read from shards, shown as frames, asked in words, beside the teacher's signals."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from curate.shards import ShardError
from curate.shards.reader import Place
from curate.train.answers import words_of
from curate.train.cache import Cache
from curate.train.clips import ClipSet, NoSplit, NothingWanted, open_clips
from curate.train.collate import frame_size, prepare, student_inputs
from curate.train.order import Item, Order
from curate.train.shown import Shown, show

if TYPE_CHECKING:
    from concurrent.futures import Future

    from curate.train.data_config import DataConfig
    from curate.train.students.processor import StudentProcessor

MIB = 1 << 20


@dataclass
class Batch:
    """B questions, each with N frames of its clip.

    Attributes:
        inputs: keyword arguments of the student's forward: input_ids [B, L], attention_mask, labels (-100 where not
            the answer; none where answers are left out), pixel_values and what else it takes.
        times_s: [B, N] presentation times of the frames, seconds from the clip's first, float32.
        pixels: [B, N, H, W, 3] uint8, what a teacher sees: no marks, no times drawn.
        signals: None without teacher, else on a grid of h x w cells that cover the whole frame, nan where unknown:
            depth [B, N, h, w, 1] metres; flow [B, N, h, w, 2] backward, to the frame shown before, in cells (nan in the
            first); motion [B, N, h, w, 1] 1 where moving in 3D; camray [B, N, h, w, 6] Plücker rays (direction,
            moment in metres) in the axes of the first frame's camera.
        cameras: None without teacher, else K [B, N, 3, 3] of that grid, T_world_cam [B, N, 3, 4], the world being the
            first frame's camera.
        latent: [B, N', h', w', C] stored latents of the clip, where the set has them.
        keys, ids, records: of each question the clip's key, the id, and the record with the clip's `recording`.
    """

    inputs: dict[str, Tensor]
    times_s: Tensor
    pixels: Tensor
    signals: dict[str, Tensor] | None
    latent: Tensor | None
    keys: list[str]
    ids: list[str]
    records: list[dict[str, Any]]
    cameras: dict[str, Tensor] | None = field(default=None)

    @property
    def video(self) -> Tensor:
        """The pixels as [B, N, 3, H, W] float32 in 0..1, made anew."""
        return self.pixels.permute(0, 1, 4, 2, 3).float().div_(255)

    def to(self, device: torch.device | str) -> Batch:
        """The same on a device; keys, ids and records are shared."""
        def moved(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: moved(item) for name, item in value.items()}
            return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value

        names = ("inputs", "times_s", "pixels", "signals", "latent", "cameras")
        return replace(self, **{name: moved(getattr(self, name)) for name in names})


class Examples:
    """Batches of one split, in an order that depends on the seed alone (`order`), made ahead in threads.

    `iter()` begins at the start, or once where `load_state_dict` says; `state_dict()` is the place behind the batch
    that the last iterator gave, whatever is made ahead already. So what comes after a resume is what would have come.

    Args:
        config: of the recipe.
        processor: `student.processor`; None gives batches without inputs, for a teacher alone.
        split: default: the config's.
        epochs: how often all questions come; None goes on for ever. Batches run over the ends of epochs.
        shuffle: False keeps the order of the sets, as for evaluation; weights are not looked at then.
        drop_last: every rank gives equally many whole batches; default: where it shuffles. With `epochs` None there is
            no last one.
        answers: False leaves them out of `inputs`: prompts to generate from, padded on the left.
        judged: only questions whose answers can be judged; sets that have none, or no such split, are left out as long
            as one is left.
        rank, world_size: this process among all; default: from torch.distributed, else RANK and WORLD_SIZE. In workers
            of a torch DataLoader each worker gives its own part; the state is then each worker's own.

    Raises:
        ShardError: on a torn set, or a split that is not there. ValueError: where sets and settings do not fit; says
            what to change. While iterating: ValueError that names clip and question.
    """

    def __init__(self, config: DataConfig, processor: StudentProcessor | None = None, *, split: str | None = None,
                 epochs: int | None = None, shuffle: bool = True, drop_last: bool | None = None, answers: bool = True,
                 judged: bool = False, rank: int | None = None, world_size: int | None = None) -> None:
        if processor is not None and config.image_size is None:
            config = config.model_copy(update={"image_size": frame_size(processor)})
        self.config, self.processor, self.answers = config, processor, answers
        self.split, self.epochs, self.shuffle = split or config.split, epochs, shuffle
        self.drop_last = shuffle if drop_last is None else drop_last
        self._place = (rank, world_size)
        self._weights, self.sets = self._opened(judged)
        self._given, self._resumed = 0, 0  # batches
        self._cache: Cache[Shown] | None = None
        self._process = os.getpid()
        self._ordered: tuple[Place, Order] | None = None

    def _opened(self, judged: bool) -> tuple[tuple[float, ...], list[ClipSet]]:
        """Weights and sets."""
        found, none = [], None
        for one in self.config.sets:
            try:
                found.append((one.weight, open_clips(one.path, self.split, self.config.of_set(one), judged)))
            except (NothingWanted, NoSplit) as error:
                if not judged:
                    raise
                none = error
        if not found:
            raise none
        return tuple(weight for weight, _ in found), [each for _, each in found]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_cache": None}  # to workers that are spawned

    # ---- how much there is ----

    @property
    def num_questions(self) -> int:
        """Of all sets, each counted once, over all ranks."""
        return sum(sum(s.counts) for s in self.sets)

    @property
    def questions_per_epoch(self) -> int:
        """Over all ranks, sets counted by their weights."""
        return self._order().per_epoch

    def __len__(self) -> int:
        """Batches that this rank gives from the start.

        Raises:
            TypeError: where they never end.
        """
        order, size = self._order(), self.config.batch_size
        if self.epochs is None:
            raise TypeError("epochs is None: batches never end")
        if self.drop_last:
            return min(order.total(rank) for rank in range(order.world_size)) // size
        return math.ceil(order.total() / size)

    @property
    def epoch(self) -> float:
        """How often this rank's questions were given, up to the last batch that was."""
        order = self._order()
        epoch, done = order.place(self._given * self.config.batch_size)
        return epoch + done / max(order.length(epoch), 1)

    # ---- where it is ----

    def state_dict(self) -> dict[str, Any]:
        """The place behind the last batch given, and what it counts on; the same for every rank. JSON."""
        return {"batches": self._given, **self._settings()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The next `iter()` goes on from there.

        Raises:
            ValueError: where the place was counted in other data or settings.
        """
        own = self._settings()
        for name, value in own.items():
            if state.get(name) != value:
                what = "the sets hold other questions" if name == "questions" else f"{name} is {value}"
                raise ValueError(f"the data's place was kept with other settings: {what}, there {state.get(name)}; "
                                 "resume with the same data, settings and number of processes, or start a new run")
        self._given = self._resumed = int(state["batches"])

    def _settings(self) -> dict[str, Any]:
        """What the order of questions depends on."""
        place, config = self._where(), self.config
        return {"questions": [s.digest for s in self.sets], "weights": [s.weight for s in config.sets],
                "split": self.split, "seed": config.seed, "batch_size": config.batch_size,
                "pool_clips": config.pool_clips, "shuffle": self.shuffle, "processes": place.count}

    def _where(self) -> Place:
        return Place.find(*self._place, None, None)

    def _order(self) -> Order:
        place = self._where()
        if self._ordered is None or self._ordered[0] != place:
            self._ordered = place, self._order_at(place)
        return self._ordered[1]

    def _order_at(self, place: Place) -> Order:
        config = self.config
        weights = self._weights if self.shuffle else (1.0,) * len(self.sets)
        return Order(tuple(s.counts for s in self.sets), weights, config.seed, place.index, place.count, self.epochs,
                     self.shuffle, config.pool_clips)

    # ---- batches ----

    def __iter__(self) -> Iterator[Batch]:
        start, self._resumed = self._resumed, 0
        self._given = start
        pool = ThreadPoolExecutor(self.config.workers, thread_name_prefix="batches")
        waiting: deque[Future[Batch]] = deque()
        try:
            for items in self._batches(start):
                waiting.append(pool.submit(self._batch, items, [self._clip(*item[:2]) for item in items]))
                if len(waiting) > self.config.prefetch:
                    yield self._gave(waiting.popleft().result())
            while waiting:
                yield self._gave(waiting.popleft().result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _gave(self, batch: Batch) -> Batch:
        self._given += 1
        return batch

    def _batches(self, start: int) -> Iterator[tuple[Item, ...]]:
        """The questions of each batch from the `start`-th on."""
        items = self._order().items(start * self.config.batch_size)
        left = None if self.epochs is None else len(self) - start
        while left is None or left > 0:
            batch = tuple(islice(items, self.config.batch_size))
            if not batch:
                return
            left = left and left - 1
            yield batch

    def _clip(self, index: int, clip: int) -> Future[Shown]:
        if self._cache is None or self._process != os.getpid():  # threads do not come along into a forked process
            self._process = os.getpid()
            pool = ThreadPoolExecutor(self.config.workers, thread_name_prefix="decode")
            self._cache = Cache(pool, self._show, lambda shown: shown.num_bytes, self.config.cache_mb * MIB)
        return self._cache.get(index, clip)

    def _show(self, index: int, clip: int) -> Shown:
        found = self.sets[index].clips[clip]
        try:
            shown = show(found, self.config)
            return shown if self.processor is None else replace(shown, images=prepare(self.processor, shown.frames))
        except ValueError as error:
            kind = ShardError if isinstance(error, ShardError) else ValueError
            raise kind(f"{self.sets[index].path}: clip {found.key}: {error}") from error

    def _batch(self, items: Sequence[Item], clips: Sequence[Future[Shown]]) -> Batch:
        shown = [clip.result() for clip in clips]
        records = [clip.records[question] for clip, (_, _, question) in zip(shown, items)]
        ids, times = [record["id"] for record in records], [clip.times_s for clip in shown]
        if len({len(t) for t in times}) > 1:
            raise ValueError(f"clips of {sorted({len(t) for t in times})} frames in one batch; set data.frames")
        if len(sizes := {clip.video.shape[1:3] for clip in shown}) > 1:
            raise ValueError(f"frames of {' and '.join(f'{w}x{h}' for h, w in sorted(sizes))} pixels in one batch; set "
                             "data.image_size: [height, width]")
        return Batch(self._inputs(shown, records, ids), torch.from_numpy(np.stack(times)),
                     torch.from_numpy(np.stack([clip.video for clip in shown])),
                     _joined([clip.signals for clip in shown], ids), _latents(shown, ids), [clip.key for clip in shown],
                     ids, records, _joined([clip.cameras for clip in shown], ids))

    def _inputs(self, shown: Sequence[Shown], records: Sequence[dict[str, Any]], ids: list[str]) -> dict[str, Tensor]:
        if self.processor is None:
            return {}
        words = []
        for clip, record in zip(shown, records):
            try:
                words.append(words_of(record, clip.regions, self.config, clip.times_s, clip.whole))
            except ValueError as error:
                raise ValueError(f"{record['id']}: {error}") from error
        return student_inputs(self.processor, words, [clip.images for clip in shown], ids, self.config.max_tokens,
                              self.answers)


def _joined(parts: Sequence[dict[str, np.ndarray] | None], ids: Sequence[str]) -> dict[str, Tensor] | None:
    if parts[0] is None:
        return None
    for name, value in parts[0].items():
        for part, question in zip(parts, ids):
            if part[name].shape != value.shape:
                raise ValueError(f"{question}: {name} of shape {list(part[name].shape)}, of {ids[0]} "
                                 f"{list(value.shape)}; set data.signal_size to one height and width for all clips")
    return {name: torch.from_numpy(np.stack([part[name] for part in parts])) for name in parts[0]}


def _latents(shown: Sequence[Shown], ids: Sequence[str]) -> Tensor | None:
    shapes = [None if clip.latent is None else (*clip.latent.shape, clip.latent_id) for clip in shown]
    for shape, question in zip(shapes, ids):
        if shape != shapes[0]:
            raise ValueError(f"{question}: stored latents {shape}, of {ids[0]} {shapes[0]}; one teacher must have made "
                             "all: write the sets' latents again, or set data.teacher to false")
    return None if shapes[0] is None else torch.from_numpy(np.stack([clip.latent for clip in shown]))
