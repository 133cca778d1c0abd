"""Samplers and denoisers against a Gaussian, whose denoiser and whose samples are known in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_prior import tiny_scheduler
from torch import Tensor

from vitruvian.core.errors import UserError
from vitruvian.diffusion.denoiser import (
    Denoiser,
    NoiseLevel,
    Prediction,
    prediction_from_x0,
    view_chunks,
    with_guidance,
    with_known,
    x0_from_prediction,
)
from vitruvian.diffusion.sampling import SamplerName, make_scheduler, noise_levels, sample, view_noise
from vitruvian.diffusion.text_states import TextStates
from vitruvian.diffusion.weights import ControlWeight

MEAN, SPREAD = 0.7, 0.4
SHAPE = (3, 4, 4, 4)


def gaussian_denoiser(x_t: Tensor, level: NoiseLevel) -> Tensor:
    """E[x0 | x_t] for x0 ~ N(MEAN, SPREAD^2)."""
    variance = level.alpha**2 * SPREAD**2 + level.sigma**2
    return MEAN + level.alpha * SPREAD**2 / variance * (x_t - level.alpha * MEAN)


def gaussian_sample(noise: Tensor, first: NoiseLevel) -> Tensor:
    """Where the probability flow ends: (x_t - alpha MEAN) / sqrt(alpha^2 SPREAD^2 + sigma^2) is constant."""
    spread = (first.alpha**2 * SPREAD**2 + first.sigma**2) ** 0.5
    return MEAN + SPREAD * (noise - first.alpha * MEAN) / spread


def sampling_error(name: SamplerName, steps: int, config: dict) -> float:
    scheduler = make_scheduler(config, name, steps)
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    expected = gaussian_sample(noise, noise_levels(scheduler)[0])
    return float((sample(gaussian_denoiser, noise, scheduler) - expected).abs().max())


CONFIGS = {
    "zero_snr": dict(tiny_scheduler("v_prediction", zero_snr=True).config),
    "sd15": {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1},
    "flow": {
        **tiny_scheduler("flow", zero_snr=False).config,
        "_class_name": "FlowMatchEulerDiscreteScheduler",
    },
}


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("name", ["ddim", "dpm++"])
def test_samplers_converge_to_the_closed_form(name: SamplerName, config: str) -> None:
    errors = [sampling_error(name, steps, CONFIGS[config]) for steps in (10, 50, 250)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < (0.03 if name == "ddim" else 0.02)


def test_second_order_is_better_than_first() -> None:
    config = CONFIGS["zero_snr"]
    assert sampling_error("dpm++", 20, config) < 0.2 * sampling_error("ddim", 20, config)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_result_does_not_depend_on_what_the_scheduler_is_given(prediction: str) -> None:
    """eps', v' and x0 say the same: one step of any of them is the same step."""
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))
    reference = tiny_scheduler("v_prediction", zero_snr=False)
    other = tiny_scheduler(prediction, zero_snr=False)
    for scheduler in (reference, other):
        scheduler.set_timesteps(10)
    expected = sample(gaussian_denoiser, noise, reference)
    torch.testing.assert_close(sample(gaussian_denoiser, noise, other), expected, atol=1e-4, rtol=1e-4)


@given(
    angle=st.floats(0.01, 1.55),
    kind=st.sampled_from(["epsilon", "v_prediction", "flow", "sample"]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=50, deadline=None)
def test_prediction_and_x0_are_inverse(angle: float, kind: Prediction, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x0 = torch.randn(8, generator=generator, dtype=torch.float64)
    noise = torch.randn(8, generator=generator, dtype=torch.float64)
    level = level_at(angle, flow=kind == "flow")
    x_t = level.alpha * x0 + level.sigma * noise
    prediction = prediction_from_x0(x0, x_t, level, kind)
    torch.testing.assert_close(x0_from_prediction(prediction, x_t, level, kind), x0)
    known = {
        "epsilon": noise,
        "v_prediction": level.alpha * noise - level.sigma * x0,
        "flow": noise - x0,
        "sample": x0,
    }
    torch.testing.assert_close(prediction, known[kind])


def level_at(angle: float, flow: bool = False) -> NoiseLevel:
    a = torch.tensor(angle, dtype=torch.float64)
    alpha, sigma = float(a.cos()), float(a.sin())
    return NoiseLevel(500.0, 1.0 - sigma if flow else alpha, sigma, 0, 1)


def test_zero_signal_needs_no_division() -> None:
    scheduler = make_scheduler(CONFIGS["zero_snr"], "ddim", 10)
    first = noise_levels(scheduler)[0]
    assert (first.alpha, first.sigma) == (0.0, 1.0)
    x_t = torch.randn(4)
    with pytest.raises(ValueError, match="v-prediction"):
        x0_from_prediction(x_t, x_t, first, "epsilon")
    assert torch.isfinite(sample(gaussian_denoiser, torch.randn(SHAPE), scheduler)).all()


@pytest.mark.parametrize("steps", [7, 20, 30])
@pytest.mark.parametrize("name", ["ddim", "dpm++"])
def test_levels_fall_from_noise_to_data(name: SamplerName, steps: int) -> None:
    levels = noise_levels(make_scheduler(CONFIGS["zero_snr"], name, steps))
    assert len(levels) == steps
    assert [level.step for level in levels] == list(range(steps))
    assert levels[0].progress == 0.0
    assert levels[-1].progress == 1.0
    sigmas = [level.sigma for level in levels]
    assert sigmas == sorted(sigmas, reverse=True)
    assert all(abs(level.alpha**2 + level.sigma**2 - 1.0) < 1e-5 for level in levels)


@pytest.mark.parametrize(
    ("name", "steps", "field"), [("euler", 10, "sampler"), ("ddim", 0, "steps"), ("ddim", 5000, "steps")]
)
def test_bad_samplers_are_refused(name: SamplerName, steps: int, field: str) -> None:
    with pytest.raises(UserError, match=field):
        make_scheduler(CONFIGS["sd15"], name, steps)


def test_after_step_sees_every_step_and_may_stop() -> None:
    seen: list[int] = []

    def stop_at_two(level: NoiseLevel, x0: Tensor) -> None:
        assert x0.shape == SHAPE
        seen.append(level.step)
        if level.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(
            gaussian_denoiser, torch.randn(SHAPE), make_scheduler(CONFIGS["sd15"], "dpm++", 5), stop_at_two
        )
    assert seen == [0, 1, 2]


def test_noise_of_a_view_does_not_depend_on_the_others() -> None:
    alone = view_noise(3, ["upper_045"], (4, 8, 8))
    together = view_noise(3, ["body_000", "upper_045", "x"], (4, 8, 8))
    assert torch.equal(alone[0], together[1])
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(alone, view_noise(4, ["upper_045"], (4, 8, 8)))
    assert abs(float(view_noise(0, ["a"], (4, 64, 64)).std()) - 1.0) < 0.02


def text_denoiser(x_t: Tensor, level: NoiseLevel, text: TextStates, views: Sequence[int]) -> Tensor:
    """x0 is the text's mean plus the view's number plus a little of x_t."""
    del level
    numbers = torch.tensor([float(v) for v in views])[None, :, None, None, None]
    return text.states.mean((-1, -2))[..., None, None, None] + numbers + 0.1 * x_t[None]


POSITIVE, NEGATIVE = (TextStates(torch.full((3, 2, 5), value)) for value in (2.0, -1.0))
LEVEL = NoiseLevel(500.0, 0.6, 0.8, 0, 10)


def guided(scale: float, chunk: int = 2, rescale: float = 0.0) -> Denoiser:
    return with_guidance(text_denoiser, POSITIVE, NEGATIVE, scale, view_chunks(3, chunk), rescale)


def test_guidance_of_one_is_the_conditional_model() -> None:
    x_t = torch.randn(SHAPE)
    expected = text_denoiser(x_t, LEVEL, POSITIVE[None], [0, 1, 2])[0]
    assert torch.equal(guided(1.0)(x_t, LEVEL), expected)


def test_guidance_moves_along_the_difference_of_the_texts() -> None:
    x_t = torch.randn(SHAPE)
    step = guided(3.0)(x_t, LEVEL) - guided(2.0)(x_t, LEVEL)
    torch.testing.assert_close(step, torch.full_like(step, 3.0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_chunks_change_nothing(chunk: int) -> None:
    x_t = torch.randn(SHAPE)
    assert torch.equal(guided(4.0, chunk)(x_t, LEVEL), guided(4.0, 3)(x_t, LEVEL))


def test_full_rescale_keeps_the_conditional_spread() -> None:
    x_t = torch.randn(SHAPE)
    spread = guided(5.0, rescale=1.0)(x_t, LEVEL).std((1, 2, 3))
    torch.testing.assert_close(spread, guided(1.0)(x_t, LEVEL).std((1, 2, 3)))


def test_chunks_hold_all_views_once_with_references_first() -> None:
    chunks = view_chunks(7, 3, first=[4])
    assert chunks == [[4], [0, 1, 2], [3, 5, 6]]


def test_known_latents_come_out_as_given() -> None:
    known = torch.randn(SHAPE)
    mask = torch.zeros(SHAPE[0], 1, 4, 4)
    mask[..., :2] = 1.0

    def run(denoise: Denoiser) -> Tensor:
        noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(5))
        return sample(denoise, noise, make_scheduler(CONFIGS["zero_snr"], "dpm++", 8))

    result, free = run(with_known(gaussian_denoiser, known, mask)), run(gaussian_denoiser)
    torch.testing.assert_close(result[..., :2], known[..., :2], atol=1e-5, rtol=0)
    torch.testing.assert_close(result[..., 2:], free[..., 2:])


def test_control_weight_is_linear() -> None:
    weight = ControlWeight(0.8, 0.4)
    assert [round(weight.at(p), 6) for p in (0.0, 0.5, 1.0)] == [0.8, 0.6, 0.4]
