"""Bodies from files: formats, axes, units, rigs, UVs, and files that cannot be used."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from vitruvian.body.anny_body import anny_body
from vitruvian.body.files import load_body
from vitruvian.body.skeleton import KEYPOINT_NAMES
from vitruvian.body.unwrap import check_uvs, unwrap
from vitruvian.core.errors import UserError
from vitruvian.core.mesh import Mesh
from vitruvian.export.glb import glb_bytes

CUBE_OBJ = """# a quad-faced box, taller along {up}
{vertices}
f 1 4 3 2
f 5 6 7 8
f 1 2 6 5
f -6 -5 -1 -2
f 3 4 8 7
f 4 1 5 8
"""


def box_obj(sizes: tuple[float, float, float]) -> str:
    corners = [
        (-1, -1, -1),
        (1, -1, -1),
        (1, 1, -1),
        (-1, 1, -1),
        (-1, -1, 1),
        (1, -1, 1),
        (1, 1, 1),
        (-1, 1, 1),
    ]
    lines = [
        " ".join(["v", *(f"{c * s / 2}" for c, s in zip(corner, sizes, strict=True))]) for corner in corners
    ]
    return CUBE_OBJ.format(up="xyz"[int(np.argmax(sizes))], vertices="\n".join(lines))


def write_obj(mesh: Mesh, path: Path) -> None:
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    lines = [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in mesh.vertices.tolist()]
    lines += [f"vt {u:.7f} {v:.7f}" for u, v in mesh.uvs.tolist()]
    for face, corners in zip((mesh.faces + 1).tolist(), (mesh.uv_faces + 1).tolist(), strict=True):
        lines.append("f " + " ".join(f"{v}/{t}" for v, t in zip(face, corners, strict=True)))
    path.write_text("\n".join(lines))


def test_obj_keeps_vertices_faces_and_uvs_in_order(tmp_path: Path) -> None:
    mesh = anny_body().mesh
    write_obj(mesh, tmp_path / "body.obj")
    body = load_body(tmp_path / "body.obj")
    assert torch.allclose(body.mesh.vertices, mesh.vertices, atol=1e-6)
    assert torch.equal(body.mesh.faces, mesh.faces)
    assert body.mesh.uv_faces is not None
    assert mesh.uv_faces is not None
    assert torch.equal(body.mesh.uv_faces, mesh.uv_faces)
    assert body.uv_report == []
    assert body.keypoints is None
    assert body.regions is None


def test_a_y_up_box_in_centimetres_becomes_z_up_in_metres(tmp_path: Path) -> None:
    (tmp_path / "box.obj").write_text(box_obj((50.0, 180.0, 30.0)))
    body = load_body(tmp_path / "box.obj")
    extent = body.mesh.vertices.amax(0) - body.mesh.vertices.amin(0)
    assert torch.allclose(extent, torch.tensor([0.5, 0.3, 1.8]), atol=1e-5)
    # The first corner is at the bottom, and at +Z's far side: behind the body.
    assert torch.allclose(body.mesh.vertices[0], torch.tensor([-0.25, 0.15, -0.9]), atol=1e-5)
    assert any("+Y up" in note for note in body.uv_report)
    assert any("centimetres" in note for note in body.uv_report)
    assert any("no UVs" in note for note in body.uv_report)
    assert check_uvs(body.mesh) == []


def test_inward_faces_are_turned_round(tmp_path: Path) -> None:
    text = box_obj((0.5, 0.3, 1.8))
    turned = "\n".join(
        " ".join(["f", *reversed(line.split()[1:])]) if line.startswith("f") else line
        for line in text.splitlines()
    )
    (tmp_path / "box.obj").write_text(turned)
    body = load_body(tmp_path / "box.obj")
    a, b, c = body.mesh.vertices[body.mesh.faces].unbind(1)
    assert float((a * torch.linalg.cross(b, c)).sum()) > 0.0
    assert any("inwards" in note for note in body.uv_report)


def test_ply_and_unskinned_glb(tmp_path: Path) -> None:
    plain = trimesh.creation.icosphere(subdivisions=3)
    plain.vertices = plain.vertices * [0.4, 0.2, 0.9] + [0.0, 0.1, 0.9]
    mesh = Mesh(torch.tensor(plain.vertices, dtype=torch.float32), torch.tensor(plain.faces))
    plain.export(tmp_path / "body.ply")
    loaded = load_body(tmp_path / "body.ply").mesh
    assert torch.allclose(loaded.vertices, mesh.vertices, atol=1e-6)
    assert torch.equal(loaded.faces, mesh.faces)
    y_up = plain.copy()
    y_up.vertices = mesh.vertices.numpy() @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    y_up.export(tmp_path / "body.glb")
    turned = load_body(tmp_path / "body.glb").mesh
    assert torch.allclose(turned.vertices.amin(0), mesh.vertices.amin(0), atol=1e-5)
    assert torch.allclose(turned.vertices.amax(0), mesh.vertices.amax(0), atol=1e-5)


def test_our_own_glb_comes_back_with_its_rig(tmp_path: Path) -> None:
    body = anny_body({"gender": 1.0, "age": 0.67}, "walking")
    (tmp_path / "human.glb").write_bytes(glb_bytes(body.mesh, b""))
    loaded = load_body(tmp_path / "human.glb")
    rig = loaded.mesh.rig
    assert rig is not None
    assert loaded.uv_report == []
    assert abs(len(loaded.mesh.vertices) - len(body.mesh.vertices)) < 20
    assert sorted(rig.joint_names) == sorted(body.mesh.rig.joint_names if body.mesh.rig else ())
    assert all(parent < joint for joint, parent in enumerate(rig.joint_parents.tolist()))
    # The GLB keeps four influences of up to nine: skin moves by millimetres, joints do not.
    assert (
        float(torch.cdist(loaded.mesh.vertices[::50].double(), body.mesh.vertices.double()).amin(1).max())
        < 0.02
    )
    assert loaded.keypoints is not None
    assert body.keypoints is not None
    limbs = [i for i, name in enumerate(KEYPOINT_NAMES) if not name.endswith(("nose", "ear"))]
    assert torch.allclose(loaded.keypoints[limbs], body.keypoints[limbs], atol=1e-4)
    assert torch.allclose(loaded.keypoints, body.keypoints, atol=0.02)
    assert loaded.regions is not None
    assert body.regions is not None
    counts = torch.bincount(loaded.regions, minlength=7) - torch.bincount(body.regions, minlength=7)
    assert counts.abs().max() < 300


def tube_gltf(path: Path, armature_scale: float) -> np.ndarray:
    """A 2-joint tube, bound in units of `armature_scale` metres, its upper joint bent 90 degrees about Z.

    Returns:
        The posed vertices in metres, +Y up, worked out by hand.
    """
    tube = trimesh.creation.cylinder(radius=0.1, height=1.0, sections=24).subdivide()
    rest = tube.vertices[:, [1, 2, 0]] + [0.0, 0.5, 0.0]
    upper = (rest[:, 1] > 0.5).astype(np.float32)
    weights = np.stack([1.0 - upper, upper, 0 * upper, 0 * upper], 1).astype(np.float32)
    joints = np.tile(np.array([1, 0, 0, 0], np.uint8), (len(rest), 1))
    bend = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    posed = np.where(upper[:, None] > 0, (rest - [0, 0.5, 0]) @ bend.T + [0, 0.5, 0], rest)
    units = 1.0 / armature_scale
    inverse_bind = np.stack([np.eye(4), np.eye(4)])
    inverse_bind[0, 1, 3] = -0.5 * units
    arrays = [
        ((rest * units).astype(np.float32), 5126, "VEC3"),
        (tube.faces.astype(np.uint32).reshape(-1, 1), 5125, "SCALAR"),
        (joints, 5121, "VEC4"),
        (weights, 5126, "VEC4"),
        (inverse_bind.transpose(0, 2, 1).reshape(2, 16).astype(np.float32), 5126, "MAT4"),
    ]
    data, views, accessors = b"", [], []
    for array, component, kind in arrays:
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": array.nbytes})
        accessors.append(
            {"bufferView": len(views) - 1, "componentType": component, "count": len(array), "type": kind}
        )
        data += array.tobytes()
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [
            {"name": "Armature", "scale": [armature_scale] * 3, "children": [1, 3]},
            {"name": "hips", "children": [2]},
            {"name": "spine", "translation": [0, 0.5 * units, 0], "rotation": [0, 0, 0.5**0.5, 0.5**0.5]},
            {"name": "tube", "mesh": 0, "skin": 0},
        ],
        "meshes": [
            {"primitives": [{"attributes": {"POSITION": 0, "JOINTS_0": 2, "WEIGHTS_0": 3}, "indices": 1}]}
        ],
        # Children before parents, as some exporters write them: joint 0 is the spine, joint 1 the hips.
        "skins": [{"joints": [2, 1], "inverseBindMatrices": 4}],
        "buffers": [{"byteLength": len(data), "uri": "data:;base64," + base64.b64encode(data).decode()}],
        "bufferViews": views,
        "accessors": accessors,
    }
    path.write_text(json.dumps(document))
    return posed


@pytest.mark.parametrize("armature_scale", [1.0, 0.01])
def test_a_bent_skinned_gltf(tmp_path: Path, armature_scale: float) -> None:
    posed = tube_gltf(tmp_path / "tube.gltf", armature_scale)
    body = load_body(tmp_path / "tube.gltf")
    expected = torch.tensor(posed[:, [0, 2, 1]] * [1, -1, 1], dtype=torch.float32)
    distance = torch.cdist(expected.double(), body.mesh.vertices.double())
    assert float(distance.amin(1).max()) < 1e-5
    assert float(distance.amin(0).max()) < 1e-5
    rig = body.mesh.rig
    assert rig is not None
    assert rig.joint_names == ("hips", "spine")
    assert rig.joint_parents.tolist() == [-1, 0]
    assert torch.allclose(rig.T_world_joint[1, :3, 3], torch.tensor([0.0, 0.0, 0.5]), atol=1e-6)
    M = rig.T_world_joint @ torch.linalg.inv(rig.T_rest_joint)
    R = M[:, :3, :3]
    assert torch.allclose(R @ R.transpose(-1, -2), torch.eye(3).expand_as(R), atol=1e-4)
    moved = (
        torch.einsum("vkij,vj->vki", R[rig.weight_joints], rig.rest_vertices)
        + M[rig.weight_joints][..., :3, 3]
    )
    assert torch.allclose((rig.weights[..., None] * moved).sum(1), body.mesh.vertices, atol=1e-5)


def smpl_arrays(joint_count: int, vertex_count: int) -> dict[str, np.ndarray]:
    """A model file's arrays with SMPL's shapes: a ball, joints along +Y."""
    rng = np.random.default_rng(3)
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.85)
    vertices = np.resize(ball.vertices, (vertex_count, 3)).astype(np.float64)
    vertices[len(ball.vertices) :] *= 0.5
    regressor = rng.random((joint_count, vertex_count))
    arrays = {
        "v_template": vertices,
        "f": ball.faces[(ball.faces < vertex_count).all(1)].astype(np.uint32),
        "weights": np.eye(joint_count)[rng.integers(0, joint_count, vertex_count)],
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "kintree_table": np.stack([np.arange(-1, joint_count - 1), np.arange(joint_count)]),
        "shapedirs": np.repeat(vertices[..., None] * 0.1, 10, axis=2),
        "posedirs": np.zeros((vertex_count, 3, 9 * (joint_count - 1)), np.float32),
        "labels": np.array({"an": "object"}, dtype=object),
    }
    for side in "lr":
        arrays[f"hands_components{side}"] = np.eye(45)
        arrays[f"hands_mean{side}"] = np.zeros(45)
    arrays["lmk_faces_idx"] = np.zeros(51, np.int64)
    arrays["lmk_bary_coords"] = np.full((51, 3), 1 / 3)
    if joint_count == 55:
        arrays["shapedirs"] = np.zeros((vertex_count, 3, 400), np.float32)
        arrays["shapedirs"][..., 0] = vertices * 0.1
    return arrays


@pytest.mark.parametrize(("joint_count", "vertex_count"), [(24, 6890), (52, 6890), (55, 10475)])
def test_smpl_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joint_count: int, vertex_count: int
) -> None:
    monkeypatch.setattr("vitruvian.body.files.unwrap", lambda mesh: mesh)  # takes seconds, tested elsewhere
    arrays = smpl_arrays(joint_count, vertex_count)
    # As in real model files: a pickled object lies among the arrays, and reading never unpickles it.
    np.savez(tmp_path / "model.npz", allow_pickle=True, **arrays)
    body = load_body(tmp_path / "model.npz")
    assert body.mesh.rig is not None
    assert len(body.mesh.rig.joint_names) == len(set(body.mesh.rig.joint_names)) == joint_count
    assert len(body.mesh.vertices) == vertex_count
    assert float(body.mesh.vertices[:, 2].min()) == pytest.approx(0.0, abs=1e-6)
    x, y, z = arrays["v_template"][0]
    expected = torch.tensor([x, -z, y - arrays["v_template"][:, 1].min()], dtype=torch.float32)
    assert torch.allclose(body.mesh.vertices[0], expected, atol=1e-5)
    assert body.keypoints is not None
    assert torch.isfinite(body.keypoints).all()
    assert body.regions is not None
    taller = load_body(tmp_path / "model.npz", betas=(2.0,))
    assert taller.mesh.vertices[:, 2].max() == pytest.approx(
        1.2 * float(body.mesh.vertices[:, 2].max()), rel=1e-4
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing.glb", None, "not a file"),
        ("body.fbx", b"x", "unknown format"),
        ("broken.glb", b"glTF\x02\x00", "could not be read"),
        ("broken.gltf", b"{", "could not be read"),
        ("broken.ply", b"ply\nnonsense", "could not be read"),
        ("empty.obj", b"# nothing", "is empty"),
        ("words.obj", b"v a b c", "line 1"),
        ("outside.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 1\nf 1 2 7", "points outside"),
        ("nan.obj", b"v 0 0 0\nv 1 0 0\nv 0 nan 1\nf 1 2 3", "not a finite"),
        ("point.obj", b"v 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3", "not a plausible size"),
        ("model.pkl", b"\x80\x04.", "pickle"),
        ("model.npz", b"PK", "could not be read"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        load_body(tmp_path / name)
    assert "\n" not in str(error.value)


def test_an_archive_that_is_no_body_model(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(UserError, match="lacks v_template"):
        load_body(tmp_path / "other.npz")


def test_uv_findings() -> None:
    mesh = anny_body().mesh
    assert mesh.uvs is not None
    assert check_uvs(mesh) == []
    assert "no UVs" in check_uvs(replace(mesh, uvs=None, uv_faces=None))[0]
    assert "outside 0..1" in check_uvs(replace(mesh, uvs=2 * mesh.uvs))[0]
    folded = torch.stack([(mesh.uvs[:, 0] - 0.5).abs(), mesh.uvs[:, 1]], dim=1)
    assert "more than once" in check_uvs(replace(mesh, uvs=folded))[0]
    assert "no area" in check_uvs(replace(mesh, uvs=torch.full_like(mesh.uvs, 0.5)))[0]


def test_unwrap_leaves_the_mesh_alone_and_has_no_overlap() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.5)
    mesh = Mesh(torch.tensor(ball.vertices, dtype=torch.float32), torch.tensor(ball.faces))
    made = unwrap(mesh)
    assert torch.equal(made.vertices, mesh.vertices)
    assert torch.equal(made.faces, mesh.faces)
    assert made.uvs is not None
    assert made.uv_faces is not None
    assert check_uvs(made) == []
    again = unwrap(mesh).uvs
    assert again is not None
    assert torch.equal(again, made.uvs)
