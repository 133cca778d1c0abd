"""The window tests take minutes, a screen and packages of the distribution: they run only when asked for."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from real_blender import Blender

NEEDED = ("xvfb-run", "xdotool", "import")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "window" not in str(config.getoption("markexpr")):
        skip = pytest.mark.skip(reason="a real window: run `make window`")
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(skip)


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
