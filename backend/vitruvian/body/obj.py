"""Wavefront OBJ. Our own reader, since trimesh splits vertices at UV seams: the artist's order must stay."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch

from vitruvian.core.mesh import Mesh


def read_obj(path: Path) -> Mesh:
    """Every polygon of the file as triangles (fans), vertices and UVs in the file's order and axes.

    Raises:
        ValueError: for a line that does not parse. Indices are not checked here.
    """
    vertices: list[list[float]] = []
    uvs: list[list[float]] = []
    faces: list[list[int]] = []
    uv_faces: list[list[int]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        kind, *values = line.split("#", 1)[0].split() or [""]
        try:
            if kind == "v":
                vertices.append([float(value) for value in values[:3]])
            elif kind == "vt":
                uvs.append([float(value) for value in values[:2]])
            elif kind == "f":
                corners = [_corner(value, len(vertices), len(uvs)) for value in values]
                for second, third in pairwise(corners[1:]):
                    faces.append([corners[0][0], second[0], third[0]])
                    uv_faces.append([corners[0][1], second[1], third[1]])
        except (ValueError, IndexError) as error:
            raise ValueError(f"line {number}: {error}") from error
    triangles = torch.tensor(faces, dtype=torch.int64).reshape(-1, 3)
    corners_uv = torch.tensor(uv_faces, dtype=torch.int64).reshape(-1, 3)
    # A face without UVs among faces with them has corner -1: such a map cannot carry a texture.
    has_uvs = len(uvs) > 0 and len(faces) > 0 and bool((corners_uv >= 0).all())
    return Mesh(
        torch.tensor(vertices, dtype=torch.float32).reshape(-1, 3),
        triangles,
        torch.tensor(uvs, dtype=torch.float32).reshape(-1, 2) if has_uvs else None,
        corners_uv if has_uvs else None,
        name=path.stem,
    )


def _corner(text: str, vertex_count: int, uv_count: int) -> tuple[int, int]:
    """ "7/3/1", "7//1" or "-2/-2": zero-based vertex and UV; UV -1 where there is none."""
    vertex, uv = [*text.split("/"), ""][:2]
    return _index(int(vertex), vertex_count), _index(int(uv), uv_count) if uv else -1


def _index(written: int, count: int) -> int:
    """OBJ counts from 1, and back from the newest with negative numbers."""
    if written == 0:
        raise ValueError("index 0 (OBJ counts from 1)")
    return written - 1 if written > 0 else count + written
