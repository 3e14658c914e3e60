"""Do consumers read our sets and exports? Their own code is run on them, and docs/consumers.md says what came of it.

    python tools/consumers/run.py [--out docs/consumers.md] [--only verl,ms-swift] [--environments FOLDER]

Consumers whose pins go with ours are run by their tests. Each of the others gets an environment of its own, one at a
time, which is removed afterwards; with --environments they are kept there and used again. Nothing is downloaded but
packages: models are tiny, untrained and made in code.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
INSTALL_S, CHECK_S, TEST_S = 1800, 900, 900
NUM_CLIPS, NUM_FRAMES = 4, 3
TORCH = "torch==2.13.0"
QUIET = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}


@dataclass(frozen=True)
class Own:
    """A consumer in an environment of its own. `export`: name of the exporter; `script`: lies beside this file."""

    title: str
    export: str
    packages: tuple[str, ...]
    script: str


@dataclass(frozen=True)
class Tested:
    """A consumer that goes into our environment. `package`: whose version counts; `tests`: what runs it."""

    title: str
    package: str
    tests: str
    reads: str


@dataclass(frozen=True)
class Ruled:
    """A consumer without a package. `tests`: what holds its documented rules."""

    title: str
    export: str
    tests: str = "tests/test_consumer_rules.py"


@dataclass
class Row:
    """One line of the table. `shown`: "run", "rules" or "not shown"; `reads`: what was read, or why nothing was."""

    title: str
    version: str
    shown: str
    reads: list[str] = field(default_factory=list)


QWEN = ("qwen-vl-utils==0.0.14", "decord==0.6.0", "torchvision")
OWN = (Own("LLaMA-Factory", "llama-factory", (TORCH, "llamafactory==0.9.5"), "for_llama_factory.py"),
       Own("ms-swift", "ms-swift", (TORCH, "ms-swift==4.6.0", *QWEN), "for_swift.py"),
       Own("verl", "verl", (TORCH, "verl==0.9.1", *QWEN), "for_verl.py"))
TESTED = (
    Tested("webdataset", "webdataset", "tests/test_shards_consumers.py::test_plain_webdataset",
           "a published set: every part of every clip, in order, and its own json decoder"),
    Tested("Hugging Face datasets", "datasets", "tests/test_shards_consumers.py -k datasets",
           "a published set, by its card and by the webdataset loader, streaming and not: rows with the card's types"),
    Tested("wids", "wids", "tests/test_consumer_index.py -k wids",
           "a published set by its index.json, clips in random order: every part"),
    Tested("Megatron-Energon", "megatron-energon", "tests/test_consumer_energon.py",
           "a published set by its .nv-meta and the index beside each shard: training and validation, one rank and "
           "more than there are shards: each clip once"),
    Tested("torch DataLoader", "torch", "tests/test_shards_consumers.py tests/test_consumer_index.py -k data_loader",
           "a published set, iterated and by number, more workers than shards, two epochs: each clip once in each"),
    Tested("trl", "trl", "tests/test_consumer_trl.py",
           "`--to trl`, sft and rl: SFTTrainer and GRPOTrainer collate frames of one and of two views, and texts "
           "alone, and take a step with a tiny model; columns reach the reward"))
RULED = (Ruled("EasyR1", "easyr1"), Ruled("Qwen-VL finetuning", "qwen-vl"), Ruled("LLaVA", "llava"),
         Ruled("VILA", "vila"), Ruled("Video-R1", "video-r1"),
         Ruled("scene generation", "scene-generation", "tests/test_exporters.py -k generation"))


def prepare(work: Path) -> None:
    """A published set, its exports for every consumer, `{name}-{form}-{media}`, and a tokenizer."""
    from dataclasses import replace

    from curate.exporters import exporters
    from curate.exporters.run import export
    from curate.shards.publish import publish
    from curate.train.students.tokenizer import tiny_tokenizer
    from tests.shard_samples import questions, scene
    from tests.test_exporters import sample

    def clip(seed: int) -> Any:
        if seed:
            return sample(seed)
        caption = replace(questions(scene(0))[1], id="caption", family="dense_caption", form="open", options=[],
                          letter="", answer="A box slides to the right.", answer_type="text", target={"facts": []},
                          extra={}, question="What happens?")
        return sample(0, [caption])

    (work / "set").mkdir(parents=True)
    publish(work / "set", [clip(seed) for seed in range(NUM_CLIPS)])
    tiny_tokenizer().backend_tokenizer.save(str(work / "tokenizer.json"))
    for name, one in exporters().items():
        for form in one.forms:
            for media in one.media:
                export(work / "set", name, work / f"{name}-{form}-{media}", form=form, media=media,
                       num_frames=NUM_FRAMES)


def run(command: list[str], limit_s: int, **env: str) -> tuple[str, str]:
    """What it wrote, and why it failed ("" where it did not)."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, cwd=ROOT,
                              env={**os.environ, **QUIET, **env}, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return "", f"not done after {limit_s} s"
    said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    return done.stdout, "" if done.returncode == 0 else (said[-1].strip() if said else f"exit code {done.returncode}")


def own(consumer: Own, work: Path, environments: Path | None) -> Row:
    """Installs, runs, removes."""
    folder = (environments or work) / f"environment-{consumer.export}"
    python = folder / "bin" / "python"
    wanted = consumer.packages[1].split("==")[1]
    row = Row(consumer.title, wanted, "not shown")
    try:
        if not python.exists():
            say(f"{consumer.title}: installing {' '.join(consumer.packages)}")
            venv.create(folder, with_pip=True)
            _, failed = run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                             *consumer.packages], INSTALL_S)
            if failed:
                row.reads = [f"could not be installed here: {failed}"]
                return row
        say(f"{consumer.title}: {consumer.script}")
        out, failed = run([str(python), str(HERE / consumer.script), str(work), str(work / "tokenizer.json")], CHECK_S)
        if failed:
            row.reads = [f"failed: {failed}"]
            return row
        found = json.loads(out.strip().splitlines()[-1])
        row.version, row.shown = found["version"], "run"
        row.reads = [words(**read) for read in found["read"]]
        return row
    finally:
        if environments is None:
            shutil.rmtree(folder, ignore_errors=True)


def words(form: str, media: str, rows: int, images: int, videos: int, columns: list[str]) -> str:
    files = " and ".join(f"{num} {name}" for name, num in (("images", images), ("videos", videos)) if num)
    return f"{form}, {media}: {rows} rows with {files or 'no media'}; columns {', '.join(columns)}"


def tested(consumer: Tested) -> Row:
    row = Row(consumer.title, "", "not shown", [consumer.reads])
    try:
        row.version = version(consumer.package)
    except PackageNotFoundError:
        row.reads = ["not installed"]
        return row
    say(f"{consumer.title}: {consumer.tests}")
    row.shown, row.reads = ("run", row.reads) if not (why := pytest(consumer.tests)) else ("not shown", [why])
    return row


@cache
def pytest(tests: str) -> str:
    """Why they do not hold; "" where every one passes."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", *tests.split(" ")]
    out, failed = run(command, TEST_S)
    skipped = [line for line in out.splitlines() if line.startswith("SKIPPED")]
    return failed or (skipped[0] if skipped else "")


def ruled(consumer: Ruled, work: Path) -> Row:
    say(f"{consumer.title}: {consumer.tests}")
    if why := pytest(consumer.tests):
        return Row(consumer.title, "", "not shown", [why])
    reads = []
    for folder in sorted(work.glob(f"{consumer.export}-*-*")):
        done = json.loads((folder / "export.json").read_text("utf-8"))
        refused = ", ".join(f"{num} refused ({rule})" for rule, num in done["refused"].items())
        reads.append(f"{done['form']}, {done['media']}: {done['rows']} rows" + (f"; {refused}" if refused else ""))
    return Row(consumer.title, "", "rules", reads)


PAGE = """# Consumers

Who reads our sets and exports, and how that was shown. "run": the consumer's own code read them; "rules": it has no
package, and its documented rules are held by a test; "not shown": why stands beside it. This page is written by
`make consumers`.

| consumer | version | shown by | what was read |
|---|---|---|---|
{rows}

Exports are written by `curate export OUT --to NAME`, NAME being one of
{names};
the first five lines read what `curate run` publishes, as it lies. Media are written once a clip and referred to by
every row; a question on two views gets both. What a consumer would misread is left out, counted by rule and named in
`export.json`.

LLaMA-Factory, ms-swift and verl run in environments of their own, with the pins above, CPU builds of torch, and a tiny
untrained model of Qwen2-VL's shape with its real processor. Every row goes through the consumer's own dataset class,
template and collator: no row may be dropped, each file must be decoded, the number of visual tokens must be that of the
files, and what is learned must be the answer. Of torchvision only the Python parts are used there, and torchaudio is
not, as the registry's builds are for CUDA.
"""


def page(rows: list[Row], names: list[str]) -> str:
    lines = [f"| {r.title} | {r.version or '–'} | {r.shown} | {'<br>'.join(r.reads).replace('|', chr(92) + '|')} |"
             for r in rows]
    return PAGE.format(rows="\n".join(lines), names=", ".join(f"`{name}`" for name in names))


def say(text: str) -> None:
    print(text, flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "consumers.md")
    parser.add_argument("--only", default="", help="titles or exporters, by commas; prints the lines, writes no page")
    parser.add_argument("--environments", type=Path, help="keep the environments in this folder and use them again")
    given = parser.parse_args(arguments)
    sys.path.insert(0, str(ROOT))
    from curate.exporters import exporters

    only = {name.strip().lower() for name in given.only.split(",") if name.strip()}

    def chosen(consumer: Any) -> bool:
        return not only or bool(only & {consumer.title.lower(), getattr(consumer, "export", "").lower()})

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        prepare(work)
        rows = [tested(c) for c in TESTED if chosen(c)]
        rows += [own(c, work, given.environments) for c in OWN if chosen(c)]
        rows += [ruled(c, work) for c in RULED if chosen(c)]
    for row in rows:
        say(f"{row.title} {row.version}: {row.shown}; {'; '.join(row.reads)}")
    if not only:
        given.out.write_text(page(rows, sorted(exporters())), encoding="utf-8")
        say(f"written: {given.out}")
    return int(any(row.shown == "not shown" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
