"""Mutated texts: calibrations, times, recipes."""

from __future__ import annotations

import json
import random
from typing import Any

NUMBERS = (float("nan"), float("inf"), float("-inf"), 0, -0.0, -1, -0.1, 1e308, -1e308, 1e-308, 1e-9, 1e9, 10**40,
           2**63, 0.5, 3)
OTHERS = ("", "text", "0.1", "NaN", "１２", None, True, [], {}, [1], {"a": 1}, [[[]]], "x" * 5000, "../../etc/passwd",
          "\x00", "\ud7ff")
ROTATIONS = ([0, 0, 0], [0, 0.02, 0], [0, 3.14159, 0], [1e9, 0, 0], [1, 0, 0, 0, 1, 0, 0, 0, 1], [0] * 9, [2] * 9,
             [1, 0, 0, 0, -1, 0, 0, 0, 1], [1, 2], [float("nan")] * 3)
DISTORTIONS = ([0.1, -0.1, 0, 0], [1e9] * 5, [-3, 0, 0, 0, 0], [1, 2, 3], [0] * 14, [float("inf")] * 4, [1e-3] * 12)


def mutated_bytes(rng: random.Random, data: bytes) -> bytes:
    """A text file that was cut, damaged, or saved by something else."""
    how = rng.randrange(9)
    at = rng.randrange(len(data) + 1)
    if how == 0:
        return data[:at]
    if how == 1:
        return data[:at] + rng.randbytes(rng.randint(1, 8)) + data[at:]
    if how == 2:
        return b"\xef\xbb\xbf" + data
    if how == 3:
        return data.decode(errors="replace").encode("utf-16")
    if how == 4:
        return data.replace(b"\n", b"\r")[:at] + bytes(rng.randint(1, 5))
    if how == 5:
        return b""
    if how == 6:
        return data * rng.randint(2, 40)
    if how == 7:
        return rng.randbytes(rng.randint(1, 300))
    return data[at:]


def deep(rng: random.Random) -> bytes:
    """Brackets in brackets, deeper than a parser's stack."""
    depth = rng.choice((500, 5_000, 100_000))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"- ", b"")))
    return opening * depth + b"1" + (closing * depth if rng.random() < 0.5 else b"")


def mutated_calibration(rng: random.Random, good: dict[str, Any]) -> tuple[str, bytes]:
    """What was done, and the bytes of calib.json."""
    how = rng.choices(("number", "other type", "extra", "bytes", "deep", "projections", "other shape", "big"),
                      (8, 4, 5, 3, 1, 3, 1, 0.3))[0]
    fields = dict(good)
    if how == "number":
        name = rng.choice(("fx", "fy", "cx", "cy", "baseline_m", "width", "height", "doffs_px"))
        fields[name] = rng.choice(NUMBERS)
        return f"{name} = {fields[name]}", json.dumps(fields).encode()
    if how == "other type":
        name = rng.choice(sorted(fields))
        fields[name] = rng.choice(OTHERS)
        return f"{name} = {str(fields[name])[:12]!r}", json.dumps(fields).encode("utf-8", "surrogatepass")
    if how == "extra":
        name, values = rng.choice((("rotation_right_left", ROTATIONS), ("distortion", DISTORTIONS),
                                   ("translation_right_left_m", ([-0.1, 0, 0], [0.1, 0, 0], [0, 0, 0], [-0.1, 5, 0],
                                                                 [-1e-300, 0, 0], [-1e300, 0, 0])),
                                   ("right", ({"fx": 90.0}, {"fx": 1e-5}, {"fx": 90, "cx": 1e6}, {}, 5)),
                                   ("unknown", OTHERS)))
        fields[name] = rng.choice(values)
        if name.startswith("translation"):
            del fields["baseline_m"]
        return f"{name} = {str(fields[name])[:30]}", json.dumps(fields).encode("utf-8", "surrogatepass")
    if how == "bytes":
        return "bytes", mutated_bytes(rng, json.dumps(good, indent=1).encode())
    if how == "deep":
        return "deep", deep(rng)
    if how == "projections":
        matrices = {f"P{i}": [[90.0, 0, 47.5, -9.0 * (i % 2)], [0, 90.0, 31.5, 0], [0, 0, 1, 0]] for i in (0, 1)}
        row, column = rng.randrange(3), rng.randrange(4)
        matrices[f"P{rng.randrange(2)}"][row][column] = rng.choice((*NUMBERS, *OTHERS))
        if rng.random() < 0.2:
            matrices["P0"] = rng.choice((*OTHERS, [0] * 12, [1e300] * 12))
        return "P matrices", json.dumps(matrices).encode("utf-8", "surrogatepass")
    if how == "big":
        return "2 MiB", json.dumps(good).encode() + b" " * (2 << 20)
    return "another shape", json.dumps(rng.choice((*NUMBERS, *OTHERS))).encode("utf-8", "surrogatepass")


def mutated_times(rng: random.Random, count: int, fps: float) -> tuple[str, bytes]:
    """What was done, and the bytes of a file of timestamps."""
    times: list[Any] = [i / fps for i in range(count)]
    how = rng.choice(("value", "value", "order", "count", "bytes", "step", "deep"))
    if how == "value":
        times[rng.randrange(count)] = rng.choice((*NUMBERS, *OTHERS, "1e99999", "0x10", "1_000", "--1"))
    elif how == "order":
        rng.shuffle(times)
    elif how == "count":
        times = times[:rng.randrange(count)] if rng.random() < 0.5 else times * 2
    elif how == "step":
        scale = rng.choice((1e-12, 1e-6, 1e12, 1e18, -1))
        times = [t * scale for t in times]
    text = "".join(f"{t}\n" for t in times).encode("utf-8", "surrogatepass")
    if how == "bytes":
        text = mutated_bytes(rng, text)
    elif how == "deep":
        text = deep(rng)
    return how, text


def bomb(rng: random.Random) -> bytes:
    """Aliases that grow as they are followed: billions of values, merges, or a value inside itself."""
    how = rng.randrange(4)
    if how == 0:
        lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
        return "\n".join([*lines, "source: *a11"]).encode()
    if how == 1:
        lines = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}], k{i}: *a{i - 1}}}"
                                      for i in range(1, 12)]
        return "\n".join([*lines, "source: *a11"]).encode()
    if how == 2:
        return b"source: &s {kind: rendered, again: *s}"
    return b"source: &s [*s, *s]"


def mutated_recipe(rng: random.Random, good: list[str]) -> tuple[str, bytes]:
    """What was done, and the bytes of a recipe.

    Args:
        good: texts of good recipes.
    """
    text = rng.choice(good)
    how = rng.choices(("line", "value", "bytes", "bomb", "deep", "tag", "noise", "many"), (6, 8, 4, 2, 1, 3, 1, 0.3))[0]
    lines = text.splitlines()
    if how == "line":
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(lines))
            line = lines[at]
            lines[at] = rng.choice((line[1:], f"  {line}", rng.choice(lines), "", f"\t{line}", line.replace(":", ""),
                                    f"{line} {{", f"- {line}"))
    elif how == "value":
        at = rng.choice([i for i, line in enumerate(lines) if ": " in line and not line.lstrip().startswith("#")])
        value = rng.choice((*NUMBERS, *OTHERS, "2001-02-30", "!!binary x", "0o9", "1:99:99", "~", "[", "*a", "&a",
                            ".inf"))
        lines[at] = f"{lines[at].split(': ')[0]}: {value}"
    elif how == "bytes":
        return how, mutated_bytes(rng, text.encode())
    elif how == "bomb":
        return how, bomb(rng)
    elif how == "deep":
        return how, deep(rng)
    elif how == "tag":
        tag = rng.choice(("!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!!python/module:os",
                          "!!set {a, a}", "!!timestamp 9999-99-99", "!!int x", "!!float x", "!!omap [a]", "!x y",
                          "!!null x"))
        return how, f"source: {tag}\n".encode()
    elif how == "noise":
        return how, "".join(chr(rng.randrange(32, 0x2FFF)) for _ in range(rng.randint(1, 200))).encode()
    else:
        return how, ("source:\n" + "".join(f"  k{i}: {i}\n" for i in range(60_000))).encode()
    return how, "\n".join(lines).encode("utf-8", "surrogatepass")
