"""Rasteriser on the CPU: one Embree ray through every pixel centre near the body."""

from __future__ import annotations

import numpy as np
import torch
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Float, Int
from numpy import ndarray

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh


def rasterize(mesh: Mesh, rig: CameraRig) -> GBuffer:
    """The G-buffer of `mesh` seen by every camera of `rig`, as CPU tensors (float32, int64)."""
    cpu_rig = rig.to("cpu")
    scene = build_scene(mesh)
    boxes = projected_boxes(mesh, cpu_rig)
    n, h, w = len(rig), rig.height, rig.width
    face_id = np.full((n, h, w), -1, dtype=np.int64)
    barycentric = np.zeros((n, h, w, 3), dtype=np.float32)
    depth = np.zeros((n, h, w), dtype=np.float32)
    for view, (left, top, right, bottom) in enumerate(boxes.tolist()):
        if right <= left or bottom <= top:
            continue
        origins, directions = box_rays(cpu_rig, view, left, top, right, bottom)
        hits = scene.run(origins, directions, query="INTERSECT", output=True)
        window = np.s_[view, top:bottom, left:right]
        _write_hits(hits, face_id[window], barycentric[window], depth[window])
    return GBuffer(torch.from_numpy(face_id), torch.from_numpy(barycentric), torch.from_numpy(depth))


def build_scene(mesh: Mesh) -> EmbreeScene:
    """Embree's acceleration structure over the triangles, in world space."""
    vertices = np.ascontiguousarray(mesh.vertices.detach().cpu().numpy(), dtype=np.float32)
    faces = np.ascontiguousarray(mesh.faces.cpu().numpy(), dtype=np.int32)
    # Robust: rays through shared edges must hit one of the faces, or the body gets pinholes.
    scene = EmbreeScene(robust=True)
    TriangleMesh(scene, vertices, faces)
    return scene


def projected_boxes(mesh: Mesh, rig: CameraRig) -> Int[ndarray, "N 4"]:
    """Per view the pixel window (left, top, right, bottom; ends exclusive) outside which no ray can hit.

    Empty where the body lies beside or behind the camera; the whole image where it reaches behind a
    perspective camera, whose projection means nothing there.
    """
    T_cam_world = np.linalg.inv(rig.T_world_cam.double().numpy())[:, :3]
    K = rig.K.double().numpy()
    orthographic = rig.orthographic.numpy()
    # Numpy, float32 and one product for all views: as torch operations this costs more than casting the rays.
    vertices = mesh.vertices.detach().cpu().numpy().astype(np.float32)
    pixel_from_world = (K @ T_cam_world).astype(np.float32)
    pixel_from_world[orthographic] = _affine_projection(K[orthographic], T_cam_world[orthographic])
    boxes = np.zeros((len(rig), 4), dtype=np.int64)
    for view in range(len(rig)):
        projected = pixel_from_world[view, :, :3] @ vertices.T + pixel_from_world[view, :, 3:]
        boxes[view] = _pixel_window(projected, bool(orthographic[view]), rig.width, rig.height)
    return boxes


def _affine_projection(K: Float[ndarray, "M 3 3"], T_cam_world: Float[ndarray, "M 3 4"]) -> ndarray:
    """World to (pixel x, pixel y, depth) of orthographic cameras, [M, 3, 4] float32."""
    projection = np.zeros_like(T_cam_world)
    projection[:, :2] = K[:, :2, :2] @ T_cam_world[:, :2]
    projection[:, :2, 3] += K[:, :2, 2]
    projection[:, 2] = T_cam_world[:, 2]
    return projection.astype(np.float32)


def _pixel_window(
    projected: Float[ndarray, "3 V"], orthographic: bool, width: int, height: int
) -> tuple[int, int, int, int]:
    """Bounds of one view's projected vertices (divided by depth here where the camera is perspective)."""
    z = projected[2]
    if z.max() <= 0:
        return 0, 0, 0, 0
    if z.min() <= 1e-6 and not orthographic:
        return 0, 0, width, height
    xy = projected[:2] if orthographic else projected[:2] / z
    # Pixel i is hit when its centre i + 0.5 lies within the bounds; one pixel more forgives rounding.
    size = np.array([width, height])
    low = np.clip(np.ceil(xy.min(axis=1) - 1.5), 0, size).astype(int)
    high = np.clip(np.floor(xy.max(axis=1) + 1.5), 0, size).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def box_rays(
    rig: CameraRig, view: int, left: int, top: int, right: int, bottom: int
) -> tuple[Float[ndarray, "P 3"], Float[ndarray, "P 3"]]:
    """Origins and directions of the rays through a window's pixel centres, row by row.

    The rays of `core.camera.pixel_rays`, so ray length is camera depth; written out because rays are
    affine in (x, y): two outer sums instead of a chain of image-sized products.
    """
    R = rig.T_world_cam[view, :3, :3].double().numpy()
    position = rig.T_world_cam[view, :3, 3].double().numpy()
    world_from_pixel = R @ np.linalg.inv(rig.K[view].double().numpy())
    xs = np.arange(left, right) + 0.5
    ys = np.arange(top, bottom) + 0.5
    rows = ys[:, None] * world_from_pixel[:, 1] + world_from_pixel[:, 2]
    columns = xs[:, None] * world_from_pixel[:, 0]
    if bool(rig.orthographic[view]):
        # world_from_pixel adds the forward axis once (homogeneous 1): rays start on the camera plane.
        rows = rows + position - R[:, 2]
        return _outer_sum(rows, columns), _repeat(R[:, 2], len(ys) * len(xs))
    return _repeat(position, len(ys) * len(xs)), _outer_sum(rows, columns)


def _outer_sum(rows: Float[ndarray, "H 3"], columns: Float[ndarray, "W 3"]) -> Float[ndarray, "P 3"]:
    out = np.empty((len(rows), len(columns), 3), dtype=np.float32)
    np.add(rows[:, None].astype(np.float32), columns[None].astype(np.float32), out=out)
    return out.reshape(-1, 3)


def _repeat(vector: Float[ndarray, "3"], count: int) -> Float[ndarray, "P 3"]:
    out = np.empty((count, 3), dtype=np.float32)
    out[:] = vector
    return out


def _write_hits(hits: dict[str, ndarray], face_id: ndarray, barycentric: ndarray, depth: ndarray) -> None:
    """Fill one view's window of the (zeroed) G-buffer from Embree's answer."""
    primitive = hits["primID"].reshape(face_id.shape)
    u, v, t = (hits[key].reshape(face_id.shape) for key in ("u", "v", "tfar"))
    mask = primitive >= 0
    face_id[:] = primitive
    np.multiply(t, mask, out=depth)
    np.multiply(u, mask, out=barycentric[..., 1])
    np.multiply(v, mask, out=barycentric[..., 2])
    np.subtract(mask, barycentric[..., 1], out=barycentric[..., 0], dtype=np.float32)
    barycentric[..., 0] -= barycentric[..., 2]
