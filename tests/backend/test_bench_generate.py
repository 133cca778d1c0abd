"""What `vitruvian bench generate` counts and compares."""

from __future__ import annotations

import pytest
import torch

from vitruvian.core.errors import UserError
from vitruvian.diffusion.consistency import ConsistencySettings
from vitruvian.diffusion.counting import count
from vitruvian.diffusion.full_size import check_room, random_prior
from vitruvian.diffusion.prior import Prior
from vitruvian.evaluate.bench.floor import guidance_share, matrix_rate
from vitruvian.evaluate.bench.generate import DEMO, against_diffusers


def test_operations_at_sd15_size_are_the_quoted_ones() -> None:
    """TFLOP for one 512 px picture; the quoted 0.28 of a ControlNet has the embedding of its condition."""
    prior = random_prior("sd15", torch.device("meta"))
    cost = count(prior)
    assert cost.unet.operations / 1e12 == pytest.approx(0.80, abs=0.01)
    assert cost.controlnets["depth"].operations / 1e12 == pytest.approx(0.27, abs=0.01)
    assert cost.decode.operations / 1e12 == pytest.approx(2.5, abs=0.05)
    assert cost.encode.operations / 1e12 == pytest.approx(1.1, abs=0.05)
    tiny = ConsistencySettings(every_n=1, tiny=True, cancel_round_trip=True)
    whole = ConsistencySettings(every_n=1, tiny=False, cancel_round_trip=True)
    assert guidance_share(cost, tiny, 30) < 0.25 < guidance_share(cost, whole, 30)


def test_a_share_is_passes_over_steps(tiny: Prior) -> None:
    cost = count(tiny)
    settings = ConsistencySettings(every_n=1, tiny=False, cancel_round_trip=True)
    once = cost.guided(cancel_round_trip=True) / cost.step.operations
    assert guidance_share(cost, settings, 10) == pytest.approx(once * 11 / 10)  # the last step twice


def test_both_ways_of_sampling_are_timed(tiny: Prior) -> None:
    table = {line.what: line for line in against_diffusers(tiny, DEMO, steps=1, rounds=1)}
    ours, theirs = table["ours, 1 steps"].value, table["diffusers' pipeline view by view, 1 steps"].value
    assert table["diffusers / ours"].value == pytest.approx(theirs / ours)
    assert table["ours, 20 steps"].value == pytest.approx(20 * ours)


def test_a_processor_is_refused_networks_of_full_size() -> None:
    with pytest.raises(UserError, match="graphics card"):
        check_room(torch.device("cpu"))
    with pytest.raises(UserError, match="unknown"):
        random_prior("sd9", torch.device("meta"))


def test_the_rate_is_one_that_products_reach() -> None:
    assert 1e8 < matrix_rate(torch.device("cpu"), torch.float32, seconds=0.0) < 1e16
