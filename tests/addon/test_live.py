"""The add-on, from its zip, against backends that really serve: a gateway whose worker paints at once, and
the bundled image model. Blender's environment has no pyzmq, so the bundled wheels are what is used."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from blender_process import ENVIRONMENTS, run_case

from vitruvian.service.curve import ALLOWED_FILE, SERVER_FILE, AllowList, make_key_file


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
def encrypted(tmp_path: Path) -> Iterator[str]:
    """The same with keys in `tmp_path / "keys"`; the public one is in `server.key` for the artist."""
    address = free_address()
    script = str(Path(__file__).with_name("painting_gateway.py"))
    keys = tmp_path / "keys"
    (tmp_path / "server.key").write_text(make_key_file(keys / SERVER_FILE))
    for _ in served([sys.executable, script, str(tmp_path / "state"), address, str(keys)]):
        yield address


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[str]:
    """Address of `vitruvian serve` with the bundled image model."""
    address = free_address()
    code = "from vitruvian.cli import main; main()"
    options = ["serve", "--address", address, "--state", str(tmp_path / "state"), "--min-free-gb", "0.1"]
    for _ in served([sys.executable, "-c", code, *options]):
        yield address


@pytest.mark.blender
@pytest.mark.parametrize("python", ENVIRONMENTS, ids=["lts", "newest"])
@pytest.mark.parametrize(
    "case", ["generate", "cancel", "bad_scene_then_a_good_one", "the_server_goes_and_comes"]
)
def test_against_a_gateway(case: str, python: Path, addon_zip: Path, tmp_path: Path, painting: str) -> None:
    run_case(python, addon_zip, tmp_path, "cases_live", case, painting)


@pytest.mark.blender
def test_blender_is_killed_and_opened_again(addon_zip: Path, tmp_path: Path, painting: str) -> None:
    python = ENVIRONMENTS[0]
    here = (python, addon_zip, tmp_path, "cases_live")
    run_case(*here, "killed", painting, leaves_with=-signal.SIGKILL)
    run_case(*here, "opened_again", painting)


@pytest.mark.blender
@pytest.mark.parametrize("python", ENVIRONMENTS, ids=["lts", "newest"])
def test_with_keys(python: Path, addon_zip: Path, tmp_path: Path, encrypted: str) -> None:
    here = (python, addon_zip, tmp_path, "cases_live")
    run_case(*here, "a_stranger_is_refused", encrypted)
    AllowList(tmp_path / "keys" / ALLOWED_FILE).allow((tmp_path / "my.key").read_text(), "artist")
    run_case(*here, "a_job_over_an_encrypted_connection", encrypted)


@pytest.mark.blender
@pytest.mark.slow
def test_with_the_bundled_image_model(addon_zip: Path, tmp_path: Path, serving: str) -> None:
    run_case(ENVIRONMENTS[0], addon_zip, tmp_path, "cases_live", "generate", serving, seconds=1000)
