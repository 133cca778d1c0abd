"""The add-on in Blender as a Python module: each case in its own process (blender_cases.py)."""

from __future__ import annotations

import ast
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("blender_cases.py")
ENVIRONMENTS = [ROOT / name / "bin" / "python" for name in (".venv-blender", ".venv-blender-5.2")]
CASES = [
    node.name.removeprefix("case_")
    for node in ast.parse(SCRIPT.read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("case_")
]


@pytest.mark.blender
@pytest.mark.parametrize("python", ENVIRONMENTS, ids=["lts", "newest"])
@pytest.mark.parametrize("case", CASES)
def test_case(case: str, python: Path, addon_zip: Path, tmp_path: Path) -> None:
    if not python.exists():
        pytest.skip("run scripts/setup_blender_env.sh (make test does)")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["BLENDER_USER_RESOURCES"] = str(tmp_path / "user")
    command = [str(python), str(SCRIPT), str(addon_zip), str(tmp_path), case]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
