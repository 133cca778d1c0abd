"""Scaling curves: exponents of known laws, memory of known blocks, and a small run from end to end."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from vitruvian.core.errors import UserError
from vitruvian.core.images import Texture, ViewSet
from vitruvian.core.mesh import Mesh
from vitruvian.core.report import Report, silent
from vitruvian.diffusion.prior import Prior
from vitruvian.evaluate.bench import scaling, scaling_point
from vitruvian.evaluate.bench.scaling import Sample, bench_scaling, find_curves, plan, slope
from vitruvian.evaluate.bench.scaling_plot import load_matplotlib, plot
from vitruvian.evaluate.bench.scaling_point import Cost, Meter, Point

CPU = torch.device("cpu")


def _samples(axis: str, exponent: float) -> list[Sample]:
    points = [Point(views, 256, 128 * views) for views in (4, 8, 16)]
    costs = [Sample(axis, point, Cost({}, {})).size ** exponent for point in points]
    stages = [{"conditions": cost, "sampling": cost, "fusion": cost} for cost in costs]
    return [Sample(axis, p, Cost(stage, stage)) for p, stage in zip(points, stages, strict=True)]


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.7])
def test_exponents_of_power_laws_are_found(exponent: float) -> None:
    curves = find_curves(_samples("views", exponent))
    assert len(curves) == 6
    assert all(math.isclose(curve.exponent, exponent, rel_tol=1e-9) for curve in curves)
    assert slope([0.0, 1.0, 2.0], [1.0, 3.0, 5.0]) == pytest.approx(2.0)


def test_memory_that_is_not_told_has_no_curve() -> None:
    samples = [Sample(s.axis, s.point, Cost(s.cost.seconds, {})) for s in _samples("pixels", 1.0)]
    assert {curve.quantity for curve in find_curves(samples)} == {"seconds"}


@pytest.mark.parametrize("full", [False, True])
def test_the_plan_covers_the_ranges_of_the_target(full: bool) -> None:
    points = plan(full)
    reached = {
        axis: [getattr(p, axis) for a, p in points if a == axis] for axis in ("views", "pixels", "texture")
    }
    assert (reached["views"][0], reached["views"][-1]) == (4, 64)
    assert (reached["pixels"][0], reached["pixels"][-1]) == (256, 1024)
    assert reached["texture"][0] == 512
    assert all(values == sorted(values) for values in reached.values())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a stage")
def test_the_meter_sees_the_peak_of_each_stage() -> None:
    meter = Meter(CPU)
    meter.begin()
    big = torch.ones(50_000_000)
    del big
    meter.end("first")
    held = torch.ones(10_000_000)
    meter.end("second")
    assert meter.peaks["first"] == pytest.approx(0.2, abs=0.02)
    assert meter.peaks["second"] == pytest.approx(0.04, abs=0.02)
    assert held.sum() == 10_000_000


def test_the_picture_is_drawn_from_any_curves(tmp_path: Path) -> None:
    plot(find_curves(_samples("views", 1.0)), tmp_path / "views.png")
    plot(find_curves([*_samples("views", 1.0), *_samples("texture", 0.5)]), tmp_path / "both.png")
    for name in ("views.png", "both.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.size == (950, 700)
            assert picture.convert("L").getextrema() == (0, 255)


@pytest.mark.slow
def test_a_small_run_writes_curves_and_picture(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [Point(2, 32, 512, steps=1), Point(4, 32, 512, steps=1)]
    monkeypatch.setattr(scaling, "plan", lambda full: [("views", point) for point in points])
    table = bench_scaling(str(tiny_folder), CPU, tmp_path / "out", False, silent)
    written = json.loads((tmp_path / "out" / "scaling.json").read_text())
    assert [point["point"]["views"] for point in written["points"]] == [2, 4]
    assert len(table) == len(written["curves"])
    assert {"conditions", "sampling", "fusion"} == {curve["stage"] for curve in written["curves"]}
    with Image.open(tmp_path / "out" / "scaling.png") as picture:
        assert picture.size == (950, 700)


def test_a_point_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)views=2.*UserError"):
        scaling._in_a_process(Point(2, 32, 512), str(tmp_path / "no prior"), CPU)


def test_without_matplotlib_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match="plots"):
        load_matplotlib()


def test_what_is_measured_is_what_generate_does(tiny: Prior, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int, int]] = []
    real = scaling_point.fuse

    def watched(views: ViewSet, mesh: Mesh, size: int, report: Report) -> Texture:
        seen.append((len(views.rig), views.rig.width, size))
        return real(views, mesh, size, report=report)

    monkeypatch.setattr(scaling_point, "fuse", watched)
    cost = scaling_point.measure(Point(4, 32, 512, steps=1, repeats=2), tiny)
    assert seen == [(2, 256, 512), (4, 32, 512), (4, 32, 512)]
    assert set(cost.seconds) == {"conditions", "sampling", "fusion"}
    assert all(value > 0 for value in cost.seconds.values())
