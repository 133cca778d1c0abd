"""Between the wire's numpy scene and the tensors that methods work on."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from vitruvian.body.body import Body
from vitruvian.body.files import outward, with_usable_uvs
from vitruvian.body.regions import label_regions
from vitruvian.body.skeleton import keypoints_of
from vitruvian.core.camera import CameraRig
from vitruvian.core.mesh import Mesh, Rig, check_mesh
from vitruvian.job import GenerateJob
from vitruvian_protocol.doubts import warnings_of
from vitruvian_protocol.scene import CameraArrays, MeshArrays, RigArrays, Scene, Settings


def body_from(arrays: MeshArrays) -> Body:
    """The body that was sent, with UVs that can carry a texture; `Body.uv_report` tells what was done to it.

    Raises:
        UserError: a mesh that cannot be worked on.
    """
    uvs, uv_faces = None, None
    if arrays.corner_uvs is not None:
        uvs, uv_faces = merged_uvs(arrays.corner_uvs)
    rig = None if arrays.rig is None else _rig_from(arrays.rig)
    mesh = Mesh(_tensor(arrays.vertices), _tensor(arrays.faces).long(), uvs, uv_faces, rig, arrays.name)
    check_mesh(mesh)
    notes: list[str] = []
    mesh = with_usable_uvs(outward(mesh, notes), notes)
    regions = None if mesh.rig is None else label_regions(mesh.rig)
    return Body(mesh, keypoints_of(mesh), regions, notes)


def cameras_from(arrays: CameraArrays) -> CameraRig:
    """The cameras that were sent."""
    return CameraRig(
        _tensor(arrays.T_world_cam),
        _tensor(arrays.K),
        _tensor(arrays.orthographic).bool(),
        arrays.width,
        arrays.height,
        arrays.names,
        arrays.kinds,
    )


def job_from(settings: Settings, prior: str) -> GenerateJob:
    """The look and the quality that were asked for.

    Args:
        prior: the name or folder that stands behind `settings.prior` on this server.
    """
    return GenerateJob(**{**vars(settings), "prior": prior})


def settings_of(job: GenerateJob) -> Settings:
    """The look and the quality as they travel: what a job and the wire's settings name alike."""
    return Settings(**{f.name: getattr(job, f.name) for f in fields(Settings)})


def new_corner_uvs(sent: MeshArrays, mesh: Mesh) -> NDArray[np.float32] | None:
    """UVs of each face's corners [F, 3, 2], in the order in which the faces were sent, where the mesh's own
    could not carry a texture and `mesh` got new ones; else None."""
    made_here = sent.corner_uvs is None or mesh.replaced_uvs is not None
    if not made_here or mesh.uvs is None or mesh.uv_faces is None:
        return None
    corners = mesh.uvs[mesh.uv_faces].cpu()
    turned = not torch.equal(mesh.faces.cpu(), _tensor(sent.faces).long())
    return (corners.flip(1) if turned else corners).numpy().astype(np.float32)


def scene_of(body: Body, rig: CameraRig | None, prompts: tuple[str, ...] = ()) -> Scene:
    """What a client sends to have `body` painted from `rig` (None: the server's own cameras)."""
    mesh = body.mesh
    corner_uvs = None if mesh.uvs is None or mesh.uv_faces is None else _floats(mesh.uvs[mesh.uv_faces])
    arrays = MeshArrays(
        mesh.name,
        _floats(mesh.vertices),
        _integers(mesh.faces),
        corner_uvs,
        None if mesh.rig is None else _rig_arrays(mesh.rig),
    )
    return Scene(arrays, None if rig is None else _camera_arrays(rig, prompts))


def doubts_about(scene: Scene) -> list[str]:
    """What may spoil the result though the scene can be worked on, but for UVs: `body_from` mends those and
    tells so."""
    return [d.sentence for d in warnings_of(scene) if d.serious and not d.code.startswith("UV_")]


def merged_uvs(corner_uvs: NDArray[np.float32]) -> tuple[Float[Tensor, "T 2"], Tensor]:
    """UVs without repetitions, and the corners' indices into them [F, 3]."""
    flat = np.ascontiguousarray(corner_uvs.reshape(-1, 2))
    # As one 64-bit value a pair: equal bits are equal UVs, and sorting is many times quicker than by rows.
    _, first, inverse = np.unique(flat.view(np.uint64).ravel(), return_index=True, return_inverse=True)
    return torch.from_numpy(flat[first].copy()), torch.from_numpy(inverse.reshape(-1, 3).astype(np.int64))


def _rig_from(arrays: RigArrays) -> Rig:
    return Rig(
        joint_names=arrays.joint_names,
        joint_parents=_tensor(arrays.joint_parents).long(),
        T_world_joint=_tensor(arrays.T_world_joint),
        T_rest_joint=_tensor(arrays.T_rest_joint),
        rest_vertices=_tensor(arrays.rest_vertices),
        weight_joints=_tensor(arrays.weight_joints).long(),
        weights=_tensor(arrays.weights),
    )


def _rig_arrays(rig: Rig) -> RigArrays:
    return RigArrays(
        rig.joint_names,
        _integers(rig.joint_parents),
        _floats(rig.T_world_joint),
        _floats(rig.T_rest_joint),
        _floats(rig.rest_vertices),
        _integers(rig.weight_joints),
        _floats(rig.weights),
    )


def _camera_arrays(rig: CameraRig, prompts: tuple[str, ...]) -> CameraArrays:
    return CameraArrays(
        rig.names,
        rig.kinds,
        _floats(rig.T_world_cam),
        _floats(rig.K),
        rig.orthographic.cpu().numpy().astype(np.uint8),
        rig.width,
        rig.height,
        prompts,
    )


def _tensor(array: NDArray[np.generic]) -> Tensor:
    """A copy: the array may be a read-only view of a file."""
    return torch.from_numpy(np.array(array))


def _floats(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().cpu().numpy(), dtype=np.float32)


def _integers(tensor: Tensor) -> NDArray[np.int32]:
    return np.ascontiguousarray(tensor.cpu().numpy(), dtype=np.int32)
