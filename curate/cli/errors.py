"""What an exception means to the person at the terminal: one line, and an exit code."""

from __future__ import annotations

import re
import signal

from curate.storage.redact import redact

FAILURE, BAD_REQUEST, QUARANTINED = 1, 2, 3
BY_SIGNAL = 128  # and its number: 130 after Ctrl-C, 143 after SIGTERM

# Import name to what brings it; anything else of the extra `run` comes with the same line.
_EXTRA = {"cv2", "open3d", "av", "decord", "ray", "scipy"}
_LEARNED = {"torch", "safetensors", "onnxruntime"}
_TRAIN = {"transformers", "accelerate", "peft", "tensorboard", "PIL"}


def explain(error: BaseException, command: str = "") -> tuple[str, int]:
    """One line for stderr (several where a recipe has several faults), and the exit code."""
    if isinstance(error, KeyboardInterrupt):
        going = command in ("run", "retry")
        goes_on = "; nothing staged is lost: the same command goes on where it stopped" if going else ""
        return f"stopped{goes_on}", BY_SIGNAL + getattr(error, "signum", signal.SIGINT)
    if isinstance(error, ImportError):
        return f"error: {missing(error)}", FAILURE
    text = redact(error).strip()
    if type(error).__name__ in _bad_requests():
        return "\n".join(f"error: {line}" for line in text.splitlines()), BAD_REQUEST
    line = " ".join(text.split())
    if type(error).__name__ in ("Fatal", "AuditFailed", "ShardError", "DemoFailed", "StorageError", "Missing",
                                "Conflict", "Held", "LossNotFinite"):
        return f"error: {line}", FAILURE
    return f"error: {type(error).__name__}: {line} (--debug shows where)", FAILURE


def missing(error: ImportError) -> str:
    """The exact line that brings a missing package or system library."""
    name = (error.name or "").split(".")[0]
    if library := re.search(r"(lib[\w.+-]+\.so[.\d]*)", str(error)):
        return f"{library[1]} is missing on this system; `curate doctor` prints the line that installs it"
    if isinstance(error, ModuleNotFoundError) and name in _EXTRA:
        return f"the Python package {name} is not installed; pip install 'curate4d[run]'"
    if isinstance(error, ModuleNotFoundError) and name in _LEARNED:
        return f"the Python package {name} is not installed; pip install 'curate4d[learned]'"
    if isinstance(error, ModuleNotFoundError) and name in _TRAIN:
        return f"the Python package {name} is not installed; pip install 'curate4d[train]'"
    return f"{' '.join(str(error).split())}; `curate doctor` says what is missing"


def _bad_requests() -> tuple[str, ...]:
    # By name: importing the classes here would load what the failing command did not need.
    return ("RecipeError", "BadInput", "OutError", "UrlError")
