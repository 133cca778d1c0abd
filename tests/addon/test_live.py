"""The add-on, from its zip, against backends that really serve: a gateway whose worker paints at once, and
the bundled image model. Blender's environment has no pyzmq, so the bundled wheels are what is used."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from blender_process import ENVIRONMENTS, run_case
from servers import painting_gateway, vitruvian_serve

from vitruvian.service.curve import ALLOWED_FILE, SERVER_FILE, AllowList, make_key_file


@pytest.fixture
def painting(tmp_path: Path) -> Iterator[str]:
    """Address of a gateway whose worker paints one colour."""
    with painting_gateway(tmp_path / "state") as address:
        yield address


@pytest.mark.blender
@pytest.mark.parametrize("python", ENVIRONMENTS, ids=["lts", "newest"])
@pytest.mark.parametrize(
    "case",
    [
        *("generate", "batch", "cancel", "bad_scene_then_a_good_one", "the_server_goes_and_comes"),
        "writes_only_in_its_own_folder",
    ],
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
def test_blender_quits_and_is_opened_again(addon_zip: Path, tmp_path: Path, painting: str) -> None:
    here = (ENVIRONMENTS[1], addon_zip, tmp_path, "cases_live")
    run_case(*here, "quit", painting)
    run_case(*here, "opened_again", painting)


@pytest.mark.blender
@pytest.mark.parametrize("python", ENVIRONMENTS, ids=["lts", "newest"])
def test_with_keys(python: Path, addon_zip: Path, tmp_path: Path) -> None:
    here, keys = (python, addon_zip, tmp_path, "cases_live"), tmp_path / "keys"
    (tmp_path / "server.key").write_text(make_key_file(keys / SERVER_FILE))
    with painting_gateway(tmp_path / "state", keys) as address:
        run_case(*here, "a_stranger_is_refused", address)
        AllowList(keys / ALLOWED_FILE).allow((tmp_path / "my.key").read_text(), "artist")
        run_case(*here, "a_job_over_an_encrypted_connection", address)


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of `vitruvian serve` with the bundled image model."""
    with vitruvian_serve(tmp_path_factory.mktemp("served") / "state") as address:
        yield address


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize("python", ENVIRONMENTS, ids=["lts", "newest"])
@pytest.mark.parametrize("case", ["generate", "batch"])
def test_with_the_bundled_image_model(
    case: str, python: Path, addon_zip: Path, tmp_path: Path, bundled: str
) -> None:
    run_case(python, addon_zip, tmp_path, "cases_live", case, bundled, seconds=1000)


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize("python", ENVIRONMENTS, ids=["lts", "newest"])
def test_blender_is_killed_while_the_bundled_image_model_paints(
    python: Path, addon_zip: Path, tmp_path: Path, bundled: str
) -> None:
    here = (python, addon_zip, tmp_path, "cases_live")
    run_case(*here, "killed", bundled, seconds=1000, leaves_with=-signal.SIGKILL)
    run_case(*here, "opened_again", bundled, seconds=1000)
