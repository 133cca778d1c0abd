"""What is only doubtful in a scene is told with a repair."""

from __future__ import annotations

import numpy as np
from malformed_scenes import F, V, cameras_with, mesh_with
from protocol_scenes import ball, cameras, scene

from vitruvian_protocol import Scene, check_scene, warnings_of


def doubts(of: Scene) -> dict[str, str]:
    check_scene(of)
    return {doubt.code: doubt.repair for doubt in warnings_of(of)}


def test_a_good_scene_has_no_doubts() -> None:
    assert doubts(scene()) == {}


def test_doubtful_uvs() -> None:
    uvs = ball()[2]
    assert doubts(mesh_with(corner_uvs=None)) == {"UV_MISSING": "unwrap"}
    assert doubts(mesh_with(corner_uvs=uvs + np.array([1, 0], "f4"))) == {"UV_OUTSIDE": "unwrap"}
    half = uvs * np.array([0.5, 1], "f4")
    mirrored_halves = np.concatenate([half[::2], np.tile(half[:1], (F // 2, 1, 1))])
    assert doubts(mesh_with(corner_uvs=mirrored_halves))["UV_OVERLAP"] == "unwrap"
    corner = np.array([[0, 0], [1, 0], [0, 1]]) * np.linspace(0.5, 1, F)[:, None, None]
    assert doubts(mesh_with(corner_uvs=corner.astype("f4")))["UV_OVERLAP"] == "unwrap"
    assert doubts(mesh_with(corner_uvs=np.full_like(uvs, 0.5))) == {"UV_FLAT": "unwrap"}
    turned = uvs.copy()
    turned[:9] = turned[:9, ::-1]
    assert doubts(mesh_with(corner_uvs=turned)) == {"UV_FLIPPED": ""}


def test_doubtful_meshes() -> None:
    vertices, faces, uvs = ball()

    def made(faces: np.ndarray, vertices: np.ndarray = vertices) -> dict[str, str]:
        return doubts(
            mesh_with(vertices=vertices, faces=faces, corner_uvs=np.resize(uvs, (len(faces), 3, 2)))
        )

    turned = faces.copy()
    turned[:9] = turned[:9, ::-1]
    assert made(turned)["WINDING"] == "recalculate_normals"
    assert made(faces[5:])["HOLES"] == "fill_holes"
    assert made(np.concatenate([faces, faces[:3]]))["DOUBLE_FACES"] == "merge"
    assert made(np.concatenate([faces, [[3, 3, 4]]]).astype("i4"))["FLAT_FACES"] == "merge"
    fin = np.concatenate([faces, [[faces[0, 0], faces[0, 1], V - 5]]]).astype("i4")
    assert made(fin)["NON_MANIFOLD"] == "merge"
    loose = np.concatenate([vertices, np.zeros((3, 3), "f4")])
    assert made(faces, loose)["LOOSE"] == "delete_loose"
    assert doubts(mesh_with(vertices=ball(50.0)[0])) == {"SIZE": "apply_scale"}
    assert doubts(mesh_with(vertices=ball(0.05)[0])) == {"SIZE": "apply_scale"}


def test_doubtful_cameras() -> None:
    ring = cameras()
    T = ring.T_world_cam.copy()
    T[1, :3, 3] = (0.1, 0.1, 0)
    assert doubts(cameras_with(T_world_cam=T)) == {"CAMERA_INSIDE": "reset_camera"}
    T = ring.T_world_cam.copy()
    T[1, :3, :3] = T[3, :3, :3]
    assert doubts(cameras_with(T_world_cam=T)) == {"CAMERA_BLIND": "reset_camera"}
    T = ring.T_world_cam.copy()
    T[1] = T[3]
    assert doubts(cameras_with(T_world_cam=T)) == {"CAMERA_TWICE": ""}


def test_serious_doubts_come_first() -> None:
    told = warnings_of(mesh_with(faces=ball()[1][5:], corner_uvs=None))
    assert [doubt.serious for doubt in told] == sorted((doubt.serious for doubt in told), reverse=True)
    assert {doubt.serious for doubt in told} == {True, False}
