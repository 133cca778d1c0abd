"""Every family of image models goes the whole way: all views together, fused while sampled, to a texture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from shapes import ball
from tiny_prior import build_tiny_prior, build_tiny_sdxl

from vitruvian.body.body import Body
from vitruvian.core.report import silent
from vitruvian.diffusion.loading import load_prior
from vitruvian.methods.inputs import Inputs
from vitruvian.methods.mvhuman import MVHumanSettings, paint_views, run
from vitruvian.render.rigs import default_rig

SETTINGS = MVHumanSettings(steps=2, guidance=3.0, texture_size=512)


def inputs(size: int = 32) -> Inputs:
    mesh = ball()
    return Inputs(Body(mesh), default_rig(mesh, size=size, views_per_ring=2), "a person in red shirt")


@pytest.mark.parametrize("union", [False, True], ids=["separate", "union"])
def test_sdxl_paints_a_body(union: bool, tmp_path: Path) -> None:
    prior = load_prior(build_tiny_sdxl(tmp_path / "p", union=union), dtype=torch.float32)
    avatar = run(inputs(), SETTINGS, prior, silent)
    assert avatar.views.images.shape == (4, 3, 32, 32)
    assert torch.isfinite(avatar.views.images).all()
    assert avatar.texture.albedo.shape == (3, 512, 512)
    again = run(inputs(), SETTINGS, prior, silent)
    assert torch.equal(avatar.texture.albedo, again.texture.albedo)
    assert avatar.report["settings"]["guidance"] == 3.0


def test_a_view_of_sdxl_alone_does_not_change(tmp_path: Path) -> None:
    """In one batch or one by one: each view has its own words, sizes and conditions."""
    prior = load_prior(build_tiny_sdxl(tmp_path / "p"), dtype=torch.float32)
    alone, together = (
        paint_views(
            inputs(),
            MVHumanSettings(steps=2, guidance=3.0, consistency=None, reference=False, chunk=chunk),
            prior,
            silent,
        ).images
        for chunk in (1, 4)
    )
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("build", [build_tiny_prior, build_tiny_sdxl], ids=["sd15", "sdxl"])
def test_short_floats_do_for_every_family(build: Callable[[Path], Path], tmp_path: Path) -> None:
    """bfloat16 as on processors, LoRA and all: close to float32."""
    build(tmp_path / "p")
    width = 16 if build is build_tiny_prior else 40
    name = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    generator = torch.Generator().manual_seed(0)
    down, up = torch.randn(2, width, generator=generator), torch.randn(16, 2, generator=generator)
    save_file({f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}, tmp_path / "l.safetensors")
    (tmp_path / "prior.json").write_text('{"base": "p", "loras": ["l.safetensors"]}')
    short, full = (load_prior(tmp_path / "prior.json", dtype=d) for d in (torch.bfloat16, torch.float32))
    key = dict(short.unet.named_parameters())[f"{name.removeprefix('unet.')}.weight"]
    assert key.dtype == torch.bfloat16
    settings = MVHumanSettings(steps=2, guidance=1.5, consistency=None)
    images = [paint_views(inputs(), settings, prior, silent).images for prior in (short, full)]
    assert (images[0] - images[1]).abs().mean() < 0.02
