"""The results folder: everything of one avatar, whole or not at all."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vitruvian.core.errors import UserError
from vitruvian.core.folders import check_out_folder
from vitruvian.core.images import Avatar
from vitruvian.core.report import Report, silent
from vitruvian.export.glb import glb_bytes
from vitruvian.export.pictures import (
    contact_sheet,
    coverage_picture,
    gif_bytes,
    png_bytes,
    to_image,
    turntable,
)


def save_avatar(avatar: Avatar, out: Path, frames: int = 36, report: Report = silent) -> Path:
    """Write human.glb, albedo.png, coverage.png, views/, contact_sheet.png, turntable.gif and report.json.

    Everything is written to a folder beside `out` first and moved into place at the end, so `out` is never
    half-written, also when `report` raises `Cancelled`. An earlier result at `out` is replaced.

    Args:
        out: the folder to make; its parents are made where missing.
        frames: of the turntable.

    Raises:
        UserError: when `out` holds something that is not an earlier result, or cannot be written.
    """
    with fresh_folder(out) as fresh:
        write_files(avatar, fresh, frames, report)
    return out.absolute()


@contextmanager
def fresh_folder(out: Path) -> Iterator[Path]:
    """An empty folder that becomes `out` when the block ends well, and is gone when it does not.

    Raises:
        UserError: when `out` holds something that is not an earlier result, or cannot be written.
    """
    out = out.absolute()
    check_out_folder(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        fresh.chmod(0o755)
        yield fresh
        _move_into_place(fresh, out)
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def write_files(avatar: Avatar, folder: Path, frames: int = 36, report: Report = silent) -> None:
    """Write what `save_avatar` promises into a folder that is there and is the caller's to move or delete."""
    albedo = png_bytes(to_image(avatar.texture.albedo))
    (folder / "albedo.png").write_bytes(albedo)
    (folder / "human.glb").write_bytes(glb_bytes(avatar.mesh, albedo))
    (folder / "coverage.png").write_bytes(png_bytes(coverage_picture(avatar.texture)))
    (folder / "views").mkdir()
    for name, image in zip(avatar.views.rig.names, avatar.views.images, strict=True):
        (folder / "views" / f"{view_file_name(name)}.png").write_bytes(png_bytes(to_image(image)))
    (folder / "contact_sheet.png").write_bytes(png_bytes(contact_sheet(avatar.views)))
    pictures = turntable(avatar.mesh, avatar.texture.albedo, frames, report=report)
    (folder / "turntable.gif").write_bytes(gif_bytes(pictures))
    text = json.dumps(_plain(avatar.report), indent=2, allow_nan=False, ensure_ascii=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")


def _move_into_place(fresh: Path, out: Path) -> None:
    """Put `fresh` where `out` is; what was there goes last, so that a result is there at any time but one."""
    if not out.exists():
        fresh.rename(out)
        return
    replaced = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
    try:
        out.rename(replaced / "old")
        try:
            fresh.rename(out)
        except OSError:
            (replaced / "old").rename(out)
            raise
    finally:
        shutil.rmtree(replaced, ignore_errors=True)


def _unwritable(out: Path, error: OSError) -> UserError:
    problem = f"cannot be written ({error.strerror or error})"
    return UserError("out", str(out), problem, "Choose a folder that you may write to, on a disk with space")


def view_file_name(name: str) -> str:
    """A view's name without characters that a file name cannot have."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name).lstrip(".") or "view"


def _plain(value: Any) -> Any:
    """The same with figures that JSON has no word for (NaN, infinities) as null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
