"""The window tests take minutes, a screen and packages of the distribution: they run only when asked for."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

NEEDED = ("xvfb-run", "xdotool", "import")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "window" not in str(config.getoption("markexpr")):
        skip = pytest.mark.skip(reason="a real window: run `make window`")
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(skip)


@dataclass(frozen=True)
class Blender:
    """A Blender with a window."""

    command: tuple[str, ...]
    version: tuple[int, int]
    python: tuple[int, int]
    """Its Python's version, which decides on the wheels."""

    @property
    def shares_our_files(self) -> bool:
        """Whether it sees the same folders as this test, so that it can start our `vitruvian`."""
        return not self.command[0].endswith("-trixie.blender")


@pytest.fixture(scope="session")
def blender() -> Blender:
    """The Blender on the path, or the one that $BLENDER starts."""
    command = tuple(shlex.split(os.environ.get("BLENDER", "blender")))
    missing = [name for name in (*NEEDED, command[0]) if shutil.which(name) is None]
    if missing:
        pytest.skip(
            f"{', '.join(missing)} not found: scripts/setup_blender_window.sh installs what is needed"
        )
    expression = "import sys, bpy; print('IS', *bpy.app.version[:2], *sys.version_info[:2])"
    said = subprocess.run(
        [*command, "-b", "--factory-startup", "--python-expr", expression],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = re.search(r"^IS (\d+) (\d+) (\d+) (\d+)$", said.stdout, re.MULTILINE)
    assert found, said.stdout + said.stderr
    numbers = [int(number) for number in found.groups()]
    return Blender(command, (numbers[0], numbers[1]), (numbers[2], numbers[3]))
