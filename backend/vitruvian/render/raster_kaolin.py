"""Rasteriser on CUDA: NVIDIA Kaolin's DIB-R kernels. The only file that knows Kaolin.

Kaolin's wheels come from NVIDIA's own index (docs/installation.md); PyPI's `kaolin` is an empty placeholder.
Written against Kaolin 0.18 (rasterize, dibr_soft_mask and texture_mapping of kaolin.render.mesh).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitruvian.core.camera import CameraRig, project
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh
from vitruvian.render.silhouette import NEAR, REACH, faces_at_uncovered, reach_boxes

_EPSILON = 1e-10
"""What Kaolin adds to twice a face's area on its image plane before it divides by it, also for gradients. A
face of a third of a pixel at 1024 px has 4e-7 there: Kaolin's default of 1e-8 would shorten its gradients by
2 %."""


class Kernels(NamedTuple):
    """What is used of `kaolin.render.mesh`."""

    rasterize: Callable[..., tuple[Tensor, Tensor]]
    dibr_soft_mask: Callable[..., Tensor]
    texture_mapping: Callable[..., Tensor]


@cache
def available() -> bool:
    """Whether a working Kaolin is installed."""
    return why_missing() is None


def why_missing() -> str | None:
    """What keeps Kaolin from being used, in a few words; None if nothing does."""
    try:
        _kernels()
    except ModuleNotFoundError as error:
        if error.name == "kaolin":
            return "is not installed"
        if (error.name or "").startswith("kaolin."):
            return "is PyPI's empty placeholder"
        return f"lacks {error.name}"
    except (ImportError, AttributeError, OSError) as error:
        # Built for another torch, most often.
        return f"cannot be loaded ({' '.join(str(error).split())[:100]})"
    return None


def rasterize(mesh: Mesh, rig: CameraRig) -> GBuffer:
    """The G-buffer of `mesh` seen by every camera of `rig`; both on the same CUDA device.

    Vertices are projected here and not by Kaolin, so orthographic cameras, skew and off-centre principal
    points work. Weights and depth are differentiable in the vertices, through Kaolin's own gradient.
    """
    pixels, z = project(mesh.vertices, rig)
    size = torch.tensor([rig.width, rig.height], dtype=pixels.dtype, device=pixels.device)
    closeness = _closeness(z, rig.orthographic)
    corner_z = z[:, mesh.faces]
    in_front = (corner_z > NEAR).all(dim=-1)
    if not bool(in_front.any()):
        return _empty(mesh, rig)  # the kernel reads beyond its input when it has no face at all
    one_hot = torch.eye(3, dtype=pixels.dtype, device=pixels.device)
    features = one_hot.expand(len(rig), len(mesh.faces), 3, 3).contiguous()
    weights, face_id = _kernels().rasterize(
        rig.height,
        rig.width,
        closeness[:, mesh.faces].contiguous(),
        _image_plane(pixels, size)[:, mesh.faces].contiguous(),
        features,
        valid_faces=in_front,
        eps=_EPSILON,
        backend="cuda",
    )
    barycentric, depth = _surface_weights(weights, face_id, corner_z, rig.orthographic)
    return GBuffer(face_id, barycentric, depth)


def soft_silhouette(
    mesh: Mesh, rig: CameraRig, covered: Bool[Tensor, "N H W"], blur: float
) -> Float[Tensor, "N H W"]:
    """`silhouette.soft_silhouette` by Kaolin's kernel, view by view.

    The kernel measures distances in units of half the image's width and height and takes a face's first
    `knum` neighbours, however far. So the image is padded to a square (as covered: those pixels cost
    nothing), faces that no uncovered pixel feels are left out, and `knum` is counted. It keeps 13 bytes a
    pixel and neighbour.
    """
    pixels, z = project(mesh.vertices, rig)
    side = max(rig.width, rig.height)
    padded = torch.nn.functional.pad(covered, (0, side - rig.width, 0, side - rig.height), value=True)
    views = []
    for view in range(len(rig)):
        corners = pixels[view][mesh.faces[(z[view][mesh.faces] > NEAR).all(dim=1)]]
        mask = _soft_view(corners, padded[view], blur)
        views.append(mask[: rig.height, : rig.width])
    return torch.stack(views)


def sample_points(albedo: Float[Tensor, "C S S"], uv: Float[Tensor, "P 2"]) -> Float[Tensor, "P C"]:
    """`raster.sample_points` by Kaolin."""
    return _kernels().texture_mapping(uv[None].to(albedo.dtype), albedo[None], mode="bilinear")[0]


def _soft_view(
    corners: Float[Tensor, "F 3 2"], covered: Bool[Tensor, "S S"], blur: float
) -> Float[Tensor, "S S"]:
    side = len(covered)
    boxes = reach_boxes(corners.detach(), REACH * blur, side, side)
    reached = faces_at_uncovered(boxes, ~covered)
    if len(reached) == 0:
        return covered.to(corners.dtype)
    most = int((_boxes_over_pixels(boxes[reached], side) * ~covered).max())
    image = _image_plane(corners[reached], torch.full_like(corners[0, 0], side))
    mask = _kernels().dibr_soft_mask(
        image[None].contiguous(),
        torch.where(covered, 0, -1)[None].contiguous(),
        sigmainv=(side / (2 * blur)) ** 2,
        boxlen=2 * REACH * blur / side,
        knum=most,
    )
    return mask[0]


def _boxes_over_pixels(boxes: Int[Tensor, "F 4"], side: int) -> Int[Tensor, "S S"]:
    """How many boxes hold each pixel, by sums of their corners."""
    left, top, right, bottom = boxes.unbind(1)
    corners = torch.zeros(side + 1, side + 1, dtype=torch.long, device=boxes.device)
    one = torch.ones_like(left)
    for y, x, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
        corners.index_put_((y, x), sign * one, accumulate=True)
    return corners.cumsum(0).cumsum(1)[:side, :side]


def _image_plane(pixels: Float[Tensor, "*n 2"], size: Float[Tensor, "2"]) -> Float[Tensor, "*n 2"]:
    """Pixels on Kaolin's image plane: -1 to 1, x right and y up, pixel centres as ours."""
    return (2 * pixels / size - 1) * torch.tensor([1.0, -1.0], dtype=pixels.dtype, device=pixels.device)


def _empty(mesh: Mesh, rig: CameraRig) -> GBuffer:
    shape = (len(rig), rig.height, rig.width)
    nothing = mesh.vertices.new_zeros(shape)
    return GBuffer(
        torch.full(shape, -1, device=nothing.device), nothing[..., None].repeat(1, 1, 1, 3), nothing
    )


def _closeness(z: Float[Tensor, "N V"], orthographic: Bool[Tensor, "N"]) -> Float[Tensor, "N V"]:
    """What the depth test maximises, affine over the image so that the kernel interpolates it exactly.

    Given -z, Kaolin interpolates depth linearly on the image, which is wrong under perspective; 1/z is right.
    """
    return torch.where(orthographic[:, None], -z, 1 / z.clamp(min=NEAR))


def _surface_weights(
    weights: Float[Tensor, "N H W 3"],
    face_id: Tensor,
    corner_z: Float[Tensor, "N F 3"],
    orthographic: Bool[Tensor, "N"],
) -> tuple[Float[Tensor, "N H W 3"], Float[Tensor, "N H W"]]:
    """Weights on the surface and camera depth, from weights on the image (perspective correction)."""
    n = len(corner_z)
    hit = face_id >= 0
    views = torch.arange(n, device=face_id.device)[:, None, None].expand_as(face_id)
    z = corner_z[views, face_id.clamp(min=0)]
    divisor = torch.where(orthographic[:, None, None, None], torch.ones_like(z), z)
    corrected = weights / divisor.clamp(min=NEAR)
    total = corrected.sum(dim=-1, keepdim=True)
    barycentric = corrected / torch.where(total > 0, total, torch.ones_like(total)) * hit[..., None]
    return barycentric, (barycentric * z).sum(dim=-1)


def _kernels() -> Kernels:
    from kaolin.render import mesh  # pyright: ignore[reportMissingImports]

    return Kernels(mesh.rasterize, mesh.dibr_soft_mask, mesh.texture_mapping)
