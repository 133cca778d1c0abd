"""`vitruvian batch`: textures the bodies of .blend files, one file after the other, without a window.

The work is done by the Blender add-on, in Blender's own Python: this starts it for each file.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from vitruvian.core.errors import UserError

EXIT_SOME_FAILED, EXIT_NO_BACKEND, EXIT_STOPPED = 1, 3, 130
TEXTURE_SIZES = (512, 1024, 2048, 4096)
"""Those that Blender's panel has."""
MEANINGS = {
    0: "done",
    EXIT_SOME_FAILED: "some bodies failed",
    2: "bad input",
    EXIT_NO_BACKEND: "no backend",
    EXIT_STOPPED: "stopped",
}
"""What the add-on's exit codes say."""


@dataclass(frozen=True)
class Outcome:
    """How one file ended."""

    file: Path
    code: int

    @property
    def words(self) -> str:
        if self.code < 0:
            return f"Blender crashed (signal {-self.code}); run again to go on"
        return MEANINGS.get(self.code, f"Blender ended with code {self.code}")


def batch(
    files: Annotated[list[Path], typer.Argument(help=".blend files, done one after the other.")],
    csv: Annotated[
        Path | None, typer.Option(help="Bodies and prompts: columns body, prompt and, if you like, seed.")
    ] = None,
    collection: Annotated[str | None, typer.Option(help="All meshes of this collection.")] = None,
    body: Annotated[list[str] | None, typer.Option(help="A mesh by its name; may be repeated.")] = None,
    prompt: Annotated[str, typer.Option(help="For bodies that have no prompt of their own.")] = "",
    seed: Annotated[
        int | None, typer.Option(help="For all bodies without one of their own.", min=0, max=2**32 - 1)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Painting steps. [the file's]", min=1, max=1000)] = None,
    texture_size: Annotated[int | None, typer.Option(help="512, 1024, 2048 or 4096. [the file's]")] = None,
    address: Annotated[str, typer.Option(help="Of a running `vitruvian serve`.")] = "tcp://127.0.0.1:29517",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the textured files; without it they are saved in place.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option(help="Try again what failed in an earlier run.")] = False,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for a backend that does not answer.", min=0.0, max=1e6)
    ] = 30.0,
    blender: Annotated[
        Path | None, typer.Option(help="A Blender 4.2 or newer that has the add-on, instead of bpy.")
    ] = None,
    python: Annotated[
        Path | None, typer.Option(help="Python of an environment with bpy, pyzmq and msgpack. [this one]")
    ] = None,
    addon: Annotated[Path | None, typer.Option(help="The add-on's folder. [this checkout's]")] = None,
) -> None:
    """Texture the bodies of .blend files; what an earlier run has done is not done again.

    Without --csv, --collection or --body, the batch list that was made in Blender is used. The exit code is 0
    when every body of every file is done, 1 when some failed, 2 for bad input, 3 without a backend.
    """
    _check(files, out, csv, texture_size, address)
    options = _options(
        csv=csv,
        collection=collection,
        body=body or [],
        prompt=prompt or None,
        seed=seed,
        steps=steps,
        texture_size=texture_size,
        address=address,
        wait=wait,
    )
    if retry_failed:
        options.append("--retry-failed")
    if blender is None:
        start = _module_command(python or Path(sys.executable), addon or own_addon())
    else:
        check_program("blender", blender)
        start = [str(blender), "--background"]
    outcomes: list[Outcome] = []
    for file in files:
        print(f"== {file}", flush=True)
        target = ["--output", str((out / file.name).absolute())] if out is not None else []
        between = [] if blender is None else ["--command", "vitruvian"]
        command = [*start, str(file.absolute()), *between, *options, *target]
        outcomes.append(Outcome(file, _run(command)))
        if outcomes[-1].code in (EXIT_NO_BACKEND, EXIT_STOPPED):
            break  # the next file would fare no better
    print(summary(files, outcomes))
    raise typer.Exit(exit_code(files, outcomes))


def summary(files: list[Path], outcomes: list[Outcome]) -> str:
    """A line a file."""
    words = {outcome.file: outcome.words for outcome in outcomes}
    width = max(len(str(file)) for file in files)
    return "\n".join(f"{str(file).ljust(width)}  {words.get(file, 'not begun')}" for file in files)


def exit_code(files: list[Path], outcomes: list[Outcome]) -> int:
    """The gravest of the files' codes; a crash counts as a failure."""
    codes = [outcome.code if outcome.code in MEANINGS else EXIT_SOME_FAILED for outcome in outcomes]
    if len(outcomes) < len(files):
        return codes[-1]
    return max(codes, default=0)


def _check(
    files: list[Path], out: Path | None, csv: Path | None, texture_size: int | None, address: str
) -> None:
    """Raises: UserError for what Blender need not be started for."""
    from vitruvian.service.config import check_address

    for file in files:
        if file.suffix.lower() != ".blend" or not file.is_file():
            raise UserError("files", str(file), "is not a .blend file that exists", "Check the path")
    check_address(address)
    if csv is not None and not csv.is_file():
        raise UserError("csv", str(csv), "is not a file that exists", "Check the path")
    if texture_size not in (None, *TEXTURE_SIZES):
        sizes = ", ".join(map(str, TEXTURE_SIZES))
        raise UserError("texture_size", texture_size, "is not one of those on offer", f"Use one of {sizes}")
    if out is not None:
        names = [file.name for file in files]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UserError(
                "out", str(out), f"would get two files called {twice}", "Rename one, or run twice"
            )
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            problem = "is a file" if out.is_file() else f"cannot be made ({error.strerror})"
            raise UserError("out", str(out), problem, "Choose a folder that you may write to") from None


def _options(**values: object) -> list[str]:
    """The add-on's own options for what was given."""
    options: list[str] = []
    for name, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                text = str(one.absolute()) if isinstance(one, Path) else str(one)
                options.append(f"--{name.replace('_', '-')}={text}")
    return options


def _module_command(python: Path, addon: Path) -> list[str]:
    script = addon / "run_in_module.py"
    if not script.is_file():
        raise UserError(
            "addon", str(addon), "is not the add-on's folder", "Give the path of blender_addon with --addon"
        )
    check_program("python", python)
    code = "import importlib.util as u; print('bpy:', u.find_spec('bpy') is not None)"
    probe = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    if not probe.stdout.startswith("bpy: "):
        raise UserError("python", str(python), "is not a Python", "Check the path")
    if "True" not in probe.stdout:
        raise UserError(
            "python",
            str(python),
            "has no bpy",
            "Give the Python of an environment with Blender's module (pip install bpy), or --blender PATH",
        )
    return [str(python), str(script)]


def check_program(name: str, path: Path) -> None:
    if path.is_dir() or shutil.which(path) is None:
        raise UserError(name, str(path), "is not a program that can be started", "Check the path")


def _run(command: list[str]) -> int:
    """One Blender's life. Ctrl-C reaches it, too, and it ends between two steps: that is waited for."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run(command, env=_environment(), check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def own_addon() -> Path:
    return Path(__file__).resolve().parents[3] / "blender_addon"


def _environment() -> dict[str, str]:
    """Lets the other Python find the protocol that this one uses."""
    spec = importlib.util.find_spec("vitruvian_protocol")
    assert spec is not None
    assert spec.origin is not None
    protocol = str(Path(spec.origin).parents[1])
    given = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([protocol, given] if given else [protocol])}
