"""What is common in honest scenes and makes a result worse: told with a repair, never refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .checks import seen_counts, some_points
from .scene import CameraArrays, MeshArrays, Scene

Repair = Literal[
    "", "unwrap", "merge", "recalculate_normals", "fill_holes", "delete_loose", "apply_scale", "reset_camera"
]


@dataclass(frozen=True)
class Doubt:
    """One thing to tell."""

    code: str
    path: str
    sentence: str
    repair: Repair = ""
    """What a button may do about it."""
    serious: bool = True
    """Otherwise a note: nothing will be seen of it in most results."""


_EDGE_FACES = 1_000_000
"""Meshes with more faces are not searched along their edges: it would take seconds."""
_INSIDE_FACES = 200_000


def warnings_of(scene: Scene) -> list[Doubt]:
    """The doubts about a scene that `check_scene` accepts, serious ones first."""
    mesh = scene.mesh
    doubts = [*_size(mesh), *_uvs(mesh), *_faces(mesh), *_edges(mesh), *_loose(mesh)]
    if scene.cameras is not None:
        doubts += _cameras(scene.cameras, mesh)
    return sorted(doubts, key=lambda doubt: not doubt.serious)


def _size(mesh: MeshArrays) -> list[Doubt]:
    extent = float((mesh.vertices.max(axis=0) - mesh.vertices.min(axis=0)).max())
    if 0.3 <= extent <= 4:
        return []
    sentence = f"The body is {extent:.3g} m across; a person is 1 to 2 m"
    return [Doubt("SIZE", "$.mesh.vertices", sentence, "apply_scale")]


def _uvs(mesh: MeshArrays) -> list[Doubt]:
    path = "$.mesh.corner_uvs"
    if mesh.corner_uvs is None:
        return [Doubt("UV_MISSING", path, "The body has no UV map; the backend makes one", "unwrap")]
    uvs = mesh.corner_uvs.astype(np.float64)
    doubts: list[Doubt] = []
    outside = int(((uvs < -1e-4) | (uvs > 1 + 1e-4)).any(axis=(1, 2)).sum())
    if outside:
        sentence = f"{outside} faces lie outside the UV square (UDIM tiles are not painted)"
        doubts.append(Doubt("UV_OUTSIDE", path, sentence, "unwrap"))
    area = _cross(uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]) / 2
    flat = int((np.abs(area) < 1e-12).sum())
    if flat > len(area) * 0.01:
        doubts.append(Doubt("UV_FLAT", path, f"{flat} faces have no area in the UV map", "unwrap"))
    overlapping = _overlapping(uvs, area)
    if overlapping > 0.02:
        share = min(100, round(100 * overlapping))
        sentence = f"About {share} % of the UV map is used more than once; those parts get one colour"
        doubts.append(Doubt("UV_OVERLAP", path, sentence, "unwrap"))
    flipped = min(int((area < -1e-12).sum()), int((area > 1e-12).sum()))
    if flipped:
        doubts.append(
            Doubt("UV_FLIPPED", path, f"{flipped} faces are mirrored in the UV map", "", serious=False)
        )
    return doubts


def _overlapping(uvs: NDArray[np.float64], area: NDArray[np.float64]) -> float:
    """Share of the map that is used more than once, at least: by faces on top of each other, or by area."""
    solid = np.abs(area) > 1e-12
    if not solid.any():
        return 0.0
    # A face lies on another if both have the same centre: mirrored halves and stacked islands do.
    centre: NDArray[np.int64] = np.floor(uvs[solid].mean(axis=1) * 2**16 + 0.5).astype(np.int64)
    _, first = np.unique(centre, axis=0, return_index=True)
    used = float(np.abs(area[solid]).sum())
    alone = float(np.abs(area[solid][first]).sum())
    return max(1 - alone / used, 1 - 1 / used if used > 1 else 0.0)


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _faces(mesh: MeshArrays) -> list[Doubt]:
    path, faces = "$.mesh.faces", mesh.faces
    a, b, c = (mesh.vertices[faces[:, i]].astype(np.float64) for i in range(3))
    flat = int((np.linalg.norm(np.cross(b - a, c - a), axis=1) < 1e-14).sum())
    doubts: list[Doubt] = []
    if flat:
        doubts.append(Doubt("FLAT_FACES", path, f"{flat} faces have no area", "merge", serious=False))
    if len(faces) <= _EDGE_FACES:
        twice = len(faces) - len(np.unique(np.sort(faces, axis=1), axis=0))
        if twice:
            doubts.append(Doubt("DOUBLE_FACES", path, f"{twice} faces are there twice", "merge"))
    return doubts


def _edges(mesh: MeshArrays) -> list[Doubt]:
    """Open, crowded and wrongly turned edges, by counting how often each is walked in each direction."""
    path, faces = "$.mesh.faces", mesh.faces
    if len(faces) > _EDGE_FACES:
        return []
    walked = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    walked = walked[walked[:, 0] != walked[:, 1]]
    low, high = walked.min(axis=1), walked.max(axis=1)
    key = low * len(mesh.vertices) + high
    edges, which, count = np.unique(key, return_inverse=True, return_counts=True)
    forward = np.bincount(which.ravel(), weights=walked[:, 0] == low, minlength=len(edges))
    doubts: list[Doubt] = []
    crowded, open_ = int((count > 2).sum()), int((count == 1).sum())
    turned = int(((count == 2) & (forward != 1)).sum())
    if crowded:
        sentence = f"{crowded} edges have more than two faces"
        doubts.append(Doubt("NON_MANIFOLD", path, sentence, "merge", serious=False))
    if turned:
        sentence = f"{turned} edges lie between faces that look in opposite directions"
        doubts.append(Doubt("WINDING", path, sentence, "recalculate_normals"))
    if open_:
        doubts.append(Doubt("HOLES", path, f"{open_} edges are open", "fill_holes", serious=False))
    return doubts


def _loose(mesh: MeshArrays) -> list[Doubt]:
    used = np.zeros(len(mesh.vertices), bool)
    used[mesh.faces.ravel()] = True
    loose = int((~used).sum())
    if not loose:
        return []
    sentence = f"{loose} vertices belong to no face"
    return [Doubt("LOOSE", "$.mesh.vertices", sentence, "delete_loose", serious=False)]


def _cameras(cameras: CameraArrays, mesh: MeshArrays) -> list[Doubt]:
    doubts: list[Doubt] = []
    for i, count in enumerate(seen_counts(cameras, some_points(mesh.vertices))):
        if not count:
            sentence = f'Camera "{cameras.names[i]}" sees nothing of the body'
            doubts.append(Doubt("CAMERA_BLIND", f"$.cameras.T_world_cam[{i}]", sentence, "reset_camera"))
    poses: dict[bytes, int] = {}
    for i, (T, K) in enumerate(zip(cameras.T_world_cam, cameras.K, strict=True)):
        first = poses.setdefault(T.round(4).tobytes() + K.round(2).tobytes(), i)
        if first != i:
            sentence = f'Cameras "{cameras.names[first]}" and "{cameras.names[i]}" are the same'
            doubts.append(Doubt("CAMERA_TWICE", f"$.cameras.T_world_cam[{i}]", sentence))
    if len(mesh.faces) <= _INSIDE_FACES:
        doubts += [
            Doubt(
                "CAMERA_INSIDE",
                f"$.cameras.T_world_cam[{i}]",
                f'Camera "{name}" is inside the body',
                "reset_camera",
            )
            for i, name in enumerate(cameras.names)
            if _is_inside(cameras.T_world_cam[i, :3, 3], mesh)
        ]
    return doubts


def _is_inside(point: NDArray[Any], mesh: MeshArrays) -> bool:
    """By the winding number: the solid angle of all faces seen from the point, over a whole sphere's."""
    if (point < mesh.vertices.min(axis=0)).any() or (point > mesh.vertices.max(axis=0)).any():
        return False
    a, b, c = (mesh.vertices[mesh.faces[:, i]].astype(np.float64) - point for i in range(3))
    la, lb, lc = (np.linalg.norm(side, axis=1) for side in (a, b, c))
    triple = np.einsum("ij,ij->i", a, np.cross(b, c))
    dots = [np.einsum("ij,ij->i", s, t) for s, t in ((a, b), (b, c), (c, a))]
    angle = 2 * np.arctan2(triple, la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb)
    return abs(float(angle.sum())) / (4 * np.pi) > 0.5
