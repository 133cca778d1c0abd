"""Files from the backend, looked at in numpy and plain bytes before Blender sees them. No bpy."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_SIDE = 8192
MAX_REPORT = 8 * 2**20


class BadResult(Exception):
    """A file that must not reach Blender; the text says why."""


def read_png(path: Path) -> bytes:
    """The bytes of a PNG whose chunks are whole and whose size is sane.

    Raises:
        BadResult: not a PNG, truncated, damaged, or larger than 8192 pixels a side.
        OSError: the file cannot be read.
    """
    data = path.read_bytes()
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise BadResult(f"{path.name} is not a PNG")
    width = height = 0
    at, ended = 8, False
    while at < len(data) and not ended:
        if at + 12 > len(data):
            raise BadResult(f"{path.name} is cut off")
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + length
        if end > len(data):
            raise BadResult(f"{path.name} is cut off")
        if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise BadResult(f"{path.name} is damaged")
        if at == 8:
            if kind != b"IHDR" or length != 13:
                raise BadResult(f"{path.name} has no header")
            width, height = struct.unpack(">II", data[at + 8 : at + 16])
        ended = kind == b"IEND"
        at = end
    if not ended or at != len(data):
        raise BadResult(f"{path.name} does not end where it should")
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise BadResult(f"{path.name} claims {width} x {height} pixels")
    return data


def check_jpeg(data: bytes, max_side: int = 512) -> tuple[int, int]:
    """Width and height of a JPEG that begins and ends as one.

    Raises:
        BadResult: anything else, or larger than `max_side`.
    """
    if data[:3] != b"\xff\xd8\xff" or data[-2:] != b"\xff\xd9":
        raise BadResult("the preview is not a whole JPEG")
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            if not (0 < width <= max_side and 0 < height <= max_side):
                raise BadResult(f"the preview claims {width} x {height} pixels")
            return width, height
        at += 2 + length
    raise BadResult("the preview has no frame header")


def read_report(path: Path | None) -> dict[str, Any]:
    """`report.json`; empty where it is missing, too large or no JSON object."""
    if path is None or path.stat().st_size > MAX_REPORT:
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def check_polygons(
    vertices: NDArray, loop_vertices: NDArray, loop_starts: NDArray, corner_uvs: NDArray | None = None
) -> None:
    """Refuse arrays that would make Blender crash, or that `validate()` would quietly repair.

    Args:
        vertices: [V, 3]; loop_vertices: [L]; loop_starts: [P]; corner_uvs: [L, 2].

    Raises:
        BadResult: saying which array is wrong.
    """
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not len(vertices) or not np.isfinite(vertices).all():
        raise BadResult("vertices are missing or not finite")
    if loop_vertices.ndim != 1 or not len(loop_vertices):
        raise BadResult("the mesh has no corners")
    if int(loop_vertices.min()) < 0 or int(loop_vertices.max()) >= len(vertices):
        raise BadResult("a corner refers to a vertex that is not there")
    if loop_starts.ndim != 1 or not len(loop_starts) or int(loop_starts[0]) != 0:
        raise BadResult("the first face does not start at the first corner")
    sizes = np.diff(np.append(loop_starts, len(loop_vertices)))
    if int(sizes.min()) < 3:
        raise BadResult("a face has fewer than three corners, or faces are out of order")
    if corner_uvs is not None and (
        corner_uvs.shape != (len(loop_vertices), 2) or not np.isfinite(corner_uvs).all()
    ):
        raise BadResult("UVs do not fit the corners, or are not finite")
