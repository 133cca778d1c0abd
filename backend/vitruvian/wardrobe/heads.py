"""The wearer's head in the mean body's frame, upright and of one size, where hair and hats are built."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Float
from numpy import ndarray

from vitruvian.wardrobe.anatomy import apply, similarity
from vitruvian.wardrobe.cloth import Piece, Wearer, with_rim

CENTRE = np.array([0.0, -0.022, 0.945])
"""Middle of the skull on the mean body; shells over the head are distances from it."""
CROWN_TILT = np.deg2rad(14.0)
"""The crown, where hair starts, lies behind the top of the head."""

FAR = 0.16
"""How far from the neck hair looks for shoulders and collars (local units)."""


@dataclass(frozen=True)
class Head:
    """Local coordinates are shares of the mean body's height, on this wearer's own head: 0.0055 is 1 cm."""

    T_world_head: Float[ndarray, "4 4"]
    scene: EmbreeScene
    """Skin with everything worn so far, ears pressed flat, no eyes, in local coordinates."""
    metres: float
    """Length of a local unit."""

    def radius(
        self, directions: Float[ndarray, "*N 3"], origins: Float[ndarray, "*N 3"] | None = None
    ) -> Float[ndarray, "*N"]:
        """Distance from `origins` inside (default: the skull's middle) to the surface; 0 where it is open."""
        flat = np.ascontiguousarray(directions.reshape(-1, 3), dtype=np.float32)
        start = np.broadcast_to(CENTRE if origins is None else origins, directions.shape).reshape(-1, 3)
        hits = self.scene.run(
            np.ascontiguousarray(start, dtype=np.float32), flat, query="INTERSECT", output=True
        )
        return (
            np.where(hits["primID"] >= 0, hits["tfar"], 0.0).reshape(directions.shape[:-1]).astype(np.float64)
        )

    def outermost(
        self, directions: Float[ndarray, "*N 3"], origins: Float[ndarray, "*N 3"]
    ) -> Float[ndarray, "*N"]:
        """As `radius`, but of the last surface within `FAR`: collars and chins count."""
        start = (origins + FAR * directions).reshape(-1, 3).astype(np.float32)
        flat = np.ascontiguousarray(-directions.reshape(-1, 3), dtype=np.float32)
        hits = self.scene.run(start, flat, query="INTERSECT", output=True)
        distance = np.where(hits["primID"] >= 0, FAR - hits["tfar"], 0.0).astype(np.float64)
        return np.maximum(distance, 0.0).reshape(directions.shape[:-1])


def head_of(wearer: Wearer) -> Head:
    body, surface = wearer.body, wearer.surface
    firm = (body.head_weight > 0.9) & (body.part == 0) & (body.rest[:, 2] > 0.92)
    T = similarity(body.rest[firm], surface.vertices[firm])
    worn = surface.vertices + surface.heights[:, None] * surface.normals
    local = apply(np.linalg.inv(T), worn)
    x, y, z = body.rest.T
    ear = (np.abs(x) > 0.0440) & (z < 0.937) & (z > 0.895) & (y > -0.034)
    # Ears pressed flat: hair and hats run over the head as if it had none, without holes.
    local[ear, 0] = np.sign(local[ear, 0]) * np.minimum(np.abs(local[ear, 0]), 0.0445)
    upper = (body.rest[:, 2] > 0.6) & (body.arm_weight < 0.2) & (body.part == 0)
    scene = EmbreeScene()
    faces = body.faces[upper[body.faces].all(axis=1)]
    TriangleMesh(scene, local.astype(np.float32), faces.astype(np.int32))
    for piece in wearer.collars:
        vertices = apply(np.linalg.inv(T), piece.vertices)
        TriangleMesh(scene, vertices.astype(np.float32), piece.faces.astype(np.int32))
    return Head(T, scene, float(np.cbrt(np.linalg.det(T[:3, :3]))))


def polar(theta: ndarray, psi: ndarray, tilt: float = CROWN_TILT) -> Float[ndarray, "*N 3"]:
    """Directions: `theta` from the front (0) over the left (+90 degrees), `psi` from the crown down."""
    flat = np.stack(
        [
            np.sin(psi) * np.sin(theta),
            -np.sin(psi) * np.cos(theta),
            np.broadcast_to(np.cos(psi), np.broadcast(theta, psi).shape),
        ],
        axis=-1,
    )
    # The tilt fades with the distance from the crown, so that low parts are measured upright.
    angle = tilt * np.clip(np.cos(np.clip(psi, 0, np.pi / 2)), 0.0, 1.0)
    c, s = np.cos(angle), np.sin(angle)
    return np.stack(
        [flat[..., 0], c * flat[..., 1] + s * flat[..., 2], -s * flat[..., 1] + c * flat[..., 2]], axis=-1
    )


def psi_at_height(head: Head, theta: Float[ndarray, "M"], z: Float[ndarray, "M"]) -> Float[ndarray, "M"]:
    """For each azimuth the polar angle at which the skull comes down to height z (local)."""
    psi = np.linspace(0.25, 2.4, 80)
    directions = polar(theta[:, None], psi[None])
    heights = CENTRE[2] + head.radius(directions) * directions[..., 2]
    below = np.maximum.accumulate(heights[:, ::-1], axis=1)[:, ::-1] <= z[:, None]
    return psi[np.where(below.any(axis=1), below.argmax(axis=1), len(psi) - 1)]


def shell(
    head: Head,
    points: Float[ndarray, "K M 3"],
    slot: int,
    inward: float = 0.004,
    keep: ndarray | None = None,
) -> Piece:
    """A grid around the head (rows from the crown down, columns around and closed) as a piece with rims.

    uv: u around and v along the rows, metres. `inward` is the rims' depth (local units).
    """
    K, M = points.shape[:2]
    index = np.arange(K * M).reshape(K, M)
    right = np.roll(index, -1, axis=1)
    a, b, c, d = index[:-1], right[:-1], right[1:], index[1:]
    faces = np.stack([np.stack([a, d, c], -1), np.stack([a, c, b], -1)], 2)
    along = np.concatenate([np.zeros((1, M)), np.linalg.norm(np.diff(points, axis=0), axis=-1)]).cumsum(
        axis=0
    )
    u = np.arange(M + 1) / M * 2 * np.pi * 0.055 * head.metres
    v = along * head.metres
    v_right = np.roll(v, -1, axis=1)
    left_u = np.broadcast_to(u[:-1], v.shape)
    right_u = np.broadcast_to(u[1:], v.shape)
    left, right_uv = np.stack([left_u, v], -1), np.stack([right_u, v_right], -1)
    ua, ub, uc, ud = left[:-1], right_uv[:-1], right_uv[1:], left[1:]
    uv = np.stack([np.stack([ua, ud, uc], 2), np.stack([ua, uc, ub], 2)], 2)
    if keep is None:
        keep = np.ones((K - 1, M), dtype=bool)
    flat = points.reshape(-1, 3)
    local_faces = faces[keep].reshape(-1, 3)
    piece = Piece(
        vertices=apply(head.T_world_head, flat),
        faces=local_faces,
        slot=np.full(len(local_faces), slot, dtype=np.uint8),
        uv=uv[keep].reshape(-1, 3, 2),
        rest=flat,
        border=(np.clip(along[-1] - along, 0.0, None) * head.metres).ravel(),
    )
    towards = flat - CENTRE
    towards[:, 2] = 0.0
    towards /= np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-9)
    return with_rim(piece, apply(head.T_world_head, flat - inward * towards))


def tube(
    head: Head, path: Float[ndarray, "S 3"], radii: Float[ndarray, "S"], slot: int, around: int = 12
) -> Piece:
    """A tube along a path, local units; closed where its radius is 0."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    helper = np.where(np.abs(tangent[:, :1]) < 0.9, np.array([1.0, 0, 0]), np.array([0, 0, 1.0]))
    side = np.cross(tangent, helper)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    other = np.cross(tangent, side)
    angle = np.arange(around + 1) / around * 2 * np.pi
    ring = np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * other[:, None]
    points = path[:, None] + radii[:, None, None] * ring
    S, A = points.shape[:2]
    index = np.arange(S * A).reshape(S, A)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).reshape(-1, 3)
    along = np.concatenate([[0.0], np.linalg.norm(np.diff(path, axis=0), axis=1)]).cumsum() * head.metres
    u = np.broadcast_to(angle * radii.max() * head.metres, (S, A))
    uv = np.stack([u, np.broadcast_to(along[:, None], (S, A))], -1).reshape(-1, 2)
    return Piece(
        vertices=apply(head.T_world_head, points.reshape(-1, 3)),
        faces=faces,
        slot=np.full(len(faces), slot, dtype=np.uint8),
        uv=uv[faces],
        rest=points.reshape(-1, 3),
        border=np.broadcast_to((along[-1] - along)[:, None], (S, A)).ravel().copy(),
    )
