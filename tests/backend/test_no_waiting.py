"""Nothing in a sampling step waits for the graphics card.

On the meta device tensors have no contents, so whatever would read one (`.item()`, `nonzero`, an index by a
mask, a copy to the processor) fails. What it lets pass, copies from the processor, is looked for.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from shapes import ball
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vitruvian.diffusion.attention import attention_bank, with_reference
from vitruvian.diffusion.chunks import ChunkSize
from vitruvian.diffusion.consistency import Codec, ConsistencySettings, with_consistency
from vitruvian.diffusion.counting import META, blank_text, on_meta
from vitruvian.diffusion.denoiser import Denoiser, NoiseLevel, make_denoiser, view_chunks, with_guidance
from vitruvian.diffusion.latents import decode, encode
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.sampling import SamplerName, make_scheduler, sample, view_noise
from vitruvian.diffusion.variance import align_variance
from vitruvian.render.raster import rasterize
from vitruvian.render.rigs import default_rig
from vitruvian.texture.fuse import TextureFuser

VIEWS, REFERENCE = 5, 2


class Copies(TorchDispatchMode):
    """Names of the operations that bring more than a number from the processor to the card."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        made = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        from_processor = any(not t.is_meta and t.dim() > 0 for t in given)
        if from_processor and any(t.is_meta for t in made):
            self.found.append(str(func))
        return out


def everything(prior: Prior, device: torch.device) -> Denoiser:
    """The denoiser of a job: ControlNets, guidance in chunks, a reference view, consistency at every step."""
    pictures = {name: torch.zeros(VIEWS, 3, 32, 32, device=device) for name in prior.controlnets}
    texts = blank_text(prior, 2, VIEWS)

    def fuser(images: Tensor, power: float) -> tuple[Tensor, Tensor]:
        return images.mean(0, keepdim=True).expand_as(images), torch.full_like(images[:, 0], 2.0)

    bank = attention_bank(prior.unet)
    denoise = with_reference(make_denoiser(prior, pictures, {}), bank.__enter__(), [REFERENCE])
    chunks = view_chunks(VIEWS, 3, [REFERENCE])
    guided = with_guidance(denoise, texts[0], texts[1], 4.0, chunks, size=ChunkSize("views", 3))
    codec = Codec(lambda images: encode(prior, images, 2), lambda latents: decode(prior, latents, 2))
    return with_consistency(guided, fuser, codec, ConsistencySettings(cancel_round_trip=True))


@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
def test_the_loop_reads_nothing_and_copies_nothing(tiny: Prior, sampler: SamplerName) -> None:
    ghost = on_meta(tiny)
    denoise, scheduler = everything(ghost, META), make_scheduler(tiny.scheduler, sampler, 4)
    noise = torch.zeros(VIEWS, 4, 8, 8, device=META)
    copies: list[list[str]] = []

    def one_step(x_t: Tensor, level: NoiseLevel) -> Tensor:
        with Copies() as seen:
            x0 = denoise(x_t, level)
        copies.append(seen.found)
        return x0

    assert sample(one_step, noise, scheduler).shape == noise.shape
    # What is made once, at the first step: the index of views that do not follow one another.
    assert [len(found) for found in copies[1:]] == [0, 0, 0]


def test_what_would_wait_is_seen() -> None:
    """The two ways of looking, on what they are for."""
    there = torch.zeros(4, device=META)
    for wait in (lambda: float(there[0]), lambda: there.nonzero(), there.tolist, lambda: there.to("cpu")):
        with pytest.raises((RuntimeError, NotImplementedError)):
            wait()
    with Copies() as seen:
        there[torch.tensor([2, 0])]
        torch.ones(3).to(META)
    assert len(seen.found) == 2


class Waits(TorchDispatchMode):
    """Names of the operations that would make the processor wait for a card."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name()
        masked = name.startswith("aten::index") and any(
            isinstance(t, Tensor) and t.dtype == torch.bool for t in tree_leaves(args[1:2])
        )
        if masked or name in ("aten::nonzero", "aten::_local_scalar_dense"):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def test_fusing_between_steps_waits_for_nothing() -> None:
    mesh = ball(6, 12)
    rig = default_rig(mesh, 32, 2)
    fuser = TextureFuser(mesh, rig, rasterize(mesh, rig))
    images = torch.rand(len(rig), 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with Waits() as seen:
        fused, support = fuser(images, 3.0)
        align_variance(fused, images, support > 1)
    assert seen.found == []
    with Waits() as seen:
        images[support[:, None].expand_as(images) > 1].sum().item()
    assert seen.found == ["aten::index.Tensor", "aten::_local_scalar_dense"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_card_a_step_does_not_wait(tiny: Prior) -> None:
    """CUDA's own check: every operation that waits raises."""
    import copy
    from dataclasses import replace

    card = torch.device("cuda")
    there = replace(copy.deepcopy(tiny), device=card)
    for module in (there.unet, there.vae, there.text_encoder, *there.controlnets.values()):
        module.to(card)
    denoise = everything(there, card)
    scheduler = make_scheduler(tiny.scheduler, "dpm++", 4)
    noise = view_noise(0, [str(view) for view in range(VIEWS)], (4, 8, 8), card)

    def after_step(level: NoiseLevel, x0: Tensor) -> None:
        torch.cuda.set_sync_debug_mode("error")  # from the second step on: the first one sets things up

    try:
        made = sample(denoise, noise, scheduler, after_step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert made.isfinite().all()
