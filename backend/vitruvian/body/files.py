"""Bodies from files: any mesh, skinned glTF with its rig, SMPL-family models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.body.body import Body
from vitruvian.body.gltf import read_skinned_gltf
from vitruvian.body.obj import read_obj
from vitruvian.body.regions import label_regions
from vitruvian.body.skeleton import keypoints_of
from vitruvian.body.smpl import read_smpl
from vitruvian.body.unwrap import check_uvs, unwrap
from vitruvian.core.errors import UserError
from vitruvian.core.mesh import Mesh, check_mesh

SUFFIXES = (".glb", ".gltf", ".obj", ".ply", ".npz")
_Y_UP_TO_Z_UP = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))
"""+Y up, facing +Z  ->  +Z up, facing -Y."""
_CENTIMETRES, _MILLIMETRES = (100.0, 250.0), (1000.0, 2500.0)
"""A body this tall was not modelled in metres."""
_PLAUSIBLE_HEIGHT = (0.3, 3.0)


def load_body(path: str | Path, betas: tuple[float, ...] = ()) -> Body:
    """A proxy from a file, in metres, +Z up, facing -Y, where it stands in the file.

    glTF and SMPL files are +Y up by definition; OBJ and PLY are taken to be +Y up where they are taller along
    Y than along Z. Where UVs are missing or unusable, `mesh` gets new ones; vertices and faces stay as they
    are, except that vertices which glTF had to split at UV seams are joined again.
    Whatever was assumed or changed is told in `Body.uv_report`.

    Args:
        path: .glb, .gltf, .obj, .ply, or an SMPL-family .npz.
        betas: shape coefficients, for SMPL-family models.

    Raises:
        UserError: missing or unreadable file, unknown format, or a mesh that cannot be worked on.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise UserError("mesh", str(path), "is not a file", "Give the path of an existing mesh")
    if suffix not in (*SUFFIXES, ".pkl"):
        raise UserError(
            "mesh", str(path), f"is of an unknown format ({suffix})", f"Use {', '.join(SUFFIXES)}"
        )
    face: dict[str, int] | None = None
    notes: list[str] = []
    if suffix in (".npz", ".pkl"):
        mesh, face = read_smpl(path, betas)
    else:
        mesh = _read_mesh(path, suffix, notes)
    check_mesh(replace(mesh, vertices=_unit_sized(mesh.vertices)))
    if suffix in (".glb", ".gltf"):
        mesh = _welded(mesh)
    mesh = _upright(mesh, suffix, notes)
    if suffix in (".npz", ".pkl"):
        mesh = moved(mesh, torch.eye(3), 1.0, torch.tensor([0.0, 0.0, -float(mesh.vertices[:, 2].min())]))
    mesh = outward(_in_metres(mesh, notes), notes)
    check_mesh(mesh)
    mesh = with_usable_uvs(mesh, notes)
    regions = label_regions(mesh.rig) if mesh.rig is not None else None
    return Body(mesh, keypoints_of(mesh, face), regions, notes)


def with_usable_uvs(mesh: Mesh, notes: list[str]) -> Mesh:
    """The mesh with UVs that can carry a texture: its own, else new ones. `notes` gets what was found."""
    findings = check_uvs(mesh)
    if not findings:
        return mesh
    notes += findings
    notes.append(
        "New UVs for the texture were made with xatlas; the mesh's own stay beside them as a second set."
    )
    return unwrap(mesh)


def moved(mesh: Mesh, R: Float[Tensor, "3 3"], scale: float, shift: Float[Tensor, "3"]) -> Mesh:
    """The mesh and its rig, turned by R, scaled, then shifted."""
    vertices = scale * mesh.vertices @ R.T + shift
    if mesh.rig is None:
        return replace(mesh, vertices=vertices)
    rig = replace(
        mesh.rig,
        rest_vertices=scale * mesh.rig.rest_vertices @ R.T + shift,
        T_world_joint=_moved_frames(mesh.rig.T_world_joint, R, scale, shift),
        T_rest_joint=_moved_frames(mesh.rig.T_rest_joint, R, scale, shift),
    )
    return replace(mesh, vertices=vertices, rig=rig)


def _moved_frames(
    T: Float[Tensor, "J 4 4"], R: Tensor, scale: float, shift: Tensor
) -> Float[Tensor, "J 4 4"]:
    result = T.clone()
    result[:, :3, :3] = R @ T[:, :3, :3]
    result[:, :3, 3] = scale * T[:, :3, 3] @ R.T + shift
    return result


def _read_mesh(path: Path, suffix: str, notes: list[str]) -> Mesh:
    """The file in its own axes and units."""
    try:
        if suffix == ".obj":
            return read_obj(path)
        if suffix in (".glb", ".gltf"):
            skinned = _read_skinned(path, notes)
            return skinned if skinned is not None else _read_with_trimesh(path)
        return _read_with_trimesh(path)
    except UserError:
        raise
    # Readers fail in as many ways as files are broken (KeyError, struct.error, ...): all mean a bad file.
    except Exception as error:
        raise UserError(
            "mesh", str(path), f"could not be read ({error or type(error).__name__})", "Export the mesh again"
        ) from error


def _read_skinned(path: Path, notes: list[str]) -> Mesh | None:
    try:
        return read_skinned_gltf(path)
    except ValueError as error:
        notes.append(
            f"The file's rig was left out: {error}. The result has no keypoints and no skin weights."
        )
        return None


def _read_with_trimesh(path: Path) -> Mesh:
    """All geometry of the scene in world space; UVs only where every part has them."""
    import trimesh

    scene = trimesh.load_scene(path, process=False)
    parts = []
    for node in scene.graph.nodes_geometry:
        T, name = scene.graph[node]
        part = scene.geometry[name]
        if isinstance(part, trimesh.Trimesh):
            uv = getattr(part.visual, "uv", None)
            parts.append((part.vertices @ T[:3, :3].T + T[:3, 3], part.faces, uv))
    if not parts:
        raise UserError("mesh", str(path), "holds no triangles", "Choose a file with a mesh")
    starts = np.cumsum([0] + [len(vertices) for vertices, _, _ in parts])
    faces = torch.from_numpy(
        np.concatenate([f + s for (_, f, _), s in zip(parts, starts[:-1], strict=True)])
    ).long()
    uvs = [uv for vertices, _, uv in parts if uv is not None and len(uv) == len(vertices)]
    has_uvs = len(uvs) == len(parts)
    return Mesh(
        torch.from_numpy(np.concatenate([vertices for vertices, _, _ in parts])).float(),
        faces,
        torch.from_numpy(np.concatenate(uvs)).float() if has_uvs else None,
        faces if has_uvs else None,
        name=path.stem,
    )


def _welded(mesh: Mesh) -> Mesh:
    """Vertices that glTF had to split at UV seams joined again, so that normals are smooth across seams.

    Joined are vertices of the same position and the same weights, in order of first appearance; `uv_faces`
    keeps pointing to the split UVs.
    """
    key = mesh.vertices
    if mesh.rig is not None:
        key = torch.cat(
            [key, mesh.rig.rest_vertices, mesh.rig.weight_joints.float(), mesh.rig.weights], dim=1
        )
    _, first, inverse = np.unique(key.numpy(), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    kept = torch.from_numpy(first[order])
    new_index = torch.from_numpy(np.argsort(order)[inverse.reshape(-1)])
    rig = mesh.rig
    if rig is not None:
        per_vertex = ("rest_vertices", "weight_joints", "weights")
        rig = replace(rig, **{name: getattr(rig, name)[kept] for name in per_vertex})
    return replace(mesh, vertices=mesh.vertices[kept], faces=new_index[mesh.faces], rig=rig)


def _upright(mesh: Mesh, suffix: str, notes: list[str]) -> Mesh:
    extent = mesh.vertices.amax(0) - mesh.vertices.amin(0)
    if suffix in (".obj", ".ply"):
        if extent[1] <= extent[2]:
            return mesh
        notes.append("The file was taken to be +Y up, facing +Z (it is taller along Y than along Z).")
    return moved(mesh, torch.tensor(_Y_UP_TO_Z_UP), 1.0, torch.zeros(3))


def _in_metres(mesh: Mesh, notes: list[str]) -> Mesh:
    height = float(mesh.vertices[:, 2].max() - mesh.vertices[:, 2].min())
    for unit, (low, high), scale in (
        ("centimetres", _CENTIMETRES, 0.01),
        ("millimetres", _MILLIMETRES, 0.001),
    ):
        if low <= height <= high:
            notes.append(f"The body is {height:.0f} units tall: taken as {unit}.")
            return moved(mesh, torch.eye(3), scale, torch.zeros(3))
    if not _PLAUSIBLE_HEIGHT[0] <= height <= _PLAUSIBLE_HEIGHT[1]:
        notes.append(f"The body is {height:.3g} m tall; check the units if that is not meant.")
    return mesh


def outward(mesh: Mesh, notes: list[str]) -> Mesh:
    """Faces turned so that the enclosed volume is positive, i.e. normals point out; all of them or none."""
    a, b, c = (mesh.vertices - mesh.vertices.mean(0))[mesh.faces].double().unbind(1)
    if float((a * torch.linalg.cross(b, c)).sum()) >= 0.0:
        return mesh
    notes.append("Faces pointed inwards and were turned round.")
    uv_faces = mesh.uv_faces.flip(1) if mesh.uv_faces is not None else None
    return replace(mesh, faces=mesh.faces.flip(1), uv_faces=uv_faces)


def _unit_sized(vertices: Float[Tensor, "V 3"]) -> Float[Tensor, "V 3"]:
    """Scaled to an extent of 1, so that a mesh can be checked before its units are understood."""
    extent = float((vertices.amax(0) - vertices.amin(0)).max()) if len(vertices) else 0.0
    return vertices / extent if 0.0 < extent < float("inf") else vertices
