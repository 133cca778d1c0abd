"""A Blender with a window: which it is, and how the extension gets into it."""

from __future__ import annotations

import os
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

import build_addon


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
        return not self.command[0].endswith(".blender")  # scripts/setup_blender_chroot.sh


def install(blender: Blender, source: Path, resources: Path) -> str:
    """Installs the extension's zip as the Blender's version wants it; returns the add-on's module."""
    if blender.version >= (4, 2):
        command = [
            *blender.command,
            "--command",
            "extension",
            "install-file",
            "-r",
            "user_default",
            "--enable",
        ]
        done = run([*command, str(source)], resources)
        assert done.returncode == 0, done.stdout + done.stderr
        return "bl_ext.user_default.vitruvian"
    # 3.4 knows no extensions: the folder goes to the add-ons, the wheels for its Python to their modules.
    addons = resources / "scripts" / "addons"
    with zipfile.ZipFile(source) as archive:
        archive.extractall(addons)
    for wheel in (addons / "vitruvian" / "wheels").glob("*.whl"):
        if fits(wheel.name, blender):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(addons / "modules")
    return "vitruvian"


def fits(wheel: str, blender: Blender) -> bool:
    """Whether a wheel is for a Blender on Linux with this Python."""
    if wheel.endswith("-none-any.whl"):
        return True
    return (
        build_addon.Wheel(wheel, "").runs_on("linux-x64")
        and f"-cp{blender.python[0]}{blender.python[1]}-" in wheel
    )


def run(command: list[str], resources: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """A Blender that keeps its settings in `resources` and sees no Python packages but its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"BLENDER_USER_RESOURCES": str(resources), "LIBGL_ALWAYS_SOFTWARE": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)
