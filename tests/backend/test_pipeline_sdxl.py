"""Our sampling of one view with SDXL's family against diffusers' own pipelines, on the same modules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_prior import POOLED, SECOND_WIDTH, TEXT_WIDTH, build_tiny_sdxl
from torch import Tensor

from vitruvian.diffusion.denoiser import make_denoiser, with_guidance
from vitruvian.diffusion.latents import decode
from vitruvian.diffusion.loading import load_prior
from vitruvian.diffusion.pipeline import pipeline_of
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.sampling import SamplerName, make_scheduler, sample
from vitruvian.diffusion.text import encode_negatives, encode_prompts
from vitruvian.diffusion.weights import ControlWeight

PROMPT, NEGATIVE = "a person in red shirt", "blue jeans"
STEPS = 5
HEIGHT, WIDTH = 32, 48
NOISE = torch.randn(1, 4, HEIGHT // 4, WIDTH // 4, generator=torch.Generator().manual_seed(1))
KINDS = ("separate", "union")


@pytest.fixture(scope="module")
def priors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Prior]:
    folder = tmp_path_factory.mktemp("sdxl")
    return {
        kind: load_prior(build_tiny_sdxl(folder / kind, union=kind == "union"), dtype=torch.float32)
        for kind in KINDS
    }


def images(names: Any) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    made = {
        name: torch.rand(1, 3, HEIGHT, WIDTH, generator=generator) for name in ("depth", "normal", "pose")
    }
    return {name: made[name] for name in names}


def ours(
    prior: Prior,
    guidance: float,
    weights: dict[str, float],
    sampler: SamplerName = "dpm++",
    no: str = NEGATIVE,
) -> Tensor:
    chosen = {name: ControlWeight(weight, weight) for name, weight in weights.items()}
    denoise = make_denoiser(prior, images(weights), chosen)
    positive, negative = encode_prompts(prior, [PROMPT]), encode_negatives(prior, [no])
    guided = with_guidance(denoise, positive, negative, guidance, [[0]])
    return sample(guided, NOISE, make_scheduler(prior.scheduler, sampler, STEPS))


def theirs(
    prior: Prior,
    guidance: float,
    weights: dict[str, float],
    sampler: SamplerName = "dpm++",
    no: str | None = NEGATIVE,
    **more: Any,
) -> Tensor:
    scales, given = list(weights.values()), list(images(weights).values())
    options: dict[str, Any] = {"output_type": "latent", **more}
    if prior.union_types:
        options |= {"control_image": given, "control_mode": [prior.union_types[name] for name in weights]}
    else:
        options["image"] = given if len(given) > 1 else given[0]
    return pipeline_of(prior, sampler, list(weights))(
        PROMPT,
        negative_prompt=no,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        controlnet_conditioning_scale=scales if len(scales) > 1 else scales[0],
        latents=NOISE,
        **options,
    ).images


def assert_same(made: Tensor, expected: Tensor) -> None:
    assert expected.std() > 0.1
    torch.testing.assert_close(made, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("weights", [{"depth": 0.7}, {"depth": 1.0, "normal": 0.4}], ids=["one", "two"])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
@pytest.mark.parametrize("kind", KINDS)
def test_one_view_is_what_diffusers_makes(
    kind: str, sampler: SamplerName, guidance: float, weights: dict[str, float], priors: dict[str, Prior]
) -> None:
    prior = priors[kind]
    made = ours(prior, guidance, weights, sampler)
    assert_same(made, theirs(prior, guidance, weights, sampler))


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_the_same_too(kind: str, priors: dict[str, Prior]) -> None:
    prior, weights = priors[kind], {"normal": 0.8}
    pictures = theirs(prior, 5.0, weights, output_type="pt")
    torch.testing.assert_close(decode(prior, ours(prior, 5.0, weights)), pictures, atol=1e-4, rtol=0)


@pytest.mark.parametrize("force_zeros", [True, False])
def test_an_empty_negative_is_what_the_model_was_trained_with(force_zeros: bool, tmp_path: Any) -> None:
    folder = build_tiny_sdxl(tmp_path / "p", force_zeros=force_zeros)
    prior = load_prior(folder, dtype=torch.float32)
    assert prior.zero_empty_prompt is force_zeros
    made = ours(prior, 6.0, {"depth": 1.0}, no=" ")
    assert_same(made, theirs(prior, 6.0, {"depth": 1.0}, no=None))
    negative = encode_negatives(prior, ["", NEGATIVE])
    assert bool(negative.states[0].any()) is not force_zeros
    assert negative.states[1].any()


def test_what_the_networks_are_told_matters(priors: dict[str, Prior]) -> None:
    """Sizes and the pooled vector: the comparison above sees them."""
    prior = priors["separate"]
    base = theirs(prior, 1.0, {"depth": 1.0})
    resized = theirs(prior, 1.0, {"depth": 1.0}, original_size=(512, 512))
    assert (base - resized).abs().max() > 1e-3
    text = encode_prompts(prior, [PROMPT, PROMPT])
    assert text.states.shape == (2, 77, TEXT_WIDTH + SECOND_WIDTH)
    assert text.pooled is not None
    assert text.pooled.shape == (2, POOLED)


def test_a_union_hears_all_its_conditions_at_once(priors: dict[str, Prior]) -> None:
    prior = priors["union"]
    assert dict(prior.union_types) == {"pose": 0, "depth": 1, "normal": 4}
    assert len({id(net) for net in prior.controlnets.values()}) == 1
    calls: list[int] = []
    handle = prior.controlnets["pose"].mid_block.register_forward_hook(lambda *_: calls.append(1))
    try:
        three = ours(prior, 1.0, {"depth": 1.0, "normal": 0.4, "pose": 0.6})
    finally:
        handle.remove()
    assert len(calls) == STEPS
    assert_same(three, theirs(prior, 1.0, {"depth": 1.0, "normal": 0.4, "pose": 0.6}))
    muted = ours(prior, 1.0, {"depth": 1.0, "normal": 0.4, "pose": 0.0})
    torch.testing.assert_close(muted, ours(prior, 1.0, {"depth": 1.0, "normal": 0.4}))
    assert (three - muted).abs().max() > 1e-3


@pytest.mark.parametrize("skip", [0, 1])
def test_skipped_layers_of_both_encoders(skip: int, priors: dict[str, Prior]) -> None:
    import dataclasses

    # The pipeline skips layers of the prompt alone, so guidance is off here.
    prior = dataclasses.replace(priors["separate"], clip_skip=skip)
    made = ours(prior, 1.0, {"depth": 1.0})
    assert_same(made, theirs(prior, 1.0, {"depth": 1.0}, clip_skip=skip))
