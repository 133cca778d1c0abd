"""Consistency-guided noise: what the views are about to become is brought together, step by step.

MVHuman (arXiv 2312.10120) and its successors: average the x0 predictions of all views on the surface,
never x_t or the noise (research notes, sections 1.4 and 4.3). Colours are fused as pictures, because
resampled latents decode to artefacts; the sampler turns the result back into the noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from vitruvian.diffusion.denoiser import Denoiser, NoiseLevel
from vitruvian.diffusion.variance import align_variance


class Fuser(Protocol):
    """Shows every view what all views together say about its pixels (texture/fuse.py)."""

    def __call__(
        self, images: Float[Tensor, "N 3 H W"], power: float
    ) -> tuple[Float[Tensor, "N 3 H W"], Int[Tensor, "N H W"]]:
        """Fused images, and how many views contributed to each pixel."""
        ...


@dataclass(frozen=True)
class ConsistencySettings:
    """When and how the views are brought together."""

    start: float = 0.0
    """First guided step, as a share of all steps."""
    end: float = 1.0
    """Last guided step, as a share of all steps; 1 guides the last step, which is what the views end as."""
    every_n: int | None = None
    """Guide every n-th step, counted back from the last guided one. None: every step with a tiny autoencoder,
    and with priors that this project trains; else so that it adds a quarter to sampling's operations."""
    power_start: float = 0.0
    """Exponent of the viewing angle's cosine in the weights at first: all views have a say."""
    power_end: float = 6.0
    """The same at last: the best view has nearly all the say, so nothing is averaged away."""
    last_passes: int = 2
    """How often it is done at the last guided step: the autoencoder takes on only part of a change."""
    cancel_round_trip: bool | None = None
    """Take back what encoding a decoded picture changes by itself; None takes what suits the prior. With a
    large autoencoder that change is a loss of detail. The bundled one's pulls blurred predictions towards
    pictures that it knows, and is kept (docs/evaluation.md)."""
    keep_variance: bool = True
    """Give fused regions the local variance that the views had before."""
    gain_limit: float = 2.5
    """The most by which that may raise contrast."""
    tiny: bool | None = None
    """Decode and encode with the prior's tiny autoencoder, but for the last pass of the last guided step.
    None: where there is one and the round trip is cancelled, which cancels its errors, too."""

    def guides(self, level: NoiseLevel) -> bool:
        """Whether this step is guided."""
        return self.passes(level) > 0

    def passes(self, level: NoiseLevel) -> int:
        """How often views are brought together at this step; 0 where it is not guided."""
        first = round(self.start * (level.steps - 1))
        last = round(self.end * (level.steps - 1))
        if not first <= level.step <= last or (last - level.step) % (self.every_n or 1) != 0:
            return 0
        return self.last_passes if self.is_last(level) else 1

    def is_last(self, level: NoiseLevel) -> bool:
        """Whether no step after this one is guided."""
        return level.step == round(self.end * (level.steps - 1))

    def power(self, level: NoiseLevel) -> float:
        """Exponent of the weights at this step, linear over the sampling."""
        return self.power_start + (self.power_end - self.power_start) * level.progress


@dataclass(frozen=True)
class Codec:
    """An autoencoder: pictures in [0, 1] to latents, and back."""

    encode: Callable[[Float[Tensor, "N 3 H W"]], Float[Tensor, "N C h w"]]
    decode: Callable[[Float[Tensor, "N C h w"]], Float[Tensor, "N 3 H W"]]


def with_consistency(
    denoise: Denoiser,
    fuser: Fuser,
    codec: Codec,
    settings: ConsistencySettings,
    watch: Callable[[NoiseLevel, Float[Tensor, "N 3 H W"]], None] | None = None,
    final: Codec | None = None,
) -> Denoiser:
    """Replace x0 at guided steps: x0~ = x0 + m (E(fused) - E(D(x0))).

    m is 0 where a view is on its own and on the background, which are kept. With the round trip not
    cancelled, x0~ = x0 + m (E(fused) - x0), as in MVHuman's release.

    Args:
        watch: shown the fused pictures of guided steps.
        final: the autoencoder of the last pass of the last guided step; None takes `codec` there, too.
    """

    def bring_together(x0: Tensor, power: float, through: Codec) -> tuple[Tensor, Tensor]:
        images = through.decode(x0)
        fused, support = fuser(images, power)
        shared = support > 1
        fused = torch.where(shared[:, None], fused, images)
        if settings.keep_variance:
            fused = align_variance(fused, images, shared, limit=settings.gain_limit)
        before = x0 if settings.cancel_round_trip is False else through.encode(images)
        return x0 + latent_mask(shared, x0) * (through.encode(fused) - before), fused

    def consistent(x_t: Tensor, level: NoiseLevel) -> Tensor:
        x0 = denoise(x_t, level)
        fused, passes = None, settings.passes(level)
        for turn in range(passes):
            ends = turn == passes - 1 and settings.is_last(level)
            through = final if ends and final is not None else codec
            x0, fused = bring_together(x0, settings.power(level), through)
        if watch is not None and fused is not None:
            watch(level, fused)
        return x0

    return consistent


def every_n_within(
    settings: ConsistencySettings, steps: int, step: float, guided: float, share: float = 0.25
) -> int:
    """The smallest `every_n` at which guidance adds at most `share` to the operations of sampling.

    The largest there is where even the last guided step alone adds more.

    Args:
        steps: of sampling.
        step: operations of one of them, a view.
        guided: operations of bringing the views together once, a view.
    """
    levels = [NoiseLevel(0.0, 1.0, 0.0, i, steps) for i in range(steps)]
    for every_n in range(1, steps):
        passes = sum(replace(settings, every_n=every_n).passes(level) for level in levels)
        if passes * guided <= share * steps * step:
            return every_n
    return steps


def latent_mask(mask: Bool[Tensor, "N H W"], latents: Float[Tensor, "N C h w"]) -> Float[Tensor, "N 1 h w"]:
    """1 for latent cells with any pixel in `mask`, else 0.

    A cell at the border holds pixels of both kinds, and the change of its latents is already that of the
    pixels which changed; weighing it down again would leave part of the disagreement.
    """
    return adaptive_max_pool2d(mask[:, None].to(latents.dtype), (latents.shape[-2], latents.shape[-1]))
