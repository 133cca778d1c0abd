"""Skinned glTF: mesh, UVs, joints and weights. trimesh reads glTF without its skins, so this does."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from vitruvian.core.mesh import Mesh, Rig

_COMPONENTS = {
    5120: np.int8,
    5121: np.uint8,
    5122: np.int16,
    5123: np.uint16,
    5125: np.uint32,
    5126: np.float32,
}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_GLB_MAGIC, _JSON_CHUNK, _BIN_CHUNK = b"glTF", 0x4E4F534A, 0x004E4942
_TRIANGLES = 4


@dataclass(frozen=True)
class _Document:
    json: dict[str, Any]
    buffers: list[bytes]


def read_skinned_gltf(path: Path) -> Mesh | None:
    """The skinned meshes of a .glb or .gltf as one mesh, +Y up and facing +Z, in the file's pose.

    Vertices that glTF splits at UV seams stay split.

    Returns:
        None where nothing in the file is skinned.

    Raises:
        ValueError: for what this reader does not know (several skins, sparse or compressed data).
    """
    document = _open(path)
    nodes = document.json.get("nodes", [])
    skinned = [node for node in nodes if "mesh" in node and "skin" in node]
    if not skinned:
        return None
    if len({node["skin"] for node in skinned}) > 1 or any("mesh" in n and "skin" not in n for n in nodes):
        raise ValueError("it mixes several skins, or skinned and unskinned meshes")
    parts = [
        _primitive(document, p)
        for node in skinned
        for p in document.json["meshes"][node["mesh"]]["primitives"]
    ]
    width = max(part["joints"].shape[1] for part in parts)
    for part in parts:
        for key in ("joints", "weights"):
            part[key] = np.pad(part[key], ((0, 0), (0, width - part[key].shape[1])))
    starts = np.cumsum([0] + [len(part["vertices"]) for part in parts])
    faces = np.concatenate([part["faces"] + start for part, start in zip(parts, starts[:-1], strict=True)])
    stacked = {
        key: np.concatenate([part[key] for part in parts]) for key in ("vertices", "joints", "weights")
    }
    rig, vertices = _rig(document, document.json["skins"][skinned[0]["skin"]], stacked)
    uvs = [part["uvs"] for part in parts]
    has_uvs = all(uv is not None for uv in uvs)
    return Mesh(
        vertices,
        torch.from_numpy(faces),
        torch.from_numpy(np.concatenate(uvs)).float() if has_uvs else None,
        torch.from_numpy(faces) if has_uvs else None,
        rig,
        path.stem,
    )


def _rig(document: _Document, skin: dict[str, Any], stacked: dict[str, ndarray]) -> tuple[Rig, torch.Tensor]:
    """The skin as a rig whose rest pose stands where its root joint stands now, and the posed vertices.

    glTF moves a vertex by M_j = (world of joint j) (inverse bind j). Bind space may have axes and units of
    its own, so it is brought to the world by the root's M; the rest of each M_j is rigid unless bones scale.
    """
    worlds = _world_transforms(document.json["nodes"])
    order, parents = _parents_first(skin["joints"], document.json["nodes"])
    joints = [skin["joints"][i] for i in order]
    inverse_bind = np.tile(np.eye(4), (len(joints), 1, 1))
    if "inverseBindMatrices" in skin:
        inverse_bind = (
            _accessor(document, skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)[order]
        )
    M = worlds[joints] @ inverse_bind.astype(np.float64)
    to_world = M[0]
    rest_vertices = stacked["vertices"] @ to_world[:3, :3].T + to_world[:3, 3]
    M = M @ np.linalg.inv(to_world)
    T_world_joint = worlds[joints]
    T_world_joint[:, :3, :3] /= np.linalg.norm(T_world_joint[:, :3, :3], axis=1, keepdims=True)
    weight_joints = np.argsort(order)[stacked["joints"]]
    weights = stacked["weights"] / np.maximum(stacked["weights"].sum(1, keepdims=True), 1e-12)
    moved = (
        np.einsum("vkij,vj->vki", M[weight_joints][..., :3, :3], rest_vertices) + M[weight_joints][..., :3, 3]
    )
    vertices = torch.from_numpy((weights[..., None] * moved).sum(1)).float()
    rig = Rig(
        joint_names=tuple(document.json["nodes"][j].get("name", f"joint{j}") for j in joints),
        joint_parents=torch.tensor(parents),
        T_world_joint=torch.from_numpy(T_world_joint).float(),
        T_rest_joint=torch.from_numpy(np.linalg.inv(M) @ T_world_joint).float(),
        rest_vertices=torch.from_numpy(rest_vertices).float(),
        weight_joints=torch.from_numpy(weight_joints),
        weights=torch.from_numpy(weights).float(),
    )
    return rig, vertices


def _primitive(document: _Document, primitive: dict[str, Any]) -> dict[str, Any]:
    attributes = primitive["attributes"]
    if primitive.get("mode", _TRIANGLES) != _TRIANGLES or primitive.get("extensions"):
        raise ValueError("it holds something other than plain triangles")
    vertices = _accessor(document, attributes["POSITION"]).astype(np.float64)
    faces = _accessor(document, primitive["indices"]) if "indices" in primitive else np.arange(len(vertices))
    uvs = _accessor(document, attributes["TEXCOORD_0"]) if "TEXCOORD_0" in attributes else None
    sets = [s for s in range(8) if f"JOINTS_{s}" in attributes]
    if not sets:
        raise ValueError("a skinned mesh lacks its weights")
    joints = [_accessor(document, attributes[f"JOINTS_{s}"]) for s in sets]
    weights = [_accessor(document, attributes[f"WEIGHTS_{s}"]) for s in sets]
    return {
        "vertices": vertices,
        "faces": faces.reshape(-1, 3).astype(np.int64),
        # glTF's UV origin is the top left.
        "uvs": None if uvs is None else uvs * np.array([1.0, -1.0]) + np.array([0.0, 1.0]),
        "joints": np.concatenate(joints, 1).astype(np.int64),
        "weights": np.concatenate(weights, 1).astype(np.float64),
    }


def _parents_first(joints: list[int], nodes: list[dict[str, Any]]) -> tuple[list[int], list[int]]:
    """Order of the skin's joints in which parents precede children, and each one's parent in that order."""
    above = {child: index for index, node in enumerate(nodes) for child in node.get("children", [])}

    def ancestors(node: int) -> list[int]:
        chain = []
        while node in above and len(chain) <= len(nodes):
            node = above[node]
            chain.append(node)
        return chain

    order = sorted(range(len(joints)), key=lambda i: len(ancestors(joints[i])))
    place = {joints[i]: position for position, i in enumerate(order)}
    parents = [next((place[a] for a in ancestors(joints[i]) if a in place), -1) for i in order]
    return order, parents


def _world_transforms(nodes: list[dict[str, Any]]) -> Float[ndarray, "N 4 4"]:
    """Node to world."""
    worlds = np.stack([_local_transform(node) for node in nodes])
    children = {child for node in nodes for child in node.get("children", [])}
    pending = [index for index in range(len(nodes)) if index not in children]
    for _ in nodes:
        below = []
        for index in pending:
            for child in nodes[index].get("children", []):
                worlds[child] = worlds[index] @ worlds[child]
                below.append(child)
        pending = below
    return worlds


def _local_transform(node: dict[str, Any]) -> Float[ndarray, "4 4"]:
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    x, y, z, w = node.get("rotation", (0.0, 0.0, 0.0, 1.0))
    T = np.eye(4)
    T[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    T[:3, :3] *= np.array(node.get("scale", (1.0, 1.0, 1.0)), dtype=np.float64)
    T[:3, 3] = node.get("translation", (0.0, 0.0, 0.0))
    return T


def _accessor(document: _Document, index: int) -> Float[ndarray, "N C"] | Int[ndarray, "N C"]:
    """The numbers of an accessor; normalised integers as floats."""
    accessor = document.json["accessors"][index]
    if "sparse" in accessor or "bufferView" not in accessor:
        raise ValueError("it stores data sparsely or compressed")
    kind, width = (
        np.dtype(_COMPONENTS[accessor["componentType"]]).newbyteorder("<"),
        _WIDTHS[accessor["type"]],
    )
    view = document.json["bufferViews"][accessor["bufferView"]]
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    stride = view.get("byteStride", kind.itemsize * width)
    values = np.ndarray(
        (accessor["count"], width), kind, document.buffers[view["buffer"]], start, (stride, kind.itemsize)
    )
    if accessor.get("normalized"):
        return np.maximum(values / np.float32(np.iinfo(kind).max), -1.0)
    return values.copy()


def _open(path: Path) -> _Document:
    data = path.read_bytes()
    binary: bytes | None = None
    if data[:4] == _GLB_MAGIC:
        chunks, position = {}, 12
        while position + 8 <= len(data):
            length, kind = struct.unpack_from("<II", data, position)
            chunks.setdefault(kind, data[position + 8 : position + 8 + length])
            position += 8 + length
        data, binary = chunks[_JSON_CHUNK], chunks.get(_BIN_CHUNK)
    document = json.loads(data)
    return _Document(document, [_buffer(path, b, binary) for b in document.get("buffers", [])])


def _buffer(path: Path, buffer: dict[str, Any], binary: bytes | None) -> bytes:
    uri = buffer.get("uri")
    if uri is None:
        return binary or b""
    if uri.startswith("data:"):
        return base64.b64decode(uri.split(",", 1)[1])
    return (path.parent / unquote(uri)).read_bytes()
