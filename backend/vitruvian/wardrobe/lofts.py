"""Cloth that hangs free of the body: skirts and the lower parts of dresses and coats, as lofted rings.

The rings follow a curve from the waist between the legs, so a walking or seated body still wears its skirt.
Each ring is the outline of everything inside it (its convex hull), and is never tighter than the one above:
cloth falls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial import ConvexHull, QhullError

from vitruvian.wardrobe.anatomy import similarity
from vitruvian.wardrobe.cloth import Piece, Wearer, with_rim
from vitruvian.wardrobe.garments import WAIST, hem_height
from vitruvian.wardrobe.records import BOTTOM, DRESS, OUTER, Geometry

ANGLES = 64


@dataclass(frozen=True)
class Hang:
    """How a free-hanging garment falls."""

    top: float
    """Heights on the mean body (shares of its height)."""
    hem: float
    flare: float
    """Growth of the radius per metre of fall."""
    folds: float
    """Depth of the folds at the hem, metres."""
    ease: float
    """Distance from what is worn below, metres."""
    opening: float
    """Half-width of the gap in front at the hem, radians; 0 = closed."""


def make_skirt(wearer: Wearer, geometry: Geometry) -> list[Piece]:
    flare = 0.10 + 0.35 * geometry.bottom_loose
    hang = Hang(
        WAIST - 0.003,
        hem_height(geometry.bottom_hem),
        flare,
        0.006 + 0.016 * geometry.bottom_loose,
        0.006,
        0.0,
    )
    return [hanging(wearer, hang, BOTTOM)]


def make_dress_skirt(wearer: Wearer, geometry: Geometry) -> list[Piece]:
    flare = 0.10 + 0.38 * geometry.top_loose
    hang = Hang(
        WAIST + 0.012, hem_height(geometry.dress_hem), flare, 0.006 + 0.018 * geometry.top_loose, 0.011, 0.0
    )
    return [hanging(wearer, hang, DRESS)]


def make_coat_skirt(wearer: Wearer, geometry: Geometry) -> list[Piece]:
    opening = 0.0 if geometry.outer_open == 0 else 0.15 + 0.30 * geometry.outer_open
    hang = Hang(WAIST - 0.004, hem_height(geometry.outer_hem), 0.10, 0.008, 0.012, opening)
    return [hanging(wearer, hang, OUTER)]


def hanging(wearer: Wearer, hang: Hang, slot: int) -> Piece:
    """A lofted garment from `hang.top` to `hang.hem`; it becomes part of what the next layer hangs over."""
    body, surface = wearer.body, wearer.surface
    count = max(8, int((hang.top - hang.hem) * surface.stature / 0.022))
    levels = np.linspace(hang.top, hang.hem, count)
    centres, frames = _axis(wearer, levels)
    worn = surface.vertices + surface.heights[:, None] * surface.normals
    points = np.concatenate([worn[body.arm_weight < 0.1], surface.hung])
    heights = np.concatenate([body.rest[body.arm_weight < 0.1, 2], surface.hung_levels])
    theta = (np.arange(ANGLES + 1) / ANGLES - 0.5) * 2 * np.pi
    radii = np.stack(
        [
            _outline(points[np.abs(heights - z) < 0.014], c, F, theta)
            for z, c, F in zip(levels, centres, frames, strict=True)
        ]
    )
    radii = _fall(radii + hang.ease, levels, frames[:, 2, 2], surface.stature, hang, wearer.rng)
    direction = np.cos(theta)[:, None] * np.array([1.0, 0, 0]) + np.sin(theta)[:, None] * np.array(
        [0, 1.0, 0]
    )
    rings = centres[:, None] + radii[..., None] * np.einsum("kij,mj->kmi", frames, direction)
    piece = _grid(rings, radii, theta, levels, hang, slot, surface.stature)
    surface.hung = np.concatenate([surface.hung, rings.reshape(-1, 3)])
    surface.hung_levels = np.concatenate([surface.hung_levels, np.repeat(levels, len(theta))])
    _cover(wearer, piece, hang)
    # The upper edge is closed towards the body like a lid, the lower one just turned in.
    depth = np.where(np.arange(count) == 0, 0.035, 0.004)[:, None, None]
    inward = centres[:, None] + (radii[..., None] - depth) * np.einsum("kij,mj->kmi", frames, direction)
    return with_rim(piece, inward.reshape(-1, 3))


def _cover(wearer: Wearer, piece: Piece, hang: Hang) -> None:
    """Note how far the skirt stands off the hips, so that a jacket goes over it."""
    body, surface = wearer.body, wearer.surface
    z = body.rest[:, 2]
    hips = np.nonzero((z < hang.top) & (z > max(hang.hem, 0.42)) & (body.arm_weight < 0.1))[0]
    scene = EmbreeScene()
    TriangleMesh(scene, piece.vertices.astype(np.float32), piece.faces.astype(np.int32))
    origins = surface.vertices[hips].astype(np.float32)
    hits = scene.run(origins, surface.normals[hips].astype(np.float32), query="INTERSECT", output=True)
    # Between the legs the normals meet the skirt far away: nothing lies on it there.
    near = (hits["primID"] >= 0) & (hits["tfar"] < 0.08)
    np.maximum.at(surface.heights, hips[near], hits["tfar"][near].astype(np.float64) + 0.003)


def _axis(
    wearer: Wearer, levels: Float[ndarray, "K"]
) -> tuple[Float[ndarray, "K 3"], Float[ndarray, "K 3 3"]]:
    """Ring centres, and frames with columns (front, left, up)."""
    body, vertices = wearer.body, wearer.surface.vertices
    legs = (body.arm_weight < 0.1) & (body.part == 0)
    centres = []
    for z in levels:
        here = legs & (np.abs(body.rest[:, 2] - z) < 0.014)
        left = here & (body.rest[:, 0] > 0)
        right = here & (body.rest[:, 0] < 0)
        centres.append((_middle(vertices[left]) + _middle(vertices[right])) / 2)
    centres = np.stack(centres)
    # The legs' average wanders; what hangs is smooth.
    for _ in range(6):
        centres[1:-1] = 0.25 * centres[:-2] + 0.5 * centres[1:-1] + 0.25 * centres[2:]
    up = -np.gradient(centres, axis=0)
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    pelvis = (body.rest[:, 2] > 0.5) & (body.rest[:, 2] < 0.6) & legs
    T = similarity(body.rest[pelvis], vertices[pelvis])
    lateral = T[:3, 0] / np.linalg.norm(T[:3, 0])
    front = np.cross(np.broadcast_to(lateral, up.shape), up)
    front /= np.linalg.norm(front, axis=1, keepdims=True)
    left = np.cross(up, front)
    return centres, np.stack([front, left, up], axis=-1)


def _middle(points: Float[ndarray, "P 3"]) -> Float[ndarray, "3"]:
    return (points.min(axis=0) + points.max(axis=0)) / 2


def _outline(
    points: Float[ndarray, "P 3"], centre: ndarray, frame: Float[ndarray, "3 3"], theta: Float[ndarray, "M"]
) -> Float[ndarray, "M"]:
    """Distance from the centre to the convex hull of the points, seen along the ring's axis, by angle."""
    flat = (points - centre) @ frame[:, :2]
    try:
        hull = flat[ConvexHull(flat).vertices]
    except (QhullError, ValueError):
        return np.zeros(len(theta))
    a, b = hull, np.roll(hull, -1, axis=0)
    normal = np.stack([b[:, 1] - a[:, 1], a[:, 0] - b[:, 0]], axis=1)
    offset = (normal * a).sum(axis=1)
    along = np.stack([np.cos(theta), np.sin(theta)], axis=1) @ normal.T
    distance = np.where(along > 1e-9, offset / np.maximum(along, 1e-9), np.inf)
    return np.clip(distance.min(axis=1), 0.0, 0.8)


def _fall(
    radii: ndarray, levels: ndarray, up: ndarray, stature: float, hang: Hang, rng: np.random.Generator
) -> Float[ndarray, "K M"]:
    """Make rings fall: each at least as wide as the one above, flared and folded towards the hem."""
    step = (levels[0] - levels[1]) * stature
    upright = np.minimum.accumulate(np.clip((up - 0.5) / 0.35, 0.0, 1.0))
    for k in range(1, len(radii)):
        flare = hang.flare * min(1.0, k * step / 0.15)
        # Cloth falls straight down; over thighs that lie level it follows them instead.
        radii[k] = np.maximum(radii[k], radii[k - 1] + step * (upright[k] * flare - (1.0 - upright[k]) * 0.5))
    for _ in range(4):
        middle = (np.roll(radii[:, :-1], 1, 1) + radii[:, :-1] + np.roll(radii[:, :-1], -1, 1)) / 3
        radii = np.maximum(radii, np.concatenate([middle, middle[:, :1]], axis=1))
    theta = np.linspace(-np.pi, np.pi, radii.shape[1])
    number, phase = int(rng.integers(7, 13)), rng.uniform(0, 2 * np.pi)
    wave = 0.5 + 0.5 * np.sin(number * theta + phase + 0.8 * np.sin(2 * theta))
    fallen = (levels[0] - levels) / max(levels[0] - levels[-1], 1e-6)
    return radii + (hang.folds * upright * fallen**1.2)[:, None] * wave


def _grid(
    rings: Float[ndarray, "K M 3"],
    radii: ndarray,
    theta: ndarray,
    levels: ndarray,
    hang: Hang,
    slot: int,
    stature: float,
) -> Piece:
    K, M = rings.shape[:2]
    index = np.arange(K * M).reshape(K, M)
    # The last column repeats the first with another u; keep it apart only as a UV seam, not as a hole.
    column = np.concatenate([np.arange(M - 1), [0]])
    joined = index[:, column]
    a, b, c, d = joined[:-1, :-1], joined[:-1, 1:], joined[1:, 1:], joined[1:, :-1]
    faces = np.stack([np.stack([a, d, c], -1), np.stack([a, c, b], -1)], 2)
    fall = np.concatenate([[0.0], np.linalg.norm(np.diff(rings, axis=0), axis=-1).mean(axis=1)]).cumsum()
    mean_radius = float(radii[K // 2].mean())
    u = np.broadcast_to(theta * mean_radius, (K, M))
    v = np.broadcast_to((levels[0] * stature - fall)[:, None], (K, M))
    uv = np.stack([u, v], axis=-1)
    ua, ub, uc, ud = uv[:-1, :-1], uv[:-1, 1:], uv[1:, 1:], uv[1:, :-1]
    corner_uv = np.stack([np.stack([ua, ud, uc], 2), np.stack([ua, uc, ub], 2)], 2)
    keep = np.ones((K - 1, M - 1), dtype=bool)
    if hang.opening > 0:
        middle = (theta[:-1] + theta[1:]) / 2
        width = hang.opening * (0.45 + 0.55 * np.linspace(0, 1, K - 1))
        keep = np.abs(middle)[None] > width[:, None]
    faces, corner_uv = faces[keep].reshape(-1, 3), corner_uv[keep].reshape(-1, 3, 2)
    rest = np.zeros((K, M, 3))
    rest[..., 0] = np.sin(theta) * radii / stature
    rest[..., 1] = -np.cos(theta) * radii / stature
    rest[..., 2] = levels[:, None]
    border = np.broadcast_to(np.minimum(fall, fall[-1] - fall)[:, None], (K, M))
    return Piece(
        vertices=rings.reshape(-1, 3),
        faces=faces,
        slot=np.full(len(faces), slot, dtype=np.uint8),
        uv=corner_uv,
        rest=rest.reshape(-1, 3),
        border=border.reshape(-1).copy(),
    )
