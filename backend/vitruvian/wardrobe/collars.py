"""Collars and neckbands: rows of cloth on the edge of a neckline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from vitruvian.wardrobe.anatomy import apply, similarity, vertex_normals
from vitruvian.wardrobe.cloth import Piece, Wearer, border_edges


@dataclass(frozen=True)
class CollarShape:
    """Metres: a stand along the neck, then (where `fall` > 0) a fall over it and onto the garment."""

    stand: float
    out: float
    fall: float
    """At the back; in front the fall is longer by `points`."""
    points: float
    gap: float
    """Half-width of the opening in front, radians around the neck."""


NECKBAND = CollarShape(stand=0.014, out=0.003, fall=0.0, points=0.0, gap=0.0)
SHIRT_COLLAR = CollarShape(stand=0.020, out=0.004, fall=0.034, points=0.030, gap=0.16)
JACKET_COLLAR = CollarShape(stand=0.020, out=0.008, fall=0.046, points=0.055, gap=0.22)


def collar(wearer: Wearer, piece: Piece, slot: int, shape: CollarShape) -> Piece:
    """A collar on the neck's edge of `piece`."""
    T = _neck_frame(wearer)
    up, left, back = (T[:3, k] / np.linalg.norm(T[:3, k]) for k in (2, 0, 1))
    edges = border_edges(piece.faces)
    at_neck = (piece.rest[:, 2] > 0.79) & (np.abs(piece.rest[:, 0]) < 0.075) & (piece.border < 1e-6)
    edges = edges[at_neck[edges].all(axis=1)]
    used, local = np.unique(edges, return_inverse=True)
    start = piece.vertices[used]
    out = start - apply(T, wearer.body.joints["neck01"])
    out -= (out @ up)[:, None] * up
    out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
    angle = np.arctan2(out @ left, -(out @ back))
    rows = _rows(start, out, up, angle, shape, piece)
    kept = (np.abs(angle)[local.reshape(-1, 2)] > shape.gap).all(axis=1)
    faces, uv = _strips(local.reshape(-1, 2)[kept], len(used), len(rows), angle * 0.065, shape)
    made = Piece(
        vertices=np.concatenate(rows),
        faces=faces,
        slot=np.full(len(faces), slot, dtype=np.uint8),
        uv=uv,
        rest=np.tile(piece.rest[used], (len(rows), 1)),
        border=np.repeat(np.linspace(0.03, 0.0, len(rows)), len(used)),
    )
    wearer.collars.append(made)
    return made


def _neck_frame(wearer: Wearer) -> Float[ndarray, "4 4"]:
    """T_world_rest of the neck."""
    body = wearer.body
    near = (body.rest[:, 2] > 0.82) & (body.rest[:, 2] < 0.88) & (body.head_weight < 0.5) & (body.part == 0)
    return similarity(body.rest[near], wearer.surface.vertices[near])


def _rows(
    start: Float[ndarray, "N 3"], out: ndarray, up: ndarray, angle: ndarray, shape: CollarShape, piece: Piece
) -> list[Float[ndarray, "N 3"]]:
    """Rows of vertices from the neckline: up the stand, over its edge, and down the fall."""
    # A collar stands higher at the nape than at the throat.
    stand = (shape.stand * (0.75 - 0.25 * np.cos(angle)))[:, None]
    rows = [start, start + stand * up + shape.out * out]
    if shape.fall == 0.0:
        return [*rows, rows[1] + 0.005 * out, start + 0.006 * out - 0.003 * up]
    front = np.exp(-((angle / 0.75) ** 2))[:, None]
    fall = shape.fall + shape.points * front
    rows.append(rows[1] + 0.006 * out + 0.003 * up)
    tree, normals = KDTree(piece.vertices), vertex_normals(piece.vertices, piece.faces)
    for share in (0.5, 1.0):
        # The fall leans out as it goes down; then it is pushed onto the garment below it.
        row = rows[2] - share * fall * up + share * 0.3 * fall * out
        nearest = tree.query(row)[1]
        depth = ((row - piece.vertices[nearest]) * normals[nearest]).sum(axis=1)
        rows.append(row + (0.005 - np.minimum(depth, 0.005))[:, None] * normals[nearest])
    return rows


def _strips(
    edges: Int[ndarray, "E 2"], count: int, rows: int, u: Float[ndarray, "N"], shape: CollarShape
) -> tuple[Int[ndarray, "G 3"], Float[ndarray, "G 3 2"]]:
    """Triangles between consecutive rows, and their fabric coordinates."""
    faces, uv = [np.zeros((0, 3), dtype=np.int64)], [np.zeros((0, 3, 2))]
    step = (shape.stand + shape.fall) / max(rows - 1, 1)
    first, second = edges.T
    for k in range(rows - 1):
        # The fall shows the other side of the cloth: its rows run down again.
        a, b = (first, second) if k < 1 else (second, first)
        a, b = a + k * count, b + k * count
        low, high = np.full(len(a), step * k), np.full(len(a), step * (k + 1))
        ua, ub = (u[first], u[second]) if k < 1 else (u[second], u[first])
        # Across the seam at the nape the angle jumps.
        ub = np.where(np.abs(ub - ua) > 0.2, ua, ub)
        faces += [np.stack([b, a, a + count], 1), np.stack([b, a + count, b + count], 1)]
        corner = {
            name: np.stack(pair, -1)
            for name, pair in {"al": (ua, low), "bl": (ub, low), "ah": (ua, high), "bh": (ub, high)}.items()
        }
        uv += [
            np.stack([corner["bl"], corner["al"], corner["ah"]], 1),
            np.stack([corner["bl"], corner["ah"], corner["bh"]], 1),
        ]
    return np.concatenate(faces), np.concatenate(uv)
