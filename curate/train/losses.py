"""Losses of Perceptual 4D Distillation (4D-RGPT, arXiv 2512.17012): latents and decoded signals, by Smooth-L1.

The paper's sums run over frames; the loss of a frame is the mean over its (known) elements, that of a batch the mean
over its clips.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MIN_DEPTH_M = 1e-3
PER_ELEMENT = {"smooth-l1": F.smooth_l1_loss, "mse": F.mse_loss}
CHANNELS = {"depth": 1, "flow": 2, "motion": 1, "camray": 6}


def latent_loss(predicted: Tensor, target: Tensor, kind: str = "smooth-l1") -> Tensor:
    """L_LD = sum over n' of Delta(F(n'), F^(n')).

    Args:
        predicted, target: [B, N', h', w', C]; no gradient goes to the target.
        kind: "smooth-l1" (beta 1) or "mse".

    Returns:
        scalar, mean over the batch.

    Raises:
        ValueError: where the grids differ.
    """
    if predicted.shape != target.shape:
        raise ValueError(f"latents of the student {list(predicted.shape)} and of the teacher {list(target.shape)} "
                         "differ in their grid [B, N', h', w', C]; stored latents must come from the teacher that the "
                         "recipe names: store them anew, or set strategy.p4d.latents=teacher")
    per_element = PER_ELEMENT[kind](predicted.float(), target.detach().float(), reduction="none")
    return per_element.mean(dim=(2, 3, 4)).sum(dim=1).mean()


def signal_loss(signal: str, predicted: Tensor, target: Tensor, depth_space: str = "log") -> Tensor:
    """L_m = sum over n of SmoothL1(P_m(n), P^_m(n)) over the elements that are known.

    Args:
        signal: depth | flow | motion | camray.
        predicted: [B, Nt, h, w, C_m] in the signal's units: metres; pixels of its grid; probability; unit direction
            and moment in metres. Brought to the target's h and w where they differ.
        target: [B, Nt, ht, wt, C_m], nan = unknown.
        depth_space: depths are compared as "log" (of metres), "inverse" (1 / metres) or "metres".

    Returns:
        scalar, mean over the batch; 0 where nothing is known.

    Raises:
        ValueError: where the numbers of frames or channels differ.
    """
    if predicted.shape[:2] != target.shape[:2] or predicted.shape[-1] != target.shape[-1]:
        raise ValueError(f"{signal}: the teacher decodes {list(predicted.shape)}, the shards hold "
                         f"{list(target.shape)} ([B, frames, h, w, channels]): set teacher.small.frames to the number "
                         "of frames shown and fit the teacher anew")
    predicted, target = predicted.float(), target.detach().float()
    known = torch.isfinite(target)
    if signal == "depth":
        predicted = in_space(resized(predicted, target.shape[2:4]), depth_space)
        target = in_space(target, depth_space)
    else:
        predicted = resized(predicted, target.shape[2:4], is_flow=signal == "flow")
    # Unknown elements are replaced before the loss, as 0 * nan is nan in its gradient too.
    per_element = F.smooth_l1_loss(predicted, torch.where(known, target, predicted.detach()), reduction="none")
    per_frame = per_element.sum(dim=(2, 3, 4)) / known.sum(dim=(2, 3, 4)).clamp(min=1)
    return per_frame.sum(dim=1).mean()


def in_space(depth_m: Tensor, space: str) -> Tensor:
    """Depths in metres, as what they are compared as; nan stays nan."""
    if space == "metres":
        return depth_m
    depth_m = depth_m.clamp(min=MIN_DEPTH_M)
    return depth_m.log() if space == "log" else depth_m.reciprocal()


def resized(signal: Tensor, size: tuple[int, int], is_flow: bool = False) -> Tensor:
    """[B, N, h, w, C] to [B, N, *size, C], bilinear; flow is in pixels of its grid and is scaled with it."""
    b, n, h, w, c = signal.shape
    if (h, w) == tuple(size):
        return signal
    images = signal.reshape(b * n, h, w, c).permute(0, 3, 1, 2)
    images = F.interpolate(images, size=tuple(size), mode="bilinear", antialias=True)
    out = images.permute(0, 2, 3, 1).reshape(b, n, *size, c)
    return out * out.new_tensor([size[1] / w, size[0] / h]) if is_flow else out


def check_targets(signals: dict[str, Tensor] | None, names: tuple[str, ...] | list[str], keys: list[str]) -> None:
    """Targets that can be learned from: there, in shape, and finite or nan (unknown).

    Args:
        signals: of a batch, see `signal_loss`; keys: the clips' keys, [B].

    Raises:
        ValueError: names the signal, the clip and what to do.
    """
    if signals is None:
        raise ValueError("the batch has no teacher tensors, which explicit distillation compares with: make the shards "
                         "with --set teacher.enabled=true and read them with data.teacher=true, or set "
                         "strategy.p4d.targets=teacher")
    for name in names:
        if name not in signals:
            raise ValueError(f"the batch has no {name!r} among its teacher tensors ({', '.join(sorted(signals))}): "
                             "make the shards anew, or leave it out of strategy.p4d.signals")
        target = signals[name]
        if target.ndim != 5 or target.shape[-1] != CHANNELS[name]:
            raise ValueError(f"{name} has shape {list(target.shape)}; expected [B, frames, height, width, "
                             f"{CHANNELS[name]}]")
        bad = torch.isinf(target)
        if name == "depth":
            bad |= target <= 0
        if bool(bad.any()):
            at = int(bad.flatten(1).any(dim=1).nonzero()[0])
            what = "infinite or not positive" if name == "depth" else "infinite"
            raise ValueError(f"clip {keys[at]}: {name} is {what} in {int(bad[at].sum())} elements of its teacher "
                             "tensors; unknown values are written as nan: make these shards anew")


def check_latent(latent: Tensor, keys: list[str]) -> None:
    """
    Raises:
        ValueError: where a clip's latent [B, N', h', w', C] holds nan or infinity: a latent has no unknown elements.
    """
    bad = ~torch.isfinite(latent).flatten(1).all(dim=1)
    if bool(bad.any()):
        raise ValueError(f"clip {keys[int(bad.nonzero()[0])]}: the teacher's latent holds nan or infinity; store it "
                         "anew, or leave the clip out")
