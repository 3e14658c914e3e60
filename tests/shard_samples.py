"""Samples made from test scenes, with small media, for the tests of shards and report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from curate.questions.question import Question
from curate.scene import Scene
from curate.shards.sample import Sample, make_sample
from tests.scenes import make_scene

# a white picture of 8x8 pixels
JPEG = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb004300100b0c0e0c0a100e0d0e1211101318281a181616183123251d283a333d"
    "3c3933383740485c4e404457453738506d51575f626768673e4d71797064785c656763ffc0000b080008000801011100ffc4001f0000"
    "010501010101010100000000000000000102030405060708090a0bffc400b5100002010303020403050504040000017d010203000411"
    "05122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a434445"
    "464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9"
    "aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9faffda00080101"
    "00003f00f40affd9")


def scene(seed: int) -> Scene:
    made, _ = make_scene(seed=seed, num_frames=6, num_regions=2)
    key = f"{seed:024x}"
    return replace(made, key=key, clip={"key": key, "kind": "rendered", "uri": f"scene/{seed}.mp4",
                                        "recording": f"scene/{seed // 2}", "start": 0, "num_frames": 6, "params": {}})


def questions(of: Scene) -> list[Question]:
    region = of.regions[0].id
    quantity = {"kind": "object_displacement", "subjects": (region,), "span": (0, 5), "value": 1.8, "unit": "m",
                "p_zero": math.nan, "extra": {"far": math.inf, "n": 3, "axes": [[1.0, 0.0]]}}
    common = dict(start_s=0.0, end_s=float(of.time_s[-1]), start_frame=0, end_frame=5, mark_frame=0, frame="world",
                  reference="surface@t0", quantities=[quantity])
    return [
        Question(id=f"{of.key}-object_displacement-{region}-numeric", family="object_displacement", form="numeric",
                 question="How far does <R1> travel? Metres.", options=[], answer="1.8", letter="", value=1.8, low=1.7,
                 high=1.9, unit="m", tolerance=0.1, regions=[region], reasoning=["Step “one”: 1.8 m."],
                 extra={"bands": {"a": 1}}, **common),
        Question(id=f"{of.key}-object_direction-{region}-choice", family="object_direction", form="choice",
                 question="Which way does <R1> move?", options=["left", "right", "up", "down"], answer="right",
                 letter="B", value=math.nan, low=math.nan, high=math.nan, unit="", tolerance=math.nan,
                 regions=[region], reasoning=[], extra={"option_values": ["left", "right", "up", "down"]}, **common)]


def sample(seed: int, *, split: str = "train", text_only: bool = False, num_bytes: int = 700) -> Sample:
    of = scene(seed)
    video = bytes([0, 0, 0, 24]) + b"ftypisom" + bytes((seed + i) % 251 for i in range(num_bytes + 37 * seed))
    media = {} if text_only else {"v0.mp4": video, "v1.mp4": video[::-1], "mark.jpg": JPEG}
    return make_sample(of, media, questions(of), split=split, licence="CC0-1.0")


def samples(count: int, **kwargs) -> Iterator[Sample]:
    return (sample(seed, **kwargs) for seed in range(count))
