"""Hats and glasses, built on the wearer's head."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vitruvian.wardrobe.anatomy import apply
from vitruvian.wardrobe.cloth import Piece, Wearer
from vitruvian.wardrobe.heads import CENTRE, Head, head_of, polar, psi_at_height, shell, tube
from vitruvian.wardrobe.records import GLASSES, HAT, Geometry

AROUND = 72
_FORWARD, _UP = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0])


def make_accessories(wearer: Wearer, geometry: Geometry) -> list[Piece]:
    """What is worn on the head. Hair is made with room for a hat (`hair.make_hair`)."""
    if geometry.hat is None and not geometry.glasses:
        return []
    head = head_of(wearer)
    pieces: list[Piece] = []
    if geometry.hat == "beanie":
        pieces.append(_beanie(head))
    elif geometry.hat == "cap":
        pieces += _cap(head)
    elif geometry.hat == "hat":
        pieces += _brimmed_hat(head)
    if geometry.glasses:
        pieces += _glasses(wearer, head)
    return pieces


def hat_line(kind: str, theta: Float[ndarray, "M"]) -> Float[ndarray, "M"]:
    """Height of a hat's edge by azimuth (0 = front), on the mean body."""
    front, back = {"beanie": (0.960, 0.936), "cap": (0.958, 0.940), "hat": (0.960, 0.948)}[kind]
    return back + (front - back) * (0.5 + 0.5 * np.cos(theta))


def _dome(head: Head, kind: str, thickness: Float[ndarray, "K 1"], rows: int) -> Float[ndarray, "K M 3"]:
    theta = np.linspace(-np.pi, np.pi, AROUND, endpoint=False)
    psi = np.linspace(0, 1, rows)[:, None] * psi_at_height(head, theta, hat_line(kind, theta))[None]
    directions = polar(theta[None], psi)
    return CENTRE + (head.radius(directions) + thickness)[..., None] * directions


def _beanie(head: Head) -> Piece:
    """A knitted cap with a turned-up cuff."""
    rows = 20
    share = np.linspace(0, 1, rows)
    thickness = 0.0085 + 0.006 * (1 - share) ** 2 + 0.004 * (share > 0.70)
    return shell(head, _dome(head, "beanie", thickness[:, None], rows), HAT, inward=0.009)


def _cap(head: Head) -> list[Piece]:
    """A baseball cap: a dome, and a visor over the forehead."""
    points = _dome(head, "cap", np.full((14, 1), 0.0085), 14)
    theta = np.linspace(-np.pi, np.pi, AROUND, endpoint=False)
    reach = 0.040 * np.sqrt(np.clip(1.0 - (np.rad2deg(theta) / 62.0) ** 2, 0.0, 1.0))
    steps = np.linspace(0.0, 1.0, 6)[:, None]
    edge = points[-1]
    # A visor points forward all along its edge, bends down at its sides, and slopes a little.
    visor = edge[None] + (steps * reach)[..., None] * (
        _FORWARD + 0.18 * np.sin(theta)[:, None] * np.array([1.0, 0, 0])
    )
    visor[..., 2] += 0.002 - (steps * reach) * 0.25 - 0.010 * steps * np.sin(theta) ** 2
    keep = np.tile((reach > 0) | (np.roll(reach, -1) > 0), (5, 1))
    return [shell(head, points, HAT, inward=0.006), shell(head, visor, HAT, inward=0.0, keep=keep)]


def _brimmed_hat(head: Head) -> list[Piece]:
    """A felt hat: a crown with a dented top, and a brim all around."""
    theta = np.linspace(-np.pi, np.pi, AROUND, endpoint=False)
    line = hat_line("hat", theta)
    flat = np.stack([np.sin(theta), -np.cos(theta), np.zeros_like(theta)], axis=-1)
    origins = np.stack([np.zeros_like(line), np.full_like(line, CENTRE[1]), line], axis=-1)
    radius = head.radius(flat, origins) + 0.0095
    top = CENTRE[2] + head.radius(_UP[None])[0] + 0.016
    # The crown's profile: share of the radius, and how far it has dropped from the top to the brim.
    share = np.array([0.0, 0.30, 0.55, 0.75, 0.86, 0.92, 0.95, 0.97, 1.0])
    drop = np.array([0.14, 0.12, 0.04, 0.0, 0.03, 0.12, 0.35, 0.65, 1.0])
    points = origins[None] + (share[:, None] * radius[None])[..., None] * flat[None]
    points[..., 2] = top - drop[:, None] * (top - line)[None]
    steps = np.linspace(0.0, 1.0, 5)[:, None]
    brim = origins[None] + (radius[None] + 0.036 * steps)[..., None] * flat[None]
    brim[..., 2] += 0.010 * steps**2 * (np.sin(theta) ** 2 - 0.6)[None] + 0.0008
    return [shell(head, points, HAT, inward=0.006), shell(head, brim, HAT, inward=0.0)]


def _glasses(wearer: Wearer, head: Head) -> list[Piece]:
    """Rims around the eyes, a bridge, and temples to the ears."""
    body = wearer.body
    local = apply(np.linalg.inv(head.T_world_head), wearer.surface.vertices)
    left, right = local[body.part == 1], local[body.part == 2]
    middle = (left.mean(axis=0) + right.mean(axis=0)) / 2
    nose = np.array([0.0, -0.03, middle[2] + 0.002])
    front = min(left[:, 1].min() - 0.0075, nose[1] - head.radius(_FORWARD[None], nose[None])[0] - 0.0015)
    angle = np.linspace(0, 2 * np.pi, 25)
    thickness = 0.0013
    pieces: list[Piece] = []
    for eye, sign in ((left, 1.0), (right, -1.0)):
        centre = eye.mean(axis=0) + np.array([0.0015 * sign, 0.0, -0.0015])
        ring = np.zeros((25, 3))
        ring[:, 0] = centre[0] + 0.0128 * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.75
        ring[:, 2] = centre[2] + 0.0098 * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.75
        ring[:, 1] = front + 0.10 * np.abs(ring[:, 0] - middle[0]) - 0.0005
        pieces.append(tube(head, ring, np.full(25, thickness), GLASSES, around=8))
        pieces.append(_temple(head, ring, centre, sign, thickness))
    span = np.linspace(-1, 1, 7)
    inner = abs(left.mean(axis=0)[0] - middle[0]) - 0.0113
    arch = np.stack([span * inner, np.full(7, front - 0.001), middle[2] + 0.004 - 0.002 * span**2], axis=-1)
    pieces.append(tube(head, arch, np.full(7, thickness), GLASSES, around=8))
    return pieces


def _temple(head: Head, ring: Float[ndarray, "S 3"], centre: ndarray, sign: float, thickness: float) -> Piece:
    """From the rim's outer edge along the head, over the ear."""
    start = np.array([centre[0] + 0.0128 * sign, ring[:, 1].max(), centre[2] + 0.004])
    y = np.array([start[1], -0.070, -0.055, -0.040, -0.026, -0.016, -0.010])
    z = np.array([start[2], start[2], 0.9350, 0.9355, 0.9355, 0.930, 0.922])
    origins = np.stack([np.zeros_like(y), y, z], axis=-1)
    side = head.radius(np.broadcast_to(np.array([sign, 0.0, 0.0]), origins.shape), origins)
    x = np.clip(side, 0.030, 0.049) + 0.0018
    x[0] = abs(start[0])
    x[1] = max(x[1], x[0] + 0.002)
    return tube(head, np.stack([sign * x, y, z], axis=-1), np.full(len(y), thickness), GLASSES, around=8)
