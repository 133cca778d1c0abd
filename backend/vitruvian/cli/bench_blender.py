"""`vitruvian bench blender`: which Blender is started, and the table."""

from __future__ import annotations

from pathlib import Path

from vitruvian.cli.batch import check_program, own_addon
from vitruvian.cli.targets import print_targets
from vitruvian.core.errors import UserError


def time_blender(command: list[str], steps: int, repeats: int) -> None:
    """Measure the demo's job in Blender and print the figures."""
    from vitruvian.evaluate.bench.generate import DEMO_PROMPT
    from vitruvian.evaluate.protocol import Target
    from vitruvian.service.bench_blender import BlenderJob, bench_blender

    figures = bench_blender(command, BlenderJob(DEMO_PROMPT, steps), repeats)
    title = f"Generate Human in Blender: 16 views, {steps} steps, 1024 px texture"
    print_targets(title, [Target(**vars(figure)) for figure in figures])


def blender_command(blender: Path | None, python: Path | None, extension: Path | None) -> list[str]:
    """What starts the measurement: an installed Blender, else the module with the extension's zip.

    Raises:
        UserError: a program or file that is not there.
    """
    from vitruvian.service.bench_blender import installed_command, module_command

    if blender is not None:
        check_program("blender", blender)
        return installed_command(blender)
    addon = own_addon()
    python = python or addon.parent / ".venv-blender" / "bin" / "python"
    check_program("python", python)
    if extension is None:
        extension = newest_extension(addon.parent / "dist")
    if extension is None:
        raise UserError("extension", "dist", "has no zip of the extension", "Make it with `make addon`")
    if not extension.is_file():
        raise UserError("extension", str(extension), "is not a file", "Make it with `make addon`")
    return module_command(python, addon, extension)


def newest_extension(folder: Path) -> Path | None:
    """The zip for every platform that was made last; those for one name it after the version."""
    made = (path for path in folder.glob("vitruvian-*.zip") if path.stem.count("-") == 1)
    return max(made, key=lambda path: path.stat().st_mtime, default=None)
