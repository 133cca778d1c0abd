"""Files for people: GLB, pictures, the results folder."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from textured import globe, painted, photograph, ring_rig, waves

from vitruvian.body.anny_body import anny_body
from vitruvian.body.unwrap import unwrap
from vitruvian.core.errors import Cancelled, UserError
from vitruvian.core.images import Avatar, Texture, ViewSet
from vitruvian.core.mesh import Mesh
from vitruvian.export.folder import save_avatar
from vitruvian.export.glb import GLTF_FROM_WORLD, glb_bytes
from vitruvian.export.pictures import contact_sheet, png_bytes, to_image, turntable
from vitruvian.texture.texels import texel_map

ROOT = Path(__file__).parents[2]
DTYPES = {5126: np.float32, 5125: np.uint32, 5123: np.uint16}
COLUMNS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@cache
def avatar() -> Avatar:
    """A small textured ball."""
    mesh, rig = globe(12, 24), ring_rig(size=64, count=4)
    texels = texel_map(mesh, 512)
    albedo = painted(texels, waves(texels.position))
    images, gbuffer = photograph(mesh, rig, albedo)
    inside = texels.inside_image
    texture = Texture(albedo, inside.float() * 0.5, inside)
    return Avatar(mesh, texture, ViewSet(images, rig, gbuffer), {"seed": 3, "figure": float("nan")})


@cache
def small_png() -> bytes:
    return png_bytes(Image.new("RGB", (8, 8), (200, 30, 30)))


def read_glb(data: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The document and its accessors' arrays."""
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    (size,) = struct.unpack_from("<I", data, 12)
    document = json.loads(data[20 : 20 + size])
    binary = data[28 + size :]
    arrays = []
    for accessor in document["accessors"]:
        view = document["bufferViews"][accessor["bufferView"]]
        count = accessor["count"] * COLUMNS[accessor["type"]]
        flat = np.frombuffer(binary, DTYPES[accessor["componentType"]], count, view["byteOffset"])
        arrays.append(flat.reshape(accessor["count"], -1))
    return document, arrays


def node_matrices(document: dict[str, Any]) -> list[np.ndarray]:
    """World matrices of all nodes."""
    world: list[np.ndarray] = [np.eye(4)] * len(document["nodes"])

    def visit(index: int, parent: np.ndarray) -> None:
        node = document["nodes"][index]
        local = np.eye(4)
        if "matrix" in node:
            local = np.array(node["matrix"]).reshape(4, 4).T
        if "rotation" in node:
            x, y, z, w = node["rotation"]
            local[:3, :3] = trimesh.transformations.quaternion_matrix([w, x, y, z])[:3, :3]
            local[:3, 3] = node["translation"]
        world[index] = parent @ local
        for child in node.get("children", []):
            visit(child, world[index])

    for root in document["scenes"][0]["nodes"]:
        visit(root, np.eye(4))
    return world


def test_trimesh_reads_the_same_mesh_and_uvs(tmp_path: Path) -> None:
    mesh = avatar().mesh
    (tmp_path / "globe.glb").write_bytes(glb_bytes(mesh, small_png()))
    loaded: Any = trimesh.load_mesh(tmp_path / "globe.glb", process=False)
    expected = mesh.vertices[mesh.faces].numpy() @ GLTF_FROM_WORLD[:3, :3].T
    assert np.allclose(loaded.vertices[loaded.faces], expected, atol=1e-6)
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    assert np.allclose(loaded.visual.uv[loaded.faces], mesh.uvs[mesh.uv_faces].numpy(), atol=1e-6)
    assert loaded.visual.material.baseColorTexture.getpixel((0, 0)) == (200, 30, 30)


def test_replaced_uvs_stay_as_a_second_set() -> None:
    mesh = avatar().mesh
    again = unwrap(mesh)
    document, arrays = read_glb(glb_bytes(again, small_png()))
    primitive = document["meshes"][0]["primitives"][0]
    corners = arrays[primitive["indices"]].reshape(-1)
    for name, uvs, faces in (
        ("TEXCOORD_0", again.uvs, again.uv_faces),
        ("TEXCOORD_1", mesh.uvs, mesh.uv_faces),
    ):
        assert uvs is not None
        assert faces is not None
        expected = uvs[faces.reshape(-1)].numpy() * [1.0, -1.0] + [0.0, 1.0]
        assert np.allclose(arrays[primitive["attributes"][name]][corners], expected, atol=1e-6)


def test_plus_y_is_up_and_the_front_is_plus_z() -> None:
    up, front = np.array([0.0, 0.0, 1.0, 0.0]), np.array([0.0, -1.0, 0.0, 0.0])
    assert np.allclose(GLTF_FROM_WORLD @ up, [0.0, 1.0, 0.0, 0.0])
    assert np.allclose(GLTF_FROM_WORLD @ front, [0.0, 0.0, 1.0, 0.0])


def test_skinning_the_exported_nodes_gives_the_posed_vertices() -> None:
    mesh = anny_body(pose="walking").mesh
    document, arrays = read_glb(glb_bytes(mesh, small_png()))
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    position = arrays[attributes["POSITION"]]
    sets = [n for n in range(2) if f"JOINTS_{n}" in attributes]
    joints = np.concatenate([arrays[attributes[f"JOINTS_{n}"]] for n in sets], axis=1)
    weights = np.concatenate([arrays[attributes[f"WEIGHTS_{n}"]] for n in sets], axis=1)
    skin = document["skins"][0]
    world = np.stack([node_matrices(document)[joint] for joint in skin["joints"]])
    inverse = arrays[skin["inverseBindMatrices"]].reshape(-1, 4, 4).transpose(0, 2, 1)
    moves = world @ inverse
    homogeneous = np.concatenate([position, np.ones((len(position), 1))], axis=1)
    posed = np.einsum("vk,vkij,vj->vi", weights, moves[joints.astype(int)], homogeneous)[:, :3]
    assert np.abs(weights.sum(1) - 1.0).max() < 1e-6
    faces = arrays[document["meshes"][0]["primitives"][0]["indices"]].reshape(-1, 3)
    expected = mesh.vertices[mesh.faces].numpy() @ GLTF_FROM_WORLD[:3, :3].T
    error = np.linalg.norm(posed[faces] - expected, axis=-1)
    # A few of Anny's vertices have nine influences; two of glTF's sets hold eight.
    assert error.max() < 1e-3
    assert error.mean() < 1e-6


def test_a_mesh_without_uvs_is_refused() -> None:
    mesh = globe(4, 8)
    with pytest.raises(UserError, match=r"mesh\.uvs"):
        glb_bytes(Mesh(mesh.vertices, mesh.faces), small_png())


@pytest.mark.slow
@pytest.mark.parametrize("body", ["globe", "anny"])
def test_the_khronos_validator_finds_no_errors(body: str, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    root = Path(os.environ.get("GLTF_VALIDATOR_ROOT", ROOT))
    if not (root / "node_modules" / "gltf-validator").is_dir():
        pytest.skip("run scripts/setup_gltf_validator.sh first")
    path = tmp_path / "human.glb"
    mesh = anny_body(pose="walking").mesh if body == "anny" else avatar().mesh
    path.write_bytes(glb_bytes(mesh, small_png()))
    command = [node, str(ROOT / "scripts" / "validate_glb.mjs"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    issues = json.loads(done.stdout)
    assert issues["numErrors"] == 0
    assert issues["numWarnings"] == 0, issues


def test_png_bytes_round_trip_8_bit_colours() -> None:
    levels = torch.arange(256) / 255.0
    picture = to_image(levels.expand(3, 4, 256))
    assert (np.asarray(picture)[0, :, 0] == np.arange(256)).all()


def test_contact_sheet_shows_every_view_with_its_name() -> None:
    views = avatar().views
    sheet = contact_sheet(views, tile=64)
    assert sheet.width == 2 * 64
    pixels = np.asarray(sheet)
    assert np.allclose(pixels[:64, :64], np.asarray(to_image(views.images[0])), atol=1)
    assert pixels[64:82, :64].min() < 150


def test_turntable_frames_differ_and_stand_on_grey() -> None:
    result = avatar()
    frames = [np.asarray(f) for f in turntable(result.mesh, result.texture.albedo, frames=3, size=64)]
    assert len(frames) == 3
    assert not np.array_equal(frames[0], frames[1])
    assert (frames[0][0, 0] == round(0.93 * 255)).all()


def test_a_saved_avatar_is_complete_and_the_same_each_time(tmp_path: Path) -> None:
    out = save_avatar(avatar(), tmp_path / "deep" / "out", frames=4)
    names = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    views = {f"views/{name}.png" for name in avatar().views.rig.names}
    single = {"human.glb", "albedo.png", "coverage.png", "contact_sheet.png", "turntable.gif", "report.json"}
    assert names == single | views
    assert json.loads((out / "report.json").read_text()) == {"seed": 3, "figure": None}
    with Image.open(out / "turntable.gif") as animation:
        assert getattr(animation, "n_frames", 1) == 4
    with Image.open(out / "albedo.png") as picture:
        assert (picture.size, picture.mode) == ((512, 512), "RGB")
    first = {name: (out / name).read_bytes() for name in names}
    save_avatar(avatar(), out, frames=4)
    assert {name: (out / name).read_bytes() for name in names} == first
    assert [p.name for p in out.parent.iterdir()] == ["out"]


def test_other_peoples_files_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not from Vitruvian"):
        save_avatar(avatar(), tmp_path)
    with pytest.raises(UserError, match="is a file"):
        save_avatar(avatar(), tmp_path / "thesis.txt")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        save_avatar(avatar(), tmp_path / "file" / "out")


def test_cancelling_leaves_nothing_and_keeps_the_earlier_result(tmp_path: Path) -> None:
    out = save_avatar(avatar(), tmp_path / "out", frames=2)

    def cancel(stage: str, step: int, total: int, preview: object = None) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        save_avatar(avatar(), out, frames=2, report=cancel)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (out / "human.glb").is_file()
