"""Mutated inputs, recipes and shards: nothing hangs, nothing crashes, each is done or refused for a stated reason.

    python -m benchmarks.fuzz --out FILE [--seed 0] [--inputs 1000] [--recipes 1000] [--shards 500] [--minutes 60]

Inputs go through `curate run` in batches, each with two untouched recordings that must come out done whatever lies
beside them. A batch that crashes, hangs or refuses altogether is run again input by input, so that the cause has a
name. `--only N` makes and runs input N alone and keeps it, to look at what was found.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from benchmarks import forking, fuzz_media, fuzz_shards, fuzz_text
from benchmarks.table import Row, at_least, at_most, report, row

BATCH = 40
HANG_S, HANG_S_EACH = 60.0, 5.0  # a batch that takes longer hangs; a good one takes a tenth
MEMORY_BYTES = 6 << 30  # of address space, of a child
# Names of Python's errors at the start of a reason: of a bug, and for nobody to read.
NOT_FOR_PEOPLE = re.compile(r"^[A-Z]\w*(Error|Exception|Warning)\b|Traceback|object at 0x")


@dataclass
class Findings:
    ends: Counter = field(default_factory=Counter)  # how inputs ended
    done_of: dict[str, Counter] = field(default_factory=dict)  # what was done to them, how they ended
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        self.faults.append(text)
        print(f"  fault: {text}", flush=True)


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def make(seed: int, number: int, root: Path) -> tuple[str, str]:
    """Writes input `number` under `root`; returns its uri and what was done to it."""
    rng = random.Random(f"{seed} input {number}")
    if is_pair(number):
        return f"{number:05d}", fuzz_media.pair(rng, root / f"{number:05d}")
    return f"{number:05d}.mp4", fuzz_media.packed(rng, root / f"{number:05d}.mp4")


def is_pair(number: int) -> bool:
    """A third are folders of images; batches are of one kind."""
    return number // BATCH % 3 == 2


def recipe(folder: Path, pair: bool) -> Path:
    source = ({"kind": "stereo_pair", "recordings": "*", "timestamps": "times.txt"} if pair
              else {"kind": "side_by_side", "videos": "*.mp4"}) | {"root": str(folder / "in")}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({"source": source, "clip": {"num_frames": 6, "min_frames": 4}}))
    return path


def account(out: Path) -> list[dict]:
    """The last line of the ledger of every clip."""
    last = {}
    for line in (out / "ledger.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if "key" in entry and "state" in entry:
            last[entry["key"]] = entry
    return list(last.values())


def batch(seed: int, numbers: list[int], folder: Path, found: Findings) -> None:
    """Runs some inputs together; where the run itself fails, each alone."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "in").mkdir(parents=True)
    pair = is_pair(numbers[0])
    good = ["a-good", "z-good"] if pair else ["a-good.mp4", "z-good.mp4"]
    for name in good:
        (fuzz_media.good_pair if pair else fuzz_media.good_packed)(folder / "in" / name)
    whats = dict(make(seed, n, folder / "in") for n in numbers)
    out = folder / "out"
    child = forking.curate(["run", recipe(folder, pair), "--out", out, "--inline", "--no-preview", "--quiet"],
                           folder / "log", before=limited)
    code = child.wait(HANG_S + HANG_S_EACH * len(numbers))
    if code not in (0, 3):
        if code is None:
            child.kill()
        if len(numbers) > 1:
            for number in numbers:
                batch(seed, [number], folder, found)
            return
        end = "a hang" if code is None else f"exit code {code}"
        found.fault(f"input {numbers[0]} ({whats.popitem()[1]}): {end}: {child.text()[-600:]}")
        found.ends["crash or hang"] += 1
        return
    entries = {}
    for entry in account(out):
        entries.setdefault(entry["uri"], []).append(entry)
    for name in good:
        if [e["state"] for e in entries.get(name, [])] != ["done"]:
            found.fault(f"{name} beside inputs {numbers[0]}..{numbers[-1]}: {entries.get(name)}")
    for number, (uri, what) in zip(numbers, whats.items()):
        judge(number, what, entries.get(uri, []), found)
    if "Traceback" in child.text():
        found.fault(f"inputs {numbers[0]}..{numbers[-1]}: a traceback: {child.text()[-600:]}")


def judge(number: int, what: str, entries: list[dict], found: Findings) -> None:
    """Each is there (as one clip, or as two where it grew), and what is not done has a reason that names the input and
    is no traceback."""
    spans = [(e["start"], e["num_frames"]) for e in entries]
    if not entries or len(set(spans)) != len(spans):
        found.ends["not accounted for"] += 1
        found.fault(f"input {number} ({what}): {len(entries)} ends: {entries}")
        return
    for entry in entries:
        end, reason = entry["state"], entry.get("reason") or ""
        if end == "done" and "out of the root" in what:
            found.fault(f"input {number} ({what}): was read")
        if end != "done" and (not reason or len(reason) > 700 or "\n" in reason or NOT_FOR_PEOPLE.search(reason)
                              or f"{number:05d}" not in reason or entry.get("kind") not in ("bad_input", None)):
            found.fault(f"input {number} ({what}): {entry.get('kind')}: {reason[:500]!r}")
            end = "without a reason for people"
    found.done_of.setdefault(re.split(r"[=:\d]", what)[0].strip(), Counter())[end] += 1
    found.ends[end] += 1


def each(name: str, count: int, check: Callable[[int], str | None], folder: Path, found: Findings,
         deadline: float, hang_s: float = 120.0) -> int:
    """`check(n)` for every n in forked children, so that a crash or a hang costs one; returns how many were checked.

    `check` returns what is wrong, or None; what it raises is wrong too.
    """
    log, start = folder / f"{name}.log", 0
    while start < count and time.monotonic() < deadline:
        def work(first: int = start) -> None:
            limited()
            for n in range(first, count):
                print(f"#{n}", flush=True)
                try:
                    fault = check(n)
                except BaseException as error:
                    fault = f"{type(error).__name__}: {str(error)[:300]}"
                if fault:
                    print(f"!{json.dumps(fault)}", flush=True)

        child, at, since = forking.fork(work, log), -1, time.monotonic()
        while (code := child.wait(1.0)) is None:
            now = time.monotonic()
            reached = _last_number(child.text())
            if reached != at:
                at, since = reached, now
            elif now - since > hang_s or now > deadline:
                child.kill()
                code = "a hang" if now - since > hang_s else "time is up"
                break
        at = start
        for line in child.text().splitlines():
            if line.startswith("#"):
                at = int(line[1:])
            elif line.startswith("!"):
                found.fault(f"{name} {at}: {json.loads(line[1:])}")
        if code == 0:
            return count
        if code == "time is up":
            return at
        found.fault(f"{name} {at}: {code}: {child.text()[-300:]}")
        start = at + 1
    return start


def _last_number(text: str) -> int:
    numbers = re.findall(r"^#(\d+)$", text, re.MULTILINE)
    return int(numbers[-1]) if numbers else -1


def check_recipe(seed: int, number: int, folder: Path, good: list[str]) -> str | None:
    from curate.recipe import RecipeError, load_recipe

    _, data = fuzz_text.mutated_recipe(random.Random(f"{seed} recipe {number}"), good)
    path = folder / "fuzzed.yaml"
    path.write_bytes(data)
    try:
        load_recipe(path)
    except RecipeError as error:
        return None if str(error) and "Traceback" not in str(error) and len(str(error)) < 20_000 else f"{error!r}"[:300]
    return None


def good_set(folder: Path) -> Path:
    """A run's folder with two clips and their questions."""
    recipe = folder / "good.yaml"
    recipe.write_text(yaml.safe_dump({
        "source": {"kind": "rendered", "num_scenes": 2, "seed": 1, "width": 160, "height": 96},
        "clip": {"num_frames": 8, "max_clips": 3}, "shards": {"max_samples": 2}}))
    child = forking.curate(["run", recipe, "--out", folder / "good", "--inline", "--no-preview", "--quiet"],
                           folder / "good.log")
    if child.wait(300) != 0:
        child.kill()
        raise RuntimeError(f"the good run failed: {child.text()[-2000:]}")
    return folder / "good"


def run(seed: int, inputs: int, recipes: int, shards: int, minutes: float, folder: Path) -> tuple[list[Row], Findings]:
    began, found = time.monotonic(), Findings()
    deadline = began + 60 * minutes
    forking.preload()
    print(f"seed {seed}: {inputs} inputs, {recipes} recipes, {shards} shard sets and as many scenes, "
          f"at most {minutes:g} minutes", flush=True)

    texts = [p.read_text() for p in sorted(Path(__file__).parent.parent.joinpath("recipes").glob("*.yaml"))]
    tried_recipes = each("recipe", recipes, lambda n: check_recipe(seed, n, folder, texts), folder, found, deadline)

    tried_shards = tried_scenes = 0
    if shards:
        good = good_set(folder)
        known = {key: text for key, text, _ in fuzz_shards.snapshot(good / "shards")}

        def check_shards(n: int) -> str | None:
            what = fuzz_shards.mutate_set(random.Random(f"{seed} shards {n}"), good / "shards", folder / "mutated")
            fault = what and fuzz_shards.check_set(folder / "mutated", known)
            return fault and f"({what}) {fault}"

        tried_shards = each("shards", shards, check_shards, folder, found, deadline)
        scene = next((good / "scenes").rglob("scene.npz")).read_bytes()
        tried_scenes = each("scene", shards, lambda n: fuzz_shards.check_scene(
            random.Random(f"{seed} scene {n}"), scene, folder / "scene.npz"), folder, found, deadline)

    faults_before, tried = len(found.faults), 0
    for first in range(0, inputs, BATCH):
        if time.monotonic() > deadline:
            print(f"time is up after {tried} inputs", flush=True)
            break
        numbers = list(range(first, min(first + BATCH, inputs)))
        batch(seed, numbers, folder / "batch", found)
        tried += len(numbers)
        if first // BATCH % 5 == 4:
            print(f"{tried} inputs after {time.monotonic() - began:.0f} s: {dict(found.ends)}", flush=True)
    rows = [at_least("mutated inputs tried", tried, "inputs", inputs),
            *(row(f"  {end}", count, "inputs") for end, count in sorted(found.ends.items())),
            at_most("inputs with a hang, a crash, no account or no reason", len(found.faults) - faults_before, "faults",
                    0),
            at_least("mutated recipes tried", tried_recipes, "recipes", recipes),
            at_least("mutated shard sets tried", tried_shards, "sets", shards),
            at_least("mutated scene files tried", tried_scenes, "files", shards),
            at_most("hangs, crashes, unread reasons, unfound changes among these", faults_before, "faults", 0),
            row("time", (time.monotonic() - began) / 60, "min")]
    return rows, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="write the rows as JSON here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--recipes", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", type=int, metavar="N", help="make and run input N alone, and keep its folder")
    args = parser.parse_args()
    if args.only is not None:
        forking.preload()
        folder, found = Path(tempfile.mkdtemp(prefix="curate-fuzz-")), Findings()
        batch(args.seed, [args.only], folder, found)
        print(f"{folder}: {dict(found.ends)} {found.done_of}")
        return int(bool(found.faults))
    with tempfile.TemporaryDirectory(prefix="curate-fuzz-") as folder:
        rows, found = run(args.seed, args.inputs, args.recipes, args.shards, args.minutes, Path(folder))
    for what, ends in sorted(found.done_of.items()):
        print(f"  {what}: {', '.join(f'{n} {end}' for end, n in sorted(ends.items()))}")
    return report("Mutated inputs", rows, args.out)


if __name__ == "__main__":
    sys.exit(main())
