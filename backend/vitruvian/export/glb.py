"""glTF 2.0 binary: mesh, UVs, one texture, and the skeleton where there is one.

The mesh is stored in its rest pose and the joint nodes in the pose it was textured in, so a viewer shows the
posed body, and Blender makes an armature that can be posed further. glTF is +Y up and the front is +Z.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from vitruvian.core.errors import UserError
from vitruvian.core.mesh import Mesh, Rig

GLTF_FROM_WORLD = np.array(
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
"""+Z up, front -Y  ->  +Y up, front +Z."""
INFLUENCES = 8
"""Most joints a vertex keeps, strongest first, in sets of four; readers that know one set renormalise it."""
_FLOAT, _UINT, _USHORT = 5126, 5125, 5123
_VERTICES, _INDICES = 34962, 34963
_REPEAT, _LINEAR, _MIPMAP = 10497, 9729, 9987


class _Buffer:
    """The binary chunk, and the glTF records that describe it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def bytes_view(self, data: bytes, target: int | None = None) -> int:
        """Append bytes, aligned to 4; returns the buffer view's index."""
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)}
        self.views.append(view | ({"target": target} if target is not None else {}))
        self.data += data + b"\0" * (-len(data) % 4)
        return len(self.views) - 1

    def accessor(self, array: np.ndarray, kind: str, component: int, target: int | None = None) -> int:
        """Append an array; returns the accessor's index."""
        flat = array.reshape(len(array), -1)
        self.accessors.append(
            {
                "bufferView": self.bytes_view(np.ascontiguousarray(array).tobytes(), target),
                "componentType": component,
                "count": len(array),
                "type": kind,
                "min": flat.min(0).tolist(),
                "max": flat.max(0).tolist(),
            }
        )
        return len(self.accessors) - 1


def glb_bytes(mesh: Mesh, albedo_png: bytes) -> bytes:
    """The mesh with its texture as a GLB file.

    Vertices are split where a UV layout is cut; their order is otherwise the mesh's. UVs that had to be
    replaced are kept as a second set. Beyond eight influences a vertex keeps the strongest.

    Raises:
        UserError: when the mesh has no UVs.
    """
    if mesh.uvs is None or mesh.uv_faces is None:
        raise UserError("mesh.uvs", None, "are missing", "Unwrap the mesh first")
    faces, uv_faces = mesh.faces.cpu().numpy(), mesh.uv_faces.cpu().numpy()
    layouts = [(mesh.uvs, uv_faces)]
    if mesh.replaced_uvs is not None and mesh.replaced_uv_faces is not None:
        layouts.append((mesh.replaced_uvs, mesh.replaced_uv_faces.cpu().numpy()))
    keys = np.stack([faces.reshape(-1), *(corners.reshape(-1) for _, corners in layouts)], axis=1)
    corners, indices = np.unique(keys, axis=0, return_inverse=True)
    buffer = _Buffer()
    shape = _rest_mesh(mesh)
    attributes = {
        "POSITION": buffer.accessor(
            _vectors(shape.vertices.cpu().numpy()[corners[:, 0]]), "VEC3", _FLOAT, _VERTICES
        ),
        "NORMAL": buffer.accessor(_normals(shape)[corners[:, 0]], "VEC3", _FLOAT, _VERTICES),
    }
    for number, (uvs, _) in enumerate(layouts):
        uv = uvs.cpu().numpy()[corners[:, 1 + number]].astype(np.float32)
        uv[:, 1] = 1.0 - uv[:, 1]
        attributes[f"TEXCOORD_{number}"] = buffer.accessor(uv, "VEC2", _FLOAT, _VERTICES)
    body: dict[str, Any] = {"name": mesh.name, "mesh": 0}
    nodes, roots, skins = [body], [0], []
    if mesh.rig is not None:
        joints, weights = _influences(mesh.rig)
        for number in range(joints.shape[1] // 4):
            four = np.s_[corners[:, 0], 4 * number : 4 * number + 4]
            attributes[f"JOINTS_{number}"] = buffer.accessor(joints[four], "VEC4", _USHORT, _VERTICES)
            attributes[f"WEIGHTS_{number}"] = buffer.accessor(weights[four], "VEC4", _FLOAT, _VERTICES)
        skins = [_add_skeleton(mesh, mesh.rig, buffer, nodes)]
        body["skin"] = 0
        roots.append(1)
    primitive = {
        "attributes": attributes,
        "indices": buffer.accessor(indices.reshape(-1).astype(np.uint32), "SCALAR", _UINT, _INDICES),
        "material": 0,
    }
    document = _document(mesh.name, nodes, roots, primitive, buffer.bytes_view(albedo_png))
    if skins:
        document["skins"] = skins
    return _pack(document, buffer)


def _document(
    name: str, nodes: list[dict[str, Any]], roots: list[int], primitive: dict[str, Any], png_view: int
) -> dict[str, Any]:
    """The glTF document but for its buffer records."""
    material = {
        "name": name,
        "pbrMetallicRoughness": {
            "baseColorTexture": {"index": 0},
            "metallicFactor": 0.0,
            "roughnessFactor": 1.0,
        },
    }
    return {
        "asset": {"version": "2.0", "generator": "Vitruvian"},
        "scene": 0,
        "scenes": [{"nodes": roots}],
        "nodes": nodes,
        "meshes": [{"name": name, "primitives": [primitive]}],
        "materials": [material],
        "textures": [{"sampler": 0, "source": 0}],
        "samplers": [{"magFilter": _LINEAR, "minFilter": _MIPMAP, "wrapS": _REPEAT, "wrapT": _REPEAT}],
        "images": [{"name": "albedo", "bufferView": png_view, "mimeType": "image/png"}],
    }


def _pack(document: dict[str, Any], buffer: _Buffer) -> bytes:
    """Header, JSON chunk and binary chunk."""
    document |= {
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    chunks += struct.pack("<I4s", len(buffer.data), b"BIN\0") + bytes(buffer.data)
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _rest_mesh(mesh: Mesh) -> Mesh:
    """The mesh as it is bound to its skeleton; the mesh itself without one."""
    if mesh.rig is None:
        return mesh
    return Mesh(vertices=mesh.rig.rest_vertices, faces=mesh.faces)


def _vectors(vectors: np.ndarray) -> np.ndarray:
    """World vectors in glTF's axes."""
    return (vectors.astype(np.float64) @ GLTF_FROM_WORLD[:3, :3].T).astype(np.float32)


def _normals(mesh: Mesh) -> np.ndarray:
    """Unit vertex normals in glTF's axes; up where a vertex has no face with an area."""
    normals = mesh.vertex_normals.detach().cpu().numpy().astype(np.float64)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return _vectors(np.where(length > 1e-6, normals / np.maximum(length, 1e-6), [0.0, 0.0, 1.0]))


def _influences(rig: Rig) -> tuple[np.ndarray, np.ndarray]:
    """The strongest joints of each vertex and their weights (sum 1); four columns, or eight."""
    joints, weights = rig.weight_joints.cpu().numpy(), rig.weights.cpu().numpy().astype(np.float64)
    dense = np.zeros((len(joints), max(len(rig.joint_names), INFLUENCES)))
    np.add.at(dense, (np.arange(len(joints))[:, None], joints), weights.clip(0.0))
    columns = 4 if int((dense > 0).sum(1).max()) <= 4 else INFLUENCES
    strongest = np.argsort(-dense, axis=1, kind="stable")[:, :columns]
    kept = np.take_along_axis(dense, strongest, axis=1)
    total = kept.sum(1, keepdims=True)
    kept = np.where(total > 0, kept / np.maximum(total, 1e-12), np.eye(columns)[0]).astype(np.float32)
    # Rounding to single precision may leave the sum an ulp or two away from 1.
    kept[:, 0] = (1.0 - kept[:, 1:].astype(np.float64).sum(1)).astype(np.float32)
    return np.where(kept > 0, strongest, 0).astype(np.uint16), kept


def _add_skeleton(mesh: Mesh, rig: Rig, buffer: _Buffer, nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Append the joints' nodes under one armature node; returns the skin."""
    posed = GLTF_FROM_WORLD @ rig.T_world_joint.cpu().numpy().astype(np.float64)
    rest = GLTF_FROM_WORLD @ rig.T_rest_joint.cpu().numpy().astype(np.float64)
    parents = rig.joint_parents.cpu().numpy()
    armature, first = len(nodes), len(nodes) + 1
    children: dict[int, list[int]] = {}
    for joint, parent in enumerate(parents.tolist()):
        children.setdefault(parent, []).append(first + joint)
    nodes.append({"name": f"{mesh.name} armature", "children": children.get(-1, [])})
    for joint, parent in enumerate(parents.tolist()):
        local = posed[joint] if parent < 0 else np.linalg.inv(posed[parent]) @ posed[joint]
        node: dict[str, Any] = {"name": rig.joint_names[joint]} | _transform(local)
        if joint in children:
            node["children"] = children[joint]
        nodes.append(node)
    inverse = np.linalg.inv(rest)
    inverse[:, 3] = [0.0, 0.0, 0.0, 1.0]
    columns = inverse.transpose(0, 2, 1).reshape(-1, 16).astype(np.float32)
    return {
        "joints": list(range(first, first + len(parents))),
        "skeleton": armature,
        "inverseBindMatrices": buffer.accessor(columns, "MAT4", _FLOAT),
    }


def _transform(matrix: np.ndarray) -> dict[str, Any]:
    """Translation and rotation where the matrix is rigid (so that it can be animated), else the matrix."""
    rotation = matrix[:3, :3]
    if np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4) and np.linalg.det(rotation) > 0:
        turn = Rotation.from_matrix(rotation).as_quat()
        return {"translation": matrix[:3, 3].tolist(), "rotation": turn.tolist()}
    return {"matrix": matrix.T.reshape(-1).tolist()}
