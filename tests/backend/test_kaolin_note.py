"""What somebody with a CUDA card and no Kaolin is told."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from shapes import sphere

from vitruvian import generation
from vitruvian.core.images import Avatar, GBuffer, Texture, ViewSet
from vitruvian.core.mesh import Mesh
from vitruvian.job import GenerateJob
from vitruvian.render import raster_kaolin
from vitruvian.render.kaolin_note import WHEELS, install_line, kaolin_note
from vitruvian.render.rigs import default_rig
from vitruvian.service import painting


@pytest.fixture
def kaolin(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A package of that name with nothing in it, as PyPI's is."""
    package = types.ModuleType("kaolin")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "kaolin", package)
    return package


def test_only_cuda_devices_miss_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> raster_kaolin.Kernels:
        raise ModuleNotFoundError("No module named 'kaolin'", name="kaolin")

    monkeypatch.setattr(raster_kaolin, "_kernels", absent)
    assert kaolin_note(torch.device("cpu")) is None
    note = kaolin_note(torch.device("cuda:1"))
    assert note is not None
    assert note.startswith("Kaolin is not installed")
    assert torch.__version__.partition("+")[0] in note


def test_the_placeholder_and_a_build_for_another_torch_are_told_apart(
    kaolin: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert raster_kaolin.why_missing() == "is PyPI's empty placeholder"
    render = types.ModuleType("kaolin.render")
    monkeypatch.setitem(sys.modules, "kaolin.render", render)
    assert str(raster_kaolin.why_missing()).startswith("cannot be loaded")
    monkeypatch.setattr(render, "mesh", types.SimpleNamespace(rasterize=len), raising=False)
    assert "dibr_soft_mask" in str(raster_kaolin.why_missing())
    whole = types.SimpleNamespace(rasterize=len, dibr_soft_mask=len, texture_mapping=len)
    monkeypatch.setattr(render, "mesh", whole)
    assert raster_kaolin.why_missing() is None
    assert kaolin_note(torch.device("cuda")) is None


@pytest.mark.parametrize(("torch_version", "cuda"), [(t, c) for t, list_ in WHEELS.items() for c in list_])
def test_where_there_is_a_wheel_the_line_is_enough(torch_version: str, cuda: str) -> None:
    line = install_line(f"{torch_version}+cu{cuda}", f"{cuda[:-1]}.{cuda[-1]}")
    assert line.endswith(f"amazonaws.com/torch-{torch_version}_cu{cuda}.html")
    # A plain `kaolin` would install PyPI's placeholder where the index has no wheel.
    assert '"kaolin>=0.18"' in line


def test_newer_torch_gets_the_way_through_the_source() -> None:
    line = install_line("2.12.1+cu130", "13.0")
    assert "torch-2.12.1_cu130.html" in line
    assert "git+https://github.com/NVIDIAGameWorks/kaolin" in line


@pytest.mark.parametrize("version", ["2.13.0+cu130", "2.4.1+cu121", "3.0.0"])
def test_torch_outside_kaolins_range_is_named(version: str) -> None:
    line = install_line(version, "13.0")
    assert "2.5.1 to 2.12.1" in line
    assert f"torch=={next(iter(WHEELS))}" in line


def test_generate_and_the_server_pass_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def avatar(*arguments: object) -> Avatar:
        empty = torch.zeros(0)
        mesh = Mesh(empty.reshape(0, 3), empty.reshape(0, 3).long())
        rig = default_rig(sphere(subdivisions=1), 16, 1)
        views = ViewSet(empty, rig, GBuffer(empty, empty, empty))
        return Avatar(mesh, Texture(empty, empty, empty), views, {"notes": ["an earlier note"]})

    for module in (generation, painting):
        monkeypatch.setattr(module, "kaolin_note", lambda device: f"nothing for {device}")
        monkeypatch.setattr(module, "load_prior", lambda *arguments, **options: None)
    monkeypatch.setattr(generation, "paint", avatar)
    job = GenerateJob("a woman in a red shirt", out=None, device="cpu")
    assert generation.run_job(job).report["notes"] == ["an earlier note", "nothing for cpu"]
    assert painting.Painter("cpu", {"mini": "mini"}).warm_up()["note"] == "nothing for cpu"
