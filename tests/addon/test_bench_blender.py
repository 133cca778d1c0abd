"""`vitruvian bench blender`: what it starts, and that it measures."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from blender_process import ENVIRONMENTS, ROOT, needs_bpy

from vitruvian.cli.app import run
from vitruvian.cli.bench_blender import blender_command, newest_extension
from vitruvian.service.bench_blender import BlenderJob, bench_blender, module_command


def test_what_is_started(tmp_path: Path) -> None:
    extension = tmp_path / "made.zip"
    extension.touch()
    here = Path(sys.executable)
    assert blender_command(here, None, None) == [str(here), "--background", "--command", "vitruvian_bench"]
    script = ROOT / "blender_addon" / "bench_in_module.py"
    assert blender_command(None, here, extension) == [str(here), str(script), str(extension)]
    assert script.is_file()


def test_the_zip_for_every_platform_is_taken(tmp_path: Path) -> None:
    assert newest_extension(tmp_path) is None
    for age, name in enumerate(("0.1.0-macos_x64", "0.2.0", "0.1.0", "0.2.0-linux_x64")):
        path = tmp_path / f"vitruvian-{name}.zip"
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    assert newest_extension(tmp_path) == tmp_path / "vitruvian-0.2.0.zip"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--blender", "/no/blender"], "is not a program that can be started"),
        (["--python", "/no/python"], "is not a program that can be started"),
        (["--python", sys.executable, "--extension", "/no/made.zip"], "is not a file"),
    ],
)
def test_bad_input(options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "blender", *options]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.blender
@pytest.mark.slow
@needs_bpy
def test_a_short_job_is_measured(addon_zip: Path) -> None:
    command = module_command(ENVIRONMENTS[0], ROOT / "blender_addon", addon_zip)
    job = BlenderJob("a man in a red shirt", steps=2, texture_size=512, views=(2, 1))
    figures = {figure.what: figure for figure in bench_blender(command, job)}
    for figure in figures.values():
        print(figure)
    clicked, shown = (
        figures["click to first preview"].value,
        figures["click to the texture on the body"].value,
    )
    assert 0 < clicked < shown
    assert figures["later by"].value == pytest.approx(
        clicked - figures["first preview without Blender and service"].value
    )
    alone = figures["whole job without Blender and service"].value
    assert figures["overhead of wire and Blender"].value == pytest.approx(100 * (shown / alone - 1))
    assert [name for name, figure in figures.items() if figure.target] == [
        "later by",
        "overhead of wire and Blender",
        "cancel to cancelled",
    ]
