"""Our sampling of one view against diffusers' own ControlNet pipelines, on the same modules."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_prior import build_tiny_prior
from torch import Tensor

from vitruvian.diffusion.denoiser import make_denoiser, with_guidance
from vitruvian.diffusion.latents import decode
from vitruvian.diffusion.loading import load_prior
from vitruvian.diffusion.pipeline import pipeline_of
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.sampling import SamplerName, make_scheduler, sample
from vitruvian.diffusion.text import encode_prompts
from vitruvian.diffusion.text_states import TextStates
from vitruvian.diffusion.weights import ControlWeight

PROMPT, NEGATIVE = "a person in red shirt", "blue jeans"
STEPS = 6
SIZE = 32
NOISE = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def priors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Prior]:
    """Tiny priors by prediction type, in float32; SD 1.5's noise schedule for eps, zero signal for v."""
    folder = tmp_path_factory.mktemp("priors")
    return {
        kind: load_prior(build_tiny_prior(folder / kind, kind, kind == "v_prediction"), dtype=torch.float32)
        for kind in ("epsilon", "v_prediction", "sample")
    }


def images(prior: Prior) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {name: torch.rand(1, 3, SIZE, SIZE, generator=generator) for name in prior.controlnets}


def ours(prior: Prior, sampler: SamplerName, guidance: float, weights: dict[str, float]) -> Tensor:
    """Latents of one view with neither reference nor consistency."""
    chosen = {name: image for name, image in images(prior).items() if name in weights}
    denoise = make_denoiser(prior, chosen, {name: ControlWeight(w, w) for name, w in weights.items()})
    positive, negative = encode_prompts(prior, [PROMPT]), encode_prompts(prior, [NEGATIVE])
    guided = with_guidance(denoise, positive, negative, guidance, [[0]])
    return sample(guided, NOISE, make_scheduler(prior.scheduler, sampler, STEPS))


def theirs(
    prior: Prior, sampler: SamplerName, guidance: float, weights: dict[str, float], output: str = "latent"
) -> Tensor:
    scales, given = list(weights.values()), [images(prior)[name] for name in weights]
    return pipeline_of(prior, sampler, list(weights))(
        PROMPT,
        given if len(given) > 1 else given[0],
        negative_prompt=NEGATIVE,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        controlnet_conditioning_scale=scales if len(scales) > 1 else scales[0],
        latents=NOISE,
        output_type=output,
    ).images


@pytest.mark.parametrize("weights", [{"depth": 0.7}, {"depth": 1.0, "normal": 0.4}], ids=["one", "two"])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_one_view_is_what_diffusers_makes(
    kind: str, sampler: SamplerName, guidance: float, weights: dict[str, float], priors: dict[str, Prior]
) -> None:
    prior = priors[kind]
    made = ours(prior, sampler, guidance, weights)
    expected = theirs(prior, sampler, guidance, weights)
    assert expected.std() > 0.1
    torch.testing.assert_close(made, expected, atol=1e-4, rtol=1e-4)
    pictures = theirs(prior, sampler, guidance, weights, "pt")
    torch.testing.assert_close(decode(prior, made), pictures, atol=1e-4, rtol=0)


def test_the_comparison_sees_what_it_is_for(priors: dict[str, Prior]) -> None:
    """Weights, guidance and the sampler each move the result by more than the tolerance."""
    prior = priors["epsilon"]
    base = ours(prior, "dpm++", 5.0, {"depth": 1.0, "normal": 0.4})
    for other in (
        ours(prior, "dpm++", 5.0, {"depth": 1.0, "normal": 0.8}),
        ours(prior, "dpm++", 5.0, {"depth": 1.0}),
        ours(prior, "dpm++", 4.0, {"depth": 1.0, "normal": 0.4}),
        ours(prior, "ddim", 5.0, {"depth": 1.0, "normal": 0.4}),
    ):
        assert (other - base).abs().max() > 1e-3


def test_weights_over_time_are_those_of_the_steps(priors: dict[str, Prior]) -> None:
    """A weight that is on in the first half only is diffusers' control_guidance_end."""
    prior = priors["v_prediction"]

    class FirstHalf(ControlWeight):
        def at(self, progress: float) -> float:
            return self.start if progress < 0.5 else 0.0

    text = encode_prompts(prior, [PROMPT])
    denoise = make_denoiser(prior, {"depth": images(prior)["depth"]}, {"depth": FirstHalf(0.9, 0.9)})
    scheduler = make_scheduler(prior.scheduler, "dpm++", STEPS)
    made = sample(with_guidance(denoise, text, text, 1.0, [[0]]), NOISE, scheduler)
    expected = pipeline_of(prior, "dpm++", ["depth"])(
        PROMPT,
        images(prior)["depth"],
        num_inference_steps=STEPS,
        guidance_scale=1.0,
        controlnet_conditioning_scale=0.9,
        control_guidance_end=0.5,
        latents=NOISE,
        output_type="latent",
    ).images
    torch.testing.assert_close(made, expected, atol=1e-4, rtol=1e-4)


def test_the_modules_are_the_same(priors: dict[str, Prior]) -> None:
    prior = priors["epsilon"]
    pipeline = pipeline_of(prior)
    assert pipeline.unet is prior.unet
    assert pipeline.vae is prior.vae
    assert list(pipeline.controlnet.nets) == list(prior.controlnets.values())
    assert pipeline.scheduler.config.prediction_type == "epsilon"


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_guidance_rescale_is_diffusers_on_x0(share: float, priors: dict[str, Prior]) -> None:
    """Their ControlNet pipeline has no rescale: against the function that their others use, on x0."""
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    from vitruvian.diffusion.denoiser import NoiseLevel

    prior = priors["sample"]
    level = NoiseLevel(500.0, 0.6, 0.8, 0, STEPS)
    denoise = make_denoiser(prior, images(prior), {})
    positive, negative = encode_prompts(prior, [PROMPT]), encode_prompts(prior, [NEGATIVE])
    without, plain = denoise(NOISE, level, TextStates.stack([negative, positive]), [0])
    expected = rescale_noise_cfg(without + 5.0 * (plain - without), plain, share)
    made = with_guidance(denoise, positive, negative, 5.0, [[0]], share)(NOISE, level)
    torch.testing.assert_close(made, expected, atol=1e-4, rtol=1e-4)


def test_flow_models_need_a_solver_that_the_pipeline_knows(priors: dict[str, Prior]) -> None:
    flow = dataclasses.replace(priors["sample"], prediction="flow")
    with pytest.raises(ValueError, match=r"dpm\+\+"):
        pipeline_of(flow, "ddim")
