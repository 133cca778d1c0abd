"""The add-on in Blender as a Python module: each case of the `cases_*.py` that need no server."""

from __future__ import annotations

from pathlib import Path

import pytest
from blender_process import ENVIRONMENTS, cases_of, run_case

FILES = (
    *("cases_backend", "cases_overlay", "cases_panel", "cases_phases"),
    *("cases_result", "cases_scene", "cases_sending"),
)
CASES = [(file, case) for file in FILES for case in cases_of(file)]


@pytest.mark.blender
@pytest.mark.parametrize("python", ENVIRONMENTS, ids=["lts", "newest"])
@pytest.mark.parametrize(("file", "case"), CASES, ids=[case for _, case in CASES])
def test_case(file: str, case: str, python: Path, addon_zip: Path, tmp_path: Path) -> None:
    said = run_case(python, addon_zip, tmp_path, file, case)
    if "NO GPU" in said:
        pytest.skip(
            "this computer has no OpenGL, not even in software: nothing can be drawn (libgl1-mesa-dri)"
        )
