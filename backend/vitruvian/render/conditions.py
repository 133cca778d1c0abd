"""ControlNet conditions: what the models are told about the body's shape and pose, as pictures."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import Conditions, GBuffer
from vitruvian.core.mesh import Mesh
from vitruvian.render.gbuffer import check_visible, interpolate_foreground
from vitruvian.render.pose_drawing import draw_poses
from vitruvian.render.raster import rasterize

NORMAL_BACKGROUND = (0.5, 0.5, 1.0)
"""(128, 128, 255) in 8 bits: a wall that faces the camera, the same in every view."""


def render_conditions(
    mesh: Mesh, rig: CameraRig, keypoints: Float[Tensor, "18 3"] | None = None, gbuffer: GBuffer | None = None
) -> tuple[Conditions, GBuffer]:
    """Depth, normal and (given `keypoints` in world metres, OpenPose-18 order) pose pictures of every view.

    Args:
        keypoints: leave out when no pose ControlNet will read the drawing.
        gbuffer: of the same mesh and rig, to save the rasterisation.

    Raises:
        UserError: if no camera sees the body, or controlnet-aux is missing and a pose is asked for.
    """
    gbuffer = gbuffer if gbuffer is not None else rasterize(mesh, rig)
    check_visible(gbuffer, rig)
    rig = rig.to(gbuffer.depth.device)
    depth = depth_condition(gbuffer, rig.orthographic)
    normal = normal_condition(camera_normals(mesh.to(gbuffer.depth.device), rig, gbuffer), gbuffer.mask)
    pose = draw_poses(keypoints, rig, gbuffer) if keypoints is not None else None
    return Conditions(depth, normal, gbuffer.mask, pose), gbuffer


def depth_condition(gbuffer: GBuffer, orthographic: Bool[Tensor, "N"]) -> Float[Tensor, "N 3 H W"]:
    """Inverse depth, stretched per view so that the nearest point is 1 and the farthest 0; background 0.

    An orthographic camera has no distance to invert: there depth itself is flipped, the limit of inverse
    depth for a perspective camera that moves away.
    """
    z, mask = gbuffer.depth, gbuffer.mask
    nearness = torch.where(
        orthographic[:, None, None], -z, 1 / torch.where(mask, z, torch.ones_like(z)).clamp(min=1e-6)
    )
    low = nearness.masked_fill(~mask, torch.inf).amin(dim=(1, 2), keepdim=True)
    high = nearness.masked_fill(~mask, -torch.inf).amax(dim=(1, 2), keepdim=True)
    span = high - low
    # A view of nothing, or of a wall parallel to the image, has no span: all that is seen there is nearest.
    stretched = torch.where(span > 1e-9, (nearness - low) / span.clamp(min=1e-9), torch.ones_like(nearness))
    return (
        torch.where(mask, stretched, torch.zeros_like(stretched))[:, None].expand(-1, 3, -1, -1).contiguous()
    )


def camera_normals(mesh: Mesh, rig: CameraRig, gbuffer: GBuffer) -> Float[Tensor, "N H W 3"]:
    """Smooth unit normals in camera axes (x right, y down, z forward), zero on the background.

    Where a view sees the back of a face (the inside of a sleeve), the normal is turned to the viewer's side.
    """
    pixels, smooth = interpolate_foreground(gbuffer, mesh.faces, mesh.vertex_normals)
    face = gbuffer.face_id.reshape(-1)[pixels]
    view = pixels // (rig.width * rig.height)
    front = _seen_from_front(mesh, rig)[view, face, None]
    unit = torch.nn.functional.normalize(torch.where(front, smooth, -smooth), dim=-1)
    in_world = unit.new_zeros(gbuffer.face_id.numel(), 3).index_copy(0, pixels, unit)
    in_camera = in_world.reshape(len(rig), -1, 3) @ rig.T_world_cam[:, :3, :3]
    return in_camera.reshape(*gbuffer.face_id.shape, 3)


def _seen_from_front(mesh: Mesh, rig: CameraRig) -> Bool[Tensor, "N F"]:
    """Whether each camera is on the outer side of each face's plane."""
    corner = mesh.vertices[mesh.faces[:, 0]]
    normals = mesh.face_normals
    to_position = rig.positions @ normals.T - (corner * normals).sum(dim=-1)
    against_view = -rig.T_world_cam[:, :3, 2] @ normals.T
    return torch.where(rig.orthographic[:, None], against_view, to_position) >= 0


def normal_condition(
    normals: Float[Tensor, "N H W 3"], mask: Bool[Tensor, "N H W"]
) -> Float[Tensor, "N 3 H W"]:
    """Camera-axes normals as the ControlNet's colours: red = left, green = up, blue = towards the viewer."""
    colours = (1 - normals) / 2
    background = torch.tensor(NORMAL_BACKGROUND, dtype=normals.dtype, device=normals.device)
    return torch.where(mask[..., None], colours, background).permute(0, 3, 1, 2).contiguous()
