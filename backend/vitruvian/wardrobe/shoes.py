"""Shoes: a smooth shell around each foot, which hides the toes, on a sole."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vitruvian.wardrobe.anatomy import apply, similarity
from vitruvian.wardrobe.cloth import Piece, Wearer
from vitruvian.wardrobe.garments import follow
from vitruvian.wardrobe.records import SHOES, SOLES

COLLAR = {"sneakers": 0.046, "shoes": 0.040, "boots": 0.052}
"""Height of the opening on the mean body."""
SOLE = {"sneakers": 0.024, "shoes": 0.013, "boots": 0.020}
"""Visible height of the sole, metres."""
STATIONS, AROUND = 22, 28


def make_shoes(wearer: Wearer, kind: str) -> list[Piece]:
    """Both shoes, and the shafts of boots."""
    body, z = wearer.body, wearer.body.rest[:, 2]
    pieces = [part for sign in (1.0, -1.0) for part in _shoe(wearer, kind, sign)]
    foot = (body.leg_weight > 0.5) & (z < COLLAR[kind] - 0.004)
    wearer.hidden[foot] = 1.0
    if kind == "boots":
        shaft = np.where(body.leg_weight > 0.5, np.minimum(0.135 - z, z - 0.030), -1.0)
        pieces.append(follow(wearer, shaft, np.full(len(z), 0.006), SHOES, wrinkles=0.001, rounds=10))
    return pieces


def _shoe(wearer: Wearer, kind: str, sign: float) -> list[Piece]:
    """One shoe, built upright in the mean body's frame of this foot and moved onto the posed foot."""
    body, stature = wearer.body, wearer.surface.stature
    side = body.rest[:, 0] * sign > 0
    firm = side & (body.foot_weight > 0.8)
    T = similarity(body.rest[firm] * stature, wearer.surface.vertices[firm])
    near = side & (body.leg_weight > 0.5) & (body.rest[:, 2] < COLLAR[kind])
    foot = apply(np.linalg.inv(T), wearer.surface.vertices[near])
    turn, length = _upright(foot)
    local = (foot - np.array([0, 0, foot[:, 2].min()])) @ turn.T
    ground = np.array([0, 0, foot[:, 2].min()])
    s, centre, half, top = _stations(local, length, collar=COLLAR[kind] * stature)
    pieces = []
    for grid, slot in (
        (_upper(s, centre, half, top), SHOES),
        (_sole(s, centre, half + 0.004, SOLE[kind]), SOLES),
    ):
        rest = grid @ turn + ground
        pieces.append(_loft(grid, rest / stature, apply(T, rest), slot))
    return pieces


def _upright(foot: Float[ndarray, "P 3"]) -> tuple[Float[ndarray, "3 3"], tuple[float, float]]:
    """Rotation about z that brings heel-to-toe onto +y, and the extent along it."""
    flat = foot[:, :2] - foot[:, :2].mean(axis=0)
    axis = np.linalg.svd(flat[foot[:, 2] < np.quantile(foot[:, 2], 0.6)], full_matrices=False)[2][0]
    axis = axis * -np.sign(axis[1])
    turn = np.array([[-axis[1], axis[0], 0.0], [axis[0], axis[1], 0.0], [0.0, 0.0, 1.0]]) * np.array(
        [[-1], [1], [1.0]]
    )
    turn[0] = np.cross(turn[1], turn[2])
    along = (foot @ turn.T)[:, 1]
    return turn, (float(along.min()), float(along.max()))


def _stations(
    local: Float[ndarray, "P 3"], length: tuple[float, float], collar: float
) -> tuple[ndarray, ndarray, ndarray, ndarray]:
    """Along the foot: position, middle, half width and top of the shell, metres, smoothed."""
    back, front = length[0] - 0.007, length[1] + 0.010
    # Denser at the ends, where the outline turns.
    s = back + (front - back) * (0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, STATIONS)))
    left, right, top = (np.zeros(STATIONS) for _ in range(3))
    window = 0.014
    for k, position in enumerate(s):
        inner = np.clip(position, length[0] + window, length[1] - window)
        here = local[np.abs(local[:, 1] - inner) < window]
        low = here[here[:, 2] < 0.05]
        low = low if len(low) else here
        left[k], right[k], top[k] = low[:, 0].min(), low[:, 0].max(), here[:, 2].max()
    top = np.minimum(np.maximum(top + 0.008, 0.042), collar)
    for _ in range(3):
        for values in (left, right, top):
            values[1:-1] = 0.25 * values[:-2] + 0.5 * values[1:-1] + 0.25 * values[2:]
    # Round toe and heel: an ellipse of the ends.
    toe = np.clip((front - s) / 0.055, 0.0, 1.0)
    heel = np.clip((s - back) / 0.030, 0.0, 1.0)
    taper = np.sqrt(1 - (1 - toe) ** 2) * np.sqrt(1 - (1 - heel) ** 2)
    middle = (left + right) / 2
    half = ((right - left) / 2 + 0.006) * np.maximum(taper, 0.02)
    top = 0.012 + (top - 0.012) * np.sqrt(1 - (1 - np.clip((front - s) / 0.045, 0.02, 1.0)) ** 2)
    return s, middle, half, top


def _upper(s: ndarray, centre: ndarray, half: ndarray, top: ndarray) -> Float[ndarray, "S A 3"]:
    angle = np.linspace(0, 2 * np.pi, AROUND)
    x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.7
    z = np.maximum(np.sin(angle), 0.0) ** 0.75
    grid = np.zeros((len(s), AROUND, 3))
    # Walls lean in: the shell is narrower at the top than at the sole.
    grid[..., 0] = centre[:, None] + half[:, None] * x * (1.0 - 0.18 * z)
    grid[..., 1] = s[:, None]
    grid[..., 2] = 0.004 + (top[:, None] - 0.004) * z
    return grid


def _sole(s: ndarray, centre: ndarray, half: ndarray, thickness: float) -> Float[ndarray, "S A 3"]:
    """A slab whose cross-sections are rectangles with the ground a little below the foot's."""
    corner = np.array([[0, -0.006], [1, -0.006], [1, thickness * 0.6], [0.98, thickness], [0, thickness]])
    section = np.concatenate([corner, corner[::-1] * np.array([-1, 1])])
    ends = np.concatenate([[s[0] - 0.004], s[1:-1], [s[-1] + 0.004]])
    grid = np.zeros((len(s), len(section), 3))
    grid[..., 0] = centre[:, None] + half[:, None] * section[:, 0]
    grid[..., 1] = ends[:, None]
    grid[..., 2] = section[:, 1]
    return grid


def _loft(grid: Float[ndarray, "S A 3"], rest: ndarray, posed: ndarray, slot: int) -> Piece:
    """Triangles over a grid that closes around."""
    S, A = grid.shape[:2]
    index = np.arange(S * A).reshape(S, A)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.stack([np.stack([a, c, b], -1), np.stack([a, d, c], -1)], 2).reshape(-1, 3)
    step = np.linalg.norm(np.diff(grid, axis=1), axis=-1).mean(axis=0)
    uv = np.stack(
        np.broadcast_arrays(np.concatenate([[0], step.cumsum()])[None], grid[..., 1]), axis=-1
    ).reshape(-1, 2)
    top = grid[..., 2].max()
    return Piece(
        vertices=posed.reshape(-1, 3),
        faces=faces,
        slot=np.full(len(faces), slot, dtype=np.uint8),
        uv=uv[faces],
        rest=rest.reshape(-1, 3),
        border=np.clip(top - grid[..., 2], 0.0, 1.0).ravel(),
    )
