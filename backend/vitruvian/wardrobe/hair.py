"""Hair with volume: a shell over the scalp, curtains that fall past the neck, tails, buns and beards."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vitruvian.wardrobe.accessories import hat_line
from vitruvian.wardrobe.cloth import Piece, Wearer
from vitruvian.wardrobe.garments import follow
from vitruvian.wardrobe.heads import CENTRE, Head, head_of, polar, psi_at_height, shell, tube
from vitruvian.wardrobe.records import BEARD, HAIR, Geometry

AROUND, CAP_ROWS, FALL_ROWS = 96, 18, 18
_FALLING = ("bob", "long")
# Degrees from the front, and height on the mean body: forehead, temple, sideburn, ear, nape.
_HAIRLINE_DEGREES = np.array([0, 22, 42, 58, 68, 76, 82, 100, 112, 124, 140, 180], dtype=np.float64)
_HAIRLINE = np.array(
    [0.966, 0.967, 0.962, 0.950, 0.928, 0.928, 0.938, 0.938, 0.924, 0.905, 0.893, 0.890], dtype=np.float64
)
# Thickness in local units (0.0055 = 1 cm): least, and what full volume adds, on top and at the sides.
_THICKNESS = {
    "buzz": (0.0012, 0.0008, 0.5),
    "short": (0.0040, 0.0110, 0.45),
    "bob": (0.0060, 0.0080, 0.8),
    "long": (0.0055, 0.0075, 0.8),
    "ponytail": (0.0035, 0.0035, 0.8),
    "bun": (0.0035, 0.0035, 0.8),
    "afro": (0.0220, 0.0260, 1.0),
}


def make_hair(wearer: Wearer, geometry: Geometry) -> list[Piece]:
    """The hair of the head and, where it has volume, the beard."""
    pieces: list[Piece] = []
    if geometry.beard in ("short beard", "full beard"):
        pieces += make_beard(wearer, geometry.beard)
    if geometry.hair_style == "bald":
        return pieces
    head = head_of(wearer)
    pieces.append(_cap(wearer, head, geometry))
    if geometry.hair_style == "ponytail":
        pieces.append(_ponytail(wearer, head, geometry))
    if geometry.hair_style == "bun":
        pieces.append(_bun(wearer, head, geometry))
    return pieces


def _cap(wearer: Wearer, head: Head, geometry: Geometry) -> Piece:
    """Scalp hair from the crown to the hairline, and for falling styles on down past ears and neck."""
    theta = np.linspace(-np.pi, np.pi, AROUND, endpoint=False)
    degrees = np.abs(np.rad2deg(theta))
    line = _hairline(degrees, geometry)
    falls = np.zeros(AROUND)
    if geometry.hair_style in _FALLING:
        # Where the curtain starts beside the face; short steps so that its edge slants.
        falls = np.clip((degrees - 60.0) / 10.0, 0.0, 1.0)
        line = np.where(falls > 0, np.maximum(line, 0.935), line)
    psi_end = _smooth(psi_at_height(head, theta, line), 2)
    share = np.linspace(0.0, 1.0, CAP_ROWS)
    psi = share[:, None] * psi_end[None]
    directions = polar(theta[None], psi)
    radius = head.radius(directions)
    thickness = _thickness(
        wearer, geometry, theta, psi, share[:, None], falls, CENTRE[2] + radius * directions[..., 2]
    )
    points = CENTRE + (radius + thickness)[..., None] * directions
    if not falls.any():
        return shell(head, points, HAIR, inward=0.003)
    fall = _curtain(wearer, head, geometry, theta, points[-1], falls)
    keep = np.concatenate(
        [
            np.ones((CAP_ROWS - 1, AROUND), bool),
            np.tile((falls > 0) & (np.roll(falls, -1) > 0), (FALL_ROWS, 1)),
        ]
    )
    return shell(head, np.concatenate([points, fall]), HAIR, inward=0.007, keep=keep)


def _hairline(degrees: Float[ndarray, "M"], geometry: Geometry) -> Float[ndarray, "M"]:
    line = np.interp(degrees, _HAIRLINE_DEGREES, _HAIRLINE)
    if geometry.hair_style == "afro":
        # A thick sideburn would hang beside the ear.
        line = np.where(degrees < 110, np.maximum(line, 0.9375), line)
    if geometry.fringe and geometry.hair_style in ("short", "bob", "long"):
        lowest = 0.9465 + 0.004 * (1.0 - geometry.hair_volume)
        line = np.where(
            degrees < 44, np.minimum(line, lowest + 0.010 * np.clip((degrees - 30) / 14, 0, 1)), line
        )
    return line


def _thickness(
    wearer: Wearer,
    geometry: Geometry,
    theta: ndarray,
    psi: ndarray,
    share: ndarray,
    falls: ndarray,
    height: ndarray,
) -> Float[ndarray, "K M"]:
    """Volume over the scalp: fullest on top, thin at a free hairline, with locks and a parting."""
    least, more, sides = _THICKNESS[geometry.hair_style]
    full = least + more * geometry.hair_volume
    down = np.clip(psi / 1.5, 0.0, 1.0)
    volume = full * (1.0 + (sides - 1.0) * down**2)
    fringe = (
        (np.abs(np.rad2deg(theta)) < 44) & geometry.fringe & (geometry.hair_style in ("short", "bob", "long"))
    )
    blunt = np.maximum(np.maximum(falls, 0.6 * fringe), 0.55 if geometry.hair_style == "afro" else 0.0)
    power = 10.0 if geometry.hair_style == "afro" else 5.0
    edge = 1.0 - (1.0 - blunt[None]) * share**power
    volume = volume * np.maximum(edge, 0.12)
    rough = 0.10 if geometry.hair_style == "afro" else 0.22
    volume = volume * (1.0 + rough * _locks(wearer, theta, psi))
    if geometry.hair_style in ("short", "bob", "long") and not geometry.fringe:
        x = np.sin(psi) * np.sin(theta)[None] - 0.45 * geometry.parting
        in_front = (np.cos(theta) > -0.2)[None] & (share < 0.95)
        volume = volume * (1.0 - 0.5 * np.exp(-((x / 0.06) ** 2)) * in_front)
    if geometry.hat is not None:
        # Pressed flat under the hat, free below its edge.
        below = hat_line(geometry.hat, theta)[None] - height
        volume = np.minimum(volume, 0.0045 + 1.2 * np.clip(below, 0.0, None))
    return volume


def _locks(wearer: Wearer, theta: ndarray, psi: ndarray) -> Float[ndarray, "K M"]:
    """Locks: waves across the strands that wander along them, about [-1, 1]."""
    rng = wearer.rng
    locks = np.zeros(psi.shape)
    for number in rng.integers(5, 16, size=3):
        drift, phase, beat = rng.uniform(-2, 2), rng.uniform(0, 2 * np.pi), rng.uniform(1.5, 5.0)
        locks += np.sin(number * theta[None] + drift * psi * 2 + phase + np.sin(beat * psi + phase))
    # At the crown all azimuths meet: no locks there.
    return locks / 3 * np.clip(psi / 0.5, 0.0, 1.0)


def _curtain(
    wearer: Wearer,
    head: Head,
    geometry: Geometry,
    theta: ndarray,
    start: Float[ndarray, "M 3"],
    falls: ndarray,
) -> Float[ndarray, "R M 3"]:
    """Rows that hang from `start`: outside the neck, the shoulders and what is worn, no wider than needed."""
    rng = wearer.rng
    if geometry.hair_style == "bob":
        end = 0.893 - 0.035 * geometry.hair_length
    else:
        end = 0.845 - 0.125 * geometry.hair_length
    number, phase = int(rng.integers(9, 17)), rng.uniform(0, 2 * np.pi)
    ragged = 0.004 * np.sin(number * theta + phase) + 0.003 * np.sin(3.1 * number * theta + 2 * phase)
    # Beside the face the hair is a little shorter than behind.
    behind = np.clip((np.abs(np.rad2deg(theta)) - 60) / 60, 0.0, 1.0)
    ends = end + ragged + 0.02 * (1 - behind)
    share = (np.arange(FALL_ROWS) + 1) / FALL_ROWS
    z = start[None, :, 2] + share[:, None] * (ends - start[:, 2])[None]
    axis_y = np.interp(z, [0.72, 0.80, 0.85, 0.90, 0.935], [0.0, 0.005, 0.004, -0.008, -0.020])
    flat = np.stack([np.sin(theta), -np.cos(theta), np.zeros_like(theta)], axis=-1)
    directions = np.broadcast_to(flat[None], (*z.shape, 3))
    origins = np.stack([np.zeros_like(z), axis_y, z], axis=-1)
    body = head.outermost(directions, origins)
    radius = np.hypot(start[:, 0], start[:, 1] - axis_y[0])
    widest = radius.max() + 0.024
    gap = 0.008 + 0.004 * geometry.hair_volume
    rows = []
    for k in range(FALL_ROWS):
        # Hair may swing in by a tenth of its fall, and must go out over shoulders and back.
        inner = radius - 0.10 * (z[max(k - 1, 0)] - z[k] if k else start[:, 2] - z[0])
        radius = np.minimum(np.maximum(inner, body[k] + gap), widest)
        radius = _over_ears(radius, theta, z[k], origins[k])
        rows.append(radius.copy())
    radii = _smooth_rows(np.stack(rows))
    wave = 0.0022 * np.sin(number * theta[None] + 14 * (z - 0.9) * 6.0 + phase)
    radii = radii + wave * share[:, None]
    points = origins + radii[..., None] * directions
    return np.where((falls > 0)[None, :, None], points, start[None])


def _over_ears(
    radius: Float[ndarray, "M"], theta: ndarray, z: ndarray, origins: ndarray
) -> Float[ndarray, "M"]:
    """Bulge hair out where ears stick out of the head's sides."""
    y = origins[:, 1] - radius * np.cos(theta)
    near = np.exp(-(((y + 0.020) / 0.026) ** 2)) * np.clip((z - 0.885) / 0.015, 0.0, 1.0)
    beside = 0.0545 / np.maximum(np.abs(np.sin(theta)), 0.6)
    return radius + np.clip(near * 1.6, 0.0, 1.0) * np.maximum(beside - radius, 0.0)


def _ponytail(wearer: Wearer, head: Head, geometry: Geometry) -> Piece:
    high = 0.952 + 0.018 * wearer.rng.random()
    if geometry.hat is not None:
        high = 0.918
    end = 0.885 - 0.13 * geometry.hair_length
    z = np.concatenate([[high - 0.002, high + 0.004, high + 0.002], np.linspace(high - 0.012, end, 12)])
    back = CENTRE + head.radius(np.array([[0.0, 1.0, 0.25]]) / np.hypot(1, 0.25))[0] * np.array(
        [0.0, 0.97, 0.24]
    )
    axis_y = np.interp(z, [0.72, 0.80, 0.85, 0.90, 0.935], [0.0, 0.005, 0.004, -0.008, -0.020])
    origins = np.stack([np.zeros_like(z), axis_y, z], axis=-1)
    behind = axis_y + head.outermost(np.broadcast_to(np.array([0.0, 1.0, 0.0]), origins.shape), origins)
    hang = np.concatenate([[back[1] - 0.004, back[1] + 0.010, back[1] + 0.020], np.full(12, back[1] + 0.024)])
    y = np.maximum(hang, np.where(np.arange(len(z)) > 3, behind + 0.015, 0.0))
    sway = 0.008 * (wearer.rng.random() - 0.5) * np.linspace(0, 2, len(z)) ** 2
    radii = (0.010 + 0.005 * geometry.hair_volume) * np.interp(
        np.linspace(0, 1, len(z)), [0, 0.08, 0.16, 0.35, 0.8, 1.0], [0.7, 0.75, 0.95, 1.15, 0.8, 0.05]
    )
    return tube(head, np.stack([sway, y, z], axis=-1), radii, HAIR, around=16)


def _bun(wearer: Wearer, head: Head, geometry: Geometry) -> Piece:
    tilt = np.deg2rad(wearer.rng.uniform(12, 62))
    direction = np.array([0.0, np.cos(tilt), np.sin(tilt)])
    size = 0.017 + 0.007 * geometry.hair_volume
    if geometry.hat is not None:
        direction, size = np.array([0.0, 0.99, -0.12]), 0.017
    centre = CENTRE + (head.radius(direction[None])[0] + 0.55 * size) * direction
    along = np.linspace(-1.0, 1.0, 13)
    radii = size * 1.15 * np.sqrt(np.maximum(1 - along**2, 0.0)) * (1 + 0.05 * np.sin(9 * along))
    return tube(head, centre + along[:, None] * size * 0.9 * direction, radii, HAIR, around=20)


def make_beard(wearer: Wearer, kind: str) -> list[Piece]:
    """A short or full beard with moustache: the lower face, lifted; the lips stay free."""
    body = wearer.body
    x, y, z = body.rest.T
    ear_to_mouth = np.interp(y, [-0.090, -0.072, -0.055, -0.036], [0.9035, 0.9010, 0.8990, 0.922])
    jaw = np.minimum(ear_to_mouth - z, z - np.interp(y, [-0.085, -0.04, -0.03], [0.855, 0.862, 0.885]))
    lips = (np.sqrt((x / 0.0150) ** 2 + ((z - 0.8912) / 0.0072) ** 2) - 1.0) * 0.006
    inside = np.minimum.reduce([jaw, lips, -0.030 - y])
    inside = np.where(body.head_weight > 0.2, inside, -0.01)
    thick = {"short beard": 0.003, "full beard": 0.007}[kind]
    longer = {"short beard": 0.003, "full beard": 0.018}[kind]
    chin = np.clip((0.885 - z) / 0.02, 0.0, 1.0) * np.clip((-0.045 - y) / 0.02, 0.0, 1.0)
    ease = (thick + longer * chin) * np.clip(inside / 0.004, 0.25, 1.0)
    return [follow(wearer, inside, ease, BEARD, wrinkles=0.001, rounds=6, hides=False)]


def _smooth(values: Float[ndarray, "M"], rounds: int) -> Float[ndarray, "M"]:
    for _ in range(rounds):
        values = 0.25 * np.roll(values, 1) + 0.5 * values + 0.25 * np.roll(values, -1)
    return values


def _smooth_rows(radii: Float[ndarray, "R M"]) -> Float[ndarray, "R M"]:
    """Blur along and across, never inwards."""
    for _ in range(3):
        across = 0.25 * np.roll(radii, 1, 1) + 0.5 * radii + 0.25 * np.roll(radii, -1, 1)
        along = radii.copy()
        along[1:-1] = 0.25 * radii[:-2] + 0.5 * radii[1:-1] + 0.25 * radii[2:]
        radii = np.maximum(radii, (across + along) / 2)
    return radii
