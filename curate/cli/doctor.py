"""`curate doctor`: is everything there, and the exact line that brings what is not."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import click

from curate.cli.errors import FAILURE
from curate.cli.options import Command

PYTHON = (3, 11)
DISTRIBUTION = "curate4d"
MIN_FREE_BYTES = 2 << 30
MIN_MEMORY_BYTES = 2 << 30
# What open3d's shared libraries ask the loader for and slim images lack: file name -> Debian and Ubuntu package.
LIBRARIES = {
    "libusb-1.0.so.0": "libusb-1.0-0", "libEGL.so.1": "libegl1", "libGL.so.1": "libgl1", "libX11.so.6": "libx11-6",
    "libudev.so.1": "libudev1", "libidn2.so.0": "libidn2-0", "libgomp.so.1": "libgomp1",
    "libglib-2.0.so.0": "libglib2.0-0", "libxcb.so.1": "libxcb1",
}
# Import name -> what it is for.
MODULES = {"cv2": "stereo, flow, pictures", "av": "video", "open3d": "rendering", "ray": "several workers"}
IMPORT_TIMEOUT_S = 120


@dataclass(frozen=True)
class Finding:
    """One line of the report. `level`: "ok", "missing" (the exit code is 1), or "note"."""

    level: str
    name: str
    found: str
    fix: str = ""


@click.command(cls=Command, short_help="Look at packages, libraries and machine.")
@click.option("--ray", "with_ray", is_flag=True, help="Also start a local Ray and run a task on it (10 s).")
@click.option("--out", default=".", metavar="DIR", type=click.Path(path_type=Path), help="Whose disk is looked at.")
@click.pass_context
def command(ctx: click.Context, with_ray: bool, out: Path) -> None:
    """Look at Python, packages, system libraries, decoders, memory, disk and GPU.

    Each thing that is missing comes with the line that installs it. Exit code 1 if a required one is.

    \b
    Examples:
      curate doctor
      curate doctor --ray
    """
    findings = [python(), *packages(), *modules(), *machine(out), *([ray()] if with_ray else [])]
    width = max(len(f.name) for f in findings)
    for f in findings:
        click.echo(f"{f.level:<8}{f.name:<{width}}  {f.found}")
    fixes = list(dict.fromkeys(f.fix for f in findings if f.level == "missing" and f.fix))
    if fixes:
        click.echo("\nrun:\n" + "\n".join(f"  {fix}" for fix in fixes))
    ctx.exit(FAILURE if any(f.level == "missing" for f in findings) else 0)


def python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON:
        return Finding("missing", "python", f"{version}; {PYTHON[0]}.{PYTHON[1]} or newer is needed",
                       f"install Python {PYTHON[0]}.{PYTHON[1]} or newer, and curate4d into it")
    return Finding("ok", "python", f"{version} ({sys.executable})")


def packages() -> list[Finding]:
    """Every requirement of the base and of the extras against what is installed."""
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return [Finding("missing", DISTRIBUTION, "not installed", "pip install 'curate4d[run]'")]
    findings = []
    for text in requirements:
        wanted = _Requirement.parse(text)
        if wanted is None or not wanted.applies or wanted.extra == "all":
            continue
        what = f"{wanted.name} {wanted.specifier}".strip()
        required = wanted.extra in ("", "run")
        fix = f"pip install {DISTRIBUTION}" if not wanted.extra else f"pip install '{DISTRIBUTION}[{wanted.extra}]'"
        try:
            found = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            findings.append(Finding("missing" if required else "note", what, f"not installed (for {wanted.use}"
                                    f"{')' if required else f': {fix})'}", fix))
            continue
        old = _older(found, wanted.minimum)
        findings.append(Finding(("missing" if required else "note") if old else "ok", what,
                                f"{found}{' is too old' if old else ''}",
                                f"pip install --upgrade '{wanted.name}{wanted.specifier}'" if old else ""))
    return findings


@dataclass(frozen=True)
class _Requirement:
    name: str
    specifier: str
    extra: str
    applies: bool

    @property
    def minimum(self) -> str:
        found = re.search(r">=\s*([\d.]+)", self.specifier)
        return found[1] if found else "0"

    @property
    def use(self) -> str:
        return {"": "everything", "run": "curate run", "learned": "learned estimators", "train": "training",
                "dev": "the tests"}.get(self.extra, self.extra)

    @staticmethod
    def parse(text: str) -> _Requirement | None:
        """Of `name>=1; marker and extra == "run"`, as packages state them; None for an extra made of extras."""
        from importlib.util import find_spec

        head, _, marker = text.partition(";")
        parts = re.match(r"\s*([A-Za-z0-9._-]+)(\[[^\]]*\])?\s*\(?([^)]*)\)?", head)
        if not parts or parts[2]:
            return None
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", marker)
        applies = True
        if marker.strip() and find_spec("packaging"):
            from packaging.markers import Marker

            applies = Marker(marker.strip()).evaluate({"extra": extra[1] if extra else ""})
        return _Requirement(parts[1], parts[3].strip(), extra[1] if extra else "", applies)


def _older(found: str, minimum: str) -> bool:
    def numbers(text: str) -> list[int]:
        return [int(n) for n in re.match(r"[\d.]*", text)[0].split(".") if n]

    a, b = numbers(found), numbers(minimum)
    length = max(len(a), len(b))
    return a + [0] * (length - len(a)) < b + [0] * (length - len(b))


def modules() -> list[Finding]:
    """Really imports what needs system libraries, each in a process of its own: a crash there is a finding too."""
    return [_module(name, use) for name, use in MODULES.items()]


def _module(name: str, use: str) -> Finding:
    from importlib.util import find_spec

    label = f"import {name}"
    if find_spec(name) is None:
        return Finding("missing", label, f"not installed (for {use})", f"pip install '{DISTRIBUTION}[run]'")
    error = _import_error(name)
    if not error:
        return Finding("ok", label, _decoders() if name == "av" else use)
    if "cannot open shared object file" in error:
        lacking = {k: v for k, v in LIBRARIES.items() if not _loads(k)}
        named = re.search(r"(lib[\w.+-]+\.so[\w.]*)", error)
        wanted = sorted({*lacking.values(), *([LIBRARIES[named[1]]] if named and named[1] in LIBRARIES else [])})
        if wanted:
            return Finding("missing", label, error,
                           f"apt-get update && apt-get install -y --no-install-recommends {' '.join(wanted)}")
    return Finding("missing", label, error, f"pip install --force-reinstall '{DISTRIBUTION}[run]'")


def _import_error(name: str) -> str:
    try:
        done = subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, text=True,
                              timeout=IMPORT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"importing it takes more than {IMPORT_TIMEOUT_S} s"
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]


def _loads(library: str) -> bool:
    """Asked of the loader itself, in a fresh process: it remembers what it has once failed to find."""
    code = f"import ctypes; ctypes.CDLL({library!r})"
    return subprocess.run([sys.executable, "-S", "-c", code], capture_output=True).returncode == 0


def _decoders() -> str:
    import av

    names = [n for n in ("h264", "hevc", "vp9", "av1", "libdav1d", "mpeg4") if n in av.codecs_available]
    return f"decodes {', '.join(names)}{'' if 'libx264' in av.codecs_available else '; no libx264 to write with'}"


def machine(out: Path) -> list[Finding]:
    from curate.cli import machine as here
    from curate.cli.console import mebibytes

    memory, disk, gpus = here.memory_bytes(), here.disk_bytes(out), here.gpus()
    return [
        Finding("ok", "CPUs", f"{here.cpus():g} for this process"),
        Finding("note" if memory is None or memory < MIN_MEMORY_BYTES else "ok", "memory",
                "unknown" if memory is None else f"{mebibytes(memory)} free; a worker takes up to 1.5 GiB"),
        Finding("note" if disk < MIN_FREE_BYTES else "ok", "disk", f"{mebibytes(disk)} free at {out.absolute()}"),
        Finding("ok" if gpus else "note", "GPU", ", ".join(gpus) or "none; the classical estimators need none"),
    ]


def ray() -> Finding:
    try:
        import ray as package
    except ImportError as error:
        return Finding("missing", "ray start", str(error), f"pip install '{DISTRIBUTION}[run]'")
    import logging

    try:
        package.init(num_cpus=1, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
        answer = package.get(package.remote(lambda: 42).remote(), timeout=60)
    except Exception as error:
        return Finding("missing", "ray start", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
                       "curate run ... --inline   # works without Ray")
    finally:
        package.shutdown()
    return Finding("ok" if answer == 42 else "missing", "ray start", "a task ran on a local Ray")
