"""The add-on, from its zip, against backends that really serve: a gateway whose worker paints at once, and
the bundled image model. Blender's environment has no pyzmq, so the bundled wheels are what is used."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("blender_live.py")
ENVIRONMENTS = [ROOT / name / "bin" / "python" for name in (".venv-blender", ".venv-blender-5.2")]


def served(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "tcp://" in process.stdout.readline()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def painting(tmp_path: Path) -> Iterator[str]:
    """Address of a gateway whose worker paints one colour."""
    address = free_address()
    script = str(Path(__file__).with_name("painting_gateway.py"))
    for _ in served([sys.executable, script, str(tmp_path / "state"), address]):
        yield address


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[str]:
    """Address of `vitruvian serve` with the bundled image model."""
    address = free_address()
    code = "from vitruvian.cli import main; main()"
    options = ["serve", "--address", address, "--state", str(tmp_path / "state"), "--min-free-gb", "0.1"]
    for _ in served([sys.executable, "-c", code, *options]):
        yield address


def run(python: Path, addon_zip: Path, folder: Path, case: str, address: str, seconds: float) -> int:
    """One case in its own process; returns its exit code (negative: a signal) and shows what it said."""
    if not python.exists():
        pytest.skip("run scripts/setup_blender_env.sh (make test does)")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["BLENDER_USER_RESOURCES"] = str(folder / "user")
    command = [str(python), str(SCRIPT), str(addon_zip), str(folder), case, address]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )
    print((done.stdout + done.stderr)[-4000:])
    return done.returncode


@pytest.mark.blender
@pytest.mark.parametrize("python", ENVIRONMENTS, ids=["lts", "newest"])
@pytest.mark.parametrize(
    "case", ["generate", "cancel", "bad_scene_then_a_good_one", "the_server_goes_and_comes"]
)
def test_against_a_gateway(case: str, python: Path, addon_zip: Path, tmp_path: Path, painting: str) -> None:
    assert run(python, addon_zip, tmp_path, case, painting, 300) == 0


@pytest.mark.blender
def test_blender_is_killed_and_opened_again(addon_zip: Path, tmp_path: Path, painting: str) -> None:
    python = ENVIRONMENTS[0]
    assert run(python, addon_zip, tmp_path, "killed", painting, 300) == -signal.SIGKILL
    assert run(python, addon_zip, tmp_path, "opened_again", painting, 300) == 0


@pytest.mark.blender
@pytest.mark.slow
def test_with_the_bundled_image_model(addon_zip: Path, tmp_path: Path, serving: str) -> None:
    assert run(ENVIRONMENTS[0], addon_zip, tmp_path, "generate", serving, 1000) == 0
