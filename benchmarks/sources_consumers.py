"""What reading and exporting cost: samples a second from the page cache against webdataset, random access, exports.

    python -m benchmarks.sources_consumers [--out rows.json]

Samples are of 4.6 MB, as two views of ten seconds in 720p are. Rates are of processor time, which is all that reading
from the page cache takes, and compared in one run, in turns: the best of some turns counts.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.table import Row, at_least, at_most, report, row, skipped

NUM_CLIPS = 200
VIDEO_BYTES, MARK_BYTES = 2_240_000, 100_000  # of each view, and of the marked picture
NUM_QUESTIONS, PER_CLIP = 100_000, 40
TURNS = 3


def rows(data: Path, cache: Path) -> list[Row]:
    """
    Args:
        data: real sequences, of which none is needed here.
        cache: a folder to write to; what is there is used again.
    """
    large = _set(cache / "large", NUM_CLIPS, _large_samples, max_samples=NUM_CLIPS // 4)
    return [*_raw(large), *_decoded(cache), *_random_access(large, cache), *_exports(cache)]


def _set(out: Path, num: int, samples: Callable[[int], Iterator[Any]], **kwargs) -> Path:
    from curate.shards.publish import publish

    if not (out / "shards").exists():
        out.mkdir(parents=True, exist_ok=True)
        publish(out, samples(num), **kwargs)
    return out / "shards"


def _scene(number: int, num_frames: int = 6) -> Any:
    from tests.scenes import make_scene

    made, _ = make_scene(seed=number % 50, num_frames=num_frames, num_regions=2)
    key = f"{number:024x}"
    return replace(made, key=key, clip={"key": key, "kind": "rendered", "uri": f"{number}.mp4", "start": 0,
                                        "recording": str(number), "num_frames": num_frames, "params": {}})


def _large_samples(num: int) -> Iterator[Any]:
    """Media are noise: nothing of them is decoded."""
    from curate.shards.sample import make_sample
    from tests.shard_samples import questions

    for number in range(num):
        draw, scene = random.Random(number), _scene(number)
        media = {"v0.mp4": draw.randbytes(VIDEO_BYTES), "v1.mp4": draw.randbytes(VIDEO_BYTES),
                 "mark.jpg": draw.randbytes(MARK_BYTES)}
        yield make_sample(scene, media, questions(scene))


def best(ways: dict[str, Callable[[], int]], turns: int = TURNS) -> dict[str, float]:
    """Samples a second of each way that reads some and says how many: the best of turns taken one after the other."""
    found = dict.fromkeys(ways, 0.0)
    for _ in range(turns):
        for name, read in ways.items():
            begin = time.process_time()
            num = read()
            found[name] = max(found[name], num / (time.process_time() - begin))
    return found


def _shards(root: Path) -> list[str]:
    return [str(path) for path in sorted(root.glob("train-*.tar"))]


def _raw(root: Path) -> list[Row]:
    """Every byte of every part, nothing decoded."""
    import webdataset

    from curate.shards import Index, read

    index = Index(root)
    order = list(range(len(index)))
    shuffled = random.Random(0).sample(order, len(order))

    def by_webdataset() -> int:
        return sum(1 for _ in webdataset.WebDataset(_shards(root), shardshuffle=False))

    def items() -> int:  # records decoded, as `read` gives them
        return sum(1 for item in read(root, flatten=False) if [*item["media"].values()])

    rates = best({"webdataset": by_webdataset, "in order": lambda: sum(1 for _ in index.each()),
                  "at random": lambda: sum(1 for _ in index.each(shuffled)),
                  "alone": lambda: sum(1 for number in order if index.raw(number)), "read": items}, 2 * TURNS)
    size = sum(map(len, index.raw(0).values())) / 1e6
    what = f"samples of {size:.1f} MB, not decoded"
    return [row(f"{what}: plain webdataset", rates["webdataset"], "samples/s"),
            row(f"{what}: Index.each, in order", rates["in order"], "samples/s"),
            row(f"{what}: Index.each, at random", rates["at random"], "samples/s"),
            row(f"{what}: Index.raw, fresh memory for each", rates["alone"], "samples/s"),
            row(f"{what}: read, records decoded", rates["read"], "samples/s"),
            at_least(f"{what}: in order, against webdataset", rates["in order"] / rates["webdataset"], "×", 5),
            at_least(f"{what}: at random, against webdataset", rates["at random"] / rates["webdataset"], "×", 5)]


def _decoded(cache: Path) -> list[Row]:
    """With the same decoders: json, a JPEG, every frame of a video."""
    try:
        import av  # noqa: F401
        import cv2  # noqa: F401
    except ImportError as error:
        return [skipped("the same decoders", f"no {error.name}")]
    import webdataset

    from curate.shards import Index, read

    root = _set(cache / "video", 24, _video_samples, max_samples=8)
    index = Index(root)

    def by_webdataset() -> int:
        return sum(_decode(sample) for sample in webdataset.WebDataset(_shards(root), shardshuffle=False))

    def by_index() -> int:
        return sum(_decode(parts) for parts in index.each())

    def by_read() -> int:  # its own decoder of records, which also fills in what is not a number
        return sum(_decode(dict(item["media"])) for item in read(root, flatten=False))

    rates = best({"webdataset": by_webdataset, "index": by_index, "read": by_read})
    return [row("the same decoders (json, jpeg, h264): plain webdataset", rates["webdataset"], "samples/s"),
            row("the same decoders: Index.each", rates["index"], "samples/s"),
            at_least("the same decoders: Index.each against webdataset", rates["index"] / rates["webdataset"], "×",
                     0.97),
            row("the same decoders: read against webdataset", rates["read"] / rates["webdataset"], "×")]


def _video_samples(num: int) -> Iterator[Any]:
    """Smooth noise that drifts, as videos of 640 x 360."""
    import cv2
    import numpy as np

    from curate.shards.sample import make_sample
    from curate.video.encode import encode_h264, jpeg
    from tests.shard_samples import questions

    for number in range(num):
        scene, rng = _scene(number, num_frames=24), np.random.default_rng(number)
        noise = cv2.GaussianBlur(rng.integers(0, 255, (360, 640 + 24, 3), np.uint8), (0, 0), 3)
        frames = np.stack([noise[:, i:i + 640] for i in range(24)])
        video = encode_h264(frames, time_s=scene.time_s)
        yield make_sample(scene, {"v0.mp4": video, "v1.mp4": video, "mark.jpg": jpeg(frames[0])}, questions(scene))


def _decode(sample: dict[str, Any]) -> int:
    import io

    import av
    import cv2
    import numpy as np

    if "json" in sample:
        json.loads(bytes(sample["json"]))
    cv2.imdecode(np.frombuffer(sample["mark.jpg"], np.uint8), cv2.IMREAD_COLOR)
    with av.open(io.BytesIO(sample["v0.mp4"])) as container:
        for frame in container.decode(video=0):
            frame.to_ndarray(format="rgb24")
    return 1


def _small_samples(num: int) -> Iterator[Any]:
    return _asked(num, per_clip=2, view_bytes=1000)


def _asked(num: int, per_clip: int, view_bytes: int) -> Iterator[Any]:
    """Clips that differ by key and media, with as many questions."""
    from curate.shards.sample import Sample, make_sample
    from tests.shard_samples import JPEG, questions

    scene = _scene(0)
    asked = [replace(q, id=f"{i}-{q.id}") for i in range((per_clip + 1) // 2) for q in questions(scene)][:per_clip]
    first = make_sample(scene, {"v0.mp4": b"x", "v1.mp4": b"x", "mark.jpg": JPEG}, asked).json
    for number in range(num):
        key, draw = f"{number:024x}", random.Random(number)
        qa = [q | {"id": f"{key}-{i}"} for i, q in enumerate(first["qa"])]
        media = {"v0.mp4": draw.randbytes(view_bytes), "v1.mp4": draw.randbytes(view_bytes), "mark.jpg": JPEG}
        yield Sample(key, media, first | {"key": key, "clip_key": key, "group": key, "qa": qa})


def _random_access(large: Path, cache: Path) -> list[Row]:
    """Seconds of an access by key, in a small set and in one of a hundred times as many clips."""
    from curate.shards import Index

    few, many = (Index(_set(cache / f"clips-{num}", num, _small_samples)) for num in (100, 10_000))
    keys = {name: index.keys() for name, index in (("few", few), ("many", many))}  # opens every shard
    draws = {name: random.Random(0).choices(found, k=2000) for name, found in keys.items()}
    rates = best({"few": lambda: sum(1 for key in draws["few"] if few.raw(key)),
                  "many": lambda: sum(1 for key in draws["many"] if many.raw(key)),
                  "end": lambda: sum(1 for key in keys["many"][-2000:] if many.raw(key))})

    def opened() -> int:
        index = Index(large)
        return sum(1 for number in range(0, len(index), 50) if index.raw(number))

    return [row("random access by key: 100 clips", 1e6 / rates["few"], "µs"),
            at_most("random access by key: 10,000 clips against 100", rates["few"] / rates["many"], "×", 1.5),
            at_most("random access by key: the last of a set against any", rates["many"] / rates["end"], "×", 1.5),
            row("random access: the first sample of 4.6 MB of a shard of 50, its headers read",
                1e3 / best({"open": opened})["open"], "ms")]


def _exports(cache: Path) -> list[Row]:
    """All questions of a set, media once a clip."""
    from curate.exporters.run import export

    num_clips = NUM_QUESTIONS // PER_CLIP
    source = _set(cache / "questions", num_clips, lambda num: _asked(num, PER_CLIP, 100_000))
    found = []
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        for name, form in (("ms-swift", "sft"), ("verl", "rl"), ("llama-factory", "sft")):
            begin, cpu = time.perf_counter(), time.process_time()
            done = export(source, name, Path(folder) / name, form=form, media="video")
            seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
            assert done.rows == NUM_QUESTIONS
            what = f"export of {done.rows:,} questions of {done.clips:,} clips to {name}, {form}"
            found += [row(f"{what}: elapsed", seconds, "s"), at_most(f"{what}: processor time", cpu, "s", 60)]
        media = sum(path.stat().st_size for path in (Path(folder) / name / "media").iterdir())
    once = sum(info["bytes"] for info in _media_of(source))
    return [*found, at_most("export: bytes of media written for each in the set that is referred to", media / once, "×",
                            1)]


def _media_of(source: Path) -> Iterator[dict[str, int]]:
    """The first view and the marked picture of every clip: what questions of one view refer to."""
    from curate.shards import read

    for item in read(source, flatten=False):
        yield {"bytes": len(item["media"]["v0.mp4"]) + len(item["media"]["mark.jpg"])}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="real sequences; not needed here")
    parser.add_argument("--cache", help="folder for the sets that are made; default: a temporary one")
    parser.add_argument("--out", help="the figures as JSON")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        return report("Consumers", rows(Path(given.data), Path(given.cache or folder)), given.out)


if __name__ == "__main__":
    sys.exit(main())
