"""Consistency guidance and variance alignment: what they must leave alone, and what they must bring about."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from vitruvian.diffusion.consistency import Codec, ConsistencySettings, latent_mask, with_consistency
from vitruvian.diffusion.counting import affordable_every_n, suited_consistency
from vitruvian.diffusion.denoiser import NoiseLevel
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.sampling import make_scheduler, sample
from vitruvian.diffusion.variance import align_variance

VIEWS, SIZE, CELL = 4, 32, 4
SCHEDULE = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
LAST = NoiseLevel(10.0, 0.99, 0.14, 9, 10)


def level(step: int, steps: int = 10) -> NoiseLevel:
    return NoiseLevel(1000.0 * (1 - step / steps), 0.6, 0.8, step, steps)


def decode(latents: Tensor) -> Tensor:
    return interpolate(latents[:, :3], scale_factor=CELL, mode="bilinear").sigmoid()


def encode(images: Tensor) -> Tensor:
    """Not quite the inverse of `decode`, as with a real autoencoder."""
    colours = avg_pool2d(images.clamp(1e-3, 1 - 1e-3).logit(), CELL)
    return torch.cat([colours, colours.mean(1, keepdim=True)], dim=1)


def views_differ(x_t: Tensor, level: NoiseLevel) -> Tensor:
    """Views that each want another colour."""
    del level
    return 0.2 * x_t + torch.arange(len(x_t))[:, None, None, None] / len(x_t)


def identity(images: Tensor, power: float) -> tuple[Tensor, Tensor]:
    del power
    return images.clone(), torch.full(images[:, 0].shape, 2)


def mean_of_left_half(images: Tensor, power: float) -> tuple[Tensor, Tensor]:
    """All views see the same plane; only its left half is seen by more than one."""
    del power
    support = torch.ones(images[:, 0].shape, dtype=torch.long)
    support[..., : SIZE // 2] = len(images)
    return images.mean(0, keepdim=True).expand_as(images), support


def x_t() -> Tensor:
    return torch.randn(VIEWS, 4, SIZE // CELL, SIZE // CELL, generator=torch.Generator().manual_seed(0))


def test_identity_fuser_changes_nothing_at_all() -> None:
    guided = with_consistency(views_differ, identity, Codec(encode, decode), ConsistencySettings())
    assert torch.equal(guided(x_t(), LAST), views_differ(x_t(), LAST))


def test_without_cancelling_the_round_trip_shows() -> None:
    settings = ConsistencySettings(cancel_round_trip=False, last_passes=1)
    guided = with_consistency(views_differ, identity, Codec(encode, decode), settings)
    expected = encode(decode(views_differ(x_t(), LAST)))
    torch.testing.assert_close(guided(x_t(), LAST), expected)


@pytest.mark.parametrize("cancel", [True, False])
def test_views_agree_where_they_overlap_and_are_left_alone_elsewhere(cancel: bool) -> None:
    settings = ConsistencySettings(cancel_round_trip=cancel, keep_variance=False)
    plain = views_differ(x_t(), LAST)
    guided = with_consistency(views_differ, mean_of_left_half, Codec(encode, decode), settings)(x_t(), LAST)
    half = plain.shape[-1] // 2
    assert torch.equal(guided[..., half:], plain[..., half:])

    def spread(latents: Tensor) -> float:
        return float(decode(latents)[..., : SIZE // 2 - CELL].std(dim=0).mean())

    assert spread(guided) < 0.2 * spread(plain)


def test_unguided_steps_neither_decode_nor_change() -> None:
    def refuse(latents: Tensor) -> Tensor:
        raise AssertionError("decoded at an unguided step")

    settings = ConsistencySettings(start=0.5, end=0.8, every_n=2)
    guided = with_consistency(views_differ, mean_of_left_half, Codec(encode, refuse), settings)
    for step in (0, 3, 9):
        assert torch.equal(guided(x_t(), level(step)), views_differ(x_t(), level(step)))


def test_sampling_with_no_guided_step_is_plain_sampling() -> None:
    never = ConsistencySettings(start=1.0, end=0.0)
    guided = with_consistency(views_differ, mean_of_left_half, Codec(encode, decode), never)
    run = [sample(d, x_t(), make_scheduler(SCHEDULE, "dpm++", 6)) for d in (views_differ, guided)]
    assert torch.equal(*run)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        (ConsistencySettings(), list(range(10))),
        (ConsistencySettings(every_n=2), [1, 3, 5, 7, 9]),
        (ConsistencySettings(end=0.5), [0, 1, 2, 3, 4]),
        (ConsistencySettings(start=0.2, every_n=3), [3, 6, 9]),
    ],
)
def test_schedule_counts_back_from_the_last_guided_step(
    settings: ConsistencySettings, steps: list[int]
) -> None:
    assert [s for s in range(10) if settings.guides(level(s))] == steps


def test_exponent_grows_over_the_steps() -> None:
    settings = ConsistencySettings(power_start=1.0, power_end=6.0)
    powers = [settings.power(level(s)) for s in range(10)]
    assert powers[0] == 1.0
    assert powers[-1] == 6.0
    assert powers == sorted(powers)


def test_watcher_sees_the_fused_pictures_of_guided_steps() -> None:
    seen: list[tuple[int, torch.Size]] = []
    guided = with_consistency(
        views_differ,
        identity,
        Codec(encode, decode),
        ConsistencySettings(every_n=2),
        lambda l, i: seen.append((l.step, i.shape)),
    )
    for step in range(10):
        guided(x_t(), level(step))
    assert seen == [(step, torch.Size([VIEWS, 3, SIZE, SIZE])) for step in (1, 3, 5, 7, 9)]


def test_the_tiny_autoencoder_has_all_passes_but_the_last() -> None:
    """Steps go through the rough one; what the views end as, through the whole one."""
    used: list[tuple[str, int]] = []
    now = [0]

    def named(name: str) -> Codec:
        def note(latents: Tensor) -> Tensor:
            used.append((name, now[0]))
            return decode(latents)

        return Codec(encode, note)

    settings = ConsistencySettings(end=0.8, last_passes=2)
    guided = with_consistency(views_differ, identity, named("tiny"), settings, final=named("whole"))
    for step in range(10):
        now[0] = step
        guided(x_t(), level(step))
    last = round(0.8 * 9)
    assert used == [("tiny", step) for step in range(last + 1)] + [("whole", last)]


def test_what_is_left_open_follows_the_prior(tiny: Prior) -> None:
    """Every step for priors that this project trains and with a tiny autoencoder, else what is affordable."""
    open_settings = ConsistencySettings()
    own = suited_consistency(open_settings, replace(tiny, card={"guidance": 3.0}), 20, 2)
    assert (own.every_n, own.tiny, own.cancel_round_trip) == (1, False, False)
    rough = suited_consistency(open_settings, replace(tiny, tiny_vae=object()), 20, 2)
    assert (rough.every_n, rough.tiny, rough.cancel_round_trip) == (1, True, True)
    bare = suited_consistency(open_settings, tiny, 20, 2)
    assert (bare.tiny, bare.cancel_round_trip) == (False, True)
    assert bare.every_n == affordable_every_n(tiny, bare, 20, 2) > 1
    asked = replace(open_settings, every_n=3, tiny=False, cancel_round_trip=False)
    assert suited_consistency(asked, replace(tiny, tiny_vae=object()), 20, 2) == asked


def test_latent_mask_holds_every_touched_cell() -> None:
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[:, :, :2] = True
    assert latent_mask(mask, torch.zeros(1, 4, 2, 2)).tolist() == [[[[1.0, 0.0], [1.0, 0.0]]]]


def test_only_the_last_guided_step_is_done_over() -> None:
    settings = ConsistencySettings(end=0.8, every_n=2, last_passes=3)
    assert [settings.passes(level(s)) for s in range(10)] == [0, 1, 0, 1, 0, 1, 0, 3, 0, 0]


def noisy_views(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return 0.5 + 0.06 * torch.randn(count, 3, 64, 64, generator=generator)


def test_variance_of_a_mean_is_restored() -> None:
    images = noisy_views(2)
    fused = images.mean(0, keepdim=True).expand_as(images)
    mask = torch.ones(2, 64, 64, dtype=torch.bool)
    aligned = align_variance(fused, images, mask)
    assert fused.std() < 0.75 * images.std()
    assert float(aligned.std() / images.std()) == pytest.approx(1.0, abs=0.04)
    assert float((aligned.mean() - images.mean()).abs()) < 1e-3


def test_gain_is_limited_and_never_blurs() -> None:
    images, mask = noisy_views(3), torch.ones(3, 64, 64, dtype=torch.bool)
    faint = 0.5 + 0.1 * (images - 0.5)
    aligned = align_variance(faint, images, mask, limit=1.5)
    assert float((aligned - 0.5).std() / (faint - 0.5).std()) == pytest.approx(1.5, abs=0.02)
    sharp = align_variance(images, faint, mask)
    assert torch.equal(sharp, images)


def test_equal_variance_changes_no_bit_and_outside_the_mask_nothing_moves() -> None:
    images = noisy_views(2)
    mask = torch.zeros(2, 64, 64, dtype=torch.bool)
    mask[:, :, :40] = True
    assert torch.equal(align_variance(images, images, mask), images)
    fused = images.mean(0, keepdim=True).expand_as(images)
    assert torch.equal(align_variance(fused, images, mask)[..., 40:], fused[..., 40:])
