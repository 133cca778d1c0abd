"""The figures of `vitruvian bench wire`: that they are taken, not how good they are."""

from __future__ import annotations

import math

import pytest

from vitruvian.service import bench


def test_a_queue_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("CLIENTS", 3), ("JOBS_EACH", 2), ("JOB_SECONDS", 0.05)):
        monkeypatch.setattr(bench, name, value)
    done, *others = bench.bench_queue()
    assert (done.what, done.value, done.met) == ("jobs done once, of 6", 6, True)
    median, slowest = others[:2]
    assert 0 < median.value <= slowest.value
    assert all(figure.met == (figure.value <= 250.0) for figure in others[2:])


def test_transfers_are_measured() -> None:
    figures = {figure.what: figure for figure in bench.bench_transfers(megabytes=2, files=2)}
    for name in ("in the clear", "CURVE"):
        rate = figures[f"results, {name}"]
        assert rate.value > 0
        assert rate.met == (rate.value >= float(rate.target.removeprefix(">= ")))
        assert math.isfinite(figures[f"server memory, {name}"].value)
