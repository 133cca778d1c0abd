"""Shared by `vitruvian evaluate` and `vitruvian bench`: options, and the table of figures and targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from vitruvian.evaluate.protocol import Target

PRIOR = typer.Option(help="The image model to judge: mini, or a diffusers folder or hub name.")
DEVICE = typer.Option(help="auto, cpu, cuda, or one graphics card such as cuda:1.")


def print_targets(title: str, lines: list[Target]) -> None:
    """A table on standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in ("what", "measured", "target", ""):
        table.add_column(name, justify="right" if name == "measured" else "left")
    for line in lines:
        verdict = "" if line.met is None else ("met" if line.met else "NOT MET")
        table.add_row(line.what, f"{line.value:.4g} {line.unit}".strip(), line.target, verdict)
    Console().print(table)
