"""Files of weights: found before anything runs, known by their content, read without running what they hold."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from curate.sources.base import BadInput

if TYPE_CHECKING:
    import torch

EXTRA = "learned"
# First bytes of what torch.save writes: a zip archive, or a bare pickle. Reading either runs code of the file's.
PICKLED = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def check_packages(who: str, *packages: str) -> None:
    """
    Raises:
        ModuleNotFoundError: with the line that installs what is missing.
    """
    for name in packages:
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"{who} needs the Python package {name}, which is not installed; "
                                      f"pip install 'curate4d[{EXTRA}]'", name=name)


def check_weights(who: str, where: str, path: str, suffix: str) -> Path:
    """The file, where it is there and of the right kind.

    Args:
        who: the estimator; where: the recipe's key; suffix: ".safetensors" or ".onnx".

    Raises:
        BadInput: says which file, what is wrong with it and what to do.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        found = "is a folder" if file.is_dir() else "does not exist"
        raise BadInput(f"{where}: {path} {found}; {who} needs a {suffix} file of weights there (they are not "
                       f"downloaded): put one there or name another with --set {where}=PATH")
    with file.open("rb") as f:
        head = f.read(4)
    if head.startswith(PICKLED):
        raise BadInput(f"{where}: {path} is a pickled checkpoint (torch.save), which could run any code when read; "
                       f"{who} reads {suffix} only" + (": convert it once, where you trust it, with safetensors.torch."
                                                       "save_file" if suffix == ".safetensors" else ""))
    if file.suffix != suffix:
        raise BadInput(f"{where}: {path} is no {suffix} file; {who} reads no other kind of weights")
    return file


def digest(path: str | Path) -> str:
    """sha256 of the content of a file that is there."""
    file = Path(path).expanduser()
    stat = file.stat()
    return _digest(str(file), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=16)
def _digest(path: str, size: int, mtime_ns: int) -> str:
    with Path(path).open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def load_strictly(net: torch.nn.Module, file: Path, who: str) -> None:
    """Fills `net` from a safetensors file: the same names and shapes, none more, none less.

    Raises:
        BadInput: where the file is torn or belongs to another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(file)
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{file}: not a safetensors file ({error}); copy it again") from None
    own = net.state_dict()
    wrong = [f"{n} is missing" for n in own if n not in state]
    wrong += [f"{n} is not known" for n in state if n not in own]
    wrong += [f"{n} has shape {list(state[n].shape)} instead of {list(own[n].shape)}" for n in own
              if n in state and state[n].shape != own[n].shape]
    if wrong:
        raise BadInput(f"{file}: weights of another network than {who}'s: {'; '.join(wrong[:3])}"
                       f"{f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''}")
    net.load_state_dict(state, strict=True)
