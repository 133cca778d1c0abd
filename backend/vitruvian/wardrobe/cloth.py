"""Cloth from skin: cut a part of the body's surface out, lift it, and smooth it.

A layer is a height over the body along smoothed normals. Heights add up (`Heights`), so a shirt over trousers
never lets them through, and neither lets the skin through, in any pose.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from vitruvian.wardrobe.anatomy import Anatomy, averaging_matrix, vertex_normals


@dataclass(frozen=True)
class Piece:
    """Some triangles of the dressed mesh; posed, metres."""

    vertices: Float[ndarray, "P 3"]
    faces: Int[ndarray, "G 3"]
    slot: UInt8[ndarray, "G"]
    uv: Float[ndarray, "G 3 2"]
    """Fabric coordinates per corner, metres: u around the limb or torso, v up it."""
    rest: Float[ndarray, "P 3"]
    """Where on the mean body at rest the vertex belongs (`Anatomy.rest`)."""
    border: Float[ndarray, "P"]
    """Distance to the nearest edge of the garment, metres."""


@dataclass(frozen=True)
class Cut:
    """A part of the body's mesh, clipped along an iso-line: its vertices lie on edges (a, b) of the body."""

    a: Int[ndarray, "P"]
    b: Int[ndarray, "P"]
    t: Float[ndarray, "P"]
    faces: Int[ndarray, "G 3"]
    source: Int[ndarray, "G"]
    """The body's face that each face is a part of."""

    def of(self, values: Float[ndarray, "V *C"]) -> Float[ndarray, "P *C"]:
        """A field of the body at the vertices of the cut."""
        t = self.t.reshape(-1, *([1] * (values.ndim - 1)))
        return (1.0 - t) * values[self.a] + t * values[self.b]


@dataclass
class Surface:
    """The posed body and how thickly it is clothed so far; `heights` grows as garments are put on."""

    vertices: Float[ndarray, "V 3"]
    normals: Float[ndarray, "V 3"]
    """Smoothed: they point away from the limb, not out of each fold."""
    heights: Float[ndarray, "V"]
    stature: float
    """Height of the body at rest, metres."""
    hung: Float[ndarray, "Q 3"]
    """Vertices of cloth that hangs free; the next layer hangs over them too."""
    hung_levels: Float[ndarray, "Q"]
    """Their heights on the mean body."""

    def cover(self, cut: Cut, heights: Float[ndarray, "P"]) -> None:
        np.maximum.at(self.heights, cut.a, heights)
        np.maximum.at(self.heights, cut.b, heights)


@dataclass
class Wearer:
    """What garments are put on: the body so far, and which of its skin is out of sight."""

    body: Anatomy
    surface: Surface
    hidden: Float[ndarray, "V"]
    """How deep under cloth each vertex is, in shares of the height; above `DEEP` its skin is left out."""
    rng: np.random.Generator
    collars: list[Piece] = field(default_factory=list)
    """What stands off the body at the neck; hair falls over it."""

    def hide(self, inside: Float[ndarray, "V"]) -> None:
        np.maximum(self.hidden, inside, out=self.hidden)


DEEP = 0.016
"""Skin deeper under cloth than this (shares of the height, measured along the skin) is not drawn."""


def surface_of(body: Anatomy, vertices: Float[ndarray, "V 3"], stature: float) -> Surface:
    normals = vertex_normals(vertices, body.faces)
    for _ in range(8):
        normals = body.averaging @ normals
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return Surface(vertices, normals, np.zeros(len(vertices)), stature, np.zeros((0, 3)), np.zeros(0))


def cut_out(faces: Int[ndarray, "F 3"], inside: Float[ndarray, "V"]) -> Cut:
    """The part of the mesh where the field `inside` (linear on each face) is positive."""
    positive = inside > 0
    count = positive[faces].sum(axis=1)
    whole = np.nonzero(count == 3)[0]
    corners = [np.stack([faces[whole], faces[whole]], axis=-1)]
    sources = [whole]
    for wanted, flipped in ((1, False), (2, True)):
        crossed = np.nonzero(count == wanted)[0]
        f = faces[crossed]
        lone = np.argmax(positive[f] != flipped, axis=1)
        rows = np.arange(len(f))
        p, q, r = (f[rows, (lone + k) % 3] for k in range(3))
        pq, pr = np.stack([p, q], -1), np.stack([p, r], -1)
        if not flipped:
            corners.append(np.stack([np.stack([p, p], -1), pq, pr], axis=1))
            sources.append(crossed)
        else:
            qq, rr = np.stack([q, q], -1), np.stack([r, r], -1)
            corners += [np.stack([pq, qq, rr], axis=1), np.stack([pq, rr, pr], axis=1)]
            sources += [crossed, crossed]
    edges = np.concatenate(corners).astype(np.int64)
    low, high = edges.min(-1), edges.max(-1)
    keys, index = np.unique(low * len(inside) + high, return_inverse=True)
    a, b = keys // len(inside), keys % len(inside)
    difference = inside[a] - inside[b]
    t = np.where(a == b, 0.0, inside[a] / np.where(np.abs(difference) < 1e-12, 1.0, difference))
    return Cut(a, b, np.clip(t, 0.0, 1.0), index.reshape(-1, 3), np.concatenate(sources))


def border_edges(faces: Int[ndarray, "G 3"]) -> Int[ndarray, "E 2"]:
    """Directed edges with a face on one side only."""
    return border_corners(faces)[0]


def border_corners(
    faces: Int[ndarray, "G 3"],
) -> tuple[Int[ndarray, "E 2"], Int[ndarray, "E"], Int[ndarray, "E"]]:
    """Border edges, the face that each belongs to, and the corner of that face at which it starts."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    base = edges.max() + 1 if len(edges) else 1
    key = edges.min(1) * base + edges.max(1)
    _, index, count = np.unique(key, return_index=True, return_counts=True)
    lone = index[count == 1]
    return edges[lone], lone % max(len(faces), 1), lone // max(len(faces), 1)


def smooth_heights(
    cut: Cut, surface: Surface, least: Float[ndarray, "P"], start: Float[ndarray, "P"], rounds: int
) -> Float[ndarray, "P"]:
    """Relax a membrane over the body: heights that make the surface smooth, never below `least`.

    Laplacian smoothing of the lifted surface, of which only the movement along the normals is kept, so that
    layers above each other stay ordered and hems stay where they were cut.
    """
    base, normals = cut.of(surface.vertices), cut.of(surface.normals)
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    averaging = averaging_matrix(cut.faces, len(base))
    heights = start.copy()
    for _ in range(rounds):
        lifted = base + heights[:, None] * normals
        pull = ((averaging @ lifted - lifted) * normals).sum(axis=1)
        heights = np.maximum(heights + 0.6 * pull, least)
    return heights


def lift(cut: Cut, surface: Surface, heights: Float[ndarray, "P"]) -> Float[ndarray, "P 3"]:
    normals = cut.of(surface.normals)
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return cut.of(surface.vertices) + heights[:, None] * normals


def with_rim(piece: Piece, inner: Float[ndarray, "P 3"]) -> Piece:
    """Close the edges: a strip from each border edge to its counterpart in `inner`; hems get thick."""
    edges, owner, corner = border_corners(piece.faces)
    if len(edges) == 0:
        return piece
    used, local = np.unique(edges, return_inverse=True)
    local = local.reshape(-1, 2) + len(piece.vertices)
    strips = np.concatenate(
        [
            np.stack([edges[:, 1], edges[:, 0], local[:, 0]], axis=1),
            np.stack([edges[:, 1], local[:, 0], local[:, 1]], axis=1),
        ]
    )
    first, second = piece.uv[owner, corner], piece.uv[owner, (corner + 1) % 3]
    uv = np.concatenate([np.stack([second, first, first], 1), np.stack([second, first, second], 1)])
    return replace(
        piece,
        vertices=np.concatenate([piece.vertices, inner[used]]),
        faces=np.concatenate([piece.faces, strips]),
        slot=np.concatenate([piece.slot, np.tile(piece.slot[owner], 2)]),
        uv=np.concatenate([piece.uv, uv]),
        rest=np.concatenate([piece.rest, piece.rest[used]]),
        border=np.concatenate([piece.border, np.zeros(len(used))]),
    )


def wrapped_uv(
    points: Float[ndarray, "P 3"], faces: Int[ndarray, "G 3"], centre: ndarray, axis: ndarray, seam: ndarray
) -> Float[ndarray, "G 3 2"]:
    """Cylinder coordinates per corner, metres: u = angle x mean radius, v = distance along `axis`.

    The seam lies in direction `seam`; no face stretches across it.
    """
    axis = axis / np.linalg.norm(axis)
    back = seam - (seam @ axis) * axis
    back = back / np.linalg.norm(back)
    side = np.cross(axis, back)
    relative = points - centre
    x, y = relative @ -back, relative @ -side
    angle = np.arctan2(y, x)
    radius = float(np.hypot(x, y)[faces].mean()) if len(faces) else 0.0
    return np.stack([unwrapped(angle[faces]) * radius, (relative @ axis)[faces]], axis=-1)


def unwrapped(angles: Float[ndarray, "G 3"]) -> Float[ndarray, "G 3"]:
    """Angles at the corners of faces, those of faces across the seam at pi continued past it."""
    across = np.ptp(angles, axis=1) > np.pi
    return np.where(across[:, None] & (angles < 0), angles + 2 * np.pi, angles)
