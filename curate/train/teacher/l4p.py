"""L4P's checkpoint as a teacher. UNVERIFIED: no checkpoint could be tried; names and layout are as they are published.

The file is one of PyTorch Lightning's, read with `weights_only=True`, so that it runs no code. Its licence
(CC-BY-NC-SA) is the user's to keep. Under `l4p_model.video_encoder.` lies a VideoMAEv2-g encoder (Wang et al., CVPR
2023), written here from its published architecture; the latent is what its blocks 14, 21, 28 and 36 give, beside each
other. Under `l4p_model.task_heads.` lie the heads, whose network is not part of this package: without them the teacher
is one for latents alone. Whoever has L4P's code passes its heads, filled by `head_weights`, as callables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from curate.train.teacher.base import check_video, frozen

ENCODER, HEADS = "l4p_model.video_encoder.", "l4p_model.task_heads."
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EXPECTED = ("expected a checkpoint of L4P by PyTorch Lightning: a dict with 'state_dict', whose names begin with "
            f"{ENCODER} and {HEADS}")


@dataclass(frozen=True)
class Shape:
    """Of the encoder; the defaults are VideoMAEv2-g as L4P uses it. `blocks`: whose outputs are kept, from 0."""

    frames: int = 16
    pixels: int = 224
    patch: int = 14
    tubelet: int = 2
    width: int = 1408
    depth: int = 40
    heads: int = 16
    mlp: int = 6144
    blocks: tuple[int, ...] = (14, 21, 28, 36)

    @property
    def grid(self) -> tuple[int, int, int]:
        side = self.pixels // self.patch
        return self.frames // self.tubelet, side, side


class L4PTeacher(nn.Module):
    """
    Args:
        encoder: filled and frozen.
        heads: signal -> callable from latents [B, N', h', w', C] to the signal in the units of `Teacher.decode`.
        model_id: of the checkpoint.
    """

    def __init__(self, encoder: Encoder, heads: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
                 model_id: str = "l4p") -> None:
        super().__init__()
        self.encoder, self.heads, self.model_id = encoder, dict(heads or {}), model_id
        self.signals = tuple(self.heads)
        self.blocks = len(encoder.shape.blocks)
        self.grid = (*encoder.shape.grid, self.blocks * encoder.shape.width)
        for head in self.heads.values():
            if isinstance(head, nn.Module):
                frozen(head)
        frozen(self)

    @torch.no_grad()
    def encode(self, video: Tensor, times_s: Tensor) -> Tensor:
        """See `Teacher.encode`. Times are not seen by this encoder."""
        shape = self.encoder.shape
        check_video(video, times_s, shape.frames)
        frames = video.flatten(0, 1).float()
        if frames.shape[-2:] != (shape.pixels, shape.pixels):
            frames = F.interpolate(frames, size=(shape.pixels, shape.pixels), mode="bilinear", antialias=True)
        mean, std = (frames.new_tensor(v)[:, None, None] for v in (MEAN, STD))
        return self.encoder(((frames - mean) / std).unflatten(0, video.shape[:2]))

    def decode(self, signal: str, latent: Tensor) -> Tensor:
        return self.heads[signal](latent)


class Encoder(nn.Module):
    """[B, N, 3, H, W], normalised, to the kept blocks' outputs [B, N', h', w', blocks * width]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        kernel = (shape.tubelet, shape.patch, shape.patch)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(3, shape.width, kernel, stride=kernel)})
        # Blocks after the last one that is kept have no say.
        self.blocks = nn.ModuleList(Block(shape) for _ in range(max(shape.blocks) + 1))
        n, h, w = shape.grid
        self.register_buffer("place", sinusoids(n * h * w, shape.width), persistent=False)

    def forward(self, video: Tensor) -> Tensor:
        x = self.patch_embed["proj"](video.transpose(1, 2)).flatten(2).transpose(1, 2) + self.place
        kept = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.shape.blocks:
                kept.append(x)
        return torch.cat(kept, dim=-1).unflatten(1, self.shape.grid)


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(shape.width, eps=1e-6) for _ in range(2))
        self.attn = Attention(shape.width, shape.heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(shape.width, shape.mlp), "fc2": nn.Linear(shape.mlp, shape.width)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class Attention(nn.Module):
    """Queries and values have biases, keys have none."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        q, k, v = F.linear(x, self.qkv.weight, bias).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def sinusoids(count: int, width: int) -> Tensor:
    """[count, width] of Vaswani et al. (2017): sine in even channels, cosine in odd ones."""
    i = torch.arange(width)
    angle = torch.arange(count)[:, None].double() / 10_000 ** ((i - i % 2).double() / width)
    return torch.where(i % 2 == 0, angle.sin(), angle.cos()).float()


def load_l4p(path: Path | str, heads: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
             shape: Shape | None = None) -> L4PTeacher:
    """
    Args:
        path: of the checkpoint. heads: see `L4PTeacher`. shape: of another encoder than the published one.

    Raises:
        ValueError: where the file is not there or not what is expected; says what is.
    """
    shape = shape or Shape()
    state = {name.removeprefix(ENCODER): value for name, value in _state(path).items() if name.startswith(ENCODER)}
    with torch.device("meta"):
        wanted = {name: value.shape for name, value in Encoder(shape).state_dict().items()}
    wrong = [f"{ENCODER}{n} is missing" for n in wanted if n not in state]
    wrong += [f"{ENCODER}{n} has shape {list(state[n].shape)} instead of {list(wanted[n])}" for n in wanted
              if n in state and state[n].shape != wanted[n]]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"teacher.path: {path}: {'; '.join(wrong[:3])}{more}; {EXPECTED}, the encoder VideoMAEv2-g of "
                         f"width {shape.width}")
    encoder = Encoder(shape)
    encoder.load_state_dict({n: state[n].float() for n in wanted})
    return L4PTeacher(encoder, heads, f"l4p-{Path(path).name}")


def head_weights(path: Path | str) -> dict[str, dict[str, Tensor]]:
    """The checkpoint's heads by name, each a state dict, for a user's own networks.

    Raises:
        ValueError: see `load_l4p`.
    """
    heads: dict[str, dict[str, Tensor]] = {}
    for name, value in _state(path).items():
        if name.startswith(HEADS):
            head, _, rest = name.removeprefix(HEADS).partition(".")
            heads.setdefault(head, {})[rest] = value
    return heads


def _state(path: Path | str) -> dict[str, Tensor]:
    if not Path(path).is_file():
        raise ValueError(f"teacher.path: {path} is no file; {EXPECTED}. It is not downloaded: bring your own")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of several classes, as the file is torn, of another kind, or holds objects
        raise ValueError(f"teacher.path: {path} cannot be read as tensors alone ({str(error).splitlines()[0]}); "
                         f"{EXPECTED}. A file that holds other objects is refused, as reading them could run any code: "
                         "save {'state_dict': ...} from it where you trust it") from None
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not any(str(name).startswith(ENCODER) for name in state):
        found = sorted(map(str, state if isinstance(state, dict) else content))[:3] if isinstance(content, dict) else (
            type(content).__name__)
        raise ValueError(f"teacher.path: {path} holds {found}; {EXPECTED}")
    return state
