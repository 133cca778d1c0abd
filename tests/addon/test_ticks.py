"""Five textures of 4096 px through the add-on; `pytest -s tests/addon/test_ticks.py` prints the ticks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from blender_process import ENVIRONMENTS, run_case
from servers import painting_gateway


@pytest.mark.blender
@pytest.mark.slow
def test_five_large_textures(addon_zip: Path, tmp_path: Path) -> None:
    case = ("cases_ticks", "five_large_textures")
    with painting_gateway(tmp_path / "state") as address:
        said = run_case(ENVIRONMENTS[0], addon_zip, tmp_path, *case, address, seconds=600)
    line = next(line for line in said.splitlines() if line.startswith("TICKS "))
    print(line)
    figures = json.loads(line.removeprefix("TICKS "))
    assert len(figures["applying_ms"]) == len(figures["of_it_image_load_ms"]) == 5
    assert min(figures["result_mib"]) > 8
