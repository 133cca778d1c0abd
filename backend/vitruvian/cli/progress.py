"""Progress bars on stderr, one a stage, with the time left; and Ctrl-C that ends a run between two steps."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from vitruvian.core.errors import Cancelled

if TYPE_CHECKING:
    from vitruvian.core.report import Preview, Report


@contextmanager
def progress_report() -> Iterator[Report]:
    """A `report` that draws bars and raises `Cancelled` after Ctrl-C.

    The first Ctrl-C lets the running step end, so that no stage is torn; a second one stops at once.
    """
    console = Console(stderr=True)
    with _bars(console) as bars, _stop_on_interrupt(console) as stopping:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, step: int, total: int, preview: Preview | None = None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=step, total=total)
            if not console.is_terminal and step >= total:
                console.print(f"{stage}: done in {bars.tasks[tasks[stage]].elapsed or 0:.1f} s")
            if stopping:
                raise Cancelled

        yield report


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("left"),
        console=console,
        disable=not console.is_terminal,
    )


@contextmanager
def _stop_on_interrupt(console: Console) -> Iterator[list[bool]]:
    """A list that is no longer empty once Ctrl-C was pressed."""
    stopping: list[bool] = []

    def on_interrupt(signum: int, frame: FrameType | None) -> None:
        if stopping:
            raise KeyboardInterrupt
        stopping.append(True)
        console.print("stopping after this step; Ctrl-C again stops at once")

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGINT, before)
