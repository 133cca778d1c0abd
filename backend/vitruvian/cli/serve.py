"""`vitruvian serve`: paints for Blender and for `vitruvian submit`, until it is stopped."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from vitruvian.core.errors import UserError

_ADDRESS = typer.Option(help="Address to listen on. Anything but this machine's own needs --keys.")
_KEYS = typer.Option(help="Folder with the server's keys and the list of clients (`vitruvian keys`).")


def serve(
    address: Annotated[str, _ADDRESS] = "tcp://127.0.0.1:29517",
    state: Annotated[
        Path | None,
        typer.Option(help="Folder for queue and results, on a local disk.", show_default="a user folder"),
    ] = None,
    keys: Annotated[Path | None, _KEYS] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(help="auto, cpu, cuda:0, ...; may be repeated: one worker each.", show_default="auto"),
    ] = None,
    prior: Annotated[
        list[str] | None,
        typer.Option(
            help="An image model that clients may use, as NAME, NAME=FOLDER or NAME=RECIPE; may be repeated. "
            "The first is kept loaded.",
            show_default="mini",
        ),
    ] = None,
    memory: Annotated[
        Literal["auto", "low", "offload"],
        typer.Option(help="How much is on a graphics card at once, as for generate."),
    ] = "auto",
    idle_minutes: Annotated[
        float, typer.Option(help="Give memory back after so long without work; 0: never.", min=0.0)
    ] = 10.0,
    keep_days: Annotated[float, typer.Option(help="Keep results for so long.", min=0.01)] = 14.0,
    min_free_gb: Annotated[
        float, typer.Option(help="Take no jobs on with less free disk space than this.", min=0.0, max=1e6)
    ] = 5.0,
) -> None:
    """Paint for Blender and `vitruvian submit`: a queue on disk that survives crashes, one worker per device.

    What dies is started again. Stops at Ctrl-C; what was at work goes on with the next start.
    """
    import logging
    import signal

    from vitruvian.service.config import ServeConfig
    from vitruvian.service.curve import check_exposure
    from vitruvian.service.devices import local_workers
    from vitruvian.service.process import settings_line
    from vitruvian.service.supervisor import Supervisor

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    priors = parse_priors(prior or ["mini"])
    for note in download_notes(priors):
        print(note, file=sys.stderr, flush=True)
    config = ServeConfig(
        state=state or default_state(),
        listen=address,
        keys=keys,
        priors=priors,
        idle_release=60.0 * idle_minutes,
        keep_days=keep_days,
        min_free=round(min_free_gb * 2**30),
    )
    check_exposure(config)
    supervisor = Supervisor(settings_line(config, local_workers(device or ["auto"], priors, memory)))
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), lambda *_: supervisor.stop())
    print(f"state {config.state}, process {os.getpid()}", file=sys.stderr, flush=True)
    raise typer.Exit(supervisor.run())


PRIOR_FILES = (".json", ".safetensors")
"""A recipe, or a whole model in one file."""


def parse_priors(given: list[str]) -> dict[str, str]:
    """`NAME` or `NAME=FOLDER` (or a file of `PRIOR_FILES`), several times.

    Raises:
        UserError: a path without a name, or one that leads to no folder, recipe or model file. A hub's name
            is not looked up here.
    """
    priors: dict[str, str] = {}
    for text in given:
        name, equals, where = text.partition("=")
        remedy = "Write it as NAME or NAME=FOLDER, like suits=/models/suits"
        if not name or any(c in name for c in "/\\ "):
            raise UserError("prior", text, "has no name that clients can use", remedy)
        if name in priors:
            raise UserError("prior", text, "is named twice", "Give each image model a name of its own")
        if equals and not where:
            raise UserError("prior", text, "names no folder", remedy)
        path = Path(where).expanduser()
        given_as_path = path.is_absolute() or where.startswith(".") or path.suffix in PRIOR_FILES
        whole = path.is_dir() or (path.is_file() and path.suffix in PRIOR_FILES)
        if equals and (given_as_path or path.is_file()) and not whole:
            raise UserError(
                "prior", text, "is not a folder, recipe or model file that exists", "Check the path"
            )
        priors[name] = str(path) if where.startswith("~") else where or name
    return priors


def download_notes(priors: dict[str, str]) -> list[str]:
    """A line for each prior whose first job would wait for a download."""
    from vitruvian.diffusion.shelf import missing_gb

    missing = {name: missing_gb(where) for name, where in priors.items()}
    return [
        f"{name} is not on this disk: its first job fetches {size:.1f} GB. "
        f"`vitruvian priors download {priors[name]}` fetches it now"
        for name, size in missing.items()
        if size
    ]


def default_state() -> Path:
    """Where programs of this user keep what they need between runs."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "vitruvian"
