"""The whole way from a request to a folder, on a prior with random weights."""

from __future__ import annotations

import json
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import trimesh

import vitruvian
from vitruvian import generation
from vitruvian.body.anny_body import anny_body
from vitruvian.cli import run
from vitruvian.core.errors import Cancelled, UserError
from vitruvian.core.report import Preview
from vitruvian.diffusion import sources

ROOT = Path(__file__).parents[2]
QUICK: dict[str, Any] = {"steps": 2, "texture_size": 512}
PROMPT = "a man in a red shirt"


@pytest.fixture(autouse=True)
def _tiny_is_bundled(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prior with random weights stands in the place of the bundled one."""
    monkeypatch.setattr(sources, "BUNDLED", tiny_folder)


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_command_writes_the_whole_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = [PROMPT, "--steps", "2", "--texture-size", "512", "--pose", "walking", "--out", str(out)]
    assert run(["generate", *arguments, "--body", '{"gender": 1.0}', "--extra-views", "1"]) == 0
    assert capsys.readouterr().out.strip() == str(out / "human.glb")
    names = {"human.glb", "albedo.png", "coverage.png", "views", "contact_sheet.png", "turntable.gif"}
    assert {p.name for p in out.iterdir()} == names | {"report.json"}
    assert len(list((out / "views").iterdir())) == 17
    report = json.loads((out / "report.json").read_text())
    assert report["prompt"] == PROMPT
    assert report["settings"]["seed"] == 0
    assert report["body"]["pose"] == "walking"
    assert report["body"]["phenotype"]["gender"] == 1.0
    assert len(report["cameras"]) == 17
    assert {"prior", "versions", "seconds", "peak_memory_gb"} <= set(report)
    assert leftovers(tmp_path) == ["out"]


def test_same_job_same_texture_and_another_seed_another() -> None:
    first = vitruvian.generate(PROMPT, **QUICK)
    again = vitruvian.generate(PROMPT, **QUICK)
    other = vitruvian.generate(PROMPT, seed=1, **QUICK)
    assert torch.equal(first.texture.albedo, again.texture.albedo)
    assert not torch.equal(first.texture.albedo, other.texture.albedo)


def test_own_mesh_comes_back_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = anny_body().mesh
    own = trimesh.Trimesh(body.vertices.numpy(), body.faces.numpy(), process=False)
    own.export(tmp_path / "own.ply")
    avatar = vitruvian.generate(PROMPT, mesh=str(tmp_path / "own.ply"), out=tmp_path / "out", **QUICK)
    assert torch.equal(avatar.mesh.vertices, body.vertices)
    assert torch.equal(avatar.mesh.faces, body.faces)
    assert avatar.mesh.uvs is not None
    notes = json.loads((tmp_path / "out" / "report.json").read_text())["notes"]
    assert any("UV" in note for note in notes)


def test_earlier_result_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    vitruvian.generate(PROMPT, out=out, **QUICK)
    before = (out / "albedo.png").read_bytes()
    vitruvian.generate(PROMPT, out=out, seed=5, **QUICK)
    assert (out / "albedo.png").read_bytes() != before
    assert leftovers(tmp_path) == ["out"]


def test_ctrl_c_while_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save = generation.save_avatar

    def interrupted(*arguments: Any, **options: Any) -> Path:
        signal.raise_signal(signal.SIGINT)
        return save(*arguments, **options)

    monkeypatch.setattr(generation, "save_avatar", interrupted)
    before = signal.getsignal(signal.SIGINT)
    out = ["--out", str(tmp_path / "out")]
    assert run(["generate", PROMPT, "--steps", "1", "--texture-size", "512", *out]) == 130
    assert leftovers(tmp_path) == []
    assert "nothing was written" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_a_report_stops_the_run(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    def report(stage: str, step: int, total: int, preview: Preview | None = None) -> None:
        seen.append((stage, step, total))
        if stage == "sampling" and step == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        vitruvian.generate(PROMPT, report=report, out=tmp_path / "out", **QUICK)
    assert seen[-1] == ("sampling", 1, 2)
    assert leftovers(tmp_path) == []


def test_wrong_options_from_python_are_user_errors() -> None:
    with pytest.raises(UserError, match="steps = 0"):
        vitruvian.generate(PROMPT, steps=0)


def test_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["five_lines.py", str(tmp_path / "out")])
    runpy.run_path(str(ROOT / "examples" / "five_lines.py"), run_name="__main__")
    assert (tmp_path / "out" / "human.glb").stat().st_size > 100_000


def test_help_does_not_wait_for_torch() -> None:
    """The command line and the package are imported without anything that takes seconds."""
    code = "import sys, vitruvian.cli; print([m for m in ('torch', 'numpy', 'anny') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "--help"]) == 0
    told = capsys.readouterr().out
    for flag in ("--mesh", "--body", "--pose", "--cameras", "--prior", "--negative", "--seed", "--steps"):
        assert flag in told
    for flag in ("--guidance", "--texture-size", "--method", "--device", "--out", "--extra-views"):
        assert flag in told
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"vitruvian {vitruvian.__version__}\n"
