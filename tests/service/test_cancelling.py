"""A cancelled job ends in the middle of a step, not after it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vitruvian.core.errors import Cancelled
from vitruvian.service.painting import checked_at_each_layer
from vitruvian.service.pipes import Order
from vitruvian.service.worker import JobProgress


class Counting(nn.Module):
    """A layer that counts its calls, and at the given one the job is cancelled."""

    def __init__(self, stop: threading.Event, at: int) -> None:
        super().__init__()
        self.calls, self._stop, self._at = 0, stop, at

    def forward(self, values: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == self._at:
            self._stop.set()
        return values + 1.0


def progress_of(stop: threading.Event) -> JobProgress:
    told: list[dict[str, Any]] = []
    return JobProgress(told.append, Order("job", 1, {}, "", ""), stop)


def test_nothing_is_painted_after_the_layer_in_which_a_job_was_cancelled() -> None:
    stop = threading.Event()
    layer = Counting(stop, at=3)
    network = nn.Sequential(*[layer] * 10)
    with pytest.raises(Cancelled), checked_at_each_layer(progress_of(stop).check):
        network(torch.zeros(2))
    assert layer.calls == 3


def test_a_job_that_goes_on_computes_what_it_would_without_the_check() -> None:
    stop = threading.Event()
    network = nn.Sequential(nn.Linear(3, 3), nn.SiLU(), nn.Linear(3, 3))
    values = torch.linspace(-1.0, 1.0, 6).reshape(2, 3)
    with checked_at_each_layer(progress_of(stop).check):
        checked = network(values)
    stop.set()
    assert torch.equal(network(values), checked), "and the check is gone with its job"
