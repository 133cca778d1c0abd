"""The zip in Blender itself, where the packages that it bundles are not: 4.5 and 5.2 as modules, and 3.4."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import build_addon
import pytest

HERE = Path(__file__).parent
ENVIRONMENTS = {"4.5": ".venv-blender", "5.2": ".venv-blender-5.2"}


def blender_python(version: str) -> Path:
    """The interpreter that has `bpy`; skips where there is none."""
    python = build_addon.ROOT / ENVIRONMENTS[version] / "bin" / "python"
    if not python.exists():
        pytest.skip(f"run scripts/setup_blender_env.sh {version} (make test does)")
    return python


def run(command: list[str], resources: Path) -> None:
    """Runs a Blender that keeps its settings in `resources` and sees nobody's packages but its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"BLENDER_USER_RESOURCES": str(resources), "PYTHONNOUSERSITE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.blender
@pytest.mark.parametrize("version", ENVIRONMENTS)
def test_zip_brings_all_it_needs(version: str, addon_zip: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    script = str(HERE / "install_zip.py")
    run([str(blender_python(version)), script, str(addon_zip), str(result)], tmp_path / "user")
    seen = json.loads(result.read_text())
    assert seen["blender"].startswith(version)
    assert set(seen["before"].values()) == {None}, "the environment hides whether the bundled wheels work"
    assert seen["enabled"]
    assert all(place.startswith(str(tmp_path / "user")) for place in seen["places"].values())
    assert seen["protocol"] == build_addon.protocol_wheel(build_addon.project_version())[0].split("-")[1]
    assert seen["echo"]
    assert seen["registered"]
    assert seen["registered_after"] == []
    assert seen["left"] == []


@pytest.mark.blender
@pytest.mark.parametrize("version", ENVIRONMENTS)
def test_artists_can_install_from_a_studios_repository(
    version: str, addon_zips: list[Path], tmp_path: Path
) -> None:
    build_addon.publish(addon_zips[1:], tmp_path / "repository", build_addon.find_tool())
    result, script = tmp_path / "result.json", str(HERE / "install_from_repository.py")
    url = (tmp_path / "repository" / "index.json").as_uri()
    run([str(blender_python(version)), script, url, str(result)], tmp_path / "user")
    seen = json.loads(result.read_text())
    assert seen["enabled"]
    assert seen["zmq"]


@pytest.mark.blender
def test_zip_installs_in_blender_3_4(addon_zip: Path, tmp_path: Path) -> None:
    blender = shutil.which("blender")
    if blender is None or "Blender 3." not in subprocess.check_output([blender, "--version"], text=True):
        pytest.skip("no Blender 3.x on the path")
    result = tmp_path / "result.json"
    script = str(HERE / "install_legacy.py")
    arguments = ["--", str(addon_zip), str(result)]
    command = [blender, "-b", "--factory-startup", "--python", script, "--python-exit-code", "3", *arguments]
    run(command, tmp_path / "user")
    seen = json.loads(result.read_text())
    assert seen["enabled"], "it registers even where pyzmq is missing, and says so in its panel"
    assert seen["registered"]
    assert seen["registered_after"] == []
