"""Garments that follow the body: tops, trousers, jackets, belts, each a lifted part of the body's surface."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from vitruvian.wardrobe.anatomy import Anatomy
from vitruvian.wardrobe.cloth import (
    Cut,
    Piece,
    Wearer,
    border_edges,
    cut_out,
    lift,
    smooth_heights,
    unwrapped,
    with_rim,
    wrapped_uv,
)
from vitruvian.wardrobe.collars import JACKET_COLLAR, NECKBAND, SHIRT_COLLAR, collar
from vitruvian.wardrobe.records import BELT, BOTTOM, DRESS, OUTER, TOP, Geometry

WAIST, ANKLE = 0.615, 0.045
"""Where hems 0 and 1 lie on the mean body at rest (shares of its height)."""


def hem_height(hem: float) -> float:
    """A hem in [0 waist, 1 ankle] as a height on the mean body."""
    return WAIST + (ANKLE - WAIST) * hem


def sleeve_end(sleeve: float) -> float:
    """A sleeve length in [0, 1 wrist] as a position along the arm (`Anatomy.arm`)."""
    return float(np.interp(sleeve, [0.0, 0.3, 0.55, 1.0], [0.0, 0.52, 1.0, 1.95]))


def make_top(wearer: Wearer, geometry: Geometry, kind: str) -> list[Piece]:
    """T-shirt, shirt, sweater or tank top."""
    body = wearer.body
    hem = hem_height(geometry.top_hem)
    inside = np.minimum(below_neck(body, kind, geometry.neckline), body.rest[:, 2] - hem)
    sleeve = 0.0 if kind == "tank top" else geometry.top_sleeve
    inside = np.minimum(inside, within_sleeve(body, sleeve, straps=kind == "tank top"))
    base = {"sweater": 0.010, "shirt": 0.006, "tank top": 0.004}.get(kind, 0.005)
    ease = base + geometry.top_loose * torso_ease(body, 0.014, 0.016, sleeve)
    piece = follow(wearer, inside, ease, TOP, wrinkles=0.0025, rounds=30)
    if kind == "shirt":
        return [piece, collar(wearer, piece, TOP, SHIRT_COLLAR)]
    if kind == "sweater":
        return [piece, collar(wearer, piece, TOP, NECKBAND)]
    return [piece]


def make_bodice(wearer: Wearer, geometry: Geometry) -> list[Piece]:
    """The part of a dress above the waist; its skirt hangs free (`lofts.make_dress_skirt`)."""
    body = wearer.body
    inside = np.minimum(below_neck(body, "dress", geometry.neckline), body.rest[:, 2] - WAIST)
    inside = np.minimum(inside, within_sleeve(body, geometry.top_sleeve, straps=False))
    ease = 0.005 + geometry.top_loose * torso_ease(body, 0.004, 0.016, geometry.top_sleeve)
    return [follow(wearer, inside, ease, DRESS, wrinkles=0.0015, rounds=30)]


def make_bottom(wearer: Wearer, geometry: Geometry, kind: str) -> list[Piece]:
    """Trousers, jeans or shorts."""
    body, z = wearer.body, wearer.body.rest[:, 2]
    hem = max(hem_height(geometry.bottom_hem), 0.052)
    inside = np.minimum.reduce([WAIST - 0.005 - z, z - hem, 0.3 - body.arm_weight])
    down = np.clip((0.47 - z) / (0.47 - ANKLE), 0.0, 1.0)
    widest = {"jeans": 0.014, "trousers": 0.026, "shorts": 0.050}[kind]
    thigh = np.clip((0.50 - z) / 0.06, 0.0, 1.0)
    ease = 0.005 + geometry.bottom_loose * (
        0.006 * thigh + widest * (down if kind != "shorts" else down**0.7)
    )
    # Cloth hides the foot's start: trousers do not follow the ankle in.
    ease = ease + 0.006 * np.clip((0.16 - z) / 0.1, 0.0, 1.0)
    return [follow(wearer, inside, ease, BOTTOM, wrinkles=0.003, rounds=25)]


def make_belt(wearer: Wearer) -> list[Piece]:
    body = wearer.body
    centre = WAIST - 0.016
    inside = np.minimum(0.011 - np.abs(body.rest[:, 2] - centre), 0.3 - body.arm_weight)
    return [follow(wearer, inside, np.full(len(inside), 0.003), BELT, wrinkles=0.0, rounds=4, hides=False)]


def make_outer(wearer: Wearer, geometry: Geometry, kind: str) -> list[Piece]:
    """A jacket, or the upper part of a coat (its skirt hangs free: `lofts.make_coat_skirt`)."""
    body, z = wearer.body, wearer.body.rest[:, 2]
    hem = hem_height(geometry.outer_hem) if kind == "jacket" else WAIST - 0.02
    inside = np.minimum.reduce(
        [below_neck(body, "outer", 0.2), z - hem, within_sleeve(body, geometry.outer_sleeve, straps=False)]
    )
    inside = np.minimum(inside, beside_opening(body, geometry.outer_open))
    # Thinner over the shoulders, which would look padded.
    over_shoulder = np.where(body.arm >= 0, np.clip(body.arm / 0.7, 0, 1), np.clip((0.82 - z) / 0.06, 0, 1))
    ease = (
        0.004
        + (0.004 if kind == "jacket" else 0.008) * over_shoulder
        + 0.6 * torso_ease(body, 0.012, 0.012, geometry.outer_sleeve)
    )
    piece = follow(wearer, inside, ease, OUTER, wrinkles=0.003, rounds=30, hides=geometry.outer_open == 0)
    return [piece, collar(wearer, piece, OUTER, JACKET_COLLAR)]


def below_neck(body: Anatomy, kind: str, neckline: float) -> Float[ndarray, "V"]:
    """Positive outside the neckline: seen from the front half an ellipse, shallower at the back."""
    x, y, z = body.rest.T
    width, front, back = {
        "shirt": (0.039, 0.026, 0.006),
        "sweater": (0.040 + 0.004 * neckline, 0.028 + 0.010 * neckline, 0.008),
        "outer": (0.044, 0.075, 0.008),
        "tank top": (0.047, 0.052 + 0.022 * neckline, 0.028),
        "dress": (0.044 + 0.016 * neckline, 0.034 + 0.050 * neckline, 0.014 + 0.012 * neckline),
    }.get(kind, (0.040 + 0.010 * neckline, 0.030 + 0.020 * neckline, 0.009 + 0.004 * neckline))
    to_front = np.clip((0.015 - y) / 0.045, 0.0, 1.0)
    depth = back + (front - back) * to_front * to_front * (3.0 - 2.0 * to_front)
    hole = np.hypot(x / width, np.minimum(z - 0.856, 0.0) / depth) - 1.0
    return np.minimum(hole * 0.04, 0.876 - z)


def within_sleeve(body: Anatomy, sleeve: float, straps: bool) -> Float[ndarray, "V"]:
    """Positive up to the sleeve's end; without sleeves, up to the armhole."""
    if sleeve < 0.05:
        armhole = 0.08 * (0.40 - body.arm_weight)
        if not straps:
            return armhole
        x, _, z = body.rest.T
        return np.minimum(armhole, 0.078 - np.abs(x) + 0.30 * np.clip(0.80 - z, 0.0, None))
    return np.where(body.arm >= 0, 0.17 * (sleeve_end(sleeve) - body.arm), 0.2)


def beside_opening(body: Anatomy, opening: float) -> Float[ndarray, "V"]:
    """Positive beside the open front of a jacket, which widens downwards."""
    x, y, z = body.rest.T
    if opening == 0:
        return np.full(len(x), 0.2)
    gap = opening * (0.022 + 0.09 * np.clip(0.80 - z, 0.0, 0.3))
    return np.maximum(np.abs(x) - gap, y + 0.01)


def torso_ease(body: Anatomy, belly: float, cuff: float, sleeve: float) -> Float[ndarray, "V"]:
    """How far cloth stands off: most below the chest and at short sleeves' ends, least at the shoulders."""
    z = body.rest[:, 2]
    torso = belly * np.clip((0.80 - z) / 0.16, 0.0, 1.0)
    end = max(sleeve_end(sleeve), 0.3)
    short = np.clip(1.6 - end, 0.35, 1.0)
    arm = cuff * short * np.clip(body.arm / end, 0.0, 1.0)
    return np.where(body.arm >= 0, np.maximum(arm, 0.2 * torso), torso)


def follow(
    wearer: Wearer,
    inside: ndarray,
    ease: ndarray,
    slot: int,
    wrinkles: float,
    rounds: int,
    hides: bool = True,
) -> Piece:
    """A garment over the part where `inside` > 0, `ease` metres above whatever is worn there already."""
    body, surface = wearer.body, wearer.surface
    inside = np.where(body.part == 0, inside, -1.0)
    cut = cut_out(body.faces, inside)
    ease = ease + wrinkles * creases(body, wearer.rng)
    least = cut.of(surface.heights) + np.maximum(cut.of(ease), 0.003)
    heights = smooth_heights(cut, surface, least, least, rounds)
    vertices = lift(cut, surface, heights)
    edge = border_distance(cut, vertices)
    piece = Piece(
        vertices=vertices,
        faces=cut.faces,
        slot=np.full(len(cut.faces), slot, dtype=np.uint8),
        uv=fabric_uv(body, cut, surface.stature, legs=slot == BOTTOM),
        rest=cut.of(body.rest),
        border=edge,
    )
    below = cut.of(surface.heights)
    surface.cover(cut, heights)
    if hides:
        wearer.hide(inside)
    return with_rim(piece, lift(cut, surface, np.maximum(below + 0.001, heights - 0.012)))


def creases(body: Anatomy, rng: np.random.Generator) -> Float[ndarray, "V"]:
    """Folds as a few waves that run around the limbs, stronger at waist, elbows and knees; about [0, 2]."""
    waves = np.zeros(len(body.rest))
    for _ in range(5):
        direction = rng.normal(size=3) * np.array([0.6, 0.6, 1.0])
        waves += np.sin(
            body.rest @ (direction / np.linalg.norm(direction)) * rng.uniform(90, 180) + rng.uniform(0, 6.3)
        )
    at_joint = np.exp(-(((body.rest[:, 2] - 0.64) / 0.04) ** 2)) + np.exp(
        -(((body.rest[:, 2] - 0.28) / 0.05) ** 2)
    )
    at_joint = np.where(body.arm >= 0, np.exp(-(((body.arm - 1.0) / 0.25) ** 2)), at_joint)
    return (waves / 5 + 0.5) * (0.5 + at_joint)


def border_distance(cut: Cut, vertices: Float[ndarray, "P 3"]) -> Float[ndarray, "P"]:
    """Straight-line distance to the nearest border vertex, metres; 1 where there is no border."""
    edges = border_edges(cut.faces)
    if len(edges) == 0:
        return np.ones(len(vertices))
    tree = KDTree(vertices[np.unique(edges)])
    return np.minimum(tree.query(vertices, distance_upper_bound=0.3)[0], 1.0)


def fabric_uv(body: Anatomy, cut: Cut, stature: float, legs: bool) -> Float[ndarray, "G 3 2"]:
    """Fabric coordinates by charts (torso, each arm, or each leg), at rest, in the wearer's metres."""
    points = cut.of(body.rest) * stature
    x = points[cut.faces].mean(axis=1)[:, 0]
    joints = {name: position * stature for name, position in body.joints.items()}
    uv = np.zeros((*cut.faces.shape, 2))
    on_arm = (cut.of(body.arm_weight)[cut.faces].mean(axis=1) > 0.45) & (not legs)
    for side, sign in (("L", 1.0), ("R", -1.0)):
        here = on_arm & (x * sign > 0)
        if here.any():
            uv[here] = _sleeve_uv(points, cut.of(body.arm), cut.faces[here], joints, side)
        if legs:
            here = x * sign > 0
            hip, ankle = joints[f"upperleg01.{side}"], joints[f"foot.{side}"]
            uv[here] = wrapped_uv(points, cut.faces[here], hip, hip - ankle, np.array([-sign, 0.4, 0.0]))
    rest = ~on_arm & (not legs)
    if rest.any():
        uv[rest] = _torso_uv(points, cut.faces[rest], -0.022 * stature, stature)
    return uv


def _sleeve_uv(
    points: Float[ndarray, "P 3"],
    arm: Float[ndarray, "P"],
    faces: Int[ndarray, "G 3"],
    joints: dict[str, ndarray],
    side: str,
) -> Float[ndarray, "G 3 2"]:
    """Around and along an arm that bends at the elbow; the seam runs below it."""
    shoulder, elbow, wrist = (joints[f"{bone}.{side}"] for bone in ("upperarm01", "lowerarm01", "wrist"))
    upper, lower = elbow - shoulder, wrist - elbow
    share = np.clip((arm - 0.75) / 0.5, 0.0, 1.0)[:, None]
    axis = (1.0 - share) * upper / np.linalg.norm(upper) + share * lower / np.linalg.norm(lower)
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    along = np.clip(arm, 0.0, None)[:, None]
    centre = shoulder + np.minimum(along, 1.0) * upper + np.clip(along - 1.0, 0.0, None) * lower
    below = np.array([-0.6 if side == "L" else 0.6, 0.2, -0.8])
    below = below - (axis @ below)[:, None] * axis
    below /= np.linalg.norm(below, axis=1, keepdims=True)
    relative = points - centre
    x, y = -(relative * below).sum(axis=1), -(relative * np.cross(axis, below)).sum(axis=1)
    radius = float(np.hypot(x, y)[faces].mean())
    angle = unwrapped(np.arctan2(y, x)[faces])
    length = np.linalg.norm(upper) * np.minimum(along, 1.0) + np.linalg.norm(lower) * np.clip(
        along - 1.0, 0.0, None
    )
    return np.stack([angle * radius, -length[:, 0][faces]], axis=-1)


def _torso_uv(
    points: Float[ndarray, "P 3"], faces: Int[ndarray, "G 3"], axis_y: float, stature: float
) -> Float[ndarray, "G 3 2"]:
    """Around the waist by angle; over chest and shoulders, where angles would fan out from the neck, across.

    Front and back meet in a seam along the shoulders.
    """
    back = np.array([0.0, 1.0, 0.0])
    uv = wrapped_uv(points, faces, np.array([0.0, axis_y, 0.0]), np.array([0.0, 0.0, 1.0]), back)
    corners = points[faces] / stature
    quarter = np.arcsin(np.clip(corners[..., 0] / 0.098, -1.0, 1.0))
    behind = corners[..., 1].mean(axis=1, keepdims=True) > axis_y / stature + 0.012
    waist = points[faces]
    radius = float(np.hypot(waist[..., 0], waist[..., 1] - axis_y).mean())
    across = np.where(
        behind, np.where(corners[..., :1].mean(axis=1) >= 0, 1.0, -1.0) * np.pi - quarter, quarter
    )
    high = np.clip((corners[..., 2] - 0.74) / 0.06, 0.0, 1.0)
    blend = high * high * (3.0 - 2.0 * high)
    # Faces on the seam at the back were unwrapped past pi; follow them.
    across = np.where((uv[..., 0] > 0) & (across < -2.0), across + 2 * np.pi, across)
    uv[..., 0] = (1.0 - blend) * uv[..., 0] + blend * across * radius
    return uv
