"""What sampling cannot do without: operations counted, and the rate at which this machine multiplies."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from vitruvian.diffusion.consistency import ConsistencySettings
from vitruvian.diffusion.counting import PriorCost, count
from vitruvian.diffusion.denoiser import NoiseLevel
from vitruvian.diffusion.prior import Prior
from vitruvian.evaluate.protocol import Target


def floor_table(prior: Prior, consistency: ConsistencySettings, views: int, steps: int) -> list[Target]:
    """Operations for one picture of every network, and of a whole job.

    Args:
        consistency: with nothing left open (`methods.mvhuman.suited`).
    """
    cost, always = count(prior), replace(consistency, every_n=1, tiny=False)
    sampling = views * steps * cost.step.operations
    return [
        _line("UNet, one picture, one text", cost.unet.operations),
        *(_line(f"ControlNet {n}, the same", c.operations) for n, c in cost.controlnets.items()),
        _line("autoencoder, decode", cost.decode.operations),
        _line("autoencoder, encode", cost.encode.operations),
        *([_line("tiny autoencoder, decode", cost.tiny_decode.operations)] if cost.tiny_decode else []),
        *([_line("tiny autoencoder, encode", cost.tiny_encode.operations)] if cost.tiny_encode else []),
        _line(f"sampling, {views} views, {steps} steps", sampling),
        _share("guidance through the autoencoder at every step", cost, always, steps),
        _share("guidance as it is done", cost, consistency, steps),
    ]


def guidance_share(cost: PriorCost, consistency: ConsistencySettings, steps: int) -> float:
    """Operations of consistency guidance as a share of plain sampling's; the fusion itself is not counted."""
    levels = [NoiseLevel(0.0, 1.0, 0.0, i, steps) for i in range(steps)]
    passes = sum(consistency.passes(level) for level in levels)
    cancels, tiny = consistency.cancel_round_trip is not False, bool(consistency.tiny)
    whole = min(passes, 1) if tiny else passes
    work = whole * cost.guided(cancels) + (passes - whole) * cost.guided(cancels, tiny=True)
    return work / (steps * cost.step.operations)


def matrix_rate(device: torch.device, dtype: torch.dtype, seconds: float = 1.0) -> float:
    """Operations a second of large square products: the best of those tried for so long."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end or best == 0.0:
        _finish(device)
        begin = time.perf_counter()
        torch.mm(a, b)
        _finish(device)
        best = max(best, 2 * side**3 / (time.perf_counter() - begin))
    return best


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _line(what: str, operations: float) -> Target:
    return Target(what, operations / 1e12, "", None, "TFLOP")


def _share(what: str, cost: PriorCost, consistency: ConsistencySettings, steps: int) -> Target:
    share = guidance_share(cost, consistency, steps)
    return Target(f"{what}, on top of sampling", 100 * share, "", None, "%")
