"""Hands and eyes for a real Blender window on a virtual screen. Runs inside Blender, 3.4 to 5.2.

A script is a generator: it yields the seconds it wants to wait, so that Blender's own event loop goes on
meanwhile. The mouse is the screen's own (xdotool). Buttons are found as an artist finds them, by looking:
patches of one colour in the sidebar are pointed at, and Blender is asked what is there.
"""

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import bpy  # pyright: ignore[reportMissingImports]  (Blender's own Python)
import numpy as np

T = TypeVar("T")
Script = Generator[float, None, T]
TRIES = 4
"""Blender on a busy machine may miss a first look or press."""


class NotSeen(Exception):
    """A button that should be in the window is not, or something that should happen does not."""


def window() -> Any:
    return bpy.context.window_manager.windows[0]


def viewport() -> Any:
    """The largest 3D viewport."""
    areas = (area for area in window().screen.areas if area.type == "VIEW_3D")
    return max(areas, key=lambda area: area.width * area.height)


def region(kind: str) -> Any:
    return next(item for item in viewport().regions if item.type == kind)


def here(kind: str = "WINDOW") -> Any:
    """The context of an operator started in the viewport: a timer has none of its own."""
    return bpy.context.temp_override(window=window(), area=viewport(), region=region(kind))


def photograph(path: Path) -> None:
    """The whole screen as it is."""
    subprocess.run(["import", "-window", "root", str(path)], check=True, timeout=60)


def pixels() -> "np.ndarray[Any, Any]":
    """The whole screen. [height, width, 3] 8 bit, first row at the top."""
    command = ["import", "-window", "root", "-depth", "8", "ppm:-"]
    seen = subprocess.run(command, check=True, timeout=60, capture_output=True)
    kind, size, depth, data = seen.stdout.split(b"\n", 3)
    assert (kind, depth) == (b"P6", b"255"), (kind, depth)
    width, height = map(int, size.split())
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)


def mouse(*arguments: object) -> None:
    subprocess.run(["xdotool", *map(str, arguments)], check=True, timeout=60)


def point(x: int, y: int) -> Script[None]:
    """Move the mouse to a place on the screen; two steps, because Blender looks at movement."""
    mouse("mousemove", x - 3, y)
    yield 0.05
    mouse("mousemove", x, y)
    yield 0.25


def press(x: int, y: int, times: int = 1) -> Script[float]:
    """Click; returns when, on the monotonic clock."""
    yield from point(x, y)
    pressed = time.monotonic()
    mouse("click", "--repeat", times, "--delay", 80, 1)
    yield 0.6
    return pressed


def key(*names: str) -> Script[None]:
    mouse("key", *names)
    yield 0.5


def drag(start: tuple[int, int], end: tuple[int, int]) -> Script[None]:
    """Pull something from one place to another."""
    yield from point(*start)
    mouse("mousedown", 1)
    yield 0.3
    for share in (0.1, 0.3, 0.6, 0.9, 1.0):
        mouse("mousemove", *(round(a + share * (b - a)) for a, b in zip(start, end)))  # noqa: B905
        yield 0.15
    mouse("mouseup", 1)
    yield 0.6


def wait_for(what: str, is_so: Callable[[], object], seconds: float = 60.0) -> Script[None]:
    """Give Blender up to `seconds` of its own time for something to come true."""
    for _ in range(round(seconds / 0.25)):
        if is_so():
            return
        yield 0.25
    raise NotSeen(f"{what}: not within {seconds:g} s")


def open_tab(tab: str) -> Script[None]:
    """Show the sidebar with one of its tabs on top. Before 4.2 no code can do that: the tab is pressed."""
    viewport().spaces.active.show_region_ui = True
    yield 1.0
    if hasattr(region("UI"), "active_panel_category"):
        for _ in range(40):
            try:
                region("UI").active_panel_category = tab
                break
            except AttributeError:
                yield 0.25  # 5.x: read-only until the region was drawn once
    else:
        yield from _press_last_tab()
    viewport().tag_redraw()
    yield 1.0


def _press_last_tab() -> Script[None]:
    """Press the lowest tab, an add-on's: tabs are patches at the right edge, beside their titles."""
    side = region("UI")
    for inset in range(2, 20):
        x = side.x + side.width - inset
        patches = list(_patches(x, side, shortest=30, longest=120))
        if len(patches) >= 3:
            yield from press(x, patches[-1])
            return
    raise NotSeen("no tabs at the sidebar's edge")


def find(
    told: str, kind: str = "operator", columns: tuple[float, ...] = (0.5, 0.12, 0.8, 0.86, 0.9)
) -> Script[tuple[int, int]]:
    """Where a button of the sidebar is, on the screen.

    Args:
        told: what Blender says of it: part of an operator's Python call, or of a property's path.
        kind: "operator" or "property".
        columns: where to look, as shares of the sidebar's width, the likeliest first.
    """
    for attempt in range(TRIES):
        side = region("UI")
        for share in columns:
            x = side.x + round(share * side.width)
            for y in _patches(x, side, shortest=9, longest=40):
                yield from point(x, y)
                if told in _what_is_there(kind):
                    return x, y
        # Perhaps it is further down.
        yield from point(side.x + side.width // 2, window().height - side.y - side.height // 2)
        mouse("click", "--repeat", 6, 5 if attempt % 2 == 0 else 4)
        yield 0.8
    raise NotSeen(f"no button for {told!r} in the sidebar")


def _what_is_there(kind: str) -> str:
    """What Blender's own menu would copy of the button under the mouse: its Python call, or its data path."""
    copy = bpy.ops.ui.copy_python_command_button if kind == "operator" else bpy.ops.ui.copy_data_path_button
    with here("UI"):
        if not copy.poll():
            return ""
        bpy.context.window_manager.clipboard = ""
        copy("EXEC_DEFAULT")
        return str(bpy.context.window_manager.clipboard)


def _patches(x: int, side: Any, shortest: int, longest: int) -> Iterator[int]:
    """Middles of one-coloured stretches of a column of the screen, inside a region, from the top down."""
    column = pixels()[:, x].astype(int)
    first, last = window().height - side.y - side.height, window().height - side.y
    start = first
    for y in range(first + 1, last + 1):
        if y == last or np.abs(column[y] - column[y - 1]).max() > 4:
            if shortest <= y - start <= longest:
                yield (start + y) // 2
            start = y


def run(script: Callable[[], Script[None]], on_failure: Callable[[], None]) -> None:
    """Drive the window with `script` and end Blender with its outcome.

    The code is set by hand: Blender ends with 0 even if a timer raised.
    """
    steps = script()

    def step() -> float:
        try:
            return next(steps)
        except StopIteration:
            code = 0
        except BaseException:
            traceback.print_exc()
            on_failure()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    bpy.app.timers.register(step, first_interval=1.5, persistent=True)
