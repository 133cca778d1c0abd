"""Blender as a Python module: starts one case of a `cases_*.py` in a process of its own (run_case.py)."""

from __future__ import annotations

import ast
import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENTS = [ROOT / name / "bin" / "python" for name in (".venv-blender", ".venv-blender-5.2")]
NO_BPY = "Blender's module needs an environment of its own: run scripts/setup_blender_env.sh 4.5 (and 5.2)"
needs_bpy = pytest.mark.skipif(not ENVIRONMENTS[0].exists(), reason=NO_BPY)
"""For tests that start the first environment by themselves; `run_case` looks by itself."""


def cases_of(file: str) -> list[str]:
    """The names of a file's cases, without importing it: it needs Blender."""
    tree = ast.parse((HERE / f"{file}.py").read_text(encoding="utf-8"))
    functions = (node.name for node in tree.body if isinstance(node, ast.FunctionDef))
    return [name.removeprefix("case_") for name in functions if name.startswith("case_")]


def run_case(
    python: Path,
    addon_zip: Path,
    folder: Path,
    file: str,
    case: str,
    address: str = "",
    seconds: float = 300,
    leaves_with: int = 0,
) -> str:
    """One case in its own process, which must leave with a code (negative: by a signal); what it said."""
    if not python.exists():
        pytest.skip(NO_BPY)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["BLENDER_USER_RESOURCES"] = str(folder / "user")
    command = [str(python), str(HERE / "run_case.py"), str(addon_zip), str(folder), file, case]
    command += [address] if address else []
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == leaves_with, said[-4000:]
    return said
