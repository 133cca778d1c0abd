"""The versions of torch that are written down in several places agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from vitruvian.render.kaolin_note import TORCH_RANGE, WHEELS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGE = next(Requirement(line) for line in PROJECT["dependencies"] if line.startswith("torch"))
KAOLIN = Requirement(PROJECT["optional-dependencies"]["kaolin"][0])


@pytest.mark.parametrize("path", ["Makefile", "scripts/setup_venv.sh", "docs/installation.md"])
def test_the_pin_is_one_and_in_the_packages_range(path: str) -> None:
    pins = re.findall(r"torch==([\d.]+\d)", (ROOT / "Makefile").read_text())
    default = re.search(r"TORCH \?= torch==(\S+)", (ROOT / "Makefile").read_text())
    assert default is not None
    assert default[1] in re.findall(r"torch==([\d.]+\d)", (ROOT / path).read_text())
    assert all(PACKAGE.specifier.contains(pin) for pin in pins)


def test_the_extra_is_kaolins_range_and_lies_in_the_packages() -> None:
    low, high = (".".join(map(str, version)) for version in TORCH_RANGE)
    assert {str(part) for part in KAOLIN.specifier} == {f">={low}", f"<={high}"}
    for version in (low, high, *WHEELS):
        assert PACKAGE.specifier.contains(version), version


def test_the_page_lists_the_wheels_that_the_advice_knows() -> None:
    page = (ROOT / "docs" / "installation.md").read_text()
    table = [line for line in page.splitlines() if re.match(r"\| 2\.", line)]
    for version, cudas in WHEELS.items():
        row = next(line for line in table if version in line)
        assert [f"{cuda[:-1]}.{cuda[-1]}" for cuda in cudas] == re.findall(r"1\d\.\d", row.split("|")[2])
