"""Consumers without a package: what their documentation says their loaders do, done to our rows.

EasyR1 splits `problem` at each `<image>` and joins paths with `image_dir`; Qwen-VL's finetuning code takes a file from
`image` or `video` for each tag of the user's turns and refuses what is left; LLaVA and VILA write `<image>` for a video
too, join its one path with the folder, and take a list of pictures.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from curate.exporters.run import export
from curate.rewards import score
from curate.shards.publish import publish
from tests.test_exporters import rows_of, sample

av = pytest.importorskip("av", reason="PyAV is not installed")
Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
NUM_FRAMES = 3


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    out = tmp_path_factory.mktemp("set")
    publish(out, [sample(seed) for seed in range(2)])
    return out


def picture(path: Path) -> str:
    with Image.open(path) as image:
        image.load()
        assert image.mode == "RGB" and min(image.size) > 8
    return "image"


def video(path: Path) -> str:
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 6
    return "video"


def easyr1(row: dict, folder: Path) -> list[str]:
    """Kinds of what the model sees, in order."""
    texts = row["problem"].split("<image>")
    assert len(texts) - 1 == len(row["images"]) and "<video>" not in row["problem"]
    seen = [picture(folder / path) for path in row["images"]]
    return [kind for i, text in enumerate(texts) for kind in ([*seen[i - 1:i], "text"] if text else seen[i - 1:i])]


def qwen(row: dict, folder: Path) -> list[str]:
    pools = {name: [row.get(name, [])] if isinstance(row.get(name), str) else list(row.get(name, []))
             for name in ("image", "video")}
    seen = []
    for turn in row["conversations"]:
        if turn["from"] != "human":
            assert not re.search("<image>|<video>", turn["value"])
            continue
        for part in re.split("(<image>|<video>)", turn["value"]):
            if part in ("<image>", "<video>"):
                path = pools[part.strip("<>")].pop(0)  # IndexError: more tags than files
                seen.append((picture if part == "<image>" else video)(folder / path))
            elif part.strip():
                seen.append("text")
    assert pools == {"image": [], "video": []}, "files that no tag stands for"
    return seen


def llava(row: dict, folder: Path) -> list[str]:
    assert ("image" in row) != ("video" in row)
    if "video" in row:
        assert isinstance(row["video"], str), "one path, joined with the folder"
        files = [video(folder / row["video"])]
    else:
        assert isinstance(row["image"], list)
        files = [picture(folder / path) for path in row["image"]]
    assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt"]
    assert row["conversations"][0]["value"].count("<image>") == len(files)
    assert "<image>" not in row["conversations"][1]["value"] and "<video>" not in row["conversations"][0]["value"]
    return [*files, "text"]


READERS = {"easyr1": easyr1, "qwen-vl": qwen, "llava": llava, "vila": llava}


@pytest.mark.parametrize(("name", "media"), [(name, media) for name in READERS for media in ("frames", "video")
                                             if (name, media) != ("easyr1", "video")])
def test_rows_are_read_as_the_documentation_says(source, tmp_path, name, media):
    done = export(source, name, tmp_path / "x", media=media, num_frames=NUM_FRAMES)
    kinds = [READERS[name](row, tmp_path / "x") for row in rows_of(tmp_path / "x")]
    assert len(kinds) == done.rows > 0
    for seen in kinds:
        num = seen.count("image"), seen.count("video")
        if media == "frames":
            assert num in ((NUM_FRAMES, 0), (2 * NUM_FRAMES, 0)) and seen[-1] == "text"
        else:  # the marked picture, a second view
            assert num[1] in (1, 2) and num[0] <= 1 and (name == "qwen-vl" or num == (0, 1))


def test_easyr1_judges_by_the_answer_column(source, tmp_path):
    from curate.rewards.adapters.easyr1 import compute_score

    export(source, "easyr1", tmp_path / "x", families=("object_displacement",))
    for row in rows_of(tmp_path / "x"):
        assert score("<answer>1.8 m</answer>", json.loads(row["answer"])) == 1.0
        judged = compute_score([{"response": "<think>so</think><answer>1.8 m</answer>", "ground_truth": row["answer"]}])
        assert judged[0]["overall"] == 1.0


def test_video_r1_has_a_letter_for_each_option_and_its_answer_in_tags(source, tmp_path):
    export(source, "video-r1", tmp_path / "x", regions="box")
    rows = rows_of(tmp_path / "x")
    assert {row["problem_type"] for row in rows} == {"multiple choice", "regression"}
    for row in rows:
        assert video(tmp_path / "x" / row["path"]) and re.fullmatch("<answer>.+</answer>", row["solution"])
        if row["problem_type"] == "multiple choice":
            letters = [option[:2] for option in row["options"]]
            assert letters == [f"{letter}." for letter in "ABCDE"[:len(letters)]]
            assert f"{row['solution'][8:-9]}." in letters and not any(o in row["problem"] for o in row["options"])
        else:
            assert row["options"] == [] and float(row["solution"][8:-9]) == 1.8
