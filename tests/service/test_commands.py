"""`vitruvian status` and `vitruvian submit` where nothing is painted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from serving import Artist, free_port, served

from vitruvian.cli import connection, run
from vitruvian.cli.app import app
from vitruvian.cli.serve import parse_priors
from vitruvian.core.errors import UserError
from vitruvian_protocol import events as e


def test_status_tells_of_queue_and_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(tmp_path / "state") as gateway, Artist(gateway.address) as artist:
        job = artist.submit("steps=1000 seconds=0.02")
        artist.first(job, e.Started)
        assert run(["status", "--server", gateway.address]) == 0
        told = capsys.readouterr().out
        assert "1 running, 0 queued" in told
        assert "fake fake0: busy" in told
        assert f"job {job}: running" in told
        refused = ["submit", "a person", "--prior", "none-such", "--server", gateway.address]
        assert run([*refused, "--out", str(tmp_path / "out")]) == 2
        assert "prior" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
        artist.client.cancel(job)
        artist.end(job)


def test_no_server_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.2)
    address = f"tcp://127.0.0.1:{free_port()}"
    assert run(["status", "--server", address]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: server")
    assert address in told
    assert len(told.splitlines()) == 1
    assert run(["status", "--server", "nowhere"]) == 2


@pytest.mark.parametrize("option", ["--blender", "--python"])
def test_a_program_that_is_not_there_is_told_in_one_line(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.blend").write_bytes(b"BLENDER")
    assert run(["batch", str(tmp_path / "a.blend"), option, str(tmp_path / "none")]) == 2
    told = capsys.readouterr().err
    assert "is not a program" in told
    assert len(told.splitlines()) == 1


SLOW_TO_STOP = """
import signal, sys, time

def end(*_):
    time.sleep(0.5)
    sys.exit(130)

signal.signal(signal.SIGINT, end)
print("begun", flush=True)
time.sleep(60)
"""


def test_ctrl_c_lets_blender_end_its_batch(tmp_path: Path) -> None:
    for name in ("a.blend", "b.blend"):
        (tmp_path / name).write_bytes(b"BLENDER")
    blender = tmp_path / "blender"
    blender.write_text(f"#!{sys.executable}\n{SLOW_TO_STOP}")
    blender.chmod(0o755)
    files = [str(tmp_path / name) for name in ("a.blend", "b.blend")]
    command = [sys.executable, "-c", "from vitruvian.cli import main; main()", "batch", *files]
    process = subprocess.Popen(
        [*command, "--blender", str(blender)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    while "begun" not in process.stdout.readline():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    told = process.stdout.read()
    assert process.wait(60) == 130
    assert "a.blend  stopped" in told
    assert "b.blend  not begun" in told


def test_the_documentation_names_every_option() -> None:
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    sections = {part.split()[1].strip("`"): part for part in text.split("\n## ")[1:]}
    sections["submit"] += sections["generate"]
    commands: dict[str, Any] = typer.main.get_command(app).commands  # pyright: ignore
    missing = [
        f"{name} {verb} {option}"
        for name, command in commands.items()
        for verb, one in getattr(command, "commands", {"": command}).items()
        for parameter in one.params
        for option in parameter.opts
        if option.startswith("--") and option != "--help" and option not in sections.get(name, "")
    ]
    assert not missing


def test_priors_have_names(tmp_path: Path) -> None:
    assert parse_priors(["mini", f"suits={tmp_path}"]) == {"mini": "mini", "suits": str(tmp_path)}
    with pytest.raises(UserError, match="no name"):
        parse_priors([str(tmp_path)])
    recipe = tmp_path / "suits.json"
    with pytest.raises(UserError, match="folder, recipe or model file"):
        parse_priors([f"suits={recipe}"])
    recipe.touch()
    assert parse_priors([f"suits={recipe}"]) == {"suits": str(recipe)}
